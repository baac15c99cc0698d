"""Is a method any good here? Figures that need no opinion, one a person.

B people, T steps, F features of the sequence, G static features, P = T x F + G cells of a person
in the order of steps, R draws.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from captum.metrics import sensitivity_max
from numpy.typing import NDArray
from torch import Tensor, nn

from tasks.explaining.methods import CellShares, seeded
from tasks.explaining.question import Groups, Question

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

M = TypeVar("M", bound=nn.Module)

# Of the curves: shares of the cells that are put in or taken away.
_POINTS = 20
# Inputs move by this share of their typical size.
MOVE = 0.01
_TINY = 1e-12


@dataclass(frozen=True)
class Bench:
    """Where methods are tried: some people, and the output with any of their cells away.

    Attributes:
        question: about B people.
        groups: the channels of each feature.
        at_once: rows in one pass.
    """

    question: Question
    groups: Groups
    at_once: int

    def real(self) -> Flags:
        """Return bool [B, P], false for padding."""
        cells, static = self.question.cells(self.groups)
        return np.asarray(torch.cat([cells.flatten(1), static], 1).cpu().numpy())

    def outputs(self, present: Flags) -> Floats:
        """Return float64 [R, B] from bool [R, B, P]: the output with the cells that are present."""
        draws, people, _ = present.shape
        rows = present.reshape(draws * people, -1)
        features, static = self.groups.sizes
        like, found = self.question.embedded, []
        for i in range(0, len(rows), self.at_once):
            some = torch.from_numpy(rows[i : i + self.at_once]).to(like)
            cells, fixed = some.split([some.shape[1] - static, static], 1)
            who = torch.arange(i, i + len(some)) % people
            with torch.no_grad():
                value = self.question.answer_with(
                    cells.view(len(some), -1, features), fixed, self.groups, who
                )
            found.append(value.double().cpu().numpy())
        return np.concatenate(found).reshape(draws, people)

    def ends(self) -> tuple[Floats, Floats]:
        """Return the outputs with all cells and with none, float64 [B] each."""
        real = self.real()
        high, low = self.outputs(np.stack([np.ones_like(real), np.zeros_like(real)]))
        return high, low


def places(scores: Floats, real: Flags) -> NDArray[np.int64]:
    """Return int64 [B, P]: the place of each cell from 0, largest score first, padding last."""
    keyed = np.where(real, -scores, np.inf)
    order = np.argsort(keyed, axis=1, kind="stable")
    return np.argsort(order, axis=1, kind="stable")


def curves(bench: Bench, shares: Floats, ends: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """Return areas under the insertion and the deletion curve, float64 [B] each.

    Cells are put in, or taken away, in the order of their push towards the person's own output.
    A curve is the way that the output has gone from the baseline, negative on the wrong side.

    Args:
        bench: where.
        shares: float64 [B, P], what a method says.
        ends: the outputs with all cells and with none.

    Source: Petsiuk, Das, Saenko (2018), section 3.2.
    """
    real, side = bench.real(), np.sign(ends[0] - ends[1])
    place = places(shares * side[:, None], real)
    share = np.linspace(0, 1, min(_POINTS, real.shape[1]) + 1)
    count = np.rint(share[:, None] * real.sum(1))
    first = place[None] < count[..., None]
    way = [(bench.outputs(x) - ends[1]) * side for x in (first, ~first)]
    insertion, deletion = (np.asarray(np.trapezoid(w, share, axis=0)) for w in way)
    return insertion, deletion


def random_curves(
    bench: Bench, ends: tuple[Floats, Floats], draws: int, seed: int
) -> tuple[Floats, Floats]:
    """Return the areas of random orders, the mean of some draws."""
    generator = np.random.default_rng(seed)
    shape = bench.real().shape
    found = [curves(bench, generator.normal(size=shape), ends) for _ in range(draws)]
    insertion, deletion = (np.mean(part, axis=0) for part in zip(*found, strict=True))
    return insertion, deletion


@dataclass(frozen=True)
class Removals:
    """What happens when random sets of cells are taken away.

    Attributes:
        away: bool [R, B, P].
        change: float64 [R, B], the output before less the output after.
    """

    away: Flags
    change: Floats


def remove(bench: Bench, ends: tuple[Floats, Floats], draws: int, seed: int) -> Removals:
    """Take away random sets of cells: a random share of them, the same law for everybody."""
    generator, real = np.random.default_rng(seed), bench.real()
    share = generator.random((draws, len(real), 1))
    away = (generator.random((draws, *real.shape)) < share) & real
    return Removals(away, ends[0] - bench.outputs(~away))


def infidelity(removals: Removals, shares: Floats) -> Floats:
    """Return how much of the change of the output the shares of what was removed leave open.

    0: the shares foretell every change; 1: no better than foretelling none. The scale of the
    shares is fitted for each person, so that methods that do not add up can be compared.

    Args:
        removals: random sets.
        shares: float64 [B, P].

    Returns:
        float64 [B]; NaN where the output never changes.

    Source: Yeh et al. (2019), definition 2.1, with the optimal scale of section 3.
    """
    foretold = np.einsum("rbp,bp->rb", removals.away, shares)
    change = removals.change
    scale = (foretold * change).sum(0) / np.maximum(np.square(foretold).sum(0), _TINY)
    error = np.square(scale * foretold - change).sum(0)
    size = np.square(change).sum(0)
    return np.where(size > _TINY, error / np.maximum(size, _TINY), np.nan)


def shuffled_shares(shares: Floats, real: Flags, generator: np.random.Generator) -> Floats:
    """Return each person's shares in a random order of the real cells."""
    place = places(generator.normal(size=shares.shape), real)
    owned = np.argsort(~real, axis=1, kind="stable")
    return np.take_along_axis(shares, np.take_along_axis(owned, place, 1), 1)


