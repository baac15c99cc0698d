"""How often intervals of the published, noised audit hold the truth, simulated.

`python -m benchmarks.release [--draws 1000] [--json FILE]`

6,000 held-out people; two groups of 50/50, 20/80 and 5/95 that truly differ, and two more
features of 3 and 2 groups that share the budget; epsilon 1 and 3 at delta 1e-6, a tenth of it
spent on the threshold, the rest on a table of scores and one of decisions. Each draw has new
people and new noise; coverage at a confidence of 95 % is that of what is shown. The figures are
the lowest and the highest over groups and settings; the bar is 93 to 98 %. `width` is how much
wider the intervals are than without noise, in the median draw, for the smaller group's selection
rate.

`thresholds` is the gap of two groups' TPR that is left after thresholds by group were made of one
noised histogram of 10,000 or 2,000 people, 30 % of whom have scores too low by a fifth: the mean
over draws, measured on 100,000 other people. Epsilon `exact` is without noise.
"""

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from rnn.privacy.histogram import Histogram
from rnn.privacy.ledger import single_noise_for
from rnn.privacy.noise import Keystream
from tasks.evidence.counted import Counted, combined
from tasks.evidence.group_thresholds import group_thresholds
from tasks.evidence.release import mechanisms_for, noised, reasons
from tasks.evidence.score_table import ScoreTable, coarse_edges, decided_bin, fine_edges, tabulate
from tasks.evidence.table_intervals import Figures, difference, figures, quotient
from tasks.evidence.table_metrics import METRICS, collapsed
from tasks.recipe import ReleasePlan

Array = NDArray[np.float64]

PEOPLE = 6000
SHARES = (0.5, 0.2, 0.05)
EPSILONS = (1.0, 3.0)
THRESHOLD = 0.55
BINS = 10
OTHERS = ((0.6, 0.3, 0.1), (0.5, 0.5))
LEVELS = {
    "selection_rate": "decision",
    "tpr": "cells",
    "fpr": "cells",
    "accuracy": "cells",
    "base_rate": "outcome",
    "auc": "scores",
    "brier": "scores",
    "skill": "scores",
    "calibration_slope": "scores",
}
SCORED = tuple(name for name, level in LEVELS.items() if level == "scores")
COUNTED = tuple(name for name in LEVELS if name not in SCORED)
RESAMPLES = 500
LEAST_PEOPLE, LEAST_EVENTS = 30, 10
SHOWN = 0.1
LOW, HIGH = 0.93, 0.98


@dataclass(frozen=True)
class Setting:
    """Share of the smaller group, and epsilon."""

    share: float
    epsilon: float

    def __str__(self) -> str:
        """Say it shortly."""
        return f"groups {self.share:.0%} epsilon {self.epsilon:g}"

    @property
    def mechanisms(self) -> tuple[Histogram, Histogram]:
        """Return the mechanisms of scores and decisions."""
        plan = ReleasePlan(
            mode="noised",
            epsilon=self.epsilon,
            delta=1e-6,
            threshold_epsilon=self.epsilon / 10,
            unit="person",
            max_rows=1,
            score_bins=BINS,
            groups={},
        )
        return mechanisms_for(plan, 1 + len(OTHERS))


def population(share: float) -> Array:
    """Return the probability of each cell of group, outcome and score bin, float64 [2, 2, K]."""
    edges = coarse_edges(THRESHOLD, BINS)
    fine = np.linspace(0, 1, 20_001)
    middle = (fine[1:] + fine[:-1]) / 2
    bins = np.searchsorted(edges[1:-1], middle, side="right")
    cells = np.zeros((2, 2, BINS))
    for group, (law, size) in enumerate(
        ((stats.beta(3, 2.5), share), (stats.beta(4, 2), 1 - share))
    ):
        mass = np.diff(law.cdf(fine)) * size
        for y, event in enumerate((1 - middle, middle)):
            cells[group, y] = np.bincount(bins, mass * event, BINS)
    return cells


def sample(truth: Array, rng: np.random.Generator) -> ScoreTable:
    """Draw people, whose further features have nothing to do with the rest."""
    counts = rng.multinomial(PEOPLE, truth.ravel() / truth.sum()).reshape(truth.shape)
    tables, features, labels = [counts], ["group"] * 2, ["a", "b"]
    for number, shares in enumerate(OTHERS):
        tables.append(np.moveaxis(rng.multinomial(counts.sum(0), shares), -1, 0))
        features += [f"other {number}"] * len(shares)
        labels += [str(index) for index in range(len(shares))]
    edges = coarse_edges(THRESHOLD, BINS)
    every = np.concatenate(tables).astype(np.float64)
    return ScoreTable(tuple(features), tuple(labels), every, edges, decided_bin(edges, THRESHOLD))


def released(exact: ScoreTable, mechanisms: tuple[Histogram, Histogram], seed: int) -> Counted:
    """Return both tables of the two groups with noise, as they are published."""
    stream, tables = Keystream.from_seed(seed), (exact, collapsed(exact))
    drawn = [noised(t, m, stream) for t, m in zip(tables, mechanisms, strict=True)]
    both = combined(Counted(*drawn))
    return Counted(first(both.scores), first(both.decisions))


def first(table: ScoreTable) -> ScoreTable:
    """Return the two groups that are looked at."""
    return replace(table, features=("group",) * 2, labels=("a", "b"), counts=table.counts[:2])


def compared(found: dict[str, Figures]) -> dict[str, Figures]:
    """Return figures of both groups, their differences and the impact ratio, [...] each."""
    gaps = {f"{n}_difference": difference(f[[0]], f[[1]]) for n, f in found.items()}
    rate = found["selection_rate"]
    return {**found, **gaps, "impact_ratio": quotient(rate[[0]], rate[[1]])}


