"""The training loop, with privacy or without, one step at a time and resumable at each.

B rows in a physical batch; a logical batch is a Poisson sample of all training persons.
"""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from rnn.batch import PreparedSequences
from rnn.config import TrainConfig
from rnn.fairness.config import Mitigation, NoMitigation
from rnn.fairness.groups import Groups
from rnn.fairness.run import Mitigator
from rnn.freezing import Freeze, Freezer
from rnn.masks import MASKS, masks_from
from rnn.model import SequenceModel
from rnn.privacy.clipping import Bound
from rnn.privacy.engine import (
    Batch,
    ClipReport,
    PrivateOptimizer,
    accumulate_clipped,
    clip_together,
    numbered,
)
from rnn.privacy.mechanism import Mechanism
from rnn.privacy.moving import (
    AnyBound,
    current,
    load_bound,
    move,
    rescale,
    saved_bound,
    total_bound,
)
from rnn.privacy.noise import Keystream
from rnn.privacy.null_run import NullRun
from rnn.privacy.ranks import Ranks
from rnn.schedule import learning_rate, optimizer_of
from rnn.step_report import Part, StepReport, summarised
from rnn.units import Population, Sample

__all__ = ["Fit", "Mechanism", "StepReport", "learning_rate", "resolve_device"]


def resolve_device(name: str) -> torch.device:
    """Return the device that a setting asks for; auto takes a GPU when there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def _under(prefix: str, saved: dict[str, Tensor]) -> dict[str, Tensor]:
    """What is saved under a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in saved.items() if k.startswith(prefix)}


