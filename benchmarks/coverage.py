"""How often the audit's intervals hold the truth, simulated.

`python -m benchmarks.coverage [--draws 4000] [--json FILE]`

Two groups whose true figures are known; 500 and 5,000 people, groups 50/50, 20/80 and 5/95, with
a true gap between the groups and without. What rests on fewer than 30 people, or on fewer than
10 in the numerator or in the rest, is not shown; coverage is that of what is shown. The figures
are the lowest and the highest over the settings; the bar is 93 to 98 % at a confidence of 95 %.
A setting where fewer than a tenth of the draws are shown is left out: what is shown of it is
extreme by choice. Where the first group is small, ten times as many are drawn.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from tasks.evidence import table_intervals as intervals
from tasks.evidence import table_metrics as metrics
from tasks.evidence.families import max_t
from tasks.evidence.score_table import ScoreTable, collapse, draws
from tasks.evidence.table_intervals import Figures

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Row = dict[str, object]

RATES = ("selection_rate", "tpr", "fpr", "accuracy")
LEAST_PEOPLE, LEAST_EVENTS = 30, 10
LOW, HIGH = 0.93, 0.98
SHOWN = 0.1
K = 50
RESAMPLES = 500
UNADJUSTED = "family_unadjusted"


@dataclass(frozen=True)
class Setting:
    """People, share of the first group, and whether the groups truly differ."""

    people: int
    share: float
    gap: bool

    def __str__(self) -> str:
        """Say it shortly."""
        return f"n {self.people:5d} groups {self.share:4.0%} gap {'yes' if self.gap else 'no ':3}"


SETTINGS = [
    Setting(people, share, gap)
    for people in (500, 5000)
    for share in (0.5, 0.2, 0.05)
    for gap in (False, True)
]


def population(setting: Setting) -> Array:
    """Return the probability of each cell of group, outcome and score bin, float64 [2, 2, K].

    Without a gap both groups have calibrated scores of one law; with one, the first group has
    lower scores that are too sure and too low.
    """
    edges = np.linspace(0, 1, K + 1)
    centre = (edges[1:] + edges[:-1]) / 2
    cells = np.zeros((2, 2, K))
    for group, share in enumerate((setting.share, 1 - setting.share)):
        apart = setting.gap and group == 0
        law = stats.beta(2.0, 2.6) if apart else stats.beta(2.2, 2.2)
        mass = np.diff(law.cdf(edges)) * share
        event = special.expit(0.6 * special.logit(centre) + 0.25) if apart else centre
        cells[group] = np.stack([mass * (1 - event), mass * event])
    return cells


def table(counts: Array) -> ScoreTable:
    """Return a table of the two groups."""
    edges = np.linspace(0, 1, K + 1)
    return ScoreTable(("group", "group"), ("a", "b"), counts, edges, K // 2)


def events(top: Array, bottom: Array) -> Flags:
    """Return which rates have enough events and enough others."""
    return np.asarray((top >= LEAST_EVENTS) & (bottom - top >= LEAST_EVENTS))


def holds(found: Figures, truth: Array | float) -> Flags:
    """Return which intervals hold the truth."""
    return np.asarray((found.low <= truth) & (truth <= found.high))


Found = tuple[Flags, Flags]


def count_metrics(counts: Array, truth: Array) -> Iterator[tuple[str, Found]]:
    """Yield shown and held, bool [...], of rates, their differences and the impact ratio."""
    cells, true_cells = collapse(counts, K // 2), collapse(truth, K // 2)
    top, bottom = metrics.rate_counts(cells, RATES)
    true = metrics.rates(true_cells, RATES)
    every = intervals.wilson(top, bottom, 0.95)
    shown = events(top, bottom) & (cells.sum((-2, -1)) >= LEAST_PEOPLE)[..., None]
    for index, name in enumerate(RATES):
        of = every[..., index]
        both = shown[..., index].all(-1)
        yield name, (shown[..., index], holds(of, true[:, index]))
        gap = intervals.difference(of[:, 0], of[:, 1])
        yield f"{name}_difference", (both, holds(gap, true[0, index] - true[1, index]))
        if name == "selection_rate":
            ratio = intervals.quotient(of[:, 0], of[:, 1])
            yield "impact_ratio", (both, holds(ratio, true[0, index] / true[1, index]))


def true_calibration_error(counts: Array, truth: Array) -> Array:
    """Return the population's error over each draw's own bins, float64 [D, 2]."""
    which = metrics.mass_bins(counts)
    error = np.stack([-table(truth).centres, 1 - table(truth).centres])
    total = np.zeros(counts.shape[:2])
    mass, pull = truth.sum(-2), (truth * error).sum(-2)
    for bin_ in range(metrics.BINS):
        inside = which == bin_
        size, gap = (inside * mass).sum(-1), (inside * pull).sum(-1)
        total += np.divide(gap**2, size, out=np.zeros_like(gap), where=size > 0)
    return np.asarray(np.sqrt(total / mass.sum(-1)))


def score_metrics(counts: Array, truth: Array) -> Iterator[tuple[str, Found]]:
    """Yield shown and held of figures of scores, and of their differences."""
    of = table(truth)
    size = counts.sum(-1)
    enough = (size >= LEAST_EVENTS).all(-1) & (size.sum(-1) >= LEAST_PEOPLE)
    slope, intercept = intervals.calibration(counts, of, 0.95)
    true_slope, true_intercept = metrics.calibration(truth, of)
    found = {
        "auc": (intervals.auc(counts, of, 0.95), metrics.auc(truth, of)),
        "brier": (intervals.brier(counts, of, 0.95), metrics.brier(truth, of)),
        "skill": (intervals.skill(counts, of, 0.95), metrics.skill(truth, of)),
        "calibration_slope": (slope, true_slope),
        "calibration_intercept": (intercept, true_intercept),
    }
    for name, (figure, true) in found.items():
        yield name, (enough, holds(figure, true))
        gap = intervals.difference(figure[:, 0], figure[:, 1])
        yield f"{name}_difference", (enough.all(-1), holds(gap, true[0] - true[1]))
    ece = intervals.ece(counts, of, 0.95)
    yield "ece", (enough, holds(ece, true_calibration_error(counts, truth)))


def family(counts: Array, truth: Array) -> Iterator[tuple[str, Found]]:
    """Yield whether all four differences hold at once: max-T, its Newcombe form, and unadjusted."""
    cells, true_cells = collapse(counts, K // 2), collapse(truth, K // 2)
    true = np.subtract(*metrics.rates(true_cells, RATES))
    top, bottom = metrics.rate_counts(cells, RATES)
    shown = events(top, bottom).all((1, 2)) & (cells.sum((-2, -1)) >= LEAST_PEOPLE).all(1)
    held = np.zeros((3, len(counts)), dtype=bool)
    for index in np.flatnonzero(shown):
        small = ScoreTable(("g", "g"), ("a", "b"), cells[index], np.array([0, 0.5, 1]), 1)
        drawn = np.concatenate(list(draws(small, RESAMPLES, int(index))))
        moved = np.subtract(*np.moveaxis(metrics.rates(drawn, RATES), 1, 0))
        of = max_t(np.subtract(*metrics.rates(cells[index], RATES)), moved)
        held[0, index] = holds(Figures(of.value, of.low, of.high), true).all()
        for row, confidence in ((1, of.confidence), (2, 0.95)):
            every = intervals.wilson(top[index], bottom[index], confidence)
            gap = intervals.difference(every[0], every[1])
            held[row, index] = holds(gap, true).all()
    for row, name in enumerate(("max_t_symmetric", "max_t", UNADJUSTED)):
        yield name, (shown, held[row])


def simulate(setting: Setting, size: int, seed: int) -> dict[str, tuple[float, float]]:
    """Return each metric's coverage and the share of draws that are not shown."""
    truth = population(setting)
    few = setting.people * setting.share < LEAST_PEOPLE
    draws_made = 10 * size if few else size
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(setting.people, truth.ravel() / truth.sum(), size=draws_made)
    counts = drawn.reshape(draws_made, 2, 2, K).astype(np.float64)
    found = {}
    for part in (count_metrics, score_metrics, family):
        for name, pair in part(counts, truth):
            # A figure by group has two columns, one of both groups has one.
            shown, held = (flags.reshape(draws_made, -1) for flags in pair)
            for column in range(shown.shape[1]):
                label = name + (f" of {'ab'[column]}" if shown.shape[1] > 1 else "")
                kept = np.flatnonzero(shown[:, column])
                rate = float(held[kept, column].mean()) if len(kept) else float("nan")
                found[label] = (rate, 1 - len(kept) / draws_made)
    return found


