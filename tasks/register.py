"""Register a model with its evidence, once; speaks to MLflow through tasks.registry.

What leaves the checkout is mirrored in two folders: published/ and internal/.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import polars as pl

from tasks import artifacts, registry, runs
from tasks.checkout import checkout
from tasks.comparison import compare_and_fill
from tasks.evidence.overall import published_figures
from tasks.evidence.registered import Evidence, flatten, metrics_of, score_of
from tasks.evidence.story import CHAMPION, REPLACED, escaped, retell, version_story
from tasks.example import example_rows
from tasks.lineage import dvc_hash, key_of, keyed, lineage, manifest_of
from tasks.pages import started
from tasks.params import UserError, as_json, command
from tasks.recipe import (
    DataConfig,
    GateConfig,
    PathSource,
    RegisterPlan,
    TargetPlan,
)
from tasks.table.released import read_data

TASKS = Path(__file__).resolve().parent
# What the served model imports, beside rnn; a test compares this with the imports.
SERVED_MODULES = (
    "__init__",
    "artifacts",
    "evidence/__init__",
    "evidence/scoring",
    "kinds/__init__",
    "kinds/answers/__init__",
    "kinds/answers/ctc",
    "kinds/answers/forecast",
    "kinds/answers/next_token",
    "kinds/answers/seq2seq",
    "kinds/answers/table",
    "kinds/base",
    "kinds/transcripts",
    "params",
    "recipe",
    "serving/__init__",
    "serving/answers",
    "serving/sequences",
    "settings/__init__",
    "settings/bars",
    "settings/data",
    "settings/evidence",
    "settings/features",
    "settings/kinds",
    "settings/mitigation",
    "settings/no_privacy",
    "settings/plans",
    "settings/preparation",
    "settings/private",
    "settings/readers",
    "settings/report",
    "settings/series",
    "settings/serve",
    "settings/start",
    "settings/sweep",
    "settings/target",
    "settings/tokens",
    "settings/watch",
    "starting/__init__",
    "starting/begin",
    "table/__init__",
    "table/calendar",
    "table/cells",
    "table/channels",
    "table/encode",
    "table/grid",
    "table/labels",
    "table/people",
    "table/series",
    "table/split",
    "table/splitting",
    "table/tokens",
    "table/windows",
)
SERVED_PACKAGES = (
    "annotated-types",
    "mlflow",
    "numpy",
    "pandas",
    "polars",
    "pyarrow",
    "pydantic",
    "PyYAML",
    "safetensors",
    "torch",
)
EVIDENCE = ("predictions", "audit", "attributions", "attack", "report")
MODEL_DIGITS = 12
MODEL_EVIDENCE = (
    "config.json", "privacy_spent.json", "ledger.json", "null_block.json", "bars.json",
    "thresholds.json", "start.json",
)  # fmt: skip
# Rows of held-out people: nobody reviews them in the registry.
LEFT_OUT = ("*.parquet",)


def read_evidence(recipe: str, root: Path) -> Evidence:
    """Return what earlier stages wrote about a recipe.

    Args:
        recipe: name under data/.
        root: the checkout, which keeps the key of digests.
    """

    def read(*parts: str) -> dict[str, Any]:
        return dict(artifacts.read_json(artifacts.folder(recipe, *parts)) or {})

    block = artifacts.folder(recipe, "model", "null_block.json")
    audit = read("audit", "published", "audit.json")

    return Evidence(
        recipe=recipe,
        plan=artifacts.read_section(recipe, "register", RegisterPlan),
        gate=artifacts.read_section(recipe, "gate", GateConfig),
        decision=read("decision", "decision.json"),
        metrics=published_figures(read("predictions", "published", "metrics.json"), audit),
        attack=read("attack", "published", "attack.json"),
        audit=audit,
        # Of internal files too, and nobody may test a guess at them.
        content=keyed(key_of(root), "content", content_digest(recipe)),
        lineage=lineage(recipe, root),
        model=artifacts.digest_folder(artifacts.folder(recipe, "model"))[:MODEL_DIGITS],
        null_block=read("model", "null_block.json") if block.exists() else None,
    )


def content_digest(recipe: str) -> str:
    """Return one plain digest of the model, its evidence and the code that serves it."""
    whole = hashlib.sha256()
    for name in ("model", *EVIDENCE, "decision"):
        whole.update(artifacts.digest_folder(artifacts.folder(recipe, name)).encode())
    for name in ("register", "data", "target"):
        whole.update(
            artifacts.digest_file(artifacts.folder(recipe, "plan", f"{name}.json")).encode()
        )
    for name in ("served", *SERVED_MODULES):
        whole.update(artifacts.digest_file(TASKS / f"{name}.py").encode())
    return whole.hexdigest()


def params_of(recipe: str) -> dict[str, str]:
    """Return the settings of the model, its training, its privacy and its bars."""
    plan = artifacts.folder(recipe, "plan")
    flat = flatten(artifacts.read_json(plan / "train.json"))
    return {**flat, **flatten(artifacts.read_json(plan / "gate.json"), "gate.")}


def mirror(recipe: str, target: Path) -> None:
    """Copy the evidence into target/published and target/internal."""
    ignored = shutil.ignore_patterns(*LEFT_OUT)
    for kind in ("published", "internal"):
        for name in EVIDENCE:
            source = artifacts.folder(recipe, name, kind)
            if source.exists():
                # Reports stand at the top, where they are looked for.
                place = target / kind if name == "report" else target / kind / name
                shutil.copytree(source, place, ignore=ignored, dirs_exist_ok=True)
    published, internal = target / "published", target / "internal"
    shutil.copytree(artifacts.folder(recipe, "decision"), published / "decision")
    (published / "model").mkdir()
    for name in MODEL_EVIDENCE:
        if artifacts.folder(recipe, "model", name).exists():
            shutil.copy(artifacts.folder(recipe, "model", name), published / "model")
    training = artifacts.folder(recipe, "training")
    if training.exists():
        shutil.copytree(training, internal / "training")
    artifacts.write_json(internal / "raw.json", manifest_of(recipe))
    artifacts.write_json(internal / "dvc.json", dvc_hashes(recipe))


def dvc_hashes(recipe: str) -> dict[str, str]:
    """Return DVC's own hash of every folder that the evidence came from, as in dvc.lock."""
    parts = ("raw", "prepared", "model", "decision")
    names = [*parts, *(f"{name}/{kind}" for name in EVIDENCE for kind in ("published", "internal"))]
    paths = [artifacts.folder(recipe, *name.split("/")) for name in names]
    return {str(path): dvc_hash(path) for path in paths if path.exists()}


