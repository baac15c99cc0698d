"""Registering: once, with the alias that the verdict earns, evidence in two folders."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks import artifacts, register, registry
from tasks.lineage import dvc_hash
from tasks.params import UserError
from tests import fake

# MLflow's own, on import of its parts.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh database, made once: its first tables take seconds."""
    root = tmp_path_factory.mktemp("made once")
    registry.open_store(root)
    return registry.database(root)


@pytest.fixture
def checkout(
    tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], registry.Store]:
    """Work in an empty checkout with spaces in its path."""
    root = tmp_path / "a check out"
    (root / "mlflow").mkdir(parents=True)
    (root / ".sordino").mkdir()
    registry.database(root).write_bytes(database.read_bytes())
    monkeypatch.chdir(root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return lambda: registry.open_store(root)


def run(recipe: str = "tiny") -> dict[str, Any]:
    """Register as main does."""
    return register.register(recipe, Path.cwd())


def artifacts_of(told: dict[str, Any]) -> dict[str, Path]:
    """Return a run's logged files by their name in the run."""
    (root,) = Path("mlflow/artifacts").glob(f"{told['run']}/artifacts")
    return {str(p.relative_to(root)): p for p in sorted(root.rglob("*")) if p.is_file()}


def test_twice_is_one_version(checkout: Callable[[], registry.Store]) -> None:
    fake.write_recipe()
    first, second = run(), run()
    assert (first["version"], first["aliases"], first["status"]) == ("1", ["champion"], "accepted")
    assert {**second, "new": True} == first and not second["new"]
    client = checkout().client
    assert len(client.search_model_versions("name = 'tiny'")) == 1
    assert len(client.search_runs([first["experiment"]])) == 1


def test_a_run_cut_short_is_done_again(
    checkout: Callable[[], registry.Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.write_recipe()
    with monkeypatch.context() as patch:
        patch.setattr(register, "log_model", lambda *_: pytest.fail("killed here"))
        with pytest.raises(pytest.fail.Exception):
            run()
    told = run()
    assert told["version"] == "1" and told["new"]
    (only,) = checkout().client.search_runs([told["experiment"]])
    assert only.info.run_id == told["run"] and only.info.status == "FINISHED"


def test_published_and_internal_stay_apart(checkout: Callable[[], registry.Store]) -> None:
    fake.write_recipe()
    told = run()
    files = artifacts_of(told)
    assert {name.partition("/")[0] for name in files} == {"published", "internal"}
    assert files["published/report.html"].read_text() == "<p>published"
    assert files["internal/internal.html"].read_text() == "<p>internal"
    assert {"published/audit/audit.json", "published/decision/decision.json"} <= set(files)
    assert {"published/model/privacy_spent.json", "internal/raw.json"} <= set(files)
    assert {"published/model/ledger.json", "published/model/null_block.json"} <= set(files)
    published = [path.read_text() for name, path in files.items() if name.startswith("published")]
    assert not any("secret" in text or "5ec7e7" in text for text in published)
    # One row a person, and weights outside the model, are given to nobody.
    assert not any(name.endswith((".parquet", ".safetensors")) for name in files)
    run_data = checkout().client.get_run(told["run"])
    (dataset,) = run_data.inputs.dataset_inputs
    assert "5ec7e7" not in str(dataset) and len(dataset.dataset.digest) == 32
    assert '"name": "d1"' in dataset.dataset.schema and "lineage verify" in dataset.dataset.source
    hashes = json.loads(files["internal/dvc.json"].read_text())
    assert hashes["data/tiny/raw"] == dvc_hash(Path("data/tiny/raw"))
    assert not any(hashes["data/tiny/raw"] in text for text in published)
    everything = [p.read_bytes() for p in Path("mlflow/artifacts/models").rglob("*") if p.is_file()]
    assert not any(b"5ec7e7" in text or b"people.csv" in text for text in everything)


def test_params_metrics_and_tags(
    checkout: Callable[[], registry.Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "wide-gru")
    fake.write_recipe(auc=0.8)
    client = checkout().client
    told = run()
    data = client.get_run(told["run"]).data
    (model,) = client.search_logged_models([told["experiment"]])
    shown = {metric.key: metric for metric in model.metrics}
    assert {key: metric.value for key, metric in shown.items()} == data.metrics
    assert (shown["auc"].dataset_name, shown["auc"].dataset_digest) == (
        "tiny",
        data.tags["lineage"],
    )
    assert data.params["train.steps"] == "5" and data.params["gate.max_epsilon"] == "3.0"
    assert data.metrics["auc"] == 0.8 and data.metrics["auc_low"] == pytest.approx(0.79)
    assert data.metrics["epsilon"] == 3.0 and data.metrics["impact_ratio_high"] == 0.91
    assert data.tags["verdict"] == "pass" and data.tags["DVC_EXP_NAME"] == "wide-gru"
    assert not [name for name in data.metrics if "twin" in name or "baseline" in name]
    assert data.metrics["null_block_noise_scale"] == 3.2067
    assert data.metrics["null_block_noise_scale_low"] == pytest.approx(3.174633)
    assert data.metrics["null_block_epsilon_lower_bound"] == 0.7342
    assert (data.tags["attack"], data.tags["null_block"]) == ("consistent", "consistent")


def test_better_takes_the_alias_and_worse_does_not(checkout: Callable[[], registry.Store]) -> None:
    for seed, auc in enumerate((0.80, 0.78, 0.82)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(register, "log_model", lambda store, run_id, *_: f"runs:/{run_id}/x")
            root = Path(f"data{seed}")
            patch.setattr("tasks.artifacts.DATA", root)
            fake.write_recipe(auc=auc, seed=seed)
            told = run()
        assert told["version"] == str(seed + 1)
        assert told["aliases"] == [["champion"], ["challenger"], ["champion"]][seed]
    store = checkout()
    champion = store.holder("tiny", "champion")
    assert champion is not None and champion.number == "3" and champion.tags["score"] == "0.82"


@pytest.mark.parametrize(
    ("verdict", "attack", "block", "status", "alias", "weights"),
    [
        ("inconclusive", "consistent", "consistent", "needs_review", ["challenger"], True),
        ("inconclusive", "consistent", None, "needs_review", ["challenger"], True),
        ("fail", "consistent", "consistent", "rejected", [], True),
        ("fail", "violated", "consistent", "rejected", [], False),
        ("fail", "consistent", "violated", "rejected", [], False),
        # A decision that was made before the evidence it should rest on.
        ("inconclusive", "consistent", "violated", "needs_review", ["challenger"], False),
    ],
)
def test_other_verdicts(
    checkout: Callable[[], registry.Store],
    verdict: str,
    attack: str,
    block: str | None,
    status: str,
    alias: list[str],
    weights: bool,
) -> None:
    fake.write_recipe(verdict=verdict, attack=attack, block=block)
    told = run()
    assert (told["version"], told["aliases"], told["status"]) == ("1", alias, status)
    tags = checkout().version("tiny", "1").tags
    assert tags["status"] == status and tags["reasons"] == "AUC is below its bar"
    assert (tags["attack"], tags["null_block"]) == (attack, block or "not measured")
    assert run()["version"] == "1"
    # Under whatever name: none of the store's files holds what the weights hold.
    own = Path("data/tiny/model/weights.safetensors").read_bytes()
    kept = [p for p in Path("mlflow/artifacts").rglob("*") if p.is_file()]
    assert kept
    assert any(own in p.read_bytes() for p in kept) == weights
    assert bool([p for p in kept if p.suffix == ".safetensors"]) == weights


@pytest.mark.parametrize("verdict", ["inconclusive", "fail"])
def test_who_answers_for_a_model_is_on_version_and_run(
    checkout: Callable[[], registry.Store], verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(register, "log_model", lambda store, run_id, *_: f"runs:/{run_id}/x")
    fake.write_recipe(verdict=verdict, override=True, on_fail="exit_1")
    register.main(["tiny"])
    told = json.loads(Path(".sordino/registered/tiny.json").read_text())
    assert (told["status"], told["aliases"]) == ("overridden", ["champion"])
    client = checkout().client
    for tags in (
        checkout().version("tiny", "1").tags,
        client.get_run(told["run"]).data.tags,
    ):
        assert tags["override_approver"] == "Ada Lovelace"
        assert tags["override_reason"] == "A second sample settled it."
        assert tags["override_verdict"] == verdict
        assert tags["status"] == "overridden" and tags["reasons"] == "AUC is below its bar"
    assert client.get_run(told["run"]).data.tags["verdict"] == verdict
    assert "overridden by Ada Lovelace" in client.get_model_version("tiny", "1").description


@pytest.mark.parametrize("why", ["another model", "violated", "insecure", "environment"])
def test_an_override_that_does_not_hold_registers_no_champion(
    checkout: Callable[[], registry.Store], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(register, "log_model", lambda store, run_id, *_: f"runs:/{run_id}/x")
    attack = "violated" if why == "violated" else "consistent"
    written = why != "environment"
    fake.write_recipe(verdict="fail", attack=attack, insecure=why == "insecure", override=written)
    if why == "another model":
        artifacts.write_json(Path("data/tiny/model/privacy_spent.json"), {"epsilon": 2.0})
    for name in ("OVERRIDE", "SORDINO_OVERRIDE", "override", "OVERRIDE_APPROVER"):
        monkeypatch.setenv(name, "Ada Lovelace")
    told = run()
    assert told["status"] == ("not_registered" if why == "insecure" else "rejected")
    assert told["aliases"] == [] and told["override"] is None
    assert not [t for t in checkout().client.get_run(told["run"]).data.tags if "override" in t]


def test_repeatable_noise_is_not_registered(
    checkout: Callable[[], registry.Store], capsys: pytest.CaptureFixture[str]
) -> None:
    fake.write_recipe(verdict="fail", insecure=True)
    register.main(["tiny"])
    assert "tiny: not registered: insecure_seed" in capsys.readouterr().out
    assert checkout().client.search_registered_models() == []
    assert not list(Path("mlflow/artifacts").rglob("*.safetensors"))
    told = json.loads(Path(".sordino/registered/tiny.json").read_text())
    assert told["version"] is None
    tags = checkout().client.get_run(told["run"]).data.tags
    assert tags["status"] == "not_registered" and "insecure_seed" in tags["reasons"]


def test_exit_status_by_setting(
    checkout: Callable[[], registry.Store], capsys: pytest.CaptureFixture[str]
) -> None:
    fake.write_recipe(verdict="fail", on_fail="exit_1")
    with pytest.raises(UserError, match="exit_1: rejected: AUC is below its bar"):
        register.main(["tiny"])
    # It is registered as rejected all the same.
    assert "version 1, no alias (rejected" in capsys.readouterr().out


def test_a_server_that_is_down_is_one_line(
    checkout: Callable[[], registry.Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.write_recipe()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with pytest.raises(UserError, match=r"MLflow at http://127\.0\.0\.1:9") as caught:
        run()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "score", "champion", "alias"),
    [
        ("accepted", 0.7, None, "champion"),
        ("accepted", 0.7, 0.7, "champion"),
        ("accepted", 0.7, 0.71, "challenger"),
        ("needs_review", 0.9, 0.1, "challenger"),
        ("overridden", 0.7, None, "champion"),
        ("overridden", 0.7, 0.71, "challenger"),
        ("rejected", 0.9, None, None),
    ],
)
def test_alias_for(status: str, score: float, champion: float | None, alias: str | None) -> None:
    held = champion and registry.Version("m", "1", ("champion",), {"score": repr(champion)})
    assert register.alias_for(status, score, held or None) == alias
