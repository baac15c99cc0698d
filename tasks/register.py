"""Register a model with its evidence, once; speaks to MLflow through tasks.registry.

What leaves the checkout is mirrored in two folders: published/ and internal/.
"""

import hashlib
import hmac
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from tasks import artifacts, registry
from tasks.evidence.override import overridden
from tasks.example import example_rows
from tasks.params import UserError, as_json, command
from tasks.recipe import (
    DataConfig,
    GateConfig,
    PathSource,
    RegisterPlan,
    TargetPlan,
)

TASKS = Path(__file__).resolve().parent
# What the served model imports, beside rnn; a test compares this with the imports.
SERVED_MODULES = (
    "__init__",
    "artifacts",
    "evidence/__init__",
    "evidence/scoring",
    "params",
    "recipe",
    "settings/__init__",
    "settings/data",
    "settings/evidence",
    "settings/mitigation",
    "table/__init__",
    "table/cells",
    "table/channels",
    "table/encode",
    "table/labels",
    "table/people",
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
OVERRIDE = ("approver", "reason", "verdict")
# One row a held-out person: nobody reviews it in the registry.
LEFT_OUT = ("test.parquet",)


@dataclass(frozen=True)
class Evidence:
    """What earlier stages found.

    Attributes:
        recipe: name under data/.
        plan: names in MLflow.
        gate: its settings.
        decision: decision.json.
        metrics: predictions/published/metrics.json.
        attack: attack/published/attack.json.
        audit: audit/published/audit.json.
        content: digest of all that is registered.
        model: first 12 hex digits of the model's own digest.
    """

    recipe: str
    plan: RegisterPlan
    gate: GateConfig
    decision: dict[str, Any]
    metrics: dict[str, Any]
    attack: dict[str, Any]
    audit: dict[str, Any]
    content: str
    model: str = ""

    @property
    def insecure(self) -> bool:
        """Noise that can be repeated protects nobody."""
        return self.plan.insecure or bool(self.decision.get("insecure"))

    @property
    def status(self) -> str:
        """accepted, overridden, needs_review, rejected or not_registered."""
        if self.insecure:
            return "not_registered"
        if self.override is not None:
            return "overridden"
        by_verdict = {"pass": "accepted", "inconclusive": "needs_review"}
        return by_verdict.get(self.decision["verdict"], "rejected")

    @property
    def override(self) -> dict[str, Any] | None:
        """Who answered for this very model, where that is allowed."""
        return None if self.insecure else overridden(self.decision, self.model)

    @property
    def override_tags(self) -> dict[str, str]:
        """The same as tags."""
        return {f"override_{k}": self.override[k] for k in OVERRIDE} if self.override else {}

    @property
    def has_weights(self) -> bool:
        """Weights that broke their promise, or never made one, are not given out."""
        broken = self.decision["verdict"] == "fail" and self.attack.get("verdict") == "violated"
        return not self.insecure and not broken

    @property
    def reasons(self) -> str:
        """Why it did not pass, in one line."""
        if self.insecure:
            return "insecure_seed: the noise can be repeated"
        checks = [c for c in self.decision.get("checks", []) if c.get("verdict") != "pass"]
        return "; ".join(str(c.get("reason") or c["name"]) for c in checks)


def read_evidence(recipe: str) -> Evidence:
    """Return what earlier stages wrote about a recipe."""

    def read(*parts: str) -> dict[str, Any]:
        return dict(artifacts.read_json(artifacts.folder(recipe, *parts)))

    return Evidence(
        recipe=recipe,
        plan=artifacts.read_section(recipe, "register", RegisterPlan),
        gate=artifacts.read_section(recipe, "gate", GateConfig),
        decision=read("decision", "decision.json"),
        metrics=read("predictions", "published", "metrics.json"),
        attack=read("attack", "published", "attack.json"),
        audit=read("audit", "published", "audit.json"),
        content=content_digest(recipe),
        model=artifacts.digest_folder(artifacts.folder(recipe, "model"))[:MODEL_DIGITS],
    )


def content_digest(recipe: str) -> str:
    """Return one digest of the model, its evidence and the code that serves it."""
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


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested settings as dotted names; what is not set is left out.

    Example:
        >>> flatten({"train": {"steps": 2, "seed": None}})
        {'train.steps': '2'}
    """
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        elif value is not None:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return flat


def params_of(recipe: str) -> dict[str, str]:
    """Return the settings of the model, its training, its privacy and its bars."""
    plan = artifacts.folder(recipe, "plan")
    flat = flatten(artifacts.read_json(plan / "train.json"))
    return {**flat, **flatten(artifacts.read_json(plan / "gate.json"), "gate.")}


def metrics_of(evidence: Evidence) -> dict[str, float]:
    """Return publishable figures, each with _low and _high where it has an interval."""
    figures: dict[str, Any] = dict(evidence.metrics.get("model", {}))
    decided = evidence.metrics.get("decision") or {}
    figures |= {name: decided[name] for name in ("threshold", "approval_rate") if name in decided}
    gate = evidence.audit.get("gate") or {}
    figures["impact_ratio"] = gate.get("impact_ratio")
    figures["epsilon"], figures["delta"] = (evidence.decision[n] for n in ("epsilon", "delta"))
    flat: dict[str, float] = {}
    for name, figure in figures.items():
        parts = figure if isinstance(figure, dict) else {"value": figure}
        for part, suffix in (("value", ""), ("low", "_low"), ("high", "_high")):
            if isinstance(parts.get(part), int | float):
                flat[f"{name}{suffix}"] = float(parts[part])
    return flat


def score_of(metrics: Mapping[str, float], task: str) -> float:
    """Return the one figure by which two versions are compared; higher is better."""
    if task == "regression":
        return -metrics.get("mae", float("inf"))
    return metrics.get("auc" if task == "binary" else "accuracy", float("-inf"))


def lineage(recipe: str, root: Path) -> tuple[str, dict[str, Any]]:
    """Return a keyed digest that may be shown, and the raw digests, which are internal.

    Args:
        recipe: name under data/.
        root: the checkout, which keeps the key.
    """
    manifest = artifacts.folder(recipe, "raw", "manifest.json")
    raw = artifacts.read_json(manifest) if manifest.exists() else {"files": []}
    file = root / ".sordino" / "lineage.key"
    if not file.exists():
        with artifacts.replacing_file(file) as draft:
            draft.touch(mode=0o600)
            draft.write_text(secrets.token_hex(32))
    text = json.dumps(raw, sort_keys=True).encode()
    return hmac.new(file.read_bytes(), text, hashlib.sha256).hexdigest()[:32], raw


def mirror(recipe: str, raw: dict[str, Any], target: Path) -> None:
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
    for name in ("config.json", "privacy_spent.json", "bars.json"):
        if artifacts.folder(recipe, "model", name).exists():
            shutil.copy(artifacts.folder(recipe, "model", name), published / "model")
    training = artifacts.folder(recipe, "training")
    if training.exists():
        shutil.copytree(training, internal / "training")
    artifacts.write_json(internal / "raw.json", raw)


def serving_files(recipe: str, metrics: dict[str, Any], target: Path) -> dict[str, Path]:
    """Write what the served model reads; nothing in it comes from a person's row.

    Args:
        recipe: name under data/.
        metrics: predictions/published/metrics.json, for the threshold.
        target: an empty folder.
    """
    data = public_data(recipe)
    threshold = (metrics.get("decision") or {}).get("threshold")
    artifacts.write_json(target / "serving.json", {"data": as_json(data), "threshold": threshold})
    model = artifacts.folder(recipe, "model")
    return {
        "weights": model / "weights.safetensors",
        "config": model / "config.json",
        "serving": target / "serving.json",
    }


def public_data(recipe: str) -> DataConfig:
    """Return the data block without where the data came from and how they were split."""
    data = artifacts.read_section(recipe, "data", DataConfig)
    wanted = artifacts.read_section(recipe, "target", TargetPlan)
    source = PathSource(kind="path", path="-", null_values=data.source.null_values)
    split = replace(data.split, salt="-", as_of=None)
    return replace(data, source=source, split=split, target=wanted.target, decision=wanted.decision)


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


def outputs_of(data: DataConfig) -> dict[str, str]:
    """Return the columns of an answer and their MLflow types."""
    if data.target.kind == "regression":
        return {"person_id": "string", "score": "double"}
    scores = ["score"]
    if data.target.kind == "multiclass":
        scores = [f"score_{index}" for index in range(len(data.target.classes))]
    return {"person_id": "string", **dict.fromkeys(scores, "double"), "decision": "string"}


def log_model(store: registry.Store, run_id: str, evidence: Evidence, work: Path) -> str:
    """Log the model, load it again and ask it: a broken one would be logged all the same."""
    data = public_data(evidence.recipe)
    example = example_rows(data)
    (work / "serving").mkdir()
    (work / "code").mkdir()
    model = store.log_model(
        run_id,
        script=TASKS / "served.py",
        files=serving_files(evidence.recipe, evidence.metrics, work / "serving"),
        code=code_folders(work / "code"),
        columns=list(example.columns),
        outputs=outputs_of(data),
        example=example,
        requirements=requirements(),
    )
    answer = store.predict(model, example)
    scores = answer.filter(like="score")
    if list(answer.columns) != list(outputs_of(data)) or not scores.notna().all(axis=None):
        raise UserError(f"{evidence.recipe}: the logged model {model} gave {answer.to_dict()}")
    return model


def log_run(store: registry.Store, evidence: Evidence, root: Path) -> str:
    """Log one run with everything; return its id."""
    digest, raw = lineage(evidence.recipe, root)
    experiment = store.experiment(evidence.plan.experiment)
    tags = {
        registry.CONTENT: evidence.content,
        "sordino.recipe": evidence.recipe,
        "verdict": evidence.decision["verdict"],
        "status": evidence.status,
        "reasons": evidence.reasons,
        **evidence.override_tags,
    }
    if os.environ.get("DVC_EXP_NAME"):
        tags["DVC_EXP_NAME"] = os.environ["DVC_EXP_NAME"]
    run_id = store.start_run(experiment, evidence.plan.title, tags)
    store.log(run_id, params_of(evidence.recipe), metrics_of(evidence))
    store.log_dataset(run_id, evidence.recipe, digest, "keyed digest of the raw files")
    with tempfile.TemporaryDirectory(dir=root / ".sordino") as folder:
        work = Path(folder)
        mirror(evidence.recipe, raw, work / "mirror")
        store.log_folder(run_id, work / "mirror")
        source = f"runs:/{run_id}/published"
        if evidence.has_weights:
            source = log_model(store, run_id, evidence, work)
    store.finish_run(run_id, {registry.MODEL: source})
    return run_id


def make_version(
    store: registry.Store, evidence: Evidence, run_id: str, source: str
) -> registry.Version:
    """Register a run's model under the alias that its verdict earns."""
    score = score_of(metrics_of(evidence), evidence.metrics["task"])
    name, decision = evidence.plan.model_name, evidence.decision
    tags = {
        "status": evidence.status,
        "reasons": evidence.reasons,
        "model": evidence.model,
        "score": repr(score),
        "epsilon": repr(decision["epsilon"]),
        "delta": repr(decision["delta"]),
        registry.CONTENT: evidence.content,
        **evidence.override_tags,
    }
    tags = {key: value for key, value in tags.items() if value}
    text = f"{decision['verdict']}: epsilon {decision['epsilon']:.3g}, delta {decision['delta']:g}"
    if evidence.override:
        text += f"; overridden by {evidence.override['approver']}"
    made = store.register(name, source, run_id, tags, text)
    alias = alias_for(evidence.status, score, store.holder(name, "champion"))
    return store.set_alias(made, alias) if alias else made


def alias_for(status: str, score: float, champion: registry.Version | None) -> str | None:
    """Return the alias that a new version earns.

    Args:
        status: as in `Evidence.status`.
        score: higher is better.
        champion: who has that alias now.
    """
    if status == "needs_review":
        return "challenger"
    if status not in ("accepted", "overridden"):
        return None
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
    evidence = read_evidence(recipe)
    store = registry.open_store(root)
    experiment = store.experiment(evidence.plan.experiment)
    found = store.find_run(experiment, evidence.content)
    run_id = str(found.info.run_id) if found else log_run(store, evidence, root)
    version = None
    if not evidence.insecure:
        version = store.version_of(evidence.plan.model_name, run_id)
        if version is None:
            source = store.tag(run_id, registry.MODEL)
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
    root = registry.checkout()
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
