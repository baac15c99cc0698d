"""Attributions that stay inside: single people, exact groups, gradients of private rows."""

from typing import Any

from tasks import figures
from tasks.pages import attributions_read as read
from tasks.pages.attributions import quality
from tasks.pages.exhibits import Exhibit, Json, Table, exhibit
from tasks.pages.html import number


def people(local: Json) -> list[Json]:
    """Return local explanations with what shading needs."""
    shown = []
    for person in local["people"]:
        features = person.get("features", []) + person["static"]
        sizes = [abs(a) for feature in features for a in feature["attributions"]]
        characters = person.get("characters", [])
        sizes += [abs(c["attribution"]) for c in characters]
        table = Table(
            ("Token", "Attribution"),
            tuple((c["text"], number(c["attribution"])) for c in characters),
        )
        shown.append({**person, "largest": max(sizes, default=0.0) or 1.0, "table": table})
    return shown


def gradient_flow(found: Json | None) -> list[Exhibit]:
    """Return how large the gradient is at each step, in several cells and for several weights."""
    if found is None:
        return []
    repeated = (
        f" Sequences of at most {found['longest']} steps are read over and over."
        if found["longest"] < len(found["steps"])
        else ""
    )
    wanted = (
        ("cells", "Gradients that vanish",
         "Each step back costs a share. Gates of a fresh network stand half open; what training "
         "made of them is the line of this model." + repeated),
        ("gains", "Gradients that explode",
         "An untrained plain network with its recurrent weights scaled." + repeated),
    )  # fmt: skip
    out = []
    for key, title, note in wanted:
        series = found[key]
        svg = figures.curves(
            f"gradients-{key}", title, found["steps"], series, axis="steps before the last",
            value_axis="size, powers of ten, last step = 0",
        )  # fmt: skip
        some = [i for i in range(len(found["steps"])) if i % 10 == 9 or i == 0]
        rows = [(found["steps"][i], *(number(v[i], 2) for v in series.values())) for i in some]
        out.append(exhibit(title, note, svg, ("Step", *series), rows))
    return out


def internal(local: Json, how_good: Json | None) -> dict[str, Any]:
    """Return what the internal section needs.

    Args:
        local: people.json.
        how_good: quality of attributions.json, for beside the pictures.
    """
    return {
        "explained": local["explained"],
        "people": people(local),
        "quality": quality(how_good),
        "groups": read.groups(local["groups"]),
        "probes": read.probes(local["proxies"]),
        "carriers": read.carriers(local["proxies"]),
        "ablations": read.ablations(local["proxies"]),
        "reasons": read.reasons(local["reasons"]),
        "counts": {k: local["reasons"][k] for k in ("explained", "unfavourable")}
        if local["reasons"]
        else None,
        "not_applicable": local.get("not_applicable") or {},
        "gradient_flow": gradient_flow(local["gradient_flow"]),
    }
