"""Layers that stay as they are: for the whole of a training, or until a step of it.

Which layers and until when stands in the settings and depends on nobody, so that the account of a
run is what it is without. A frozen parameter has no gradient: it is no part of a unit's norm, gets
no noise, no decay and no step.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

# None: always.
Freeze = Mapping[str, int | None]


def parameters_of(model: nn.Module, layer: str) -> dict[str, nn.Parameter]:
    """Return a layer's parameters by their names.

    Args:
        model: a sequence model.
        layer: what its parameters' names begin with; `recurrent.K` is the K-th of a stack, from 0,
            in both directions.

    Example:
        >>> stack = nn.ModuleDict({"recurrent": nn.GRU(1, 1, num_layers=2)})
        >>> len(parameters_of(stack, "recurrent")), list(parameters_of(stack, "recurrent.1"))[0]
        (8, 'recurrent.weight_ih_l1')
    """
    numbered = re.fullmatch(r"recurrent\.(\d+)", layer)
    pattern = rf"{re.escape(layer)}\..+"
    if numbered:
        pattern = rf"recurrent\.\w+_l{numbered[1]}(_reverse)?"
    return {n: p for n, p in model.named_parameters() if re.fullmatch(pattern, n)}


@dataclass
class Freezer:
    """Keeps the layers of a model frozen, step by step.

    Attributes:
        until: of each frozen parameter, the step that first moves it; None: no step does.
    """

    until: list[tuple[nn.Parameter, int | None]]

    @classmethod
    def of(cls, model: nn.Module, freeze: Freeze) -> "Freezer":
        """Return the freezer of a model.

        Args:
            model: a sequence model.
            freeze: layer -> the step that first moves it, None for no step.

        Raises:
            ValueError: the model has no such layer, or nothing of it is trained.
        """
        until: dict[int, tuple[nn.Parameter, int | None]] = {}
        for layer, step in freeze.items():
            found = parameters_of(model, layer)
            if not found:
                raise ValueError(f"freeze names {layer!r}: the model has no such layer")
            until |= {id(p): (p, step) for p in found.values()}
        if until and len(until) == len(list(model.parameters())):
            raise ValueError(f"freeze names all layers, {sorted(freeze)}: nothing is trained")
        return cls(list(until.values()))

    def always(self) -> None:
        """Freeze what no step moves."""
        for parameter, step in self.until:
            if step is None:
                parameter.requires_grad_(False)

    def at(self, step: int) -> None:
        """Freeze what a step, counted from 0, does not move, and let go of the rest."""
        for parameter, first in self.until:
            frozen = first is None or step < first
            parameter.requires_grad_(not frozen)
            if frozen:
                parameter.grad = None
