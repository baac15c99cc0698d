"""Train's share: weights in place before the first step, and what the report says of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tasks.params import UserError, as_json
from tasks.settings.start import Facts, StartConfig, layers_of

# Torch takes seconds to import, and other stages read these records too.
if TYPE_CHECKING:
    from rnn.model import SequenceModel

# Of data/RECIPE/prepared/arrays.
WEIGHTS, NOTES, VECTORS = "start.safetensors", "start.json", "vectors.json"
# Of data/RECIPE/model: what may be published of it.
FILE = "start.json"
# Of data/RECIPE/training, internal: whom a model saw.
SAW = "saw.json"


@dataclass(frozen=True)
class Start:
    """Weights that a network may begin with.

    Attributes:
        weights: by the names of our parameters.
        facts: what is known of them.
        left: layer -> why it can take none of them.
    """

    weights: Mapping[str, NDArray[np.float32]]
    facts: Facts
    left: Mapping[str, str]


def _known_layers(model: "SequenceModel") -> list[str]:
    """The layers of a network that take weights, each by itself."""
    from rnn.config import SCORED_TASKS

    shape = model.shape
    found = layers_of(model.config, bool(shape.vocabulary_size), shape.task in SCORED_TASKS)
    return [name for name in found if name != "recurrent"]


def _misfit(start: Start, wanted: Mapping[str, Any], layer: str) -> str | None:
    """Why a layer cannot take the weights; None where it can."""
    if start.left.get(layer):
        return start.left[layer]
    for name, parameter in wanted.items():
        if name not in start.weights:
            return f"they have no {name}"
        theirs, ours = list(start.weights[name].shape), list(parameter.shape)
        if theirs != ours:
            return f"{name} is {theirs} there and {ours} here: see model"
    return None


def put(model: "SequenceModel", start: Start, config: StartConfig) -> list[str]:
    """Let the layers of a network begin with others' weights; return which did.

    Args:
        model: changed in place.
        start: the weights.
        config: which layers take them; all that fit where it names none.

    Raises:
        UserError: a layer that is named does not fit, or none does.
    """
    import torch

    from rnn.freezing import parameters_of

    every = _known_layers(model)
    asked = [name for name in every if name in config.layers]
    if "recurrent" in config.layers:
        asked = [n for n in every if n in config.layers or n.startswith("recurrent.")]
    reasons: dict[str, str] = {}
    taken = []
    for layer in asked or every:
        found = parameters_of(model, layer)
        reason = _misfit(start, found, layer)
        if reason is not None:
            reasons[layer] = reason
            continue
        with torch.no_grad():
            for name, parameter in found.items():
                parameter.copy_(torch.from_numpy(np.array(start.weights[name])))
        taken.append(layer)
    if asked and reasons:
        layer, reason = next(iter(reasons.items()))
        raise UserError(
            f"start.layers names {layer!r}: weights of {start.facts.origin} do not fit: {reason}"
        )
    if not taken:
        told = "; ".join(f"{layer}: {reason}" for layer, reason in reasons.items())
        raise UserError(f"start: no layer takes the weights of {start.facts.origin}: {told}")
    return taken


def record_of(
    taken: Mapping[str, tuple[str, ...]], origins: Mapping[str, Facts], config: StartConfig | None
) -> dict[str, Any] | None:
    """Return what may be published of a start: no digest of data is in it.

    Args:
        taken: origin -> the layers that took its weights.
        origins: origin -> what is known of it.
        config: what stays frozen.

    Returns:
        JSON values, None where all weights were random and none is frozen.
    """
    weights = [
        {
            "origin": origins[name].origin,
            "sha256": origins[name].sha256,
            "data": origins[name].data,
            "privacy": as_json(origins[name])["privacy"],
            "same_people": origins[name].same_people,
            "counted": bool(origins[name].events),
            "before": list(origins[name].before),
            "layers": list(layers),
        }
        for name, layers in taken.items()
    ]
    frozen = dict(config.freeze) if config is not None else {}
    return {"weights": weights, "frozen": frozen} if weights or frozen else None
