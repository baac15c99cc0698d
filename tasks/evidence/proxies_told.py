"""What of probes and ablations may be published."""

from collections.abc import Sequence
from typing import Any

from tasks.evidence.suppress import Groups

Json = dict[str, Any]


def _rounded(figure: Json, digits: int) -> Json:
    """A figure in coarse steps."""
    return {k: v if v is None else round(v, digits) for k, v in figure.items()}


def publishable(
    found: Json,
    feature: str,
    groups: Groups,
    hidden: Sequence[str | None],
    decided: set[str],
) -> Json:
    """One sensitive feature's figures without small groups; of ratios only how they changed.

    The ratios themselves are the audit's to publish, as it protects them.

    Args:
        found: everything.
        feature: which.
        groups: of the people who were probed.
        hidden: why a group is withheld, None where it is not.
        decided: labels whose decisions may be spoken of.
    """
    shown = {groups.labels[g] for g in groups.of(feature).tolist() if hidden[g] is None}

    def probed(rows: Sequence[Json]) -> list[Json]:
        return [
            {k: v if k == "label" else _rounded(v, 3) for k, v in row.items()}
            for row in rows
            if row["label"] in shown
        ]

    return {
        "name": feature,
        "withheld": len(shown) < len(groups.of(feature)),
        "probe": probed(found["probe"]),
        "carriers": [{**c, "drop": round(c["drop"], 3)} for c in found["carriers"]]
        if probed(found["probe"])
        else [],
        "ablations": [
            {
                "chosen_by": a["chosen_by"],
                "features": a["features"],
                "reference": a.get("reference"),
                "probe": probed(a["probe"]),
                "auc_change": _rounded(a["auc_change"], 3) if a["auc_change"] else None,
                "groups": [
                    {"label": g["label"], "factor": _rounded(g["factor"], 2)}
                    for g in a["groups"]
                    if g["label"] in decided and a.get("reference") in decided
                ],
            }
            for a in found["ablations"]
        ],
    }
