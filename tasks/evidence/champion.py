"""A version's published figures beside those of the version that serves now.

Both are read from what each published, by the same code, so that nothing new is shown.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tasks.evidence.overall import published_figures

Json = dict[str, Any]
# The text of a published file by its path, None where there is none.
Read = Callable[[str], str | None]

# Figures of which less is better; of others more is, and of what is in neither nothing is said.
LESS = ("epsilon", "loss", "mae", "rmse", "ece", "brier", "perplexity", "completeness")
MORE = ("auc", "accuracy", "r2", "skill", "macro_f1", "recall", "impact_ratio")
PARTS = ("value", "low", "high")


@dataclass(frozen=True)
class Told:
    """One published figure.

    Attributes:
        section: of the report that it stands in.
        name: a key, or the title that its kind gives it.
        about: group, check or feature it is of; empty for everybody.
        figure: value, low, high.
        verdict: of a check; empty where none is passed.
        better: less, more, or empty.
    """

    section: str
    name: str
    about: str
    figure: Json
    verdict: str = ""
    better: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it the same figure in two versions."""
        return self.section, self.name, self.about


def read_json(read: Read, path: str) -> Json:
    """Return a published file's value, empty where there is none."""
    return dict(json.loads(read(path) or "null") or {})


def figures(read: Read) -> dict[tuple[str, str, str], Told]:
    """Return every published figure of a version, in the order of its report.

    Args:
        read: of its published files.
    """
    audit = read_json(read, "audit/audit.json")
    found = [
        *_privacy(read_json(read, "decision/decision.json"), audit),
        *_attack(read_json(read, "attack/attack.json"), read_json(read, "model/null_block.json")),
        *_checks(read_json(read, "decision/decision.json")),
        *_performance(published_figures(read_json(read, "predictions/metrics.json"), audit)),
        *_groups(audit),
        *_attributions(read_json(read, "attributions/attributions.json")),
    ]
    return {one.key: one for one in found if one.verdict or one.figure.get("value") is not None}


def _told(section: str, name: str, figure: Any, about: str = "", better: str = "") -> Told:
    """A figure with or without an interval; which way is better where its name says so."""
    parts = figure if isinstance(figure, dict) else {"value": figure}
    known = "less" if name in LESS else "more" if name in MORE else ""
    return Told(
        section, name, about, {part: parts.get(part) for part in PARTS}, better=better or known
    )


def _privacy(decision: Json, audit: Json) -> list[Told]:
    """Epsilon and delta, of training people and of held-out people."""
    held_out = audit.get("source") or {}
    return [
        _told("Privacy", "epsilon", decision.get("epsilon")),
        _told("Privacy", "delta", decision.get("delta")),
        _told("Privacy", "epsilon", held_out.get("epsilon"), "held out"),
    ]


def _attack(attack: Json, block: Json) -> list[Told]:
    """What attacks came to, and what the run measured of itself."""
    verdicts = (("attack", attack), ("null block", block))
    bound = (block.get("lower_bound") or {}).get("epsilon")
    return [
        *(Told("Attack", name, "", {}, str(one["verdict"])) for name, one in verdicts if one),
        _told("Attack", "epsilon proven", bound),
        _told("Attack", "noise multiplier, measured", block.get("noise_scale")),
    ]


def _checks(decision: Json) -> list[Told]:
    """Each check of the gate with its verdict."""
    return [
        Told("Gate", one["name"], "", {p: one.get(p) for p in PARTS}, one["verdict"])
        for one in decision.get("checks", [])
    ]


def _performance(metrics: Json) -> list[Told]:
    """Figures of all held-out people, by the titles that their kind gives them."""
    own = {one["name"]: one for one in metrics.get("figures") or []}
    words = {"lower": "less", "higher": "more", "": ""}
    found = []
    for name, figure in (metrics.get("model") or {}).items():
        kind = own.get(name, {})
        title = kind.get("title", name) if name != "loss" else name
        found.append(_told("Performance", title, figure, better=words[kind.get("better", "")]))
    rate = (metrics.get("decision") or {}).get("approval_rate")
    return [*found, _told("Performance", "approval_rate", rate)]


def _groups(audit: Json) -> list[Told]:
    """The ratio that is judged, and every figure of every group."""
    gate = audit.get("gate") or {}
    found = [_told("Groups", "impact_ratio", gate.get("impact_ratio"))]
    for feature in audit.get("features", []):
        for group in feature["groups"]:
            about = f"{feature['name']}: {group['label']}"
            for name, figure in group["metrics"].items():
                found.append(_told("Groups", name, figure, about))
    return found


def _attributions(attributions: Json) -> list[Told]:
    """How well attributions add up, and how much each feature gets."""
    complete = (attributions.get("completeness") or {}).get("p95")
    found = [_told("Attribution", "completeness", complete)]
    for one in attributions.get("by_feature", []):
        found.append(_told("Attribution", "mean attribution", one, one["feature"]))
    return found


def beside(ours: Read, theirs: Read) -> list[Json]:
    """Return the published figures of two versions side by side.

    Args:
        ours: files of the version that is looked at.
        theirs: of the champion.

    Returns:
        In the order of the report: section, name, about, version, champion (each with value, low,
        high and verdict, None where that version does not have the figure), difference, and
        intervals: overlap, apart, or None where one has no interval; better: of the version,
        where the intervals are apart.
    """
    one, other = figures(ours), figures(theirs)
    rows = []
    for key in dict.fromkeys([*one, *other]):
        a, b = one.get(key), other.get(key)
        rows.append(
            {
                **dict(zip(("section", "name", "about"), key, strict=True)),
                "version": _shown(a),
                "champion": _shown(b),
                **_against(a, b),
            }
        )
    return rows


def _shown(told: Told | None) -> Json | None:
    """One side of a row."""
    return None if told is None else {**told.figure, "verdict": told.verdict or None}


def _against(a: Told | None, b: Told | None) -> Json:
    """Difference, and whether the intervals have a point in common."""
    found: Json = {"difference": None, "intervals": None, "better": None}
    if a is None or b is None or None in (a.figure.get("value"), b.figure.get("value")):
        return found
    found["difference"] = a.figure["value"] - b.figure["value"]
    known = [one.figure.get(end) for one in (a, b) for end in ("low", "high")]
    ends = [float(end) for end in known if end is not None]
    if len(ends) < len(known):
        return found
    apart = ends[0] > ends[3] or ends[2] > ends[1]
    found["intervals"] = "apart" if apart else "overlap"
    if apart and a.better:
        found["better"] = (found["difference"] > 0) == (a.better == "more")
    return found


def changed(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return settings that differ, by dotted name: of the version, of the champion.

    Args:
        ours: nested settings.
        theirs: the same of the champion.

    Example:
        >>> changed({"train": {"steps": 2}, "a": 1}, {"train": {"steps": 3}, "a": 1})
        [('train.steps', '2', '3')]
    """
    one, other = _flat(ours), _flat(theirs)
    return [
        (name, one.get(name, "–"), other.get(name, "–"))
        for name in sorted({*one, *other})
        if one.get(name) != other.get(name)
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings by dotted name, as text."""
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            found[f"{prefix}{key}"] = text
    return found
