"""How good a trial's model is, from counts of people: with noise, or of people who are public.

One person is counted once: of several sequences of a person, the first. Scores of different
trials are compared and nothing else; the higher the better.
"""

import math

import numpy as np
from numpy.typing import NDArray

from rnn.model import SequenceModel
from rnn.privacy.histogram import Histogram
from rnn.privacy.noise import Keystream
from tasks.artifacts import Prepared
from tasks.evidence.scoring import losses_of, model_logits, scores_of
from tasks.settings.sweep import ScoreConfig

# A loss is counted in whole thousandths of its bound.
STEPS = 1000
# Scores are counted by their log-odds from -EDGE to EDGE: most of them are far from 1.
EDGE = 4.0


def people_of(prepared: Prepared, config: ScoreConfig, unit: str) -> NDArray[np.int64]:
    """Return the rows that are counted: of each person the first alone."""
    rows = prepared.rows("train" if config.people == "training" else "test")
    units = prepared.sequences.units
    if unit == "record" or units is None:
        return rows
    _, first = np.unique(units[rows], return_index=True)
    return rows[np.sort(first)]


def counts_of(
    logits: NDArray[np.float64], targets: NDArray[np.generic], task: str, config: ScoreConfig
) -> NDArray[np.float64]:
    """Return whole counts that a score is made of: one person in one cell, or in two sums.

    Args:
        logits: float64 [n, C].
        targets: [n].
        task: kind of target.
        config: of the score.
    """
    if config.metric == "auc":
        odds = np.clip(np.nan_to_num(logits[:, 0]), -EDGE, EDGE)
        bins = np.minimum(((odds + EDGE) / (2 * EDGE) * config.bins).astype(int), config.bins - 1)
        cells = np.asarray(targets, dtype=np.int64) * config.bins + bins
        return np.bincount(cells, minlength=2 * config.bins).astype(float).reshape(2, -1)
    if config.metric == "accuracy":
        scores = scores_of(logits, task)
        found = scores.argmax(axis=1) if task == "multiclass" else (scores >= 0.5).astype(int)
        right = int((found == np.asarray(targets)).sum())
        return np.array([len(found) - right, right], dtype=float)
    losses = np.nan_to_num(losses_of(logits, targets, task), nan=math.inf)
    share = np.clip(losses, 0, config.loss_clip) / config.loss_clip
    return np.array([np.rint(share * STEPS).sum(), STEPS * len(losses)], dtype=float)


def mechanism_of(config: ScoreConfig) -> Histogram:
    """Return how the counts are noised: both sums of a loss move by one person's share."""
    if config.metric == "loss":
        return Histogram(tables=2, noise_multiplier=config.noise_multiplier, max_rows=STEPS)
    return Histogram(tables=1, noise_multiplier=config.noise_multiplier)


def read_score(counts: NDArray[np.float64], config: ScoreConfig) -> float:
    """Return the score that counts show, noised or not; post-processing."""
    if config.metric == "auc":
        kept = np.maximum(counts, 0.0)
        shares = kept / np.maximum(kept.sum(axis=1, keepdims=True), 1.0)
        below = np.cumsum(shares[0]) - shares[0] / 2
        return float((shares[1] * below).sum())
    if config.metric == "accuracy":
        kept = np.maximum(counts, 0.0)
        return float(kept[1] / max(kept.sum(), 1.0))
    mean = counts[0] / max(counts[1], 1.0)
    return -float(np.clip(mean, 0.0, 1.0)) * config.loss_clip


def score(
    model: SequenceModel,
    prepared: Prepared,
    config: ScoreConfig,
    unit: str,
    stream: Keystream,
) -> float:
    """Return the score of a model, the higher the better.

    Args:
        model: in evaluation mode, on the CPU.
        prepared: arrays of all people.
        config: which score, of whom, with how much noise.
        unit: whose contribution is bounded.
        stream: of the noise; its next numbers must serve nothing else.
    """
    rows = people_of(prepared, config, unit)
    logits = model_logits(model, prepared.sequences, rows)
    targets = np.asarray(prepared.sequences.targets)[rows]
    counts = counts_of(logits, targets, str(prepared.schema["task"]), config)
    if config.people != "public":
        counts = mechanism_of(config).release(counts, stream)
    return read_score(counts, config)
