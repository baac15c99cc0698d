"""Integrated Gradients by Gauss-Legendre, exact where it can be checked.

The attributions along any stretch of the path must add up to the change of the output along it,
which two forward passes tell. A stretch that misses is halved, each half with as many points,
until the sum is right or the points of a person are used up: steep places of a path get many
points, flat ones few.

B people, T the longest sequence among them, E embedded width, S static channels, k stretches,
n points of a stretch.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnn.model import real_steps
from tasks.evidence.attributions import BAR
from tasks.explaining.question import Question

Floats = NDArray[np.float64]

# A stretch may err by the bar times its share of the path, or times this share at least.
_LEAST_SHARE = 0.25
# What single precision leaves uncertain in a difference of two outputs.
_ROUNDING = 2.0**-21


@dataclass(frozen=True)
class Shares:
    """Signed shares of the output's distance from its baseline.

    Attributes:
        sequence: float64 [B, T, E]; exactly 0 after each length.
        static: float64 [B, S].
        outputs: float64 [B].
        baseline_outputs: float64 [B].
        points: int64 [B], points of the path that each person took.
    """

    sequence: Tensor
    static: Tensor
    outputs: Floats
    baseline_outputs: Floats
    points: NDArray[np.int64]


@dataclass(frozen=True)
class _Stretches:
    """Parts of paths: whose, from where to where, and the outputs at both ends."""

    who: NDArray[np.int64]
    low: Floats
    high: Floats
    start: Floats
    end: Floats

    def take(self, chosen: NDArray[np.bool_] | slice) -> "_Stretches":
        """Some of them."""
        return _Stretches(
            self.who[chosen], self.low[chosen], self.high[chosen], self.start[chosen],
            self.end[chosen],
        )  # fmt: skip

    def halved(self, question: Question, at_once: int) -> "_Stretches":
        """Twice as many, half as long; neighbours in the order of people."""
        middle = (self.low + self.high) / 2
        value = outputs_at(question, self.who, middle, at_once)

        def both(first: Floats, second: Floats) -> Floats:
            return np.stack([first, second], 1).ravel()

        return _Stretches(
            np.repeat(self.who, 2), both(self.low, middle), both(middle, self.high),
            both(self.start, value), both(value, self.end),
        )  # fmt: skip


def outputs_at(question: Question, who: NDArray[np.int64], place: Floats, at_once: int) -> Floats:
    """Return the outputs of inputs scaled towards the baseline of zero.

    Args:
        question: about B people.
        who: int64 [k].
        place: float64 [k], 0 at the baseline, 1 at the person's own input.
        at_once: rows.
    """
    found = []
    with torch.no_grad():
        for i in range(0, len(who), at_once):
            people = torch.from_numpy(who[i : i + at_once])
            scale = torch.from_numpy(place[i : i + at_once]).to(question.embedded)
            steps = int(question.lengths[people].max())
            embedded = question.embedded[people, :steps] * scale[:, None, None]
            static = question.static[people] * scale[:, None]
            found.append(question.answer(embedded, static, people).double().cpu().numpy())
    return np.concatenate(found) if found else np.zeros(0)


def _along(
    question: Question, some: _Stretches, rule: tuple[Floats, Floats]
) -> tuple[Tensor, Tensor]:
    """Shares of k stretches, [k, t, E] and [k, S]."""
    who, like = torch.from_numpy(some.who), question.embedded
    nodes, weights = rule
    width = some.high - some.low
    place = torch.from_numpy(some.low + width * (nodes[:, None] + 1) / 2).to(like)
    factor = torch.from_numpy(weights / 2).to(like)
    steps = int(question.lengths[who].max())
    own = (question.embedded[who, :steps], question.static[who])
    scaled = [
        (place.view(*place.shape, *[1] * (x.ndim - 1)) * x).flatten(0, 1).requires_grad_()
        for x in own
    ]
    with torch.enable_grad():
        total = question.answer(scaled[0], scaled[1], who.repeat(len(nodes))).sum()
        grads = torch.autograd.grad(total, scaled, allow_unused=True)
    found = []
    for x, grad in zip(own, grads, strict=True):
        if grad is None:
            found.append(torch.zeros_like(x, dtype=torch.float64))
            continue
        mean = torch.tensordot(factor, grad.view(len(nodes), *x.shape), 1)
        span = torch.from_numpy(width).to(x.device).view(-1, *[1] * (x.ndim - 1))
        found.append((x * mean).double() * span)
    real = real_steps(question.lengths[who], steps)
    return torch.where(real[..., None], found[0], 0.0), found[1]


def _pass(
    question: Question, todo: _Stretches, rule: tuple[Floats, Floats], at_once: int
) -> tuple[list[tuple[NDArray[np.int64], Tensor, Tensor]], Floats]:
    """People and shares of all stretches, some at a time, and how far each misses its change."""
    parts, totals = [], []
    size = max(1, at_once // len(rule[0]))
    for i in range(0, len(todo.who), size):
        some = todo.take(slice(i, i + size))
        own, fixed = (x.cpu() for x in _along(question, some, rule))
        totals.append((own.flatten(1).sum(1) + fixed.sum(1)).numpy())
        parts.append((some.who, own, fixed))
    return parts, np.abs(np.concatenate(totals) - (todo.end - todo.start))


def integrate(question: Question, n_steps: int, max_steps: int, at_once: int) -> Shares:
    """Return Integrated Gradients from the baseline of zeros, with points where they are needed.

    Args:
        question: about B people; fastest where they are in the order of their lengths.
        n_steps: points of the rule along a stretch, at first the whole path.
        max_steps: of a person, all stretches together; n_steps of the first pass are always taken.
        at_once: rows (stretches times points) in one pass.

    Source: Sundararajan, Taly, Yan (2017), equation 1.
    """
    rule = np.polynomial.legendre.leggauss(n_steps)
    everyone = np.arange(len(question))
    ends = [outputs_at(question, everyone, np.full(len(everyone), x), at_once) for x in (0.0, 1.0)]
    change = np.abs(ends[1] - ends[0])
    bar = np.maximum(BAR * change, _ROUNDING * np.maximum(np.abs(ends[0]), np.abs(ends[1])))
    sequence = torch.zeros(question.embedded.shape, dtype=torch.float64)
    static = torch.zeros(question.static.shape, dtype=torch.float64)
    points = np.zeros(len(question), dtype=np.int64)
    todo = _Stretches(everyone, np.zeros(len(everyone)), np.ones(len(everyone)), *ends)
    while len(todo.who):
        np.add.at(points, todo.who, n_steps)
        parts, error = _pass(question, todo, rule, at_once)
        again = error > bar[todo.who] * np.maximum(todo.high - todo.low, _LEAST_SHARE)
        # Both halves of every missed stretch of a person, or none.
        more = 2 * n_steps * np.bincount(todo.who[again], minlength=len(question))
        again &= (points + more <= max_steps)[todo.who]
        kept = np.split(~again, np.cumsum([len(who) for who, *_ in parts])[:-1])
        for (who, own, fixed), keep in zip(parts, kept, strict=True):
            people, mask = torch.from_numpy(who[keep]), torch.from_numpy(keep)
            sequence[:, : own.shape[1]].index_add_(0, people, own[mask])
            static.index_add_(0, people, fixed[mask])
        todo = todo.take(again).halved(question, at_once)
    return Shares(sequence, static, ends[1], ends[0], points)
