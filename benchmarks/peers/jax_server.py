"""The jax peers: the same classifier and step, timed on request. Runs in .venv.peers.

Reads a line {"cell", "shape": [B, T, D, H], "method": "privacy" | "vmap", "times": n}; compiles
on the first request; answers {"seconds": of a step}. One request at a time, so that peers of
other processes are timed in between.

B sequences, T steps, D inputs, H hidden units.
"""

import json
import sys
import time

import jax
import jax.numpy as jnp
from jax_privacy import clipped_grad

CLASSES = 2
CLIP, NOISE, RATE = 1.0, 1.0, 0.1
GATES = {"lstm": 4, "gru": 3, "rnn": 1}


def parameters(cell, shape):
    """Return weights of torch's shapes, uniform as torch draws them."""
    _, _, inputs, hidden = shape
    gates, bound = GATES[cell] * hidden, hidden**-0.5
    shapes = {
        "weight_ih": (gates, inputs),
        "weight_hh": (gates, hidden),
        "bias_ih": (gates,),
        "bias_hh": (gates,),
        "head": (CLASSES, hidden),
        "head_bias": (CLASSES,),
    }
    keys = jax.random.split(jax.random.key(1), len(shapes))
    return {
        name: jax.random.uniform(key, size, minval=-bound, maxval=bound)
        for key, (name, size) in zip(keys, shapes.items(), strict=True)
    }


def _lstm(weights, state, gates):
    hidden, cell = state
    gates = gates + hidden @ weights["weight_hh"].T + weights["bias_hh"]
    i, f, g, o = jnp.split(gates, 4, -1)
    cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(cell), cell


def _gru(weights, state, gates):
    (hidden,) = state
    recurrent = hidden @ weights["weight_hh"].T + weights["bias_hh"]
    (xr, xz, xn), (hr, hz, hn) = jnp.split(gates, 3, -1), jnp.split(recurrent, 3, -1)
    r, z = jax.nn.sigmoid(xr + hr), jax.nn.sigmoid(xz + hz)
    new = jnp.tanh(xn + r * hn)
    return ((1 - z) * new + z * hidden,)


def _rnn(weights, state, gates):
    return (jnp.tanh(gates + state[0] @ weights["weight_hh"].T + weights["bias_hh"]),)


STEPS = {"lstm": (_lstm, 2), "gru": (_gru, 1), "rnn": (_rnn, 1)}


def loss_of(cell):
    """Return the loss of one example, inputs [T, D]; the input product is done for all steps."""
    advance, states = STEPS[cell]

    def loss(weights, inputs, target):
        gates = inputs @ weights["weight_ih"].T + weights["bias_ih"]
        zero = jnp.zeros(weights["weight_hh"].shape[1])
        last, _ = jax.lax.scan(
            lambda state, g: (advance(weights, state, g), None), (zero,) * states, gates
        )
        logits = weights["head"] @ last[0] + weights["head_bias"]
        return -jax.nn.log_softmax(logits)[target]

    return loss


def clipped_by_vmap(loss):
    """Return the clipped sum as a careful user writes it."""

    def one(weights, inputs, target):
        gradient = jax.grad(loss)(weights, inputs, target)
        norm = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(gradient)))
        factor = jnp.minimum(1.0, CLIP / jnp.maximum(norm, 1e-12))
        return jax.tree.map(lambda g: g * factor, gradient)

    def total(weights, inputs, targets):
        each = jax.vmap(one, in_axes=(None, 0, 0))(weights, inputs, targets)
        return jax.tree.map(lambda g: g.sum(0), each)

    return total


def clipped_by_library(loss):
    """Return the clipped sum of jax_privacy."""
    found = clipped_grad(loss, l2_clip_norm=CLIP, batch_argnums=(1, 2), keep_batch_dim=False)
    return lambda weights, inputs, targets: found(weights, inputs, targets)


def build(cell, shape, method):
    """Return a function that takes one whole step."""
    batch, steps, width, _ = shape
    make = clipped_by_library if method == "privacy" else clipped_by_vmap
    total = make(loss_of(cell))

    @jax.jit
    def update(weights, key, inputs, targets):
        sums = total(weights, inputs, targets)
        key, *keys = jax.random.split(key, len(sums) + 1)
        out = {}
        for part, (name, value) in zip(keys, sums.items(), strict=True):
            noise = NOISE * CLIP * jax.random.normal(part, value.shape)
            out[name] = weights[name] - RATE * (value + noise) / batch
        return out, key

    inputs = jax.random.normal(jax.random.key(0), (batch, steps, width))
    targets = jax.random.randint(jax.random.key(2), (batch,), 0, CLASSES)
    state = [parameters(cell, shape), jax.random.key(3)]

    def step():
        state[:] = jax.block_until_ready(update(*state, inputs, targets))

    step()
    step()
    return step


def main():
    """Answer until the input ends."""
    built = {}
    for line in sys.stdin:
        ask = json.loads(line)
        key = ask["cell"], tuple(ask["shape"]), ask["method"]
        step = built.get(key) or built.setdefault(key, build(*key))
        began = time.perf_counter()
        for _ in range(ask["times"]):
            step()
        seconds = (time.perf_counter() - began) / max(1, ask["times"])
        print(json.dumps({"seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
