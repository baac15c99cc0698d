"""Attributions by group, what a model knows of people, and reasons: figures, tables, words."""

from collections.abc import Sequence

from tasks import figures
from tasks.evidence.attributions import TOKENS
from tasks.pages.called import many, one
from tasks.pages.exhibits import Exhibit, Json, Table, exhibit, row_of
from tasks.pages.html import interval, number, percent

# An adjusted p-value up to this is called a difference.
LEVEL = 0.05
MOST_WORDS = 4
METHODS = {
    "integrated_gradients": "Integrated Gradients",
    "gradient_shap": "Gradient SHAP",
    "kernel_shap": "Kernel SHAP",
    "shapley_sampling": "Shapley value sampling",
}
WAYS = {
    "method": "another method",
    "change": "small changes of the input",
    "run": "another private run",
}
CHOSEN_BY = {"probe": "they carry the probe", "attributions": "their shares differ most"}


def method_name(method: str) -> str:
    """Return what a reader calls a method.

    Example:
        >>> method_name("gradient_shap"), method_name("window_occlusion")
        ('Gradient SHAP', 'Window occlusion')
    """
    return METHODS.get(method, method.replace("_", " ").capitalize())


def short(name: str) -> str:
    """Return a feature's name for a narrow axis: of a token the token alone.

    Example:
        >>> short("word “cat”"), short("age")
        ('“cat”', 'age')
    """
    kind, quoted, token = name.partition("“")
    return quoted + token if kind.strip() in TOKENS.values() else name


def groups(found: Json | None) -> list[Json]:
    """Return shares of attributions by group: for each sensitive feature a figure and words."""
    if found is None:
        return []
    names = found["features"]
    out = []
    for position, feature in enumerate(found["sensitive"]):
        shown = feature["groups"]
        title = f"Shares by {feature['name']}"
        svg = figures.heat(
            f"shares-{position}", title, [g["label"] for g in shown], [short(n) for n in names],
            [[c["share"]["value"] if c else None for c in g["shares"]] for g in shown],
            axis=f"part of a {one()}'s absolute attributions",
        )  # fmt: skip
        rows = [
            (g["label"], name, interval(c and c["share"], "percent"),
             interval(c and c["difference"], "percent"), number(c["p"], 4) if c else "–")
            for g in shown
            for name, c in zip(names, g["shares"], strict=True)
        ]  # fmt: skip
        headers = ("Group", "Feature", "Share", "Less that of the rest", "Adjusted p")
        note = f"How a {one()}'s attributions divide among features, averaged over each group."
        out.append(
            {
                "name": feature["name"],
                "exhibit": exhibit(title, note, svg, headers, rows) if shown else None,
                "words": _differences(shown, names),
                "withheld": feature["withheld"],
            }
        )
    return out


def _differences(shown: Sequence[Json], names: Sequence[str]) -> list[str]:
    """The largest differences that chance does not explain, in words."""
    found = [
        (abs(c["difference"]["value"]), g["label"], name, c)
        for g in shown
        for name, c in zip(names, g["shares"], strict=True)
        if c and c["p"] is not None and c["p"] <= LEVEL
    ]
    found.sort(key=lambda f: -f[0])
    return [
        f"{label}: {name} gets {percent(size).removesuffix(' %')} points of a hundred "
        f"{'more' if c['difference']['value'] > 0 else 'less'} than in the rest "
        f"(adjusted p {number(c['p'], 4)})"
        for size, label, name, c in found[:MOST_WORDS]
    ]


def probes(found: Json | None) -> Exhibit | None:
    """Return how well each group is read off the hidden state, beside chance."""
    rows = [(f["name"], r) for f in (found or {"sensitive": []})["sensitive"] for r in f["probe"]]
    if not rows:
        return None
    title = f"What the hidden state tells of {many()}"
    svg = figures.forest(
        "probes", title, [row_of(f"{name} {r['label']}", r["auc"]) for name, r in rows],
        axis="AUC of a probe (0.5 = nothing)", bar=0.5, bar_name="guessing",
    )  # fmt: skip
    table = [
        (f"{name}: {r['label']}", interval(r["auc"]), interval(r["shuffled"])) for name, r in rows
    ]
    note = f"Logistic regression on the state that the head reads, tested on other {many()}."
    return exhibit(title, note, svg, ("Group", "AUC", "Labels shuffled (range)"), table)


