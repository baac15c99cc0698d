"""The ledger's sums against closed forms, PRV and simulation, on twenty mixed plans.

`python -m benchmarks.ledger [--draws 2000000] [--json FILE]`

A reference is a closed form where there is one; PRV's own bounds for sampled Gaussian steps
alone; and else a simulation of the summed privacy loss, whose interval is stated. `difference` is
the ledger's epsilon less the reference's; it may not be below 0 by more than the reference's own
error, nor above 0.01 + 1 %.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from rnn.privacy.ledger import Event, epsilon_of, training_noise

Array = NDArray[np.float64]
Row = dict[str, object]


class Reference(NamedTuple):
    """An epsilon and how far off it may be."""

    epsilon: float
    error: float
    kind: str


class Plan(NamedTuple):
    """Events, the delta to read at, and what else computes their epsilon."""

    name: str
    events: tuple[Event, ...]
    delta: float
    reference: Callable[[tuple[Event, ...], float], Reference]


def event(mechanism: str, **fields: float | int) -> Event:
    """Return an event without words."""
    return Event(released="r", people="p", mechanism=mechanism, **fields)  # type: ignore[arg-type]


def solve(delta_of: Callable[[float], float], delta: float) -> float:
    """Return the epsilon at which a falling curve passes delta."""
    if delta_of(0.0) <= delta:
        return 0.0
    return float(optimize.brentq(lambda e: delta_of(e) - delta, 0.0, 200.0, xtol=1e-12))


def gaussian(events: tuple[Event, ...], delta: float) -> Reference:
    """Gaussian releases: Balle and Wang (2018), theorem 8; their squares of mu add up."""
    mu = math.sqrt(sum(e.count / (e.noise_multiplier or 1.0) ** 2 for e in events))

    def curve(epsilon: float) -> float:
        high = special.log_ndtr(mu / 2 - epsilon / mu)
        low = epsilon + special.log_ndtr(-mu / 2 - epsilon / mu)
        return float(np.exp(high) - np.exp(low))

    return Reference(solve(curve, delta), 1e-9, "closed form")


def laplace(events: tuple[Event, ...], delta: float) -> Reference:
    """One Laplace release: its curve is 1 - exp((epsilon - 1/b) / 2)."""
    (one,) = events
    top = 1 / (one.noise_multiplier or 1.0)
    return Reference(max(0.0, top + 2 * math.log1p(-delta)), 1e-9, "closed form")


def stated(events: tuple[Event, ...], delta: float) -> Reference:
    """k releases known as (epsilon, delta) alone: Kairouz, Oh, Viswanath (2015), theorem 3.3."""
    (one,) = events
    k, e = one.count, one.epsilon or 0.0
    j = np.arange(k + 1)
    weight = special.gammaln(k + 1) - special.gammaln(j + 1) - special.gammaln(k - j + 1)
    weight -= k * np.logaddexp(0, e)

    def curve(epsilon: float) -> float:
        loss = (k - 2 * j) * e
        gains = np.exp(weight + (k - j) * e) * np.maximum(0, -np.expm1(epsilon - loss))
        return 1 - (1 - one.delta) ** k * (1 - float(gains.sum()))

    return Reference(solve(curve, delta), 1e-9, "closed form")


def prv(events: tuple[Event, ...], delta: float) -> Reference:
    """Sampled Gaussian steps: the middle of PRV's bounds, and half their distance."""
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = [(e.noise_multiplier, e.sample_rate, e.count) for e in events]
    composed = accountant._get_dprv(eps_error=0.002, delta_error=delta / 1000)
    low, middle, high = composed.compute_epsilon(delta, delta / 1000, 0.002)
    return Reference(float(middle), float(max(high - middle, middle - low)), "PRV")


def _losses(one: Event, remove: bool, rng: np.random.Generator, draws: int) -> Array:
    """Summed privacy losses of one event, drawn where its unit is there (or not)."""
    total = np.zeros(draws)
    noise = one.noise_multiplier or 1.0
    for _ in range(one.count):
        if one.mechanism == "laplace":
            at = rng.laplace(0.0, noise, draws)
            total += (np.abs(at - 1) - np.abs(at)) / noise
            continue
        here = rng.random(draws) < one.sample_rate if remove else np.zeros(draws, dtype=bool)
        at = rng.standard_normal(draws) * noise + here
        # log of (1 - q) + q exp((2x - 1) / (2 z^2)): with the unit over without it.
        shifted = math.log(one.sample_rate) + (2 * at - 1) / (2 * noise**2)
        rest = math.log1p(-one.sample_rate) if one.sample_rate < 1 else -math.inf
        ratio = np.logaddexp(rest, shifted)
        total += ratio if remove else -ratio
    return total


