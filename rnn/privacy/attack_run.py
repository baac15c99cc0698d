"""The attack run: the recipe's own training on people who do not exist, attacked and discarded.

m canaries, each there or not by a coin of its own, sit among invented bystanders. All of them go
through the real layers and the real engine: sampling, gradients a person, clipping, noise,
normaliser, optimizer, in as many steps as the recipe has. The attacker sees the noisy sum of every
step and the weights, computes each canary's gradient at those weights and takes away what the
bystanders added, whose sampling it knows; only the coins and the canaries' sampling are hidden.

m canaries, W numbers in parameters that the gradients of invented people can touch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rnn.batch import SequenceBatch
from rnn.config import ModelConfig, TrainConfig
from rnn.fairness.groups import Groups
from rnn.fit import Fit
from rnn.freezing import Freeze
from rnn.model import SequenceModel, build
from rnn.privacy.canaries import Measured, NullAccount, contribution, noise_scale, sampling
from rnn.privacy.clipping import LayerBounds, clip_factors
from rnn.privacy.engine import PrivateOptimizer, rounding_margin
from rnn.privacy.evidence import Evidence
from rnn.privacy.invented import InputBounds, invented
from rnn.privacy.loud import LoudLosses
from rnn.privacy.mechanism import Mechanism
from rnn.privacy.moving import current, rescale, total_bound
from rnn.privacy.noise import Keystream

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Rows = NDArray[np.int64]

# Numbers in all canaries' gradients together, which a step's time grows with; beyond, there are
# fewer canaries, but no fewer than prove something, as long as there is room for them.
MOST_NUMBERS = 1 << 24
LEAST_CANARIES = 100
ROOM = 1 << 27
# Numbers in the gradients of one pass.
_CHUNK = 1 << 24
# Steps between two looks at how alike the canaries' gradients are.
_REBALANCED = 10


@dataclass(frozen=True)
class Attacked:
    """What the attacker made of one run; no person's data went into it.

    Attributes:
        scores: float64 [m], higher where a canary seems to be there.
        present: bool [m], the coins.
        bystanders: other invented people.
        rows_each: rows of each.
        parameters: numbers in the model.
        crosstalk: variance that other canaries add to a canary's noise, as a share of it; mean
            over the steps.
        noise_scale: noise multiplier that is left when all that was sampled is taken away.
        contribution: of a sampled canary, in clip bounds; None where none was sampled.
        sampling: share of steps that sampled a canary that was there; None where none was.
    """

    scores: Array
    present: Flags
    bystanders: int
    rows_each: int
    parameters: int
    crosstalk: float
    noise_scale: Measured
    contribution: Measured | None
    sampling: Measured | None

    @property
    def rejected(self) -> tuple[str, ...]:
        """Return which figures of the run contradict what is claimed of it."""
        found = {name: getattr(self, name) for name in ("noise_scale", "contribution", "sampling")}
        return tuple(name for name, one in found.items() if one is not None and one.refuted)


class _Attacker:
    """Watches a run from step to step."""

    def __init__(self, fit: Fit, loud: LoudLosses, evidence: Evidence, noise: float):
        """Know the run's settings, its invented people and the claimed noise."""
        self.fit, self.loud, self.evidence, self.noise = fit, loud, evidence, noise
        self.canary_rows = np.arange(loud.canaries * loud.each)
        # For the canaries' gradients, the largest thing of a step: one place for all steps.
        self.room: Tensor | None = None
        # Layers that are let go of later have noise in some of the steps alone.
        self.steady = {id(p) for p in fit.trained.parameters() if p.requires_grad}
        size = sum(p.numel() for p in fit.trained.parameters() if p.requires_grad)
        # By coordinate what noise is left, and by canary how often it was sampled.
        self.left = NullAccount(size, evidence.sample_rate, noise)
        self.taken = NullAccount(loud.canaries, evidence.sample_rate, noise)

    def before_step(self) -> None:
        """Let losses follow the bound, and ask of those layers alone that the step moves."""
        self.loud.listen()
        self.loud.bound = total_bound(self.fit.bound)

    def __call__(self, optimizer: PrivateOptimizer) -> None:
        """Look at what a step releases, before the weights move."""
        fit, loud = self.fit, self.loud
        used = np.sort(np.concatenate([*loud.used, np.zeros(0, dtype=np.int64)]))
        others = used[used >= len(self.canary_rows)]
        parameters = optimizer.params
        bound = total_bound(fit.bound)
        scale = fit.config.expected_batch_size / (rescale(fit.bound) * bound)
        noisy = torch.cat([p.grad.detach().flatten() for p in parameters]) * scale
        # What nobody's gradient can touch says nothing of anybody.
        columns = loud.reach.columns(parameters)
        seen = noisy[columns] - self._clipped(others, parameters).sum(0) / bound
        self.room = self._clipped(self.canary_rows, parameters, self.room)
        mine = self.room.div_(bound)
        self.evidence.add(seen, mine, self.noise)
        sampled = np.unique(used[used < len(self.canary_rows)] // loud.each)
        known = mine[torch.from_numpy(sampled).to(mine.device)].sum(0)
        self._check(noisy.index_copy_(0, columns, seen - known), parameters)
        self._count(seen, known, sampled)
        if self.evidence.steps % _REBALANCED == 1:
            loud.rebalance(mine, parameters)
        loud.next_step()

    def _check(self, left: Tensor, parameters: Sequence[nn.Parameter]) -> None:
        """Hold what is left of a step against the noise; sampling, which no attacker knows, is out.

        Args:
            left: float [all parameters' numbers], touched by anybody or not.
            parameters: in the same order.
        """
        parts = left.split([p.numel() for p in parameters])
        steady = [v for v, p in zip(parts, parameters, strict=True) if id(p) in self.steady]
        self.left.sums[1] += torch.cat(steady).double().cpu().numpy() ** 2
        self.left.steps += 1

    def _count(self, seen: Tensor, known: Tensor, sampled: Rows) -> None:
        """Hold the canaries of a step against their share: by projection on all that was sampled.

        Args:
            seen: float [W], of canaries and noise.
            known: float [W], of the sampled canaries.
            sampled: int64, which they were.
        """
        self.left.sums[2, 0] += float((seen * known).double().sum())
        self.left.sums[3, 0] += float(known.double().square().sum())
        self.taken.sums[3, sampled] += 1
        self.taken.steps += 1

    def _clipped(
        self, rows: Rows, parameters: Sequence[nn.Parameter], out: Tensor | None = None
    ) -> Tensor:
        """Each unit's gradient as the engine should clip it, [units, W]; computed on its own."""
        each, size = self.loud.each, sum(self.loud.reach.sizes(parameters))
        shape = (len(rows) // each, size)
        if out is None or out.shape != shape:
            out = torch.empty(shape, device=self.fit.device)
        chunk = max(1, _CHUNK // max(1, size))
        for start in range(0, shape[0], chunk):
            part = out[start : start + chunk]
            some = rows[start * each : (start + chunk) * each]
            batch = self.fit.sequences.batch(some).to(self.fit.device)
            self.loud.gradients(batch, some, each, parameters, part)
            self._clip(part, some[::each], parameters)
        return out

    def _clip(self, found: Tensor, rows: Rows, parameters: Sequence[nn.Parameter]) -> None:
        """Bring gradients to the bounds of their units, in place."""
        codes = self.loud.of_rows(rows)
        bound = current(self.fit.bound, None if codes is None else codes.to(found.device))
        if not isinstance(bound, LayerBounds):
            limit = bound.to(found.dtype) if isinstance(bound, Tensor) else bound
            found.mul_(clip_factors(torch.linalg.vector_norm(found, dim=1), limit)[:, None])
            return
        parts = found.split(self.loud.reach.sizes(parameters), 1)
        groups = [bound.groups[id(parameter)] for parameter in parameters]
        squares = found.new_zeros(len(found), len(bound.bounds))
        for part, group in zip(parts, groups, strict=True):
            squares[:, group] += part.square().sum(1)
        limits = torch.tensor(bound.bounds, dtype=found.dtype, device=found.device)
        factors = (limits / squares.sqrt().clamp(min=1e-30)).clamp(max=1.0)
        for part, group in zip(parts, groups, strict=True):
            part.mul_(factors[:, group, None])


def _groups(labels: Sequence[str], persons: Rows, seed: int) -> Groups | None:
    """Random labels of invented people, one a person."""
    if not labels:
        return None
    codes = np.random.default_rng(seed).integers(0, len(labels), int(persons.max()) + 1)
    return Groups(codes[persons], tuple(labels))


def _in_passes(fit: Fit, rows: Rows) -> Iterator[tuple[SequenceBatch, Rows]]:
    """All rows in batches of a training pass's size."""
    for part in np.array_split(rows, -(-len(rows) // fit.config.physical_batch_size)):
        yield fit.sequences.batch(part).to(fit.device), part


def attack_run(
    model: ModelConfig,
    inputs: InputBounds,
    train: TrainConfig,
    mechanism: Mechanism,
    *,
    canaries: int,
    bystanders: int,
    labels: Sequence[str] = (),
    seed: int = 0,
    start: SequenceModel | None = None,
    freeze: Freeze | None = None,
) -> Attacked:
    """Train on invented people, attack every step, and forget the model.

    Nobody who exists takes part, so that seeds may be known and the outcome may be published.
    Dropout is switched off: it is no part of the promise, and the attacker would have to guess it.

    Args:
        model: settings of the recipe's.
        inputs: what a permitted input is.
        train: settings of the recipe's training.
        mechanism: of the recipe's promise.
        canaries: m at most; fewer where the model is large.
        bystanders: other invented people.
        labels: of the groups that the recipe's mitigation reads; random ones are given out.
        seed: of inputs, coins, sampling and noise.
        start: the network before its first step, without dropout; random weights if None.
        freeze: of the recipe's training, as in `Fit`.

    Raises:
        ValueError: the model is so large that too few canaries fit.
    """
    bare = replace(model, dropout=0.0, token_dropout=0.0)
    net = start or build(bare, inputs.shape, train.seed)
    size = sum(p.numel() for p in net.parameters())
    canaries = min(canaries, max(MOST_NUMBERS // size, LEAST_CANARIES))
    if canaries * size > ROOM:
        raise ValueError(
            f"{size} parameters: the gradients of {canaries} canaries are more than {ROOM} numbers"
        )
    by_person = mechanism.unit == "person" and mechanism.max_sequences > 1
    each = 2 if by_person else 1
    persons = np.repeat(np.arange(canaries + bystanders), each)
    stream = Keystream.from_seed(seed)
    present = stream.child(0).bernoulli(0.5, canaries)
    there = np.concatenate([present, np.ones(bystanders, dtype=np.bool_)])
    fit = Fit(
        net,
        invented(inputs, len(persons), seed, persons if by_person else None),
        np.flatnonzero(there[persons]),
        train,
        sample_rate=mechanism.sample_rate,
        mechanism=mechanism,
        keystream=stream.child(1),
        mitigation=mechanism.mitigation,
        groups=_groups(labels, persons, seed),
        freeze=freeze,
    )
    loud = LoudLosses(fit.mitigator, canaries, each, inputs.longest, seed)
    fit.mitigator = loud
    loud.look(_in_passes(fit, np.arange(len(persons))))
    noise = mechanism.gradient_noise(train.expected_batch_size)
    noise *= 1 + rounding_margin(train.expected_batch_size)
    evidence = Evidence(canaries, mechanism.sample_rate, seed)
    attacker = _Attacker(fit, loud, evidence, noise)
    assert isinstance(fit.optimizer, PrivateOptimizer)
    fit.optimizer.attach_step_hook(attacker)
    for _ in range(train.steps):
        attacker.before_step()
        fit.step()
    crosstalk = evidence.crosstalk / max(1, evidence.steps)
    return Attacked(
        scores=evidence.scores,
        present=present,
        bystanders=bystanders,
        rows_each=each,
        parameters=size,
        crosstalk=crosstalk,
        noise_scale=noise_scale(attacker.left),
        contribution=contribution(attacker.left),
        sampling=sampling(attacker.taken, present),
    )
