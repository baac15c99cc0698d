"""The methods by name: each gives every cell of a sequence its share of the output.

A cell is one feature at one step. B people, T steps, F features of the sequence, G static
features, E embedded width.
"""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from captum.attr import GradientShap, Occlusion
from numpy.typing import NDArray
from torch import Tensor

from rnn.model import real_steps
from tasks.explaining.path import Shares, integrate
from tasks.explaining.question import Groups, Question
from tasks.explaining.shapley import (
    Players,
    by_length,
    coalitions,
    players,
    regress,
    sampled,
    values_of,
)
from tasks.explaining.two_step import two_step
from tasks.recipe import ExplainConfig

Floats = NDArray[np.float64]

# Of the noise around the baseline of Gradient SHAP, in units of scaled inputs.
_NOISE = 0.05


@dataclass(frozen=True)
class CellShares:
    """Signed shares of cells.

    Attributes:
        sequence: float64 [B, T, F]; exactly 0 after each length.
        static: float64 [B, G].
    """

    sequence: Tensor
    static: Tensor

    def flat(self) -> Floats:
        """Return float64 [B, T x F + G], cells in the order of steps."""
        return np.asarray(torch.cat([self.sequence.flatten(1), self.static], 1).numpy())


def to_cells(shares: Shares, groups: Groups) -> CellShares:
    """Sum the channels of each feature."""
    features, static = groups.sizes
    sequence = shares.sequence.new_zeros(*shares.sequence.shape[:2], features)
    fixed = shares.static.new_zeros(len(shares.static), static)
    sequence.index_add_(2, groups.sequence, shares.sequence)
    fixed.index_add_(1, groups.static, shares.static)
    return CellShares(sequence, fixed)


def to_channels(cells: CellShares, groups: Groups) -> tuple[Tensor, Tensor]:
    """Share out each feature's part evenly over its channels: float64 [B, T, E] and [B, S]."""
    found = []
    for values, owner in ((cells.sequence, groups.sequence), (cells.static, groups.static)):
        count = torch.bincount(owner, minlength=values.shape[-1])
        found.append((values / count)[..., owner])
    return found[0], found[1]


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Captum draws from the global generators: seed them inside, leave them as they were."""
    state = np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # Of names of its arguments, and of models that are not linear.
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002


@dataclass(frozen=True)
class _Presence:
    """The output as a function of which cells are there: what captum perturbs, without padding."""

    question: Question
    groups: Groups

    def inputs(self) -> tuple[Tensor, ...]:
        """Everything is there: ones [B, T, F], and [B, G] where there is static data."""
        features, static = self.groups.sizes
        like, count = self.question.embedded, len(self.question)
        ones = (like.new_ones(count, like.shape[1], features), like.new_ones(count, static))
        return ones if static else ones[:1]

    def __call__(self, present: Tensor, *rest: Tensor) -> Tensor:
        """Return float [n]; the last argument tells the person of each row."""
        fixed = rest[0] if len(rest) == 2 else present.new_ones(len(present), 0)
        with torch.no_grad():
            return self.question.answer_with(present, fixed, self.groups, rest[-1])

    def shares(self, found: tuple[Tensor, ...]) -> CellShares:
        """Captum's answer."""
        static = found[1] if len(found) > 1 else found[0].new_zeros(len(found[0]), 0)
        return CellShares(found[0].double().cpu(), static.double().cpu())


def _who(question: Question) -> Tensor:
    return torch.arange(len(question), device=question.lengths.device)


def integrated_gradients(question: Question, groups: Groups, config: ExplainConfig) -> CellShares:
    """Integrated Gradients from zeros."""
    at_once = config.internal_batch_size
    return to_cells(integrate(question, config.n_steps, config.max_steps, at_once), groups)