def start_tag(recipe: str) -> dict[str, str]:
    """Return whose weights a model began with, for the list of runs; empty where all was random."""
    path = artifacts.folder(recipe, "model", "start.json")
    words = started.tag(artifacts.read_json(path) if path.exists() else None)
    return {"start": words} if words else {}


def serving_files(recipe: str, metrics: dict[str, Any], target: Path) -> dict[str, Path]:
    """Write what the served model reads; nothing in it comes from a person's row.

    Args:
        recipe: name under data/.
        metrics: predictions/published/metrics.json, for the threshold and the width of intervals.
        target: an empty folder.
    """
    data, decision = public_data(recipe), metrics.get("decision") or {}
    by_group = decision.get("by_group")
    half_width = (metrics.get("interval") or {}).get("half_width")
    serving = {
        "data": as_json(data),
        "threshold": decision.get("threshold"),
        "by_group": by_group and by_group["thresholds"],
        "half_width": half_width,
        "reasons": as_json(artifacts.read_section(recipe, "register", RegisterPlan))["reasons"],
    }
    artifacts.write_json(target / "serving.json", serving)
    model = artifacts.folder(recipe, "model")
    return {
        "weights": model / "weights.safetensors",
        "config": model / "config.json",
        "serving": target / "serving.json",
    }


def public_data(recipe: str) -> DataConfig:
    """Return the data block without where the data came from and how they were split."""
    data = read_data(recipe)
    wanted = artifacts.read_section(recipe, "target", TargetPlan)
    source = PathSource(kind="path", path="-", null_values=data.source.null_values)
    # One series has no other split than time's, and nobody stands in it.
    as_of = data.split.as_of if data.sequence.layout == "series" else None
    split = replace(data.split, salt="-", as_of=as_of)
    return replace(
        data,
        source=source,
        split=split,
        # Tokens counted in training rows are known since prepare alone.
        target=replace(wanted.target, text=data.target.text),
        decision=wanted.decision,
        decision_groups=group_of_decision(recipe),
    )


def group_of_decision(recipe: str) -> str | None:
    """Return the sensitive feature that a decision reads, None where it reads none."""
    path = artifacts.folder(recipe, "predictions", "published", "metrics.json")
    decision = artifacts.read_json(path).get("decision") or {}
    return decision["by_group"]["feature"] if decision.get("by_group") else None