def carriers(found: Json | None) -> Table | None:
    """Return what each feature carries of the probes."""
    rows = [
        (f"{f['name']}: {c['feature']}", number(c["drop"]))
        for f in (found or {"sensitive": []})["sensitive"]
        for c in f["carriers"]
    ]
    headers = ("Sensitive feature: feature of the model", "AUC lost without it, at most")
    return Table(headers, tuple(rows)) if rows else None


def ablations(found: Json | None) -> list[Exhibit]:
    """Return by what factor impact ratios change without the features that tell most."""
    taken = [
        (f["name"], a) for f in (found or {"sensitive": []})["sensitive"] for a in f["ablations"]
    ]
    return [
        _ablated(f"ablation-{position}", name, one)
        for position, (name, one) in enumerate(taken)
        if one["groups"]
    ]


def _ablated(prefix: str, name: str, one: Json) -> Exhibit:
    """Impact ratios by one sensitive feature without some features of the model."""
    rows, without = one["groups"], _joined(one["features"])
    title = f"Impact ratios by {name} without {without}"
    svg = figures.forest(
        prefix, title, [row_of(g["label"], g["factor"]) for g in rows],
        axis=f"ratio to {one['reference']}, factor of change", bar=1.0, bar_name="no change",
    )  # fmt: skip
    table = [
        (g["label"], interval(g["factor"]),
         *([interval(g["before"]), interval(g["after"])] if "before" in g else []))
        for g in rows
    ]  # fmt: skip
    inside = ("Ratio before", "Ratio after") if "before" in rows[0] else ()
    chosen = " and ".join(CHOSEN_BY[why] for why in one["chosen_by"])
    lost = f"the model's AUC changes by {interval(one['auc_change'])}"
    note = f"Set to baseline because {chosen}; {lost}."
    return exhibit(title, note, svg, ("Group", "Factor", *inside), table)


def _joined(names: Sequence[str]) -> str:
    """Names in a row of text."""
    return ", ".join(map(short, names))


def reasons(found: Json | None) -> Json | None:
    """Return how often each principal reason is given, to whom, and how stable reasons are."""
    if found is None:
        return None
    return {
        **{key: found[key] for key in ("most", "stable", "wanted", "min_people")},
        "exhibit": _reason_bars(found["reasons"]),
        "ways": _ways(found),
        "groups": _reasons_by_group(found["groups"]),
    }


def _reason_bars(rows: Sequence[Json]) -> Exhibit | None:
    """Shares of unfavourable decisions by principal reason."""
    if not rows:
        return None
    title = "Principal reasons"
    svg = figures.bars(
        "reasons", title, [row_of(r["feature"], r["principal"]) for r in rows],
        axis="share of unfavourable decisions",
    )  # fmt: skip
    table = [
        (r["feature"], interval(r["principal"], "percent"), interval(r["first"], "percent"))
        for r in rows
    ]
    note = "A decision may have several principal reasons."
    headers = ("Feature", "Among the principal reasons", "The first reason")
    return exhibit(title, note, svg, headers, table)


def _ways(found: Json) -> Table:
    """How often reasons come out again, by way of asking."""
    names = dict(WAYS)
    if found["other_method"]:
        names["method"] += f" ({method_name(found['other_method'])})"
    rows = [
        (names[way], percent(f["found_again"]), percent(f["first_again"]))
        for way, f in found["ways"].items()
    ]
    headers = ("Asked again by", "Reasons found again", "First reason the same")
    return Table(headers, tuple(rows))


def _reasons_by_group(found: Json | None) -> list[tuple[str, Table]]:
    """Shares of reasons in each group's unfavourable decisions."""
    if found is None:
        return []
    headers = ("Group", *found["features"], "Stable")
    return [
        (
            feature["name"],
            Table(
                headers,
                tuple(
                    (g["label"], *(interval(c, "percent") for c in (*g["reasons"], g["stable"])))
                    for g in feature["groups"]
                ),
            ),
        )
        for feature in found["sensitive"]
        if feature["groups"]
    ]
