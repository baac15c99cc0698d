"""Try methods on the same few people: the figures of quality, one a person.

B people, P cells of a person.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from rnn.model import SequenceModel
from tasks.evidence.agreement import rank_correlation
from tasks.evidence.quality import Tried
from tasks.explaining.bench import (
    Bench,
    Removals,
    curves,
    infidelity,
    max_sensitivity,
    random_curves,
    remove,
    shuffled,
    shuffled_shares,
)
from tasks.explaining.methods import explain_cells
from tasks.explaining.question import Groups, Question
from tasks.explaining.scores import SCORES
from tasks.recipe import ExplainConfig

Floats = NDArray[np.float64]

# Random orders, sets of removed cells, moves of the input, models with shuffled weights.
DRAWS = {"random_orders": 5, "removals": 40, "moves": 3, "shuffles": 3}


@dataclass(frozen=True)
class Trial:
    """What is the same for all methods.

    Attributes:
        bench: the people.
        ends: outputs with all cells and with none, float64 [B] each.
        random: areas of random orders, float64 [B] each.
        removals: random sets of cells taken away.
        others: the question about models with shuffled weights.
    """

    bench: Bench
    ends: tuple[Floats, Floats]
    random: tuple[Floats, Floats]
    removals: Removals
    others: tuple[Question, ...]


def prepare(
    model: SequenceModel, question: Question, tokens: torch.Tensor, groups: Groups,
    config: ExplainConfig,
) -> Trial:  # fmt: skip
    """Return the trial of some people.

    Args:
        model: inside `undisturbed`.
        question: about B people.
        tokens: their inputs before the embedding.
        groups: the channels of each feature.
        config: seed and rows at once.
    """
    bench = Bench(question, groups, config.internal_batch_size)
    ends, others = bench.ends(), []
    for draw in range(DRAWS["shuffles"]):
        other = shuffled(model, config.seed + draw)
        with torch.no_grad():
            embedded = other.embed(tokens)
        forward = SCORES[model.shape.task].forward(other)
        others.append(replace(question, forward=forward, embedded=embedded))
    return Trial(
        bench,
        ends,
        random_curves(bench, ends, DRAWS["random_orders"], config.seed),
        remove(bench, ends, DRAWS["removals"], config.seed),
        tuple(others),
    )


def attempt(trial: Trial, method: str, config: ExplainConfig) -> Tried:
    """Return a method's shares of the trial's people and how good they are."""
    question, groups = trial.bench.question, trial.bench.groups

    def explain(asked: Question) -> Floats:
        return explain_cells(method, asked, groups, config).flat()

    shares, real = explain(question), trial.bench.real()
    insertion, deletion = curves(trial.bench, shares, trial.ends)
    generator = np.random.default_rng(config.seed)
    chance = [
        infidelity(trial.removals, shuffled_shares(shares, real, generator))
        for _ in range(DRAWS["random_orders"])
    ]
    moved = max_sensitivity(
        question, lambda asked: explain_cells(method, asked, groups, config),
        DRAWS["moves"], config.seed,
    )  # fmt: skip
    same = [rank_correlation(shares, explain(other), real) for other in trial.others]
    return Tried(
        shares=shares,
        real=real,
        change=trial.ends[0] - trial.ends[1],
        infidelity=infidelity(trial.removals, shares),
        infidelity_random=np.mean(chance, axis=0),
        max_sensitivity=moved,
        insertion=insertion,
        insertion_random=trial.random[0],
        deletion=deletion,
        deletion_random=trial.random[1],
        randomised=np.mean(same, axis=0),
    )
