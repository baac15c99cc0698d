"""Stopping before the last step, in training without privacy: people set aside say when.

A private run takes the steps that it planned: they are paid for, and a loss of people set aside
would be one more thing that is released about them.
"""

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnn.batch import PreparedSequences
from rnn.fit import Fit
from rnn.losses import batch_losses
from rnn.model import load_weights
from tasks.recipe import TrainPlan

Rows = NDArray[np.int64]
BATCH = 1024
BEST = "best/"


def set_aside(plan: TrainPlan, rows: Rows) -> tuple[Rows, Rows]:
    """Return the rows to train on and those that say when to stop, which may be none.

    Args:
        plan: of a run without privacy, else nobody is set aside.
        rows: of all training people.
    """
    early = plan.train.early_stopping
    if early is None or plan.privacy is not None:
        return rows, rows[:0]
    order = np.random.default_rng(plan.train.seed).permutation(len(rows))
    count = max(1, round(early.share * len(rows)))
    return np.sort(rows[order[count:]]), np.sort(rows[order[:count]])


class Stopper:
    """The best weights so far, by the loss of people set aside."""

    def __init__(self, plan: TrainPlan, sequences: PreparedSequences, rows: Rows) -> None:
        """Nothing is known yet.

        Args:
            plan: with early_stopping.
            sequences: of all people.
            rows: of those set aside.
        """
        assert plan.train.early_stopping is not None
        self.settings, self.sequences, self.rows = plan.train.early_stopping, sequences, rows
        self.best_loss, self.best_step, self.stopped = float("inf"), 0, False
        self.best: dict[str, Tensor] = {}

    @torch.no_grad()
    def loss(self, fit: Fit) -> float:
        """Return the mean loss of the people set aside under the average of weights."""
        model = copy.deepcopy(fit.model)
        load_weights(model, fit.average)
        model.eval()
        total = 0.0
        for start in range(0, len(self.rows), BATCH):
            batch = self.sequences.batch(self.rows[start : start + BATCH]).to(fit.device)
            total += float(batch_losses(model.outputs(batch), batch, model.shape).double().sum())
        return total / len(self.rows)

    def after(self, fit: Fit) -> float | None:
        """Look after a step, where it is time to; return the loss, None where it is not."""
        if fit.step_count % self.settings.every:
            return None
        loss = self.loss(fit)
        if loss < self.best_loss:
            self.best_loss, self.best_step = loss, fit.step_count
            self.best = {name: value.detach().clone() for name, value in fit.average.items()}
        late = fit.step_count - self.best_step
        self.stopped = late >= self.settings.patience * self.settings.every
        return loss

    def restore(self, fit: Fit) -> None:
        """Put the best weights where the released ones are."""
        for name, value in self.best.items():
            fit.average[name].copy_(value)

    def tensors(self) -> dict[str, Tensor]:
        """Return what a checkpoint keeps."""
        return {f"{BEST}{name}": value for name, value in self.best.items()}

    def notes(self) -> dict[str, Any]:
        """Return what a checkpoint keeps beside."""
        loss = None if self.best_loss == float("inf") else self.best_loss
        return {"loss": loss, "step": self.best_step, "stopped": self.stopped}

    def load(self, saved: dict[str, Tensor], notes: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.best = {
            name.removeprefix(BEST): value.clone()
            for name, value in saved.items()
            if name.startswith(BEST)
        }
        self.best_loss = float("inf") if notes["loss"] is None else notes["loss"]
        self.best_step, self.stopped = notes["step"], notes["stopped"]
