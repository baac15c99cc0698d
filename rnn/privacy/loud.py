"""Canaries with inputs like people's, whose losses are loud and point where no other's do.

A canary's loss is linear in what every layer of the model puts out, step by step, in random
directions of its own, drawn afresh in each step of training. It is a loss like any: a function of
the canary's own rows and of the weights. It is a hundred times or more as steep as the clip
bound, so that clipping brings its gradient to exactly the bound.

Directions are whitened over a canary's steps, against what its layers are fed: what all canaries
have in common (a mean state, a bias) takes no more than its share of a gradient, so that the
gradients of two canaries are nearly orthogonal.

P canaries with K rows each, before all other rows; B in a batch, T steps, n = K x T, I inputs and
O outputs of a layer, W numbers in parameters that the rows' gradients can touch.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rnn.batch import SequenceBatch
from rnn.fairness.run import Mitigator
from rnn.model import real_steps
from rnn.privacy.reach import Reach
from rnn.recurrent import CELLS
from rnn.tape import recording

Rows = NDArray[np.int64]

# Gradient norms over the clip bound, about; by turns, so that factors that are handed to the
# wrong rows show.
LOUDNESS = (100.0, 1000.0, 10000.0)
_LAYERS = (nn.Linear, *CELLS.values())
# Directions along what a canary's steps have in common are held down by this factor, squared.
_COMMON = 100.0
_RIDGE = 1e-3
# Canaries from which the balance of the layers is estimated.
_BALANCED = 200


def whitened(codes: Tensor, fed: Tensor, real: Tensor) -> Tensor:
    """Return directions [P, n, O] whose products with what was fed in are as random as the codes.

    Args:
        codes: float [P, n, O], independent Gaussian values.
        fed: float [P, n, I], what went into the layer at each step.
        real: bool [P, n], false where a step is padding.
    """
    kept = real[..., None].to(codes.dtype)
    count = kept.sum(1, keepdim=True)
    fed = fed * kept
    common = kept @ kept.transpose(1, 2)
    if fed.shape[1] > 1:
        fed = (fed - fed.sum(1, keepdim=True) / count) * kept
    gram = fed @ fed.transpose(1, 2)
    size = (gram.diagonal(0, 1, 2).sum(1)[:, None, None] / count).clamp(min=_RIDGE)
    ones = torch.eye(fed.shape[1], device=fed.device, dtype=fed.dtype)
    if fed.shape[1] > 1:
        gram = gram + _COMMON * size * common / count
    root = torch.linalg.cholesky(gram + (_RIDGE * size + 1 - kept) * ones)
    solved = torch.linalg.solve_triangular(root.transpose(1, 2), codes * kept, upper=True)
    return solved * kept


class LoudLosses(Mitigator):
    """A run's losses; of its first rows, which are the canaries', the loud ones.

    Attributes:
        bound: clip bound of this step, over all parameters.
        step_count: of training, which the directions follow.
        used: rows of every batch since the last `next_step`.
        emphasis: on each layer in a canary's loss.
        asked: layers that canaries ask something of: those that the step moves.
        reach: what the gradients of the run's rows can touch; all of the model unless `look`.
    """

    def __init__(self, inner: Mitigator, canaries: int, each: int, longest: int, seed: int):
        """Take a run's losses over.

        Args:
            inner: of the run; all that it does for others stays as it is.
            canaries: P.
            each: K.
            longest: steps of the longest row.
            seed: of the directions, which are public.
        """
        vars(self).update(vars(inner))
        self.canaries, self.each, self.longest, self.seed = canaries, each, longest, seed
        self.bound, self.step_count = 1.0, 0
        self.used: list[Rows] = []
        self._codes: dict[str, Tensor] = {}
        self.reach = Reach()
        layers = [(n, m) for n, m in self.trained.named_modules() if isinstance(m, _LAYERS)]
        self.layers = dict(layers)
        self.asked: set[str] = set()
        self.listen()
        total = sum(_size(layer) for _, layer in layers)
        self.emphasis = {name: (_size(layer) / total) ** 0.5 for name, layer in layers}

    def listen(self) -> None:
        """Ask something of every layer that is not frozen now."""
        self.asked = {name for name, layer in self.layers.items() if _has_code(layer)}

    def next_step(self) -> None:
        """Forget this step's rows and directions; those of the next are others."""
        self.step_count += 1
        self.used.clear()
        self._codes.clear()

    @contextmanager
    def _listening(self) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
        """What goes into each layer and what comes out, by name."""
        heard: dict[str, tuple[Tensor, Tensor]] = {}

        def hook(name: str) -> Any:
            def keep(layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
                heard[name] = inputs[0].detach(), output

            return keep

        # Registered inside of a recording, they see what its own hooks return.
        asked = ((n, layer) for n, layer in self.layers.items() if n in self.asked)
        handles = [layer.register_forward_hook(hook(n)) for n, layer in asked]
        try:
            yield heard
        finally:
            for handle in handles:
                handle.remove()

    def _code(self, name: str, output: Tensor) -> Tensor:
        """Every canary's directions in a layer before whitening, float [P, K, T, O]."""
        if name not in self._codes:
            number = list(self.layers).index(name)
            generator = torch.Generator().manual_seed(
                (self.seed * 1_000_003 + self.step_count) * 1_009 + number
            )
            steps = max(self.longest, output.shape[1]) if output.dim() == 3 else 1
            size = (self.canaries, self.each, steps, output.shape[-1])
            codes = torch.randn(size, generator=generator) / (size[1] * size[2] * size[3]) ** 0.5
            self._codes[name] = codes.to(output)
        return self._codes[name]

    def _of_layer(
        self, name: str, fed: Tensor, output: Tensor, real: Tensor, who: Tensor
    ) -> Tensor:
        """Parts [p, K] of the losses of canaries `who`, from one layer; real is bool [p, K, T]."""
        if output.dim() == 4:
            # Attention asks for every step of the input at every step of the target.
            fed, output = fed.flatten(1, 2), output.flatten(1, 2)
        code = self._code(name, output)[who]
        count, each = code.shape[:2]
        if output.dim() == 3:
            before = torch.cat([torch.zeros_like(output[:, :1]), output[:, :-1]], 1)
            fed = torch.cat([fed, before.detach()], 2)
            code = code[:, :, : output.shape[1]]
            if output.shape[1] != real.shape[2]:
                # Steps of targets, which are all equally long.
                real = real.new_ones(*real.shape[:2], output.shape[1])
        else:
            real = real[:, :, :1]
        n = each * real.shape[2]
        directions = whitened(
            code.reshape(count, n, -1), fed.reshape(count, n, fed.shape[-1]), real.reshape(count, n)
        )
        asked = (output.reshape(count, n, -1) * directions).sum(2)
        return asked.view(count, each, -1).sum(2) * self.emphasis[name]

    def losses(self, batch: SequenceBatch, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return what is differentiated, and the task's own loss, both float [B].

        Args:
            batch: of these rows, on the model's device; a canary's rows are all in it.
            rows: int64 [B].
        """
        with self._listening() as heard:
            values, own = super().losses(batch, rows)
        self.used.append(rows)
        order = np.argsort(rows)
        order = order[rows[order] < self.canaries * self.each]
        if not len(order):
            return values, own
        device = values.device
        place = torch.from_numpy(order).to(device)
        who = torch.from_numpy(rows[order][:: self.each] // self.each).to(device)
        real = real_steps(batch.lengths[place], batch.inputs.shape[1])
        real = real.view(len(who), self.each, -1)
        loud = values.new_zeros(len(who), self.each)
        for name, (fed, output) in heard.items():
            loud = loud + self._of_layer(name, fed[place], output[place], real, who)
        turns = torch.tensor(LOUDNESS, device=device)[who % len(LOUDNESS)]
        out = values.index_fill(0, place, 0.0)
        return out.index_add(0, place, (loud * turns[:, None] * self.bound).flatten()), own

    def look(self, batches: Iterable[tuple[SequenceBatch, Rows]]) -> None:
        """Learn what the gradients of all rows of the run can touch.

        Args:
            batches: of rows, on the model's device, and their rows.
        """
        own = super().losses
        passes = ((lambda pair=pair: own(*pair)[0]) for pair in batches)
        self.reach = Reach.of(self.trained, passes)

    def gradients(
        self,
        batch: SequenceBatch,
        rows: Rows,
        each: int,
        parameters: Sequence[nn.Parameter],
        out: Tensor | None = None,
    ) -> Tensor:
        """Return every unit's gradient, float [units, W], before clipping.

        Args:
            batch: of these rows.
            rows: int64, those of a unit together.
            each: rows of a unit.
            parameters: in the order wanted.
            out: float [units, W], written to; a new tensor if None.
        """
        with torch.enable_grad(), recording(self.trained) as tape:
            values, _ = self.losses(batch, rows)
            values.sum().backward()
        sizes = self.reach.sizes(parameters)
        units = torch.arange(len(rows), device=values.device).view(-1, each)
        out = values.new_empty(len(units), sum(sizes)) if out is None else out
        columns = out.zero_().split(sizes, 1)
        place = {id(p): part for p, part in zip(parameters, columns, strict=True)}
        for record in tape.records:
            if record.parameters:
                merged = record if each == 1 else record.merged(units)
                for parameter, gradient in self.reach.per_example(merged):
                    place[id(parameter)].add_(gradient.flatten(1))
        return out

    def rebalance(self, gradients: Tensor, parameters: Sequence[nn.Parameter]) -> None:
        """Give each layer the share of a gradient that makes two canaries' least alike.

        A layer in which gradients have d dimensions in effect gets a share in proportion to d.

        Args:
            gradients: float [P, W], of canaries, clipped or not.
            parameters: whose columns they have.
        """
        some = gradients[:_BALANCED]
        some = some / torch.linalg.vector_norm(some, dim=1, keepdim=True)
        parts = some.split(self.reach.sizes(parameters), 1)
        columns = {id(p): part for p, part in zip(parameters, parts, strict=True)}
        shares, wanted = {}, {}
        for name in sorted(self.asked, key=list(self.layers).index):
            layer = self.layers[name]
            part = torch.cat([columns[id(p)] for p in layer.parameters() if id(p) in columns], 1)
            gram = part @ part.T
            shares[name] = float(gram.diagonal().mean())
            others = float((gram - gram.diagonal().diag()).square().sum())
            wanted[name] = shares[name] ** 2 / max(others / (len(gram) * (len(gram) - 1)), 1e-30)
        total = sum(wanted.values())
        for name, share in shares.items():
            if share > 0 and wanted[name] > 0:
                self.emphasis[name] *= (wanted[name] / total / share) ** 0.5


def _has_code(layer: nn.Module) -> bool:
    """Whether canaries ask it for something."""
    return any(p.requires_grad for p in layer.parameters())


def _size(layer: nn.Module) -> int:
    """Its parameters."""
    return sum(p.numel() for p in layer.parameters())