def code_folders(target: Path) -> list[Path]:
    """Copy the modules that the served model imports."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(TASKS.parent / "rnn", target / "rnn", ignore=ignored)
    for name in SERVED_MODULES:
        place = target / "tasks" / f"{name}.py"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TASKS / f"{name}.py", place)
    return [target / "rnn", target / "tasks"]


def requirements() -> list[str]:
    """Return exact requirements of the served model."""
    return [f"{name}=={installed(name).partition('+')[0]}" for name in SERVED_PACKAGES]


def outputs_of(data: DataConfig, interval: bool = False) -> dict[str, str]:
    """Return the columns of an answer and their MLflow types.

    Args:
        data: target and its classes.
        interval: a regression's predictions carry one.
    """
    if data.target.kind == "regression":
        columns = ("score", "low", "high") if interval else ("score",)
        return {"person_id": "string", **dict.fromkeys(columns, "double")}
    scores = ["score"]
    if data.target.kind == "multiclass":
        scores = [f"score_{index}" for index in range(len(data.target.classes))]
    return {"person_id": "string", **dict.fromkeys(scores, "double"), "decision": "string"}


def outputs_of_sequences(recipe: str, data: DataConfig) -> dict[str, str]:
    """Return the same where answers are sequences themselves: what the model says of invented rows.

    Args:
        recipe: name under data/.
        data: as the served model has it.
    """
    # It brings torch along, which registering other models does not need.
    from tasks.serving.sequences import answered_sequences, types_of

    model = artifacts.read_model(artifacts.folder(recipe, "model"))
    return types_of(answered_sequences(model, pl.from_pandas(example_rows(data)), data))


def log_model(store: registry.Store, run_id: str, evidence: Evidence, work: Path) -> str:
    """Log the model, load it again and ask it: a broken one would be logged all the same."""
    data = public_data(evidence.recipe)
    example = example_rows(data)
    if data.target.is_scored:
        outputs = outputs_of(data, evidence.metrics.get("interval") is not None)
    else:
        outputs = outputs_of_sequences(evidence.recipe, data)
    (work / "serving").mkdir()
    (work / "code").mkdir()
    model = store.log_model(
        run_id,
        script=TASKS / "served.py",
        files=serving_files(evidence.recipe, evidence.metrics, work / "serving"),
        code=code_folders(work / "code"),
        columns=list(example.columns),
        outputs=outputs,
        example=example,
        requirements=requirements(),
    )
    answer = store.predict(model, example)
    scores = answer.filter(like="score")
    if list(answer.columns) != list(outputs) or not scores.notna().all(axis=None):
        raise UserError(f"{evidence.recipe}: the logged model {model} gave {answer.to_dict()}")
    return model


def log_run(store: registry.Store, evidence: Evidence, root: Path) -> str:
    """Log one run with everything; return its id."""
    experiment = store.experiment(evidence.plan.experiment)
    tags = {
        runs.CONTENT: evidence.content,
        "sordino.recipe": evidence.recipe,
        "lineage": evidence.lineage,
        **evidence.attack_tags,
        "verdict": evidence.decision["verdict"],
        "status": evidence.status,
        "reasons": evidence.reasons,
        **evidence.override_tags,
        **start_tag(evidence.recipe),
    }
    if os.environ.get("DVC_EXP_NAME"):
        tags["DVC_EXP_NAME"] = os.environ["DVC_EXP_NAME"]
    run_id = store.start_run(experiment, evidence.plan.title, tags)
    store.log_params(run_id, params_of(evidence.recipe))
    store.log_dataset(
        run_id,
        evidence.recipe,
        evidence.lineage,
        f"python -m tasks.lineage verify {evidence.recipe} {evidence.lineage}",
        dict.fromkeys(example_rows(public_data(evidence.recipe)).columns, "any"),
    )
    with tempfile.TemporaryDirectory(dir=root / ".sordino") as folder:
        work = Path(folder)
        mirror(evidence.recipe, work / "mirror")
        compare_and_fill(store, evidence.plan.model_name, work / "mirror" / "published")
        store.log_folder(run_id, work / "mirror")
        source = f"runs:/{run_id}/published"
        if evidence.has_weights:
            source = log_model(store, run_id, evidence, work)
    data = (evidence.recipe, evidence.lineage)
    store.log_metrics(run_id, metrics_of(evidence), source, data)
    store.finish_run(run_id, {runs.MODEL: source})
    return run_id


def make_version(
    store: registry.Store, evidence: Evidence, run_id: str, source: str
) -> registry.Version:
    """Register a run's model under the alias that its verdict earns."""
    shown = evidence.metrics
    score = score_of(metrics_of(evidence), shown["task"], shown.get("figures", ()))
    name = evidence.plan.model_name
    tags = {
        "status": evidence.status,
        "reasons": evidence.reasons,
        "model": evidence.model,
        "lineage": evidence.lineage,
        **evidence.attack_tags,
        "score": repr(score),
        **evidence.epsilon_tags,
        runs.CONTENT: evidence.content,
        **evidence.override_tags,
    }
    tags = {key: value for key, value in tags.items() if value}
    made = store.register(
        name, source, run_id, tags, story_of(store, evidence, run_id), about_model(evidence)
    )
    champion, promises = store.holder(name, CHAMPION), evidence.no_privacy is None
    alias = alias_for(evidence.status, score, champion, promises)
    if alias == CHAMPION and champion is not None:
        # The way back, for a person who wants it.
        store.tag_version(made, {REPLACED: champion.number})
    made = store.set_alias(made, alias) if alias else made
    retell(store, name)
    return made


