"""A whole private step on a GPU against cuDNN's own layers without privacy.

`python -m benchmarks.cuda [--cells lstm gru rnn] [--rounds 7] [--bf16 weights] [--json FILE]`

Forward, backward, per-example clip, keystream noise, optimizer step; the two take turns, a block
of steps each, timed by events of the device; a figure is the median over rounds. Everything is as
torch comes: cuDNN may use TF32 in single precision, our products do not. In bfloat16 weights and
inputs are bfloat16 on both sides; `--bf16 autocast` keeps weights in single precision and runs
the forward pass under autocast on both sides. Memory is the most that is allocated on the device.

Exactness is the largest difference of a clipped sum, over its largest entry, from one backward
pass an example in double precision on the CPU. Overshoot is by what share the whole batch's sum
moves beyond the bound when one example is taken out of the batch (below 0, it stays within); the
noise has room for the engine's rounding margin, which is printed beside it.

Without a CUDA device nothing is measured. What a GPU machine needs besides this checkout: torch,
numpy, opacus (which wants scipy and opt_einsum) and cryptography; nothing else is imported.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.peers.steps import CLIP, NOISE, PLAIN, RATE, Classifier, Ours, Shape, data
from benchmarks.step_time import Timer, measure
from rnn.privacy.engine import PrivateOptimizer, accumulate_clipped, rounding_margin
from rnn.privacy.noise import Keystream
from rnn.recurrent import CELLS

SHAPES = (Shape(256, 128, 64, 256), Shape(1024, 64, 64, 128))
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# Examples that are checked one by one, with a pass of their own each.
CHECKED = 16
# Below every norm, so that each example is clipped.
CHECKED_CLIP = 1e-3
MEMORY_STEPS = 3

Row = dict[str, object]
Step = Callable[[], None]


@dataclass(frozen=True)
class Case:
    """What is measured.

    Attributes:
        cell: lstm, gru or rnn.
        shape: B, T, D, H.
        device: where.
        dtype: of weights and inputs.
        autocast: whether the forward pass runs under autocast to bfloat16.
    """

    cell: str
    shape: Shape
    device: torch.device
    dtype: torch.dtype
    autocast: bool = False

    def model(self, ours: bool) -> nn.Module:
        """Return the classifier, the same weights for both."""
        torch.manual_seed(1)
        sizes = (self.shape.inputs, self.shape.hidden)
        if ours:
            model: nn.Module = Ours(CELLS[self.cell](*sizes), self.shape.hidden)
        else:
            layer = PLAIN[self.cell](*sizes, batch_first=True)
            model = Classifier(layer, self.shape.hidden)
        return model.to(self.device, self.dtype)

    def data(self) -> tuple[Tensor, Tensor]:
        """Return inputs [B, T, D] and targets [B]."""
        inputs, targets = data(self.shape)
        return inputs.to(self.device, self.dtype), targets.to(self.device)

    def losses(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each example [B], in single precision."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            logits = model(inputs)
        return functional.cross_entropy(logits.float(), targets, reduction="none")


def plain(case: Case) -> Step:
    """Return a step of torch.nn's own layer without privacy."""
    model, (inputs, targets) = case.model(ours=False), case.data()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)

    def step() -> None:
        optimizer.zero_grad()
        case.losses(model, inputs, targets).mean().backward()
        optimizer.step()

    return step


def ours(case: Case) -> Step:
    """Return a private step, cryptographic noise included."""
    model, (inputs, targets) = case.model(ours=True), case.data()
    optimizer = PrivateOptimizer(
        torch.optim.SGD(model.parameters(), lr=RATE),
        noise_multiplier=NOISE,
        max_grad_norm=CLIP,
        expected_batch_size=case.shape.batch,
    )

    def step() -> None:
        optimizer.zero_grad()
        accumulate_clipped(model, lambda: case.losses(model, inputs, targets), CLIP)
        optimizer.keystream = Keystream.from_system()
        optimizer.step()

    return step


def timer(step: Step, device: torch.device) -> Timer:
    """Return a function that takes steps and returns the seconds of one."""

    def by_events(times: int) -> float:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize(device)
        begin.record()
        for _ in range(times):
            step()
        end.record()
        torch.cuda.synchronize(device)
        return begin.elapsed_time(end) / 1e3 / max(1, times)

    def by_clock(times: int) -> float:
        began = time.perf_counter()
        for _ in range(times):
            step()
        return (time.perf_counter() - began) / max(1, times)

    return by_events if device.type == "cuda" else by_clock


def peak(make: Callable[[Case], Step], case: Case) -> float:
    """Return the most that model, data and steps hold on the device, MiB; 0 off a GPU."""
    if case.device.type != "cuda":
        return 0.0
    torch.cuda.synchronize(case.device)
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(case.device)
    torch.cuda.reset_peak_memory_stats(case.device)
    step = make(case)
    for _ in range(MEMORY_STEPS):
        step()
    torch.cuda.synchronize(case.device)
    return (torch.cuda.max_memory_allocated(case.device) - before) / 2**20


