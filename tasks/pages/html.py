"""Pages from templates: escaping, numbers in words, and nothing from outside the page."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tasks.pages.called import many, one

TEMPLATES = Path(__file__).with_name("templates")
Figure = Mapping[str, float | None]


def number(value: float | None, digits: int = 3) -> str:
    """Return a number as a reader expects it; a dash where there is none.

    Example:
        >>> number(0.81249), number(None), number(24000), number(2e-07)
        ('0.812', '–', '24,000', '2.0e−7')
    """
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    if value != 0 and abs(value) < 10.0**-digits:
        return power(f"{value:.1e}")
    return f"{value:,.{digits}f}".replace("-", "−")


def power(text: str) -> str:
    """Return a number's text with its exponent as people write it, 1e-6 rather than 1e-06."""
    return re.sub(r"e([+-])0*(?=\d)", r"e\1", text).replace("e+", "e").replace("-", "−")


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share as per cent."""
    return "–" if value is None else f"{100 * value:.{digits}f} %".replace("-", "−")


def interval(figure: Figure | None, kind: str = "number", digits: int = 3) -> str:
    """Return an estimate and its interval, or why there is none.

    Args:
        figure: value, low, high; None where it was suppressed.
        kind: number, or percent for a share.
        digits: after the point.

    Example:
        >>> interval({"value": 0.5, "low": 0.25, "high": 0.75}, digits=2)
        '0.50 (0.25 to 0.75)'
        >>> interval(None)
        'suppressed'
    """
    if figure is None:
        return "suppressed"
    if figure.get("value") is None:
        return "not estimable"

    def show(value: float | None) -> str:
        return percent(value) if kind == "percent" else number(value, digits)

    if figure.get("low") is None or figure.get("high") is None:
        return show(figure["value"])
    low, high = show(figure["low"]).removesuffix(" %"), show(figure["high"]).removesuffix(" %")
    return f"{show(figure['value'])} ({low} to {high})"


def markdown(value: object) -> Markup:
    """Return text that Markdown and HTML both show as it is, in one line."""
    text = " ".join(str(value).split())
    text = re.sub(r"([\\`*_{}\[\]#|~$])", r"\\\1", text)
    # A line of text must not begin a list, a quotation or a rule.
    text = re.sub(r"^(\d*)([-+=.)])(?=\s|$)", r"\1\\\2", text)
    return Markup(text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def as_yaml(value: object) -> str:
    """Return settings as YAML, in the order given."""
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=88).rstrip()


@cache
def environment() -> Environment:
    """Return the template environment: everything is escaped, and an unknown name is an error."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.globals |= {"one": one, "many": many}
    made.filters |= {
        "number": number,
        "percent": percent,
        "interval": interval,
        "md": markdown,
        "yaml": as_yaml,
    }
    return made


def render(template: str, context: Mapping[str, Any]) -> str:
    """Return a filled template; the same text for the same context."""
    return environment().get_template(template).render(context)
