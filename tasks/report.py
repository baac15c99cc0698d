"""Report stage: a page to publish, a page that stays inside, a model card, a bill of materials.

What goes into the published page is read by `read_published` alone; `read_internal` opens the
folders that must not be published, and only the internal page sees what it returns.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from jinja2 import UndefinedError

from rnn.config import PrivacySpent
from tasks import sbom
from tasks.artifacts import (
    digest_file,
    folder,
    models_of,
    read_json,
    read_section,
    read_spent,
    replacing,
    weights_count,
    write_json,
)
from tasks.checkout import checkout
from tasks.evidence.overall import published_figures
from tasks.evidence.profiles import ProfilesPlan, evaluate
from tasks.lineage import lineage
from tasks.pages import (
    attacks,
    attributions,
    attributions_inside,
    comparison,
    exhibits,
    fairness,
    pictures,
    privacy,
    reviewed,
    started,
)
from tasks.pages import inside as views
from tasks.pages.called import called, titled
from tasks.pages.card import answers, card, signer
from tasks.pages.claims import attack_verdict, claims, no_privacy_words, privacy_words
from tasks.pages.exhibits import Table
from tasks.pages.html import render
from tasks.pages.model import fitting, made_of, network
from tasks.pages.summed import retitled, titles
from tasks.pages.trade_off import promise_of
from tasks.pages.words import data_words, held_out, settings, verdict_words
from tasks.params import UserError, command
from tasks.recipe import ReportConfig
from tasks.settings.report import rows_called

Json = dict[str, Any]

PLAIN = ("An attribution says what the model uses, not what causes the outcome.",)
LIMITS = (
    "Trying several settings on the same data spends privacy that is not in the account.",
    *PLAIN,
    "The attack is one attack: consistent does not mean proven.",
)
SECTIONS = (
    ("decision", "Decision"),
    ("champion", "Champion"),
    ("purpose", "Purpose"),
    ("data", "Data"),
    ("model", "Model"),
    ("performance", "Performance"),
    ("fairness", "Groups"),
    ("lists", "Reviewers' lists"),
    ("attribution", "Attributions"),
    ("privacy", "Privacy"),
    ("not-covered", "Not covered"),
    ("recipe", "Recipe"),
    ("versions", "Versions"),
    ("outputs", "Outputs"),
)
# Files of the released model; not every model has all. The twin's config.json is the same.
FILES = ("weights.safetensors", "ledger.json", "null_block.json")
INTERNAL_SECTIONS = (
    ("comparison", "Comparison"),
    ("training", "Training"),
    ("attack", "Attacks"),
    # By what rows are called.
    ("people", ""),
    ("attribution", "Attributions"),
    ("gradients", "Gradients"),
    ("cost", "Privacy's cost"),
    ("audit", "Exact groups"),
    ("outputs", "Outputs"),
)
# Sections about a promise, or about the twin that is trained without one.
OF_TWIN = ("attack", "cost")


def read_published(recipe: str) -> Json:
    """Return everything that may be shown outside.

    Raises:
        UserError: a file is missing or does not say what it should.
    """
    block, spent = folder(recipe, "model", "null_block.json"), read_spent(recipe)
    promised = isinstance(spent, PrivacySpent)
    ledger = read_json(folder(recipe, "model", "ledger.json")) if promised else None
    metrics = read_json(folder(recipe, "predictions", "published", "metrics.json"))
    audit = read_json(folder(recipe, "audit", "published", "audit.json"))
    return {
        "report": read_section(recipe, "report", ReportConfig),
        "promise": promise_of(ledger) if ledger else None,
        "no_privacy": None if promised else spent,
        "profiles": read_section(recipe, "profiles", ProfilesPlan),
        "summary": read_json(folder(recipe, "plan", "summary.json")),
        "spent": spent,
        "ledger": ledger,
        "null_block": read_json(block) if block.exists() else None,
        "metrics": published_figures(metrics, audit),
        "audit": audit,
        "attributions": read_json(folder(recipe, "attributions", "published", "attributions.json")),
        "attack": read_json(folder(recipe, "attack", "published", "attack.json")),
        "decision": read_json(folder(recipe, "decision", "decision.json")),
        "lineage": lineage(recipe, checkout()),
        "pictures": read_pictures(recipe, "published"),
        "config": read_json(folder(recipe, "model", "config.json")),
        "weights": weights_count(folder(recipe, "model", "weights.safetensors")),
        "digests": digests(recipe),
        "started": _started(recipe),
    }


def _started(recipe: str) -> list[str]:
    """What the network began with, where that was not random."""
    path = folder(recipe, "model", "start.json")
    return started.lines(read_json(path) if path.exists() else None)


def read_pictures(recipe: str, kind: str) -> Json | None:
    """Return pictures.json of predictions; None where targets have one answer."""
    path = folder(recipe, "predictions", kind, "pictures.json")
    return dict(read_json(path)) if path.exists() else None


def digests(recipe: str) -> dict[str, str]:
    """Return SHA-256 of files that stand for the released model, which may be published."""
    files = {f"model/{name}": folder(recipe, "model", name) for name in FILES}
    files["decision/decision.json"] = folder(recipe, "decision", "decision.json")
    return {name: digest_file(path) for name, path in files.items() if path.exists()}


def read_internal(recipe: str) -> Json:
    """Return what must stay inside.

    Raises:
        UserError: a file is missing.
    """
    return {
        "curves": {
            "model": read_json(folder(recipe, "training", "curve.json")),
            **{n: read_json(folder(recipe, n, "curve.json")) for n in models_of(recipe)[1:]},
        },
        "metrics": read_json(folder(recipe, "predictions", "internal", "metrics.json")),
        "pictures": read_pictures(recipe, "internal"),
        "audit": read_json(folder(recipe, "audit", "internal", "audit.json")),
        "attack": read_json(folder(recipe, "attack", "internal", "attack.json")),
        "local": read_json(folder(recipe, "attributions", "internal", "people.json")),
    }


def evaluated_lists(found: Json) -> list[Json]:
    """Return each reviewers' list with the published figures that answer it."""
    published = {name: found[name] for name in ("audit", "attack", "attributions", "metrics")}
    published |= {
        "decision": found["decision"],
        "privacy": asdict(found["spent"]),
        "recipe": found["summary"]["settings"],
        "report": asdict(found["report"]),
    }
    return [evaluate(profile, published) for profile in found["profiles"].profiles]