def _moved(values: Tensor) -> Tensor:
    """Numbers moved uniformly by at most a share of their typical size."""
    radius = MOVE * float(values.square().mean().sqrt())
    return values + radius * (2 * torch.rand_like(values) - 1)


def max_sensitivity(
    question: Question, explain: Callable[[Question], CellShares], draws: int, seed: int
) -> Floats:
    """Return the largest relative change of a method's shares when inputs move a little.

    Every number moves uniformly by at most a hundredth of the typical size of its kind.

    Args:
        question: about B people.
        explain: the method.
        draws: moves.
        seed: of the moves.

    Returns:
        float64 [B].

    Source: Yeh et al. (2019), definition 3.1.
    """
    who = torch.arange(len(question))
    own = (question.embedded, question.static)
    inputs = own if question.static.shape[1] else own[:1]

    def shares(moved: tuple[Tensor, ...] | Tensor) -> tuple[Tensor, ...]:
        parts = moved if isinstance(moved, tuple) else (moved,)
        times = len(parts[0]) // len(question)
        people = who.repeat_interleave(times)
        static = parts[1] if len(parts) > 1 else question.static[people]
        asked = replace(
            question, embedded=parts[0], static=static,
            lengths=question.lengths[people], index=question.index[people],
        )  # fmt: skip
        found = explain(asked)
        return (found.sequence, found.static) if len(parts) > 1 else (found.sequence,)

    def move(moved: tuple[Tensor, ...] | Tensor) -> tuple[Tensor, ...] | Tensor:
        if isinstance(moved, tuple):
            return tuple(_moved(part) for part in moved)
        return _moved(moved)

    with seeded(seed):
        found = sensitivity_max(shares, inputs, move, n_perturb_samples=draws)
    return np.asarray(found.double().numpy())


def shuffled(model: M, seed: int) -> M:
    """Return a copy whose weights stand in a random order, each array's among themselves.

    Source: Adebayo et al. (2018), model parameter randomisation test.
    """
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in other.parameters():
            order = torch.randperm(parameter.numel(), generator=generator)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return other
