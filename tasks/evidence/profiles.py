"""What reviewers' lists ask, which figure of ours answers it, and what is missing.

A profile is a dated list in YAML: tasks/evidence/profiles/*.yaml, or a file of the user's. It
judges nothing: it says where an answer stands.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Gt, Lt, MinLen
from pydantic import BeforeValidator, StringConstraints

from rnn.config import FORBID_EXTRA
from tasks.evidence.paths import chooser, find, is_number, parse
from tasks.params import UserError, read_yaml, validate

Json = dict[str, Any]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


def _day(value: object) -> str:
    """A date as YYYY-MM-DD; YAML reads a bare one as a date."""
    text = str(value)
    if date.fromisoformat(text).isoformat() != text:
        raise ValueError("a date is written YYYY-MM-DD")
    return text


Day = Annotated[str, BeforeValidator(_day)]

SHIPPED = Path(__file__).with_name("profiles")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Where the answer to one item stands.

    Attributes:
        what: the figure, in a reader's words.
        path: to it.
        pick: of several, each, or the one to name; or how many there are, not counting "no".
        show: as a number, per cent or words.
        share_of: path of the number that figures are shares of.
        under: with share_of: list shares below this alone.
    """

    __pydantic_config__ = FORBID_EXTRA

    what: Text
    path: Text
    pick: Literal["each", "smallest", "largest", "count"] = "each"
    show: Literal["number", "percent", "text"] = "number"
    share_of: Text | None = None
    under: Annotated[float, Gt(0), Lt(1)] | None = None

    def __post_init__(self) -> None:
        """Paths can be read, whether or not anything is there."""
        for path in (self.path, self.share_of):
            for _, selectors in parse(path) if path else ():
                for selector in selectors:
                    chooser(selector)
        if self.under is not None and self.share_of is None:
            raise ValueError("under needs share_of")


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing that a list asks.

    Attributes:
        id: its place in the source.
        asks: in our own words.
        answers: where figures of ours stand; none where we have none.
        missing: what somebody must add.
    """

    __pydantic_config__ = FORBID_EXTRA

    id: Text
    asks: Text
    answers: tuple[Answer, ...] = ()
    missing: tuple[Text, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A dated list.

    Attributes:
        title: for a heading.
        source: where it can be read.
        as_of: date of the text that the items follow.
        about: whom and what it concerns.
        items: in the order of the source.
    """

    __pydantic_config__ = FORBID_EXTRA

    title: Text
    source: Text
    as_of: Day
    about: Text
    items: Annotated[tuple[Item, ...], MinLen(1)]


@dataclass(frozen=True, kw_only=True)
class ProfilesPlan:
    """plan/profiles.json: the lists themselves, so that an edit of a file is noticed."""

    __pydantic_config__ = FORBID_EXTRA

    profiles: tuple[Profile, ...] = ()


def read_profiles(names: Sequence[str]) -> ProfilesPlan:
    """Return the profiles that a recipe names.

    Args:
        names: of shipped ones, or paths that end in .yaml.

    Raises:
        UserError: one line: no such profile, or a key that no profile has.
    """
    shipped = sorted(path.stem for path in SHIPPED.glob("*.yaml"))
    found = []
    for name in dict.fromkeys(names):
        own = name.endswith((".yaml", ".yml"))
        if not own and name not in shipped:
            raise UserError(
                f"audit.profiles names {name!r}, which is neither a path that ends in .yaml nor "
                f"one of {shipped}"
            )
        path = Path(name) if own else SHIPPED / f"{name}.yaml"
        found.append(validate(Profile, read_yaml(path), name if own else path.name))
    return ProfilesPlan(profiles=tuple(found))


def figure_of(label: str, value: object) -> Json | None:
    """Return a figure or words as a row shows them; None where nothing was answered."""
    if isinstance(value, Mapping):
        ends = {key: value.get(key) for key in ("value", "low", "high")}
        return {"label": label, **ends} if is_number(ends["value"]) else None
    if is_number(value):
        return {"label": label, "value": value, "low": None, "high": None}
    if isinstance(value, bool):
        return {"label": label, "text": "yes" if value else "no"}
    if isinstance(value, list | tuple):
        value = ", ".join(str(v) for v in value if isinstance(v, str | int | float))
    if isinstance(value, str) and value.strip():
        return {"label": label, "text": " ".join(value.split())}
    return None


def _shares(answer: Answer, figures: list[Json], found: Mapping[str, Any]) -> list[Json]:
    """Figures as shares of another one, all or those below `under`."""
    wholes = [v for _, v in find(found, answer.share_of or "") if is_number(v) and v > 0]
    if not wholes:
        return []
    shares = [
        {**f, "value": f["value"] / wholes[0], "low": None, "high": None}
        for f in figures
        if "value" in f
    ]
    if answer.under is None or not shares:
        return shares
    few = [share for share in shares if share["value"] < answer.under]
    return few or [{"label": "", "text": "none"}]


def answered(answer: Answer, found: Mapping[str, Any]) -> Json:
    """Return what answers: its figures, of how many, and how many are withheld."""
    there = find(found, answer.path)
    figures = [figure for label, value in there if (figure := figure_of(label, value))]
    withheld = sum(
        value is None or (isinstance(value, Mapping) and value.get("value", 0) is None)
        for _, value in there
    )
    if answer.share_of is not None:
        figures = _shares(answer, figures, found)
    if answer.pick == "count":
        count = sum(value is not None and value is not False for _, value in there)
        figures = [{"label": "", "value": count, "low": None, "high": None}] if there else []
    elif answer.pick != "each":
        valued = [figure for figure in figures if "value" in figure]
        choose = min if answer.pick == "smallest" else max
        figures = [choose(valued, key=lambda f: f["value"])] if valued else []
    return {
        "what": answer.what,
        "path": answer.path,
        "show": answer.show,
        "pick": answer.pick,
        "of": len(there),
        "withheld": withheld,
        "figures": figures,
    }


def _missing(answer: Json) -> str:
    """What of an answer is not there; nothing if all is."""
    if not answer["figures"]:
        why = "suppressed" if answer["withheld"] else "not in this report"
        return f"{answer['what']} ({why})"
    # Words are there or not; a figure that is withheld was computed.
    if answer["withheld"] and answer["show"] != "text":
        return f"{answer['what']} ({answer['withheld']} of {answer['of']} suppressed)"
    return ""


def evaluate(profile: Profile, found: Mapping[str, Any]) -> Json:
    """Return a profile's rows: asked, answered by, missing; never an error for what is not there.

    Args:
        profile: the list.
        found: what was published, by the names of `ROOTS`.
    """
    rows = []
    for item in profile.items:
        answers = [answered(answer, found) for answer in item.answers]
        empty = [missing for a in answers if (missing := _missing(a))]
        rows.append(
            {
                "id": item.id,
                "asks": item.asks,
                "answers": [answer for answer in answers if answer["figures"]],
                "missing": [*empty, *item.missing],
            }
        )
    return {
        "title": profile.title,
        "source": profile.source,
        "as_of": profile.as_of,
        "about": profile.about,
        "answered": sum(bool(row["answers"]) and not row["missing"] for row in rows),
        "partly": sum(bool(row["answers"]) and bool(row["missing"]) for row in rows),
        "rows": rows,
    }