def published_context(found: Json, materials: Json) -> Json:
    """Return what the published template needs.

    Args:
        found: from `read_published`.
        materials: bill of the environment.
    """
    evaluated = evaluated_lists(found)
    found = retitled(found)
    report, spent, without = found["report"], found["spent"], found["no_privacy"]
    metrics, limits = found["metrics"], held_out(found["audit"])
    figures = [(exhibits.name_of(m), exhibits.shown(m, f)) for m, f in metrics["model"].items()]
    words = no_privacy_words(spent) if without else privacy_words(spent, found["promise"])
    use, origin = answers(report)
    files, versions, parts = made_of(
        found["digests"], sbom.versions(materials), sbom.parts(materials)
    )
    return {
        **found,
        "evaluated": evaluated,
        "lists": [reviewed.profile(one) for one in evaluated],
        "swaps": reviewed.swaps(found["audit"].get("swaps")),
        "sections": SECTIONS,
        "claims": claims(found),
        "verdict_words": verdict_words(found["decision"]),
        "answers": use,
        "origin": origin,
        "signer": signer(found["decision"]),
        "network": network(found["config"], found["weights"]),
        "fitting": fitting(found["summary"]["settings"], found["summary"].get("sample_rate")),
        "files": files,
        "versions": versions,
        "parts": parts,
        "begin": comparison.BEGIN,
        "end": comparison.END,
        "limits": (limits["limit"], *(PLAIN if without else LIMITS)),
        "data": data_words(found["summary"]["data"], found["summary"]["settings"]),
        "performance": Table(("Figure", "Value"), tuple(figures)),
        "calibration": exhibits.calibration(metrics["calibration"]),
        "pictured": pictures.section("said", found["pictures"]),
        "fairness": fairness.section(found["audit"], found["decision"]),
        "held_out": limits,
        "reading": attributions.published(found["attributions"]),
        "privacy": privacy.section(found, words, limits["limit"]),
        "attack_verdict": attack_verdict(found["attack"]),
        "settings": settings(found["summary"]),
    }