def run(size: int) -> dict[str, list[tuple[Setting, float, float]]]:
    """Simulate every setting, printing as it goes."""
    found: dict[str, list[tuple[Setting, float, float]]] = {}
    for number, setting in enumerate(SETTINGS):
        for name, (rate, hidden) in simulate(setting, size, number).items():
            found.setdefault(name.split(" of ")[0], []).append((setting, rate, hidden))
            note = "" if 1 - hidden >= SHOWN else "  left out"
            if not (LOW <= rate <= HIGH) or note:
                print(f"{setting}  {name:32} {rate:6.1%}  hidden {hidden:6.1%}{note}", flush=True)
    return found


def rows_of(name: str, low: float, high: float) -> list[Row]:
    """Return the figures of one metric; of what is unadjusted, only how badly it does."""
    if name == UNADJUSTED:
        return [{"name": f"audit/{name}/highest", "value": round(100 * high, 2), "unit": "%"}]
    ends = {name: low, f"{name}/highest": high}
    return [
        {"name": f"audit/coverage/{label}", "value": round(100 * value, 2), "unit": "%"}
        for label, value in ends.items()
    ]


def main() -> None:
    """Print the table; write it as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=4000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print("settings outside of 93 to 98 %, or left out:")
    found = run(options.draws)
    print(f"\n{'figure':34} lowest highest  hidden at most")
    rows: list[Row] = []
    for name, settings in found.items():
        counted = [rate for _, rate, hidden in settings if 1 - hidden >= SHOWN]
        low, high = min(counted), max(counted)
        print(f"{name:34} {low:6.1%} {high:7.1%} {max(h for *_, h in settings):15.1%}")
        rows += rows_of(name, low, high)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