class Fit:
    """A training run that can be stopped after any step and taken up from its tensors."""

    def __init__(
        self,
        model: SequenceModel,
        sequences: PreparedSequences,
        rows: NDArray[np.int64],
        config: TrainConfig,
        *,
        sample_rate: float,
        mechanism: Mechanism | None,
        keystream: Keystream,
        ranks: Ranks | None = None,
        mitigation: Mitigation | None = None,
        groups: Groups | None = None,
        null_canaries: int = 0,
        freeze: Freeze | None = None,
    ):
        """Prepare a run.

        Args:
            model: with its initial weights.
            sequences: all people; only `rows` are trained on.
            rows: the training rows.
            config: steps, rates, sizes.
            sample_rate: inclusion probability a step, a constant of the settings.
            mechanism: clipping and noise, or None for training without privacy.
            keystream: of sampling and noise.
            ranks: processes that train together, each with all rows; this one alone if None.
            mitigation: what is done for groups; the mechanism accounts for the same.
            groups: of all rows, where it is done by group.
            null_canaries: parameters beside the model that measure what privacy is claimed of
                the run; 0 for none. Without privacy there are none.
            freeze: layers that stay as they are -> the step, counted from 0, that first moves
                them; None for no step.

        Raises:
            ValueError: the mechanism accounts for another mitigation, or settings contradict.
        """
        self.device = resolve_device(config.device)
        self.model = model.to(self.device)
        self.freezer = Freezer.of(self.model, freeze or {})
        # Before bounds are shared out: what is never trained takes none.
        self.freezer.always()
        mitigation = mitigation or NoMitigation()
        if mechanism is not None and mechanism.mitigation != mitigation:
            raise ValueError("the mechanism accounts for another mitigation")
        batch = config.expected_batch_size
        self.mitigator = Mitigator(
            mitigation,
            groups,
            self.model,
            sequences.targets,
            releases=mechanism.releases(batch) if mechanism else (),
            expected_batch_size=batch,
            seed=config.seed,
        )
        # The model, and an adversary where there is one.
        self.trained = self.mitigator.trained.to(self.device)
        self.sequences, self.config = sequences, config
        self.sample_rate, self.mechanism, self.keystream = sample_rate, mechanism, keystream
        self.ranks = ranks or Ranks()
        by_person = sequences.units is not None and (
            mechanism is None or mechanism.unit == "person"
        )
        self.population = Population(
            rows,
            np.asarray(sequences.units)[rows] if by_person else None,
            mechanism.max_sequences if mechanism else Mechanism.max_sequences,
        )
        self.step_count = 0
        self.plain = optimizer_of(self.trained, config)
        self.optimizer: Optimizer = self.plain
        self.bound: AnyBound = math.inf
        self.null: NullRun | None = None
        if mechanism is not None:
            self.bound = mechanism.bound(self.trained, batch)
            if null_canaries:
                self._add_canaries(null_canaries, mechanism)
            self.optimizer = self._private(mechanism)
        self.freezer.at(self.step_count)
        self.average = {n: p.detach().clone() for n, p in model.named_parameters()}

    def _add_canaries(self, count: int, mechanism: Mechanism) -> None:
        """Put the null block beside the model: into the sum and its noise, not into the weights."""
        self.null = NullRun(
            count,
            mechanism,
            self.bound,
            expected_batch_size=self.config.expected_batch_size,
            by_person=self.population.numbers is not None,
            keystream=self.keystream,
            ranks=self.ranks,
            like=next(self.model.parameters()),
        )
        self.bound = self.null.bound

    def _private(self, mechanism: Mechanism) -> PrivateOptimizer:
        """The optimizer of all that is trained, and of the canaries where there are some."""
        batch = self.config.expected_batch_size
        optimizer = PrivateOptimizer(
            self.plain,
            noise_multiplier=mechanism.gradient_noise(batch),
            max_grad_norm=total_bound(self.bound),
            expected_batch_size=batch,
            ranks=self.ranks,
            beside=self.null.parameters() if self.null else (),
        )
        if self.null is not None:
            # Called by every step that releases something, counted or not.
            optimizer.attach_step_hook(self.null.observe)
        return optimizer

    def step(self) -> StepReport:
        """Take one step on one Poisson sample."""
        stream = self.keystream.child(self.step_count)
        sample = self._sample(stream)
        self.trained.train()
        self.optimizer.zero_grad()
        lengths = self.sequences.offsets[sample.rows + 1] - self.sequences.offsets[sample.rows]
        batches = sample.batches(lengths, self.config.physical_batch_size)
        with self._masks(stream):
            parts = self._batches(batches)
        for group in self.plain.param_groups:
            group["lr"] = learning_rate(self.config, self.step_count)
        if isinstance(self.optimizer, PrivateOptimizer):
            self._private_step(self.optimizer, stream, parts)
        else:
            if self.config.gradient_clip is not None:
                nn.utils.clip_grad_norm_(self.trained.parameters(), self.config.gradient_clip)
            self.optimizer.step()
        self.mitigator.step([part.seen for part in parts], stream, self.ranks)
        self.step_count += 1
        self.freezer.at(self.step_count)
        self._update_average()
        return summarised(self.step_count, parts)

    def _masks(self, stream: Keystream) -> AbstractContextManager[None]:
        """Where a step's dropout masks come from; a seeded run that resumes repeats them."""
        if self.mechanism is None:
            seed = self.config.seed * 1_000_003 + self.step_count + 7 * self.ranks.rank
            # `torch.manual_seed` asks after every kind of device, which takes longer than a step.
            torch.default_generator.manual_seed(seed)
            if self.device.type == "cuda":
                torch.cuda.manual_seed_all(seed)
            return nullcontext()
        return masks_from(stream.child(MASKS + self.ranks.rank).bernoulli, self.trained)

    def _sample(self, stream: Keystream) -> Sample:
        """This process's share of the logical batch, which the first process draws."""
        if self.ranks.size == 1:
            return self._draw(self.population, stream)
        whole = self._draw(self.population, stream) if self.ranks.first else None
        rows = self.ranks.agree(whole.rows if whole else None)
        units = self.ranks.agree(whole.units if whole else None)
        return Sample(rows, units).part(self.ranks.rank, self.ranks.size)

    def _draw(self, population: Population, stream: Keystream) -> Sample:
        """A Poisson sample, of people and of canaries alike."""
        return population.draw(stream, self.sample_rate)

    def _private_step(
        self, optimizer: PrivateOptimizer, stream: Keystream, parts: list[Part]
    ) -> None:
        """Noise and step; then the bound moves, where it moves."""
        optimizer.keystream = stream
        optimizer.max_grad_norm = total_bound(self.bound)
        optimizer.rescale = rescale(self.bound)
        optimizer.step()
        move(self.bound, [part.seen for part in parts], stream, self.ranks)

    def _batches(self, batches: list[Sample]) -> list[Part]:
        """What was seen of each physical batch; the canaries are clipped with the first."""
        canaries = None
        if self.null is not None:
            canaries = self._canaries(self.null, self.null.streams.child(self.step_count))
        if canaries is not None and not batches:
            clip_together([canaries])
        beside = [canaries, *[None] * len(batches)]
        return [self._physical(batch, extra) for batch, extra in zip(batches, beside, strict=False)]

    def _physical(self, part: Sample, canaries: Batch | None = None) -> Part:
        """Losses and gradient norms of one physical batch; gradients are accumulated."""
        batch = self.sequences.batch(part.rows).to(self.device)
        kept: list[Tensor] = []

        def losses() -> Tensor:
            values, own = self.mitigator.losses(batch, part.rows)
            kept.append(own)
            return values

        if self.mechanism is None:
            values = losses()
            (values.sum() / self.config.expected_batch_size).backward()
            nothing = values.new_zeros(0)
            report = ClipReport(nothing, nothing.bool(), 0)
            return Part(kept[0], self.mitigator.seen(part.rows, kept[0], report, None))
        units = self._units(part)
        codes = self.mitigator.of_rows(part.rows)
        bound = self._bound(codes)
        _, report = accumulate_clipped(self.trained, losses, bound, units, canaries)
        seen = self.mitigator.seen(part.rows, kept[0], report, numbered(units, len(kept[0])))
        return Part(kept[0], seen)

    def _units(self, part: Sample) -> Tensor | None:
        """Whose gradients are clipped together; None where each row is alone."""
        if self.population.numbers is None:
            return None
        return torch.from_numpy(part.units).to(self.device)

    def _canaries(self, null: NullRun, stream: Keystream) -> Batch | None:
        """The canaries of this step, drawn and bounded as people are; nobody counts them."""
        sample = self._draw(null.population, stream)
        tape = null.tape(sample)
        if not len(sample.rows):
            return None
        units = numbered(self._units(sample), len(sample.rows))
        return Batch(tape, units, self._bound(null.codes(sample)))

    def _bound(self, codes: Tensor | None) -> Bound | Tensor:
        """What people and canaries of these groups are clipped to now."""
        return current(self.bound, None if codes is None else codes.to(self.device))

    def _update_average(self) -> None:
        """Exponential average of weights, short-sighted at first: post-processing, it is free."""
        decay = min(self.config.averaging, self.step_count / (self.step_count + 10))
        if self.config.averaging == 0:
            decay = 0.0
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                self.average[name].lerp_(parameter, 1 - decay)

    def _trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        """All that is trained, the model's parameters under their own names."""
        yield from self.model.named_parameters()
        if self.mitigator.adversary is not None:
            yield from self.mitigator.adversary.named_parameters(prefix="adversary")

    def tensors(self) -> dict[str, Tensor]:
        """Return all that a later process needs to go on; no key or seed is among it."""
        out = {"step": torch.tensor(self.step_count)}
        out |= {f"bound/{key}": value for key, value in saved_bound(self.bound).items()}
        out |= {f"weights/{key}": value for key, value in self.mitigator.tensors().items()}
        if self.null is not None:
            out |= {f"null/{key}": value for key, value in self.null.tensors().items()}
        out |= {f"average/{name}": value for name, value in self.average.items()}
        for name, parameter in self._trained():
            out[f"weight/{name}"] = parameter.detach()
            for key, value in self.plain.state.get(parameter, {}).items():
                out[f"optimizer/{key}/{name}"] = torch.as_tensor(value)
        return out

    def load_tensors(self, saved: dict[str, Tensor]) -> None:
        """Go on from what `tensors` gave."""
        self.step_count = int(saved["step"])
        self.freezer.at(self.step_count)
        load_bound(self.bound, _under("bound/", saved))
        self.mitigator.load(_under("weights/", saved))
        if self.null is not None:
            self.null.load(_under("null/", saved))
        with torch.no_grad():
            for name, value in self.average.items():
                value.copy_(saved[f"average/{name}"])
            for name, parameter in self._trained():
                parameter.copy_(saved[f"weight/{name}"])
                state = {
                    key.split("/")[1]: value.clone()
                    for key, value in saved.items()
                    if key.startswith("optimizer/") and key.split("/", 2)[2] == name
                }
                if state:
                    self.plain.state[parameter] = state
