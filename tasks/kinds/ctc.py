"""Symbols without their times: what was said, digit by digit or letter by letter.

n people asked for, B a batch, T steps, U symbols, C classes; 0 is the blank, class k is k + 1.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rnn.model import SequenceModel
from tasks.artifacts import Prepared
from tasks.kinds.answers.ctc import transcribed
from tasks.kinds.base import Array, Figure, Judged, Kind, Rows, shares
from tasks.kinds.one_stage import OneStage
from tasks.kinds.transcripts import judged, targets_of

FIGURES = (
    # Of words where the symbols are words.
    Figure("error_rate", "Symbol error rate", "", "lower", 3),
    Figure("exact", "Sequences without an error", "", "higher", 3),
    Figure("loss_a_symbol", "Cross-entropy a symbol", "nats", "lower", 3),
)


@dataclass(frozen=True)
class Frequent:
    """Hears nothing: the commonest training sequence, and how often each symbol stands there.

    Attributes:
        said: symbols, class + 1.
        costs: float64 [C + 1], nats of the end of a sequence and of each symbol.
    """

    said: list[int]
    costs: Array

    @classmethod
    def fit(cls, prepared: Prepared, seed: int) -> "Frequent":
        """Count sequences, and symbols with one added to each count."""
        every = targets_of(prepared.sequences, prepared.rows("train"))
        counts = np.ones(prepared.shape.output_size)
        for symbols in every:
            counts += np.bincount([*symbols, 0], minlength=len(counts))
        # The smallest of those that are equally common, so that no order of rows decides.
        common = Counter(map(tuple, every))
        said = min(common, key=lambda symbols: (-common[symbols], symbols), default=())
        return cls(list(said), -np.log(counts / counts.sum()))

    def judge(self, prepared: Prepared, rows: Rows) -> Judged:
        """Return the same sums as of a model."""
        wanted = targets_of(prepared.sequences, rows)
        losses = [float(self.costs[[*one, 0]].sum()) / max(len(one), 1) for one in wanted]
        return judged(wanted, [self.said] * len(wanted), np.array(losses), prepared.schema)


def judge(model: SequenceModel, prepared: Prepared, rows: Rows) -> Judged:
    """Return each sequence's edits, symbols and loss."""
    said, losses = transcribed(model, prepared.sequences, rows)
    return judged(targets_of(prepared.sequences, rows), said, losses, prepared.schema)


def summary(sums: Mapping[str, Array]) -> dict[str, Array]:
    """Return the error rate, the share without an error and the loss a symbol."""
    return {
        "error_rate": shares(sums["edits"], sums["symbols"]),
        "exact": shares(sums["exact"], sums["sequences"]),
        "loss_a_symbol": shares(sums["nll"], sums["symbols"]),
    }


CTC = Kind(FIGURES, {"one_stage": OneStage.fit, "frequent": Frequent.fit}, judge, summary)
