"""A matplotlib drawing as one SVG element that lives in a page, light and dark."""

import io
import re
import warnings
from collections.abc import Callable
from xml.etree import ElementTree

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Stand-ins that matplotlib can draw with; each becomes a variable of the page's style sheet, so
# that a figure follows the reader's light or dark setting.
INK, MUTED, RULE, ACCENT, SECOND, BAD, PAPER = (f"#10000{i}" for i in range(7))
_VARIABLES = {
    INK: "var(--ink, #1b2733)",
    MUTED: "var(--muted, #5b6875)",
    RULE: "var(--rule, #d5dbe1)",
    ACCENT: "var(--accent, #1f5f99)",
    SECOND: "var(--second, #b8650a)",
    BAD: "var(--bad, #b3261e)",
    PAPER: "var(--paper, #ffffff)",
}
_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_WIDTH = 4.2

_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.5,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "text.color": INK,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
}


def plain(text: object, limit: int | None = None) -> str:
    """Return text in one line, without characters that XML forbids, cut to `limit`."""
    clean = re.sub("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", str(text))
    clean = " ".join(clean.split())
    return clean if limit is None or len(clean) <= limit else clean[: limit - 1] + "…"


def _rename(element: ElementTree.Element, name: str) -> None:
    """Make ids unique in the page and hand the colours to its style sheet."""
    for key, value in list(element.attrib.items()):
        if key == "id":
            value = f"{name}-{value}"
        elif key.endswith("href") and value.startswith("#"):
            value = f"#{name}-{value[1:]}"
        elif "url(#" in value:
            value = value.replace("url(#", f"url(#{name}-")
        if key == "style":
            for stand_in, variable in _VARIABLES.items():
                value = value.replace(stand_in, variable)
            value = re.sub(r"font-family: [^;]*;? ?", "", value)
        element.set(key, value)


def _as_page_svg(raw: bytes, name: str, title: str, description: str) -> str:
    """matplotlib's SVG as one element with title and description."""
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    root = ElementTree.fromstring(raw)
    for parent in list(root.iter()):
        for extra in parent.findall(f"{{{_SVG}}}metadata") + parent.findall(f"{{{_SVG}}}style"):
            parent.remove(extra)
    for element in root.iter():
        _rename(element, name)
    for key in ("width", "height"):
        root.attrib.pop(key, None)
    root.set("class", "figure")
    root.set("stroke-linejoin", "round")
    root.set("role", "img")
    root.set("aria-labelledby", f"{name}-title {name}-desc")
    for position, (tag, text) in enumerate((("title", title), ("desc", description))):
        child = ElementTree.Element(f"{{{_SVG}}}{tag}", {"id": f"{name}-{tag}"})
        child.text = plain(text)
        root.insert(position, child)
    return ElementTree.tostring(root, encoding="unicode").strip()


def draw(
    name: str, title: str, description: str, height: float, paint: Callable[[Axes], None]
) -> str:
    """Return one figure as an SVG element.

    Args:
        name: letters, digits and hyphens; prefix of every id, so unique in a page.
        title: read by a screen reader.
        description: what the figure shows, in words.
        height: inches; the width is the same for all figures.
        paint: draws on the axes.

    Returns:
        SVG text without XML header, colours as CSS variables.
    """
    with (
        warnings.catch_warnings(),
        matplotlib.rc_context({**matplotlib.rcParamsDefault, **_STYLE, "svg.hashsalt": name}),
    ):
        # Text is drawn by the reader's browser: a glyph that matplotlib lacks does not matter.
        warnings.simplefilter("ignore")
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0)
        paint(axes)
        buffer = io.BytesIO()
        FigureCanvasSVG(figure).print_svg(
            buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    return _as_page_svg(buffer.getvalue(), name, title, description)