def simulated(draws: int) -> Callable[[tuple[Event, ...], float], Reference]:
    """Return the simulation: the worse of removing and adding a unit."""

    def reference(events: tuple[Event, ...], delta: float) -> Reference:
        found = []
        for remove in (True, False):
            rng = np.random.default_rng(17 + remove)
            loss = sum((_losses(e, remove, rng, draws) for e in events), np.zeros(draws))

            def curve(epsilon: float, loss: Array = loss) -> float:
                return float(np.maximum(0.0, -np.expm1(epsilon - loss)).mean())

            epsilon = solve(curve, delta)
            gains = np.maximum(0.0, -np.expm1(epsilon - loss))
            slope = float(np.where(loss > epsilon, np.exp(epsilon - loss), 0.0).mean())
            error = 4 * float(gains.std()) / math.sqrt(draws) / max(slope, 1e-300)
            found.append(Reference(epsilon, error, "simulation"))
        return max(found)

    return reference


def plans(draws: int) -> list[Plan]:
    """Return the twenty plans."""
    many = simulated(draws)
    sampled = [
        (0.01, 1.0, 1000, 1e-5),
        (256 / 30000, 1.0, 1170, 1e-5),
        (2048 / 24000, 2.2, 240, 1e-6),
        (0.001, 0.6, 5000, 1e-6),
        (0.1, 5.0, 2000, 1e-6),
        (0.02, 0.8, 300, 1e-5),
    ]
    out = [
        Plan("gaussian_1", (event("gaussian", noise_multiplier=1.0),), 1e-5, gaussian),
        Plan("gaussian_20", (event("gaussian", noise_multiplier=8.0, count=20),), 1e-6, gaussian),
        Plan("gaussian_mixed", (event("gaussian", noise_multiplier=2.0, count=3),
                                event("gaussian", noise_multiplier=5.0, count=7)), 1e-6, gaussian),
        Plan("sampled_at_rate_1", (event("sampled_gaussian", noise_multiplier=9.0, count=50),),
             1e-6, gaussian),
        Plan("laplace_1", (event("laplace", noise_multiplier=2.0),), 1e-5, laplace),
        Plan("laplace_narrow", (event("laplace", noise_multiplier=0.25),), 1e-5, laplace),
        Plan("stated_5", (event("stated", epsilon=0.3, count=5),), 1e-6, stated),
        Plan("stated_40", (event("stated", epsilon=0.1, delta=1e-8, count=40),), 1e-5, stated),
    ]  # fmt: skip
    for number, (rate, noise, count, delta) in enumerate(sampled, start=1):
        steps = event("sampled_gaussian", noise_multiplier=noise, sample_rate=rate, count=count)
        out.append(Plan(f"sampled_{number}", (steps,), delta, prv))
    steps = event("sampled_gaussian", noise_multiplier=1.2, sample_rate=0.05, count=40)
    few = event("sampled_gaussian", noise_multiplier=0.8, sample_rate=0.01, count=30)
    one, three = (event("laplace", noise_multiplier=z) for z in (1 / 0.3, 1.0))
    single = event("gaussian", noise_multiplier=8.0)
    wide = event("gaussian", noise_multiplier=2.0, count=4)
    mixed = [
        ("laplace_beside_gaussian", (one, single)),
        ("two_laplace_beside_gaussian", (one, three, wide)),
        ("training_beside_laplace", (steps, one)),
        ("training_beside_gaussian", (steps, single)),
        ("training_beside_both", (few, one, single)),
        ("two_trainings_beside_both", (steps, few, one, wide)),
    ]
    out += [Plan(name, events, 1e-3, many) for name, events in mixed]
    return out


def joint() -> float:
    """Return the noise of training beside a Laplace and a Gaussian release, one total epsilon."""
    return training_noise(
        target_epsilon=3.0,
        delta=1e-5,
        sample_rate=256 / 30000,
        steps=1170,
        beside=(event("laplace", noise_multiplier=1 / 0.3), event("gaussian", noise_multiplier=8)),
    )


def main() -> None:
    """Print the table; exit with 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=2_000_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: list[Row] = []
    missed = []
    for plan in plans(options.draws):
        ours = epsilon_of(plan.events, plan.delta)
        other = plan.reference(plan.events, plan.delta)
        difference = ours - other.epsilon
        good = -other.error <= difference <= 0.01 + 0.01 * other.epsilon + other.error
        missed += [] if good else [plan.name]
        print(
            f"{plan.name:<30}{ours:9.5f}  {other.kind} {other.epsilon:.5f} (to {other.error:.5f})  "
            f"{difference:+.5f}{'' if good else '  MISSED'}",
            flush=True,
        )
        name = f"ledger/{plan.name}/difference"
        rows.append({"name": name, "value": round(difference, 6), "unit": "epsilon"})
        name = f"ledger/{plan.name}/error_of_reference"
        rows.append({"name": name, "value": round(other.error, 6), "unit": "epsilon"})
    noise = joint()
    print(f"joint calibration: noise multiplier {noise:.4f}")
    rows.append({"name": "ledger/joint/noise_multiplier", "value": round(noise, 4), "unit": ""})
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    if missed:
        sys.exit(f"bars missed: {missed}")


if __name__ == "__main__":
    main()