def clipped(case: Case, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the engine's clipped sum as one vector, in double precision on the CPU."""
    for p in model.parameters():
        p.summed_grad = None  # type: ignore[attr-defined]
    accumulate_clipped(model, lambda: case.losses(model, inputs, targets), CHECKED_CLIP)
    sums = [p.summed_grad for p in model.parameters()]  # type: ignore[attr-defined]
    return torch.cat([s.cpu().double().flatten() for s in sums])


def reference(case: Case, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the clipped sum by one backward pass an example, in double precision on the CPU."""
    model = case.model(ours=False).cpu().double()
    total: Tensor | None = None
    for row in range(len(inputs)):
        one = slice(row, row + 1)
        loss = functional.cross_entropy(model(inputs[one].cpu().double()), targets[one].cpu())
        grads = torch.autograd.grad(loss, list(model.parameters()))
        vector = torch.cat([g.flatten() for g in grads])
        vector *= CHECKED_CLIP / float(vector.norm())
        total = vector if total is None else total + vector
    assert total is not None
    return total


def exactness(case: Case) -> float:
    """Return the error of the clipped sum of some examples."""
    model, (inputs, targets) = case.model(ours=True), case.data()
    inputs, targets = inputs[:CHECKED], targets[:CHECKED]
    expected = reference(case, inputs, targets)
    found = clipped(case, model, inputs, targets)
    return float((found - expected).abs().max() / expected.abs().max())


def overshoot(case: Case) -> float:
    """Return by what share of the bound the sum moves too far when an example goes, at worst."""
    model, (inputs, targets) = case.model(ours=True), case.data()
    whole = clipped(case, model, inputs, targets)
    moved = []
    for row in range(min(CHECKED, len(inputs))):
        rest = [torch.cat([part[:row], part[row + 1 :]]) for part in (inputs, targets)]
        moved.append(float((whole - clipped(case, model, *rest)).norm()))
    return max(moved) / CHECKED_CLIP - 1


def rows_of(case: Case, label: str, rounds: int) -> list[Row]:
    """Measure one case, printing as it goes."""
    prefix = f"cuda/{case.cell}/{case.shape}/{label}"
    before, ours_peak = peak(plain, case), peak(ours, case)
    steps = {"plain": plain(case), "ours": ours(case)}
    found = measure({name: timer(step, case.device) for name, step in steps.items()}, rounds)
    ratio = found["ours"] / found["plain"]
    error, over = exactness(case), overshoot(case)
    print(
        f"{case.cell:<5}{case.shape!s:<16}{label:<9} plain {1e3 * found['plain']:8.2f} ms "
        f"ours {1e3 * found['ours']:8.2f} ms; {ratio:.2f}; memory {before:.0f} and "
        f"{ours_peak:.0f} MiB; error {error:.1e}, overshoot {over:.1e} of "
        f"{rounding_margin(case.shape.batch):.1e}",
        flush=True,
    )
    rows: list[Row] = [
        {"name": f"{prefix}/{name}", "value": round(1e3 * seconds, 3), "unit": "ms"}
        for name, seconds in found.items()
    ]
    rows.append({"name": f"{prefix}/ratio_to_plain", "value": round(ratio, 3), "unit": "x"})
    if before:
        memory = round(ours_peak / before, 3)
        rows.append({"name": f"{prefix}/memory_ratio", "value": memory, "unit": "x"})
    rows.append({"name": f"{prefix}/exactness", "value": float(f"{error:.3g}"), "unit": "relative"})
    rows.append({"name": f"{prefix}/overshoot", "value": float(f"{over:.3g}"), "unit": "relative"})
    return rows


def run(options: argparse.Namespace) -> list[Row]:
    """Measure every cell, shape and type."""
    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}")
    rows: list[Row] = [{"name": "cuda/device", "value": name, "unit": f"torch {torch.__version__}"}]
    for cell in options.cells:
        for shape in options.shapes:
            for label, dtype in TYPES.items():
                halved = dtype is torch.bfloat16
                autocast = halved and options.bf16 == "autocast"
                kind = torch.float32 if autocast else dtype
                rows += rows_of(Case(cell, shape, device, kind, autocast), label, options.rounds)
    return rows


def _shape(text: str) -> Shape:
    """B, T, D, H of a row's name."""
    return Shape(*map(int, text.split("x")))


def main(argv: list[str] | None = None) -> None:
    """Print the table; write it as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", nargs="+", default=["lstm", "gru", "rnn"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--bf16", choices=["weights", "autocast"], default="weights")
    # For trying the script out where there is no GPU.
    parser.add_argument("--device", default="cuda", help=argparse.SUPPRESS)
    parser.add_argument("--shapes", nargs="+", type=_shape, default=SHAPES, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    rows: list[Row] = []
    if options.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device here: nothing measured")
    else:
        torch.set_flush_denormal(True)
        rows = run(options)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