def story_of(store: registry.Store, evidence: Evidence, run_id: str) -> str:
    """Return what the page of a version says."""
    decision = evidence.decision
    headline = f"{decision['verdict']}: {evidence.privacy_words}"
    if evidence.override:
        headline += f"; overridden by {evidence.override['approver']}"
    return version_story(headline, decision["checks"], store.experiment_of(run_id), run_id)


def about_model(evidence: Evidence) -> str:
    """Return what the page of a new model begins with: the owner's own words."""
    path = artifacts.folder(evidence.recipe, "report", "published", "model_card.json")
    answers = artifacts.read_json(path)["answers"] if path.exists() else []
    purpose = [escaped(one["answer"]) for one in answers if one["field"] == "purpose"]
    return "\n\n".join([f"**{escaped(evidence.plan.title)}**", *filter(None, purpose)])


def alias_for(
    status: str, score: float, champion: registry.Version | None, promises: bool = True
) -> str | None:
    """Return the alias that a new version earns.

    Args:
        status: as in `Evidence.status`.
        score: higher is better.
        champion: who has that alias now.
        promises: the new version claims privacy; one that does not never takes the place of one
            that does, unless a person says so.
    """
    if status == "needs_review":
        return "challenger"
    if status not in ("accepted", "overridden"):
        return None
    if champion is not None and "epsilon" in champion.tags and not promises:
        return "challenger"
    better_stands = champion is not None and float(champion.tags.get("score", "-inf")) > score
    return "challenger" if better_stands else "champion"


def register(recipe: str, root: Path) -> dict[str, Any]:
    """Register a recipe's model, or find that it was.

    Args:
        recipe: name under data/.
        root: the checkout.

    Returns:
        What to tell: status, reasons, name, version, aliases, run, experiment.
    """
    evidence = read_evidence(recipe, root)
    store = registry.open_store(root)
    experiment = store.experiment(evidence.plan.experiment)
    found = store.find_run(experiment, evidence.content)
    run_id = str(found.info.run_id) if found else log_run(store, evidence, root)
    version = None
    if not evidence.insecure:
        version = store.version_of(evidence.plan.model_name, run_id)
        if version is None:
            source = store.tag(run_id, runs.MODEL)
            version = make_version(store, evidence, run_id, source)
    return {
        "recipe": recipe,
        "status": evidence.status,
        "reasons": evidence.reasons,
        "override": evidence.override,
        "name": evidence.plan.model_name,
        "version": version.number if version else None,
        "aliases": list(version.aliases) if version else [],
        "run": run_id,
        "experiment": experiment,
        "new": found is None,
    }


def describe(told: Mapping[str, Any]) -> str:
    """Return one line about what was registered.

    Example:
        >>> describe({"recipe": "r", "status": "accepted", "reasons": "", "name": "m",
        ...           "version": "2", "aliases": ["champion"]})
        'r: registered as m version 2, alias champion (accepted)'
    """
    because = f": {told['reasons']}" if told["reasons"] else ""
    if told.get("override"):
        because += f"; overridden by {told['override']['approver']}"
    if told["version"] is None:
        return f"{told['recipe']}: not registered{because}"
    alias = f", alias {', '.join(told['aliases'])}" if told["aliases"] else ", no alias"
    return (
        f"{told['recipe']}: registered as {told['name']} version {told['version']}{alias} "
        f"({told['status']}{because})"
    )


def main(argv: list[str]) -> None:
    """Register one recipe's model; exit status 1 where the gate failed and the recipe says so."""
    if len(argv) != 1:
        raise UserError("usage: python -m tasks.register RECIPE")
    root = checkout()
    (root / ".sordino").mkdir(exist_ok=True)
    told = register(argv[0], root)
    artifacts.write_json(root / ".sordino" / "registered" / f"{argv[0]}.json", told)
    print(describe(told))
    print(
        f"{argv[0]}: in the MLflow page: /#/experiments/{told['experiment']}/runs/{told['run']}"
        "/artifacts/published/report.html?workflowType=machine_learning"
    )
    on_fail = artifacts.read_section(argv[0], "gate", GateConfig).on_fail
    if told["status"] in ("rejected", "not_registered") and on_fail == "exit_1":
        raise UserError(f"{argv[0]}: gate.on_fail = exit_1: {told['status']}: {told['reasons']}")


if __name__ == "__main__":
    command(main)