def gradient_shap(question: Question, groups: Groups, config: ExplainConfig) -> CellShares:
    """Gradients at random points between zeros and inputs with noise.

    Source: Lundberg and Lee (2017); Erion et al. (2021), expected gradients.
    """
    static = question.static.shape[1] > 0

    def output(embedded: Tensor, *rest: Tensor) -> Tensor:
        fixed = rest[0] if len(rest) == 2 else embedded.new_zeros(len(embedded), 0)
        return question.answer(embedded, fixed, rest[-1])

    size = [_NOISE * float(x.square().mean().sqrt()) for x in (question.embedded, question.static)]
    sequence = torch.zeros(question.embedded.shape, dtype=torch.float64)
    fixed = torch.zeros(question.static.shape, dtype=torch.float64)
    for rows in torch.arange(len(question)).split(
        max(1, config.internal_batch_size // config.n_steps)
    ):
        some = question.take(rows)
        inputs = (some.embedded, some.static)[: 2 if static else 1]
        found = GradientShap(output).attribute(
            inputs,
            baselines=tuple(torch.zeros_like(x[:1]) for x in inputs),
            stdevs=tuple(size[: len(inputs)]),
            n_samples=config.n_steps,
            additional_forward_args=(rows,),
        )
        real = real_steps(some.lengths, some.embedded.shape[1])[..., None]
        sequence[rows, : real.shape[1]] = torch.where(real, found[0].detach(), 0.0).double().cpu()
        if static:
            fixed[rows] = found[1].detach().double().cpu()
    nothing = np.zeros(len(question))
    return to_cells(Shares(sequence, fixed, nothing, nothing, nothing.astype(np.int64)), groups)


def _each_length(
    question: Question, groups: Groups, shares: Callable[[Question, Players], CellShares], most: int
) -> CellShares:
    """Ask about people of one length at a time, whose players are the same."""
    features, static = groups.sizes
    shape = (len(question), question.embedded.shape[1], features)
    sequence = torch.zeros(shape, dtype=torch.float64)
    fixed = torch.zeros(len(question), static, dtype=torch.float64)
    for rows, some in by_length(question):
        steps = some.embedded.shape[1]
        found = shares(some, players(steps, groups, most))
        sequence[rows.cpu(), :steps], fixed[rows.cpu()] = found.sequence, found.static
    return CellShares(sequence, fixed)


def occlusion(question: Question, groups: Groups, config: ExplainConfig) -> CellShares:
    """How the output changes when a window of a feature's steps is taken away.

    Windows overlap, and a cell has the mean of those that it is in; where there are more cells
    than players, windows are as long as players and do not overlap.

    Source: Zeiler and Fergus (2014).
    """

    def shares(some: Question, masks: Players) -> CellShares:
        presence = _Presence(some, groups)
        inputs, steps = presence.inputs(), some.embedded.shape[1]
        long = int(np.bincount(masks[0][:, 0]).max())
        width = min(max(config.window, long), steps)
        stride = 1 if long == 1 else width
        found = Occlusion(presence).attribute(
            inputs,
            sliding_window_shapes=((width, 1), (1,))[: len(inputs)],
            strides=((stride, 1), (1,))[: len(inputs)],
            baselines=(0,) * len(inputs),
            additional_forward_args=(_who(some),),
            perturbations_per_eval=max(1, config.internal_batch_size // len(some)),
        )
        return presence.shares(found)

    return _each_length(question, groups, shares, config.max_players)


def _by_players(
    question: Question,
    groups: Groups,
    config: ExplainConfig,
    values: Callable[[Question, Players], Floats],
) -> CellShares:
    """Shares of players, each divided evenly among its cells."""

    def shares(some: Question, masks: Players) -> CellShares:
        count = np.bincount(np.concatenate([m.ravel() for m in masks]))
        cells = torch.from_numpy(values(some, masks) / count)
        return CellShares(cells[:, masks[0]], cells[:, masks[1]])

    return _each_length(question, groups, shares, config.max_players)


def shapley_sampling(question: Question, groups: Groups, config: ExplainConfig) -> CellShares:
    """Shapley values from random orders of players and their reverses."""

    def values(some: Question, masks: Players) -> Floats:
        at_once = config.internal_batch_size
        return sampled(some, groups, masks, config.orders, config.seed, at_once)

    return _by_players(question, groups, config, values)


def kernel_shap(question: Question, groups: Groups, config: ExplainConfig) -> CellShares:
    """Shapley values from a regression on random coalitions of players."""

    def values(some: Question, masks: Players) -> Floats:
        count = int(max(m.max(initial=-1) for m in masks)) + 1
        present = coalitions(count, config.orders * count, config.seed)
        at_once = config.internal_batch_size
        return regress(present, values_of(some, groups, masks, present, at_once))

    return _by_players(question, groups, config, values)


def rescaled(question: Question, groups: Groups, config: ExplainConfig) -> CellShares:
    """Relevance of a step first, of a feature second."""
    # As many paths as steps and features: rough ones tell what changes the attributions.
    points = max(2, config.n_steps // 4)

    def shares(some: Question, masks: Players) -> CellShares:
        window = masks[0][:, 0] // groups.sizes[0]
        return CellShares(*two_step(some, groups, window, points, config.internal_batch_size))

    return _each_length(question, groups, shares, config.max_players)


Method = Callable[[Question, Groups, ExplainConfig], CellShares]

METHODS: dict[str, Method] = {
    "integrated_gradients": integrated_gradients,
    "gradient_shap": gradient_shap,
    "occlusion": occlusion,
    "shapley_sampling": shapley_sampling,
    "kernel_shap": kernel_shap,
    "two_step": rescaled,
}


def explain_cells(
    method: str, question: Question, groups: Groups, config: ExplainConfig
) -> CellShares:
    """Return the shares that a method gives, the same for the same seed."""
    with seeded(config.seed):
        return METHODS[method](question, groups, config)
