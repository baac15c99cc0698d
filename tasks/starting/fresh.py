"""A network before its first step: random weights, public vectors, and what others trained."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from rnn.model import SequenceModel, build
from tasks.artifacts import Prepared
from tasks.params import UserError
from tasks.recipe import TrainPlan
from tasks.settings.start import Facts
from tasks.starting.begin import put, record_of


def fresh_model(plan: TrainPlan, prepared: Prepared, seed: int) -> SequenceModel:
    """Return a model before its first step: random weights, and what others trained.

    Whatever trains a recipe's network begins here: the private run, its twin, and all attacks.

    Args:
        plan: of the run.
        prepared: what it is for.
        seed: of the random weights.

    Raises:
        UserError: vectors or weights do not fit the network.
    """
    return begun(plan, prepared, seed)[0]


def begin_without_dropout(plan: TrainPlan, prepared: Prepared) -> SequenceModel:
    """Return the recipe's own first network for a run on invented people, who need no dropout.

    Args:
        plan: of the recipe's training.
        prepared: what it is for.
    """
    bare = replace(plan, model=replace(plan.model, dropout=0.0, token_dropout=0.0))
    return fresh_model(bare, prepared, plan.train.seed)


def begun(
    plan: TrainPlan, prepared: Prepared, seed: int
) -> tuple[SequenceModel, dict[str, Any] | None]:
    """Return the same, and what may be published of its start; None where all is random.

    Args:
        plan: of the run.
        prepared: what it is for.
        seed: of the random weights.
    """
    model = build(plan.model, prepared.shape, seed)
    taken: dict[str, tuple[str, ...]] = {}
    origins: dict[str, Facts] = {}
    if prepared.vectors is not None:
        width = prepared.vectors.shape[1]
        if width != plan.model.embedding_size:
            raise UserError(
                f"model.embedding_size = {plan.model.embedding_size}: the vectors of "
                f"data.sequence.vocabulary.package have {width} numbers"
            )
        with torch.no_grad():
            model.embedding.weight.copy_(torch.from_numpy(np.array(prepared.vectors)))
        if prepared.vectors_facts is not None:
            taken["vectors"], origins["vectors"] = ("embedding",), prepared.vectors_facts
    if plan.start is not None and plan.start.has_weights:
        if prepared.start is None:
            raise UserError("start: its weights are not there: run fetch and prepare again")
        layers = put(model, prepared.start, plan.start)
        if "embedding" in layers:
            taken.pop("vectors", None)
        taken["start"], origins["start"] = tuple(layers), prepared.start.facts
    return model, record_of(taken, origins, plan.start)
