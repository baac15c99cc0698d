"""A mitigation while it runs: whose group is whose, what losses weigh, the adversary.

N rows in all, B in a physical batch, P units, G group labels.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rnn.batch import SequenceBatch
from rnn.fairness.adversary import Adversary, Joint, guess_losses
from rnn.fairness.config import (
    BoundedGroupLoss,
    GradientReversal,
    Mitigation,
    Reweight,
    feature_of,
)
from rnn.fairness.groups import Groups
from rnn.fairness.weights import (
    ConstantWeights,
    CountedWeights,
    LossWeights,
    Weights,
    once_counted,
)
from rnn.losses import batch_losses
from rnn.model import SequenceModel
from rnn.privacy.counts import Seen, Sizes, by_unit, mean_by_unit
from rnn.privacy.effective import Release
from rnn.privacy.engine import ClipReport
from rnn.privacy.noise import Keystream
from rnn.privacy.ranks import Ranks

Rows = NDArray[np.int64]


class Mitigator:
    """Losses of a training run, and what follows from released numbers."""

    def __init__(
        self,
        config: Mitigation,
        groups: Groups | None,
        model: SequenceModel,
        targets: NDArray[np.generic],
        *,
        releases: tuple[Release, ...],
        expected_batch_size: int,
        seed: int,
    ):
        """Set up.

        Args:
            config: what is done.
            groups: of all N rows, where it is done by group.
            model: that is trained.
            targets: [N], for cells of group and class.
            releases: what a private step releases beside the gradients; empty without privacy,
                where counts are exact.
            expected_batch_size: what a step's counts add up to, a constant.
            seed: of the adversary's weights.

        Raises:
            ValueError: groups are missing, or classes are needed and the task has none.
        """
        if feature_of(config) is not None and groups is None:
            raise ValueError(f"{config.method} needs each person's group")
        self.config, self.model, self.groups = config, model, groups
        self.classes = self._classes()
        self.cells = self._cells(targets)
        noises = [r.noise for r in releases]
        self.weights = self._weights(noises, expected_batch_size)
        self.trained: nn.Module = model
        self.adversary: Adversary | None = None
        if isinstance(config, GradientReversal) and groups is not None:
            width = model.config.hidden_size * (2 if model.config.bidirectional else 1)
            known = len(groups.labels) - 1
            self.adversary = Adversary(width, config.hidden_size, known, config.strength, seed)
            self.trained = Joint(model, self.adversary)

    def _classes(self) -> int:
        """Cells of a group."""
        if not isinstance(self.config, Reweight) or not self.config.outcome:
            return 1
        task = self.model.shape.task
        if task == "regression":
            raise ValueError("reweight by outcome needs classes, not a regression")
        return 2 if task == "binary" else self.model.shape.output_size

    def _cells(self, targets: NDArray[np.generic]) -> Rows | None:
        """Whose weight each row has."""
        if self.groups is None or not isinstance(self.config, Reweight | BoundedGroupLoss):
            return None
        if self.classes == 1:
            return self.groups.codes
        return self.groups.codes * self.classes + np.asarray(targets).astype(np.int64)

    def _weights(self, noises: list[float], batch: int) -> Weights | None:
        """What losses are multiplied by."""
        config, groups = self.config, self.groups
        if groups is None:
            return None
        count = len(groups.labels) * self.classes
        if isinstance(config, Reweight):
            if config.weights:
                values = [config.weights.get(label, 1.0) for label in groups.labels]
                return ConstantWeights(torch.tensor(values, dtype=torch.float64))
            if config.counted == "once":
                return once_counted(config, groups)
            noise = noises[-1] if noises else 0.0
            return CountedWeights(config, self.classes, Sizes.of(count, noise, batch))
        if isinstance(config, BoundedGroupLoss):
            loss_noise, noise = noises[-2:] if noises else (0.0, 0.0)
            zeros = torch.zeros(count, dtype=torch.float64)
            return LossWeights(config, loss_noise, Sizes.of(count, noise, batch), zeros, zeros)
        return None

    def of_rows(self, rows: Rows) -> Tensor | None:
        """Return the group of each row, int64 [B], or None where nobody asks."""
        if self.groups is None:
            return None
        return torch.from_numpy(np.asarray(self.groups.codes[rows], dtype=np.int64))

    def losses(self, batch: SequenceBatch, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return what is differentiated, and the task's own loss, both float [B].

        Args:
            batch: of these rows, on the model's device.
            rows: int64 [B].
        """
        device = batch.lengths.device
        if self.adversary is not None:
            logits, guesses = self.trained(batch.inputs, batch.lengths, batch.static)
            own = batch_losses(logits, batch, self.model.shape)
            codes = self.of_rows(rows)
            assert codes is not None
            return own + guess_losses(guesses, codes.to(device)), own.detach()
        own = batch_losses(self.model.outputs(batch), batch, self.model.shape)
        if self.weights is None or self.cells is None:
            return own, own.detach()
        cells = torch.from_numpy(np.asarray(self.cells[rows], dtype=np.int64))
        return own * self.weights.values[cells].to(device, own.dtype), own.detach()

    def seen(self, rows: Rows, own: Tensor, report: ClipReport, units: Tensor | None) -> Seen:
        """Return what a physical batch showed of its units.

        Args:
            rows: int64 [B].
            own: float [B], the task's losses.
            report: from clipping; without privacy, of nobody.
            units: int64 [B], numbered 0..P-1; None: each row is a unit.
        """
        numbers = None if units is None else units.cpu()
        codes = self.of_rows(rows)
        cells = None if self.cells is None else torch.from_numpy(np.asarray(self.cells[rows]))
        return Seen(
            report.norms,
            report.clipped,
            mean_by_unit(own, units),
            None if codes is None else by_unit(codes, numbers),
            None if cells is None else by_unit(cells, numbers),
        )

    def step(self, parts: list[Seen], stream: Keystream, ranks: Ranks) -> None:
        """Release what the weights follow, and let them move."""
        if self.weights is not None:
            self.weights.step(parts, stream, ranks)

    def tensors(self) -> dict[str, Tensor]:
        """Return what a later process needs, the adversary's weights left out."""
        return {} if self.weights is None else self.weights.tensors()

    def load(self, saved: dict[str, Tensor]) -> None:
        """Go on from what `tensors` gave."""
        if self.weights is not None:
            self.weights.load(saved)
