"""Opacus' char-LSTM example on the recipe `names`: accuracy for epsilon, and time a step.

`python -m benchmarks.char_lstm [--runs 3] [--whole-list] [--rounds 7] [--json FILE]`

The example's settings: embedding 64, one LSTM of 128 units, its last step, a linear layer;
batch 800, noise multiplier 1, clip 1.5, SGD at 2.0, delta 8e-5, 16,059 training names. Another
list: names in 13 origins of the recipe, 16,059 drawn by seed from its training part; nothing is
tuned on them. The noise stays; an epsilon is that of a step, and accuracy, over all held-out
names, is read at the last step that does not pass it. `--whole-list` also trains on every
training name at the recipe's delta, about an hour a run.

Opacus' layers (DPLSTM, per-sample gradients by hooks) take turns with ours: same weights, same
800 names padded to the longest.
"""

import argparse
import json
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from opacus import GradSampleModule
from opacus.layers import DPLSTM
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from benchmarks.step_time import measure, torch_timer
from rnn import LSTM, last_hidden, make_private
from rnn.batch import PreparedSequences, SequenceBatch
from rnn.config import InputShape
from rnn.privacy.accounting import epsilon_spent
from rnn.privacy.engine import PrivateOptimizer, accumulate_clipped
from rnn.privacy.noise import Keystream
from tasks import stats
from tasks.artifacts import Prepared, folder, read_prepared

EMBEDDING, HIDDEN, BATCH = 64, 128, 800
NOISE, CLIP, RATE = 1.0, 1.5, 2.0
EPSILONS = (3, 8, 12)
# Names of like length share a physical batch: less padding.
PARTS = 3

Row = dict[str, object]


@dataclass(frozen=True)
class Setting:
    """What fixes an account.

    Attributes:
        names: training names; how many there are is public.
        delta: at which epsilon is read.
    """

    names: int
    delta: float

    def epsilon(self, steps: int) -> float:
        """Return epsilon after some steps."""
        return epsilon_spent(
            noise_multiplier=NOISE, sample_rate=BATCH / self.names, steps=steps, delta=self.delta
        )

    def steps(self, epsilon: float) -> int:
        """Return the largest number of steps, to a two-hundredth, that does not pass epsilon."""
        low, high = 0, 1
        while self.epsilon(high) <= epsilon:
            low, high = high, 2 * high
        while high - low > max(1, low // 200):
            middle = (low + high) // 2
            low, high = (middle, high) if self.epsilon(middle) <= epsilon else (low, middle)
        return low


EXAMPLE = Setting(16_059, 8e-5)
WHOLE = Setting(118_000, 8e-7)


class Classifier(nn.Module):
    """The example's model."""

    def __init__(self, recurrent: nn.Module, vocabulary: int, classes: int):
        """Put an embedding before and a linear layer after `recurrent`."""
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, EMBEDDING)
        self.recurrent, self.head = recurrent, nn.Linear(HIDDEN, classes)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Return logits [B, C] of tokens [B, T]."""
        embedded = self.embedding(tokens)
        if isinstance(self.recurrent, LSTM):
            outputs = self.recurrent(embedded, lengths)
        else:
            outputs = self.recurrent(embedded)[0]
        return self.head(last_hidden(outputs, lengths))


def losses_of(model: nn.Module, batch: SequenceBatch) -> Tensor:
    """Return each name's loss [B]."""
    return functional.cross_entropy(
        model(batch.inputs, batch.lengths), batch.targets, reduction="none"
    )


def our_model(shape: InputShape) -> Classifier:
    """Return the model with torch's initial values."""
    return Classifier(LSTM(EMBEDDING, HIDDEN), shape.vocabulary_size, shape.output_size)


def opacus_model(shape: InputShape, like: nn.Module) -> Classifier:
    """Return the model on Opacus' layer, with the weights of another."""
    layer = DPLSTM(EMBEDDING, HIDDEN, batch_first=True)
    model = Classifier(layer, shape.vocabulary_size, shape.output_size)
    # Only DPLSTM itself knows nn.LSTM's names.
    for part, weights in zip(model.children(), like.children(), strict=True):
        part.load_state_dict(weights.state_dict())
    return model


def by_length(sequences: PreparedSequences, rows: np.ndarray, parts: int) -> list[SequenceBatch]:
    """Return rows in batches of like lengths; their number does not depend on the rows."""
    lengths = sequences.offsets[rows + 1] - sequences.offsets[rows]
    pieces = np.array_split(rows[np.argsort(lengths, kind="stable")], parts)
    return [sequences.batch(piece) for piece in pieces if len(piece)]


