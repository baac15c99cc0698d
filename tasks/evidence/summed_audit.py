"""The audit where targets are sequences themselves: figures of groups from sums over people.

N rows of held-out people, G groups of all features together.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tasks.evidence import history
from tasks.evidence.audited import numbered
from tasks.evidence.compared import adjust
from tasks.evidence.intersections import Crossed
from tasks.evidence.plain_audit import feature_tables
from tasks.evidence.summed import Counts, Drawn, drawn, people_of
from tasks.evidence.summed_scores import LOSS, judged
from tasks.evidence.suppress import Groups, Level, reasons
from tasks.evidence.table_audit import nothing_withheld
from tasks.kinds.base import Judged, Kind
from tasks.kinds.table import KINDS
from tasks.recipe import AuditConfig
from tasks.stats import Interval

Table = dict[str, Any]
SHOWN: Table = {"overall": None, "source": {"kind": "suppressed"}}
PREFIXES = {"model": "", "twin": "twin_", "baseline": "baseline_"}


@dataclass(frozen=True)
class _Summed:
    """Figures of groups; all rest on people alone."""

    drawn: Drawn
    names: tuple[str, ...]

    def level(self, name: str) -> str:
        """People."""
        return "people"

    def at(self, name: str, group: int) -> Interval:
        """One group's."""
        return self.drawn.at(name, group)

    def apart(self, name: str, group: int, other: int) -> Interval:
        """Resampled together."""
        return self.drawn.apart(name, group, other)


@dataclass(frozen=True)
class SummedAudit:
    """Audits of one recipe's models.

    Attributes:
        task: kind of target.
        predictions: as predict wrote them.
        crossed: groups of all features and crossings.
        plan: references, resamples, smallest numbers.
    """

    task: str
    predictions: pl.DataFrame
    crossed: Crossed
    plan: AuditConfig

    @property
    def kind(self) -> Kind:
        """Return the kind of target."""
        return KINDS[self.task]

    @property
    def persons(self) -> Counts:
        """Return the number of each row's person, int64 [N]."""
        return numbered(self.predictions["person_id"])

    def measured(self, one: Judged) -> Drawn:
        """Return one model's figures of all groups."""
        return drawn(
            one.losses,
            one.sums,
            self.kind.summary,
            self.crossed.groups,
            self.persons,
            bootstraps=self.plan.bootstraps,
            seed=self.plan.seed,
            confidence=self.plan.confidence,
        )

    def internal(self) -> Table:
        """Return exact audits of model, twin and baseline, and what privacy cost whom."""
        models = {name: judged(self.predictions, prefix) for name, prefix in PREFIXES.items()}
        made = {name: self.measured(one) for name, one in models.items() if one is not None}
        why = nothing_withheld(self.crossed.groups.labels)
        found: Table = {name: self._tables(one, why) for name, one in made.items()}
        if "twin" in made:
            found["privacy_cost"] = self._cost(made["model"].minus(made["twin"]))
        return found

    def published(self, root: Path) -> Table:
        """Return the audit of the model without groups that are too small, for publication.

        What earlier versions showed of the same people counts as known.

        Args:
            root: where the recipe's publications are remembered.
        """
        one = judged(self.predictions)
        assert one is not None
        units, groups = self._units()
        size = groups.tally(np.zeros(len(units), dtype=np.int64), 1)
        if not groups.labels:
            return {**self._tables(self.measured(one), {"people": []}), **SHOWN}
        levels = [Level("people", "people", size, self.plan.min_people)]
        now = history.Published(history.names_of(units), groups, tuple(levels), {"people": ""})
        told = history.told(history.earlier(root, now.digest()), now)
        why = reasons(groups, levels, size[:, 0], told)
        why["people"] = self._of_few(groups, size[:, 0], why["people"])
        whole = self._tables(self.measured(one), why)
        history.remember(root, now, why)
        return {**whole, **SHOWN}

    def _units(self) -> tuple[pl.Series, Groups]:
        """People, each once for every combination of groups that their rows are in."""
        groups = self.crossed.groups
        together = np.column_stack([self.persons, groups.codes])
        _, first = np.unique(together, axis=0, return_index=True)
        units = self.predictions["person_id"].gather(first)
        return units, Groups(groups.features, groups.labels, groups.codes[first])

    def _of_few(self, groups: Groups, size: Counts, why: list[str | None]) -> list[str | None]:
        """Why groups are withheld, with all of a feature where people count in several groups."""
        people = people_of(self.crossed.groups, self.persons)
        few = (size >= self.plan.min_people) & (people < self.plan.min_people)
        hidden = {groups.features[n] for n in np.flatnonzero(few).tolist()}
        text = f"a group of this feature has fewer than {self.plan.min_people} people"
        return [
            text if name in hidden else before
            for name, before in zip(groups.features, why, strict=True)
        ]

    def _tables(self, made: Drawn, why: dict[str, list[str | None]]) -> Table:
        """Tables and comparisons of one model."""
        names = tuple(figure.name for figure in (*self.kind.figures, LOSS))
        found = _Summed(made, names)
        features = feature_tables(found, self.crossed, made.people, self.plan, why)
        return {
            "features": features,
            "figures": [figure.as_dict() for figure in (*self.kind.figures, LOSS)],
            "control": [],
            "exploratory": adjust([r for f in features for r in f["comparisons"]["to_reference"]]),
            "sweep": {"points": []},
            "curves": [],
            "classes": [],
            "left_out": {},
            "gate": None,
            "not_judged": [],
        }

    def _cost(self, made: Drawn) -> list[Table]:
        """Each group's figures, model minus twin, and that beyond the reference group's."""
        why = nothing_withheld(self.crossed.groups.labels)
        names = tuple(figure.name for figure in (*self.kind.figures, LOSS))
        found = feature_tables(_Summed(made, names), self.crossed, made.people, self.plan, why)
        tables = []
        for feature in (f for f in found if not f["crosses"]):
            beyond = {row["group"]: row for row in feature["comparisons"]["to_reference"]}
            rows = []
            for group in feature["groups"]:
                apart = beyond.get(group["label"], {})
                more = {f"{n}_disparity": apart[f"{n}_difference"] for n in names if apart}
                rows.append({"label": group["label"], "n": group["n"], **group["metrics"], **more})
            tables.append({"name": feature["name"], "reference": feature["reference"],
                           "groups": rows})  # fmt: skip
        return tables