def truths(truth: Array, table: ScoreTable) -> dict[str, Array]:
    """Return the population's figures."""
    values = {name: METRICS[name](truth * PEOPLE, table) for name in LEVELS}
    return {
        n: f.value for n, f in compared({n: Figures(v, v, v) for n, v in values.items()}).items()
    }


def simulate(setting: Setting, size: int) -> tuple[dict[str, Array], float]:
    """Return coverage by figure and group, NaN where it is hardly ever shown, and the width."""
    truth, mechanisms = population(setting.share), setting.mechanisms
    rng = np.random.default_rng(round(1000 * setting.share))
    true = truths(truth, first(sample(truth, rng)))
    held: dict[str, list[Array]] = {name: [] for name in true}
    wider = []
    for draw in range(size):
        exact = sample(truth, rng)
        tables = released(exact, mechanisms, draw)
        why = reasons(tables, LEAST_PEOPLE, LEAST_EVENTS)
        counted = figures(tables.decisions, COUNTED, 0.95, RESAMPLES, draw)
        found = compared(counted | figures(tables.scores, SCORED, 0.95, RESAMPLES, draw))
        for name, figure in found.items():
            level = LEVELS[
                name.removesuffix("_difference").replace("impact_ratio", "selection_rate")
            ]
            shown = np.array([text is None for text in why[level]])
            shown = shown if len(figure.value) == 2 else shown.all(keepdims=True)
            holds = (figure.low <= true[name]) & (true[name] <= figure.high)
            held[name].append(np.where(shown, holds, np.nan))
        plain = figures(first(exact), ("selection_rate",))["selection_rate"]
        noisy = found["selection_rate"]
        wider.append((noisy.high - noisy.low)[0] / (plain.high - plain.low)[0])
    coverage = {}
    for name, draws in held.items():
        values = np.array(draws)
        often = np.isfinite(values).mean(0) >= SHOWN
        coverage[name] = np.where(often, _mean(values), np.nan)
    return coverage, float(np.median(wider))


def _mean(values: Array) -> Array:
    """Mean along the first axis of what is a number."""
    there = np.isfinite(values)
    return np.where(there, values, 0).sum(0) / np.maximum(there.sum(0), 1)


def people(size: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Draw group, outcome and score of people; scores of the smaller group are too low."""
    group = (rng.random(size) < 0.3).astype(np.int64)
    chance = rng.beta(3, 2, size)
    y = (rng.random(size) < chance).astype(np.int64)
    return group, y, np.where(group == 1, 0.8 * chance, chance)


def gap_left(size: int, epsilon: float | None, draws: int) -> float:
    """Return the mean TPR gap of other people under thresholds by group."""
    edges, labels = fine_edges(THRESHOLD, BINS), ("a", "b")
    others, outcome, score = people(100_000, np.random.default_rng(1))
    named = np.array(labels)[others].tolist()
    noise = 0.0
    if epsilon is not None:
        noise = single_noise_for(target_epsilon=epsilon, delta=1e-6)
    gaps = []
    for draw in range(draws):
        group, y, own = people(size, np.random.default_rng(100 + draw))
        decision = (own >= THRESHOLD).astype(np.int64)
        decided = decided_bin(edges, THRESHOLD)
        table = tabulate(("group",) * 2, labels, group[:, None], y, own, decision, edges, decided)
        if noise:
            table = noised(table, Histogram(1, noise), Keystream.from_seed(draw))
        made = group_thresholds(table, "group").decide(score, named)
        rates = [made[(outcome == 1) & (others == number)].mean() for number in (0, 1)]
        gaps.append(abs(rates[0] - rates[1]))
    return float(np.mean(gaps))


def threshold_rows(draws: int) -> list[dict[str, object]]:
    """Return what thresholds by group leave of the gap."""
    rows: list[dict[str, object]] = []
    for size in (10_000, 2_000):
        for epsilon in (None, 3.0, 1.0, 0.5, 0.1):
            word = "exact" if epsilon is None else f"{epsilon:g}"
            name = f"audit/release/thresholds/people_{size}/epsilon_{word}"
            value = round(gap_left(size, epsilon, draws), 4)
            rows.append({"name": name, "value": value, "unit": "TPR gap"})
            print(f"{name:60} {value}", flush=True)
    return rows


def main() -> None:
    """Print the table; write it as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    every: dict[str, list[float]] = {}
    rows: list[dict[str, object]] = []
    for setting in [Setting(share, epsilon) for share in SHARES for epsilon in EPSILONS]:
        coverage, width = simulate(setting, options.draws)
        noise = " and ".join(f"{m.standard_deviation:.2f}" for m in setting.mechanisms)
        print(f"{setting}: noise {noise} a count, intervals {width:.2f} times as wide")
        name = f"audit/release/width/groups_{setting.share:g}/epsilon_{setting.epsilon:g}"
        rows.append({"name": name, "value": round(width, 2), "unit": "times"})
        for metric, values in coverage.items():
            every.setdefault(metric, []).extend(values[np.isfinite(values)].tolist())
            for group, value in zip("ab", values.tolist(), strict=False):
                if not LOW <= value <= HIGH:
                    print(f"  {metric} {group}: {value:.1%}", flush=True)
    for metric, values in every.items():
        for label, value in ((metric, min(values)), (f"{metric}/highest", max(values))):
            name = f"audit/release/coverage/{label}"
            rows.append({"name": name, "value": round(100 * value, 2), "unit": "%"})
            print(f"{name:60} {value:.1%}")
    rows += threshold_rows(max(20, options.draws // 50))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