def correct(model: nn.Module, prepared: Prepared) -> int:
    """Return how many held-out names are told right."""
    rows = prepared.rows("test")
    right = 0
    with torch.no_grad():
        for batch in by_length(prepared.sequences, rows, max(1, len(rows) // 2000)):
            found = model(batch.inputs, batch.lengths).argmax(1)
            right += int((found == batch.targets).sum())
    return right


def train(prepared: Prepared, setting: Setting, marks: dict[int, int], seed: int) -> dict[int, int]:
    """Train once and return held-out names told right, by epsilon.

    Args:
        prepared: the names.
        setting: how many of the training part, and delta.
        marks: epsilon -> step at which it is reached.
        seed: of initial weights and of the choice of names; noise and samples are never seeded.
    """
    torch.manual_seed(seed)
    rows = np.sort(np.random.default_rng(seed).permutation(prepared.rows("train"))[: setting.names])
    model = our_model(prepared.shape)
    private = make_private(
        model,
        torch.optim.SGD(model.parameters(), lr=RATE),
        sample_rate=BATCH / setting.names,
        expected_batch_size=BATCH,
        max_grad_norm=CLIP,
        noise_multiplier=NOISE,
    )
    found: dict[int, int] = {}
    for _ in tqdm(range(max(marks.values())), unit="step", disable=None):
        sample = rows[private.sample(len(rows)).numpy()]
        for batch in by_length(prepared.sequences, sample, PARTS):
            private.accumulate(lambda batch=batch: losses_of(model, batch))
        private.step()
        for epsilon in [e for e, step in marks.items() if step == private.steps]:
            found[epsilon] = correct(model, prepared)
            assert private.epsilon(setting.delta) <= epsilon
            print(f"run {seed}: {found[epsilon]} right at epsilon {epsilon}", flush=True)
    return found


def accuracy(prepared: Prepared, setting: Setting, prefix: str, runs: int) -> list[Row]:
    """Return accuracy by epsilon, the mean over runs, with Wilson's interval of one run."""
    marks = {epsilon: setting.steps(epsilon) for epsilon in EPSILONS}
    every = [train(prepared, setting, marks, run) for run in range(runs)]
    people = len(prepared.rows("test"))
    rows: list[Row] = []
    for epsilon, step in marks.items():
        seen = [100 * found[epsilon] / people for found in every]
        interval = stats.wilson(mean(found[epsilon] for found in every), people)
        low, high = 100 * interval.low, 100 * interval.high
        epochs = step * BATCH / setting.names
        print(
            f"{prefix} epsilon {epsilon:>2} (delta {setting.delta:g}): {mean(seen):.2f} % "
            f"[{low:.2f}, {high:.2f}] at step {step}, {epochs:.1f} epochs; "
            f"runs {min(seen):.2f} to {max(seen):.2f}",
            flush=True,
        )
        name = f"{prefix}/epsilon_{epsilon}"
        rows += [
            {"name": f"{name}/accuracy", "value": round(mean(seen), 2), "unit": "%"},
            {"name": f"{name}/accuracy_low", "value": round(low, 2), "unit": "%"},
            {"name": f"{name}/accuracy_high", "value": round(high, 2), "unit": "%"},
            {"name": f"{name}/steps", "value": step, "unit": "steps"},
        ]
    return rows


def our_step(model: nn.Module, batch: SequenceBatch) -> Callable[[], None]:
    """Return a whole private step of this project's engine."""
    optimizer = PrivateOptimizer(
        torch.optim.SGD(model.parameters(), lr=RATE),
        noise_multiplier=NOISE,
        max_grad_norm=CLIP,
        expected_batch_size=BATCH,
    )

    def step() -> None:
        optimizer.zero_grad()
        accumulate_clipped(model, lambda: losses_of(model, batch), CLIP)
        optimizer.keystream = Keystream.from_system()
        optimizer.step()

    return step


def opacus_step(model: nn.Module, batch: SequenceBatch) -> Callable[[], None]:
    """Return a whole private step of Opacus' engine."""
    warnings.filterwarnings("ignore", message="Full backward hook is firing")
    wrapped = GradSampleModule(model)
    optimizer = DPOptimizer(
        torch.optim.SGD(wrapped.parameters(), lr=RATE),
        noise_multiplier=NOISE,
        max_grad_norm=CLIP,
        expected_batch_size=BATCH,
    )

    def step() -> None:
        optimizer.zero_grad()
        losses_of(wrapped, batch).mean().backward()
        optimizer.step()

    return step


def speed(prepared: Prepared, rounds: int) -> list[Row]:
    """Return the time of a step, ours and Opacus', on the same names."""
    chosen = np.random.default_rng(0).permutation(prepared.rows("train"))[:BATCH]
    batch = prepared.sequences.batch(chosen)
    torch.manual_seed(0)
    ours = our_model(prepared.shape)
    steps = {
        "ours": our_step(ours, batch),
        "opacus": opacus_step(opacus_model(prepared.shape, ours), batch),
    }
    found = measure({name: torch_timer(step) for name, step in steps.items()}, rounds)
    ratio = found["opacus"] / found["ours"]
    print(
        f"a step of {BATCH} names of up to {batch.inputs.shape[1]} letters: "
        f"ours {found['ours']:.3f} s, Opacus {found['opacus']:.3f} s, {ratio:.1f} times"
    )
    rows: list[Row] = [
        {"name": f"char_lstm/seconds_a_step/{name}", "value": round(seconds, 4), "unit": "s"}
        for name, seconds in found.items()
    ]
    rows.append({"name": "char_lstm/speedup_over_opacus", "value": round(ratio, 2), "unit": "x"})
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--whole-list", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not (folder("names", "prepared", "arrays") / "schema.json").exists():
        sys.exit(
            "error: data/names/prepared is missing: run python -m tasks.plan names, then "
            "tasks.fetch and tasks.prepare in the same way"
        )
    torch.set_num_threads(2)
    torch.set_flush_denormal(True)
    prepared = read_prepared("names")
    rows = speed(prepared, options.rounds)
    rows += accuracy(prepared, EXAMPLE, "char_lstm", options.runs)
    if options.whole_list:
        rows += accuracy(prepared, WHOLE, "char_lstm/whole_list", 1)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
