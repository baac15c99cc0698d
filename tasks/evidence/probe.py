"""How well a sensitive attribute can be read off the model's hidden state.

N people, H hidden units, K groups that are large enough, F folds.
"""

import math
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from tasks import stats

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

FOLDS = 5
# Of a smaller group a fold has hardly anybody.
MIN_PROBED = 30
_TINY = 1e-9


@dataclass(frozen=True)
class Fold:
    """A probe and the people whom it has not seen.

    Attributes:
        rows: int64, positions of the people held back from it.
        mean: float64 [H].
        scale: float64 [H].
        weights: float64 [H, K].
        bias: float64 [K].
    """

    rows: Codes
    mean: Floats
    scale: Floats
    weights: Floats
    bias: Floats

    def logits(self, states: Floats) -> Floats:
        """Return float64 [n, K] for states [n, H]."""
        return ((states - self.mean) / self.scale) @ self.weights + self.bias


@dataclass(frozen=True)
class Probe:
    """Cross-fitted probes of one sensitive feature.

    Attributes:
        groups: numbers of the K groups told apart, rising.
        codes: int64 [N], the group of each person; others took no part.
        folds: each with people of its own.
    """

    groups: Codes
    codes: Codes
    folds: tuple[Fold, ...]

    def auc(self, states: Floats, group: int, confidence: float) -> stats.Interval:
        """Return how well a group is told from the others, over people whom a probe had not seen.

        The mean over folds, whose scores are not comparable with each other, with a normal
        interval on the logit scale from DeLong's variances.

        Args:
            states: float64 [N, H]; may be other states than the probe was fitted on.
            group: one of `groups`.
            confidence: of the interval.

        Source: LeDell, Petersen, van der Laan (2015), cross-validated AUC.
        """
        column = int(np.searchsorted(self.groups, group))
        values, variances = [], []
        for fold in self.folds:
            logits = fold.logits(states[fold.rows])
            score = logits[:, column] - _others(logits, column)
            value, covariance = stats.auc_covariance(self.codes[fold.rows] == group, score)
            values.append(float(value[0]))
            variances.append(float(covariance[0, 0]))
        return _on_logit(float(np.mean(values)), sum(variances) / len(values) ** 2, confidence)


def _others(logits: Floats, column: int) -> Floats:
    """Log of the summed exponentials of the other groups: less it, the log-odds of one."""
    rest = np.delete(logits, column, 1)
    top = rest.max(1)
    return np.asarray(top + np.log(np.exp(rest - top[:, None]).sum(1)))


def _on_logit(value: float, variance: float, confidence: float) -> stats.Interval:
    """Normal interval of an AUC on the logit scale."""
    if not (0 < value < 1 and math.isfinite(variance)):
        return stats.Interval(value, math.nan, math.nan)
    centre = math.log(value / (1 - value))
    half = stats.normal_quantile(confidence) * math.sqrt(variance) / (value * (1 - value))
    return stats.Interval(
        value, 1 / (1 + math.exp(half - centre)), 1 / (1 + math.exp(-half - centre))
    )


def _fit(states: Floats, codes: Codes, train: Codes, test: Codes) -> Fold:
    """A logistic regression on standardised states."""
    mean = states[train].mean(0)
    spread = states[train].std(0)
    scale = np.where(spread > _TINY, spread, 1.0)
    model = LogisticRegression(C=1.0, tol=1e-4, max_iter=500)
    with warnings.catch_warnings():
        # States of a few directions make its last steps small, not wrong.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit((states[train] - mean) / scale, codes[train])
    weights, bias = model.coef_.T, model.intercept_
    if weights.shape[1] == 1:
        weights, bias = np.hstack([-weights, weights]) / 2, np.r_[-bias, bias] / 2
    return Fold(test, mean, scale, weights, bias)


def fit_probe(states: Floats, codes: Codes, seed: int) -> Probe | None:
    """Return cross-fitted probes; None where no two groups have enough people.

    Args:
        states: float64 [N, H].
        codes: int64 [N], the group of each person.
        seed: of the folds.
    """
    numbers, counts = np.unique(codes, return_counts=True)
    groups = numbers[counts >= MIN_PROBED]
    if len(groups) < 2:
        return None
    kept = np.flatnonzero(np.isin(codes, groups))
    split = StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(kept, codes[kept])
    folds = tuple(_fit(states, codes, kept[train], kept[test]) for train, test in split)
    return Probe(groups, codes, folds)


def shuffled_aucs(
    states: Floats, codes: Codes, shuffles: int, seed: int, confidence: float
) -> dict[int, list[float]]:
    """Return what the same probe finds where there is nothing to find: by group, once a shuffle.

    Args:
        states: float64 [N, H].
        codes: int64 [N].
        shuffles: how often labels are shuffled and everything is fitted again.
        seed: of shuffles and folds.
        confidence: as for the real labels.
    """
    generator = np.random.default_rng(seed)
    found: dict[int, list[float]] = {}
    for turn in range(shuffles):
        probe = fit_probe(states, generator.permutation(codes), seed + turn)
        for group in [] if probe is None else probe.groups.tolist():
            found.setdefault(group, []).append(probe.auc(states, group, confidence).value)  # type: ignore[union-attr]
    return found