def internal_context(found: Json, inside: Json) -> Json:
    """Return what the internal template needs."""
    inside = retitled(inside)
    left_out = OF_TWIN if found["no_privacy"] else ()
    others = inside["metrics"]
    measured = {n: others[n] for n in ("model", "twin", "baseline") if n in others}
    compared = tuple(
        (exhibits.name_of(m), *(exhibits.shown(m, one.get(m)) for one in measured.values()))
        for m in measured["model"]
        if m != "decision"
    )
    return {
        **found,
        "metrics": {**found["metrics"], "n": others["n"]},
        "sections": [(i, n or titled()) for i, n in INTERNAL_SECTIONS if i not in left_out],
        "verdict_words": verdict_words(found["decision"]),
        "attack_verdict": attack_verdict(found["attack"]),
        "paired": views.paired(others["paired"], list(titles(others.get("figures", [])).values())),
        "compared": Table(("Figure", *measured), compared),
        "pictured": pictures.section("said", inside["pictures"]),
        "training": views.training(inside["curves"]),
        "published_attack": found["attack"],
        "attack": {} if found["no_privacy"] else attacks.section(found, inside["attack"]),
        "local": attributions_inside.internal(inside["local"], found["attributions"]["quality"]),
        "exact": views.exact_groups(inside["audit"], found["decision"]),
        "cost": views.privacy_cost(inside["audit"].get("privacy_cost", [])),
        "checked": inside["audit"].get("checked_with_fairlearn", 0),
        "swaps": reviewed.swaps(inside["audit"].get("swaps")),
    }


def pages(found: Json, inside: Json, materials: Json) -> tuple[Mapping[str, str], Json, str]:
    """Return the published texts by file name, the card's facts, and the internal page.

    Args:
        found: from `read_published`.
        inside: from `read_internal`.
        materials: bill of the environment.
    """
    unit = None if found["no_privacy"] else found["spent"].unit
    with called(rows_called(found["report"], unit)):
        context = published_context(found, materials)
        facts = card(context)
        published = {
            "report.html": render("report.html.jinja", context),
            "model_card.md": render("model_card.md.jinja", {"card": facts}),
        }
        return published, facts, render("internal.html.jinja", internal_context(found, inside))


def main(argv: list[str]) -> None:
    """Write both reports and the model card of one recipe."""
    if len(argv) != 1:
        raise UserError("usage: python -m tasks.report RECIPE")
    (recipe,) = argv
    found, inside = read_published(recipe), read_internal(recipe)
    materials = sbom.environment()
    try:
        published, facts, internal = pages(found, inside, materials)
    except (KeyError, UndefinedError) as error:
        raise UserError(
            f"{recipe}: an earlier stage's file has another shape ({error}): "
            "run that stage again with dvc repro"
        ) from None
    with replacing(folder(recipe, "report", "published")) as draft:
        for name, text in published.items():
            (draft / name).write_text(text, encoding="utf-8")
        write_json(draft / "model_card.json", facts)
        write_json(draft / sbom.FILE, materials)
    with replacing(folder(recipe, "report", "internal")) as draft:
        (draft / "internal.html").write_text(internal, encoding="utf-8")


if __name__ == "__main__":
    command(main)
