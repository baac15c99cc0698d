"""A model and the people whose decisions are read.

N held-out people, G groups of all sensitive features.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rnn.model import SequenceModel
from tasks.artifacts import Prepared
from tasks.evidence.attributions import MIN_PEOPLE
from tasks.evidence.contributions import Rows
from tasks.evidence.suppress import Groups, Level, find_groups, reasons
from tasks.recipe import DataConfig, ExplainConfig, TargetPlan

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Subject:
    """A model, the people it decides about, and what is known of them.

    Attributes:
        model: the private one.
        prepared: all people.
        predictions: one row a held-out row of prepared data.
        sensitive: a column a sensitive feature, rows as in prepared data.
        target: classes and decision.
        data: bounds, transforms, sensitive features.
        config: as the recipe says.
        references: by sensitive feature, the group to compare with; else the largest.
    """

    model: SequenceModel
    prepared: Prepared
    predictions: pl.DataFrame
    sensitive: pl.DataFrame
    target: TargetPlan
    data: DataConfig
    config: ExplainConfig
    references: Mapping[str, str]

    def groups(self, rows: Rows) -> Groups:
        """Return the groups of some rows."""
        return find_groups(
            {name: self.sensitive[name].gather(rows).to_list() for name in self.sensitive.columns}
        )


@dataclass(frozen=True)
class Decisions:
    """Who got which decision, of the held-out rows.

    Attributes:
        rows: int64 [N], rising.
        favoured: bool [N].
        score: float64 [N], of the event.
        toward: 1 where the event is unfavourable, else -1.
    """

    rows: Rows
    favoured: NDArray[np.bool_]
    score: NDArray[np.float64]
    toward: int


def one_a_person(prepared: Prepared, rows: Rows) -> Rows:
    """Return positions of one row a person, rising: tests take people as independent.

    Args:
        prepared: whose rows they are.
        rows: int64 [n], rows of prepared data.
    """
    ids = prepared.people["person_id"].gather(rows).to_numpy()
    _, first = np.unique(ids, return_index=True)
    return np.sort(first)


def decisions(subject: Subject, *, every_row: bool = False) -> Decisions | None:
    """Return held-out decisions; None where nothing is decided, or everybody gets the same.

    Args:
        subject: with predictions.
        every_row: of a person with several rows, all; else the first alone.
    """
    decision, target = subject.target.decision, subject.target.target
    if decision is None or target.kind != "binary":
        return None
    table = subject.predictions.sort("row")
    rows = table["row"].to_numpy()
    kept = np.arange(len(rows)) if every_row else one_a_person(subject.prepared, rows)
    favourable = target.classes.index(decision.favourable)
    favoured = (table["y_pred"].to_numpy() == favourable)[kept]
    if favoured.all() or not favoured.any():
        return None
    score = table["y_score"].to_numpy().astype(np.float64)[kept]
    return Decisions(rows[kept], favoured, score, 1 if favourable == 0 else -1)


def withheld(groups: Groups) -> list[str | None]:
    """Return why figures of a group are not published, None where they are.

    Args:
        groups: of the people measured.
    """
    size = np.bincount(groups.codes.ravel(), minlength=len(groups.labels))
    return reasons(groups, [Level("people", "people", size[:, None], MIN_PEOPLE)], size)["people"]
