"""The audit as a stage: what it writes for whom."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from rnn.privacy.ledger import Event, epsilon_of
from tasks import artifacts, population, predict
from tasks import audit as stage
from tasks.evidence.audited import audited
from tasks.params import UserError
from tasks.recipe import Decision, PopulationPlan, TargetPlan
from tests.heldout import RECIPE, RELEASE, TARGETS, write_tree


def test_favourable_may_be_either_class() -> None:
    table = pl.DataFrame({"y_true": [0, 1, 1], "y_pred": [0, 0, 1], "y_score": [0.1, 0.2, 0.9]})
    for favourable, y, d, score in (
        ("no", [1, 0, 0], [1, 1, 0], [0.9, 0.8, 0.1]),
        ("yes", [0, 1, 1], [0, 0, 1], [0.1, 0.2, 0.9]),
    ):
        plan = TargetPlan(
            target=TARGETS["binary"], decision=Decision(favourable=favourable, threshold=0.5)
        )
        found = audited(table, plan)
        assert (found.y.tolist(), found.d.tolist()) == (y, d)
        assert found.score == pytest.approx(score)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe with predictions."""
    monkeypatch.chdir(tmp_path)
    write_tree("binary")
    predict.main([RECIPE])
    return artifacts.folder(RECIPE, "audit")


def test_stage_writes_published_and_internal_apart(tree: Path) -> None:
    stage.main([RECIPE])
    first = artifacts.digest_folder(tree)
    published = artifacts.read_json(tree / "published" / "audit.json")
    internal = artifacts.read_json(tree / "internal" / "audit.json")
    assert published["favourable"] == "no"
    assert "twin" not in json.dumps(published)
    assert "privacy_cost" not in published
    assert {"model", "twin", "baseline", "privacy_cost"} <= set(internal)
    (table,) = published["features"]
    assert [row["label"] for row in table["groups"]] == ["f", "m", "unknown"]
    rows = internal["model"]["features"][0]["groups"]
    assert [row["label"] for row in rows] == ["f", "m"]
    assert sum(row["n"] for row in rows) == 200
    assert internal["checked_with_fairlearn"] == 6
    stage.main([RECIPE])
    assert artifacts.digest_folder(tree) == first


def test_what_is_published_has_noise_and_an_account(tree: Path) -> None:
    stage.main([RECIPE])
    published = artifacts.read_json(tree / "published" / "audit.json")
    internal = artifacts.read_json(tree / "internal" / "audit.json")
    source = published["source"]
    assert source["kind"] == "noised"
    assert source["epsilon"] <= RELEASE.epsilon
    assert (source["releases"], source["epsilon_together"]) == (1, source["epsilon"])
    exact = internal["model"]["features"][0]["groups"][1]["metrics"]["n"]["value"]
    noisy = published["features"][0]["groups"][1]["metrics"]["n"]
    assert noisy["value"] != exact
    assert noisy["low"] < exact < noisy["high"]
    overall, inside = published["overall"], artifacts.read_json(
        artifacts.folder(RECIPE, "predictions", "internal", "metrics.json")
    )  # fmt: skip
    for name in ("accuracy", "auc", "loss"):
        figure, true = overall[name], inside["model"][name]["value"]
        assert figure["value"] != true
        # Score bins round what rests on scores.
        assert figure["low"] - 0.05 < true < figure["high"] + 0.05
    assert overall["n"]["value"] != inside["n"] == pytest.approx(overall["n"]["value"], abs=10)
    assert all(set(row["rate"]) == {"value", "low", "high"} for row in published["calibration"])


def test_tables_are_charged_before_they_are_drawn_and_once(tree: Path) -> None:
    artifacts.write_section(RECIPE, "release", replace(RELEASE, insecure_seed=None))
    artifacts.write_section(RECIPE, "population", PopulationPlan(population="p", split="s"))
    stage.main([RECIPE])
    stage.main([RECIPE])
    (entry,) = population.read("p")
    assert (entry.event.people, entry.event.mechanism, entry.split) == ("held-out", "gaussian", "s")
    source = artifacts.read_json(tree / "published" / "audit.json")["source"]
    assert entry.event.noise_multiplier == pytest.approx(source["noise_multiplier"])
    # With the threshold that predict charged, this is the epsilon that the audit states.
    chosen = Event(
        released="", people="held-out", mechanism="stated", epsilon=RELEASE.threshold_epsilon
    )
    together = epsilon_of([entry.event, chosen], RELEASE.delta)
    assert together == pytest.approx(source["epsilon"], abs=1e-6)
    assert source["epsilon"] <= RELEASE.epsilon
    # Another table would pass the cap: nothing is drawn, and nothing written.
    cap = PopulationPlan(population="p", split="s", max_epsilon=6.5)
    artifacts.write_section(RECIPE, "population", cap)
    artifacts.write_section(RECIPE, "release", replace(RELEASE, insecure_seed=None, score_bins=8))
    before = artifacts.digest_folder(tree), artifacts.digest_folder(Path(".sordino"))
    with pytest.raises(UserError, match=r"ledger\.max_epsilon = 6\.5 would be passed"):
        stage.main([RECIPE])
    assert (artifacts.digest_folder(tree), artifacts.digest_folder(Path(".sordino"))) == before
    assert len(population.read("p")) == 1


def test_the_same_histogram_is_released_once_without_a_seed(tree: Path) -> None:
    artifacts.write_section(RECIPE, "release", replace(RELEASE, insecure_seed=None))
    stage.main([RECIPE])
    first = (tree / "published" / "audit.json").read_bytes()
    stage.main([RECIPE])
    assert (tree / "published" / "audit.json").read_bytes() == first
    # Another histogram of the same people costs them again.
    artifacts.write_section(RECIPE, "release", replace(RELEASE, insecure_seed=None, score_bins=8))
    stage.main([RECIPE])
    source = artifacts.read_json(tree / "published" / "audit.json")["source"]
    assert source["releases"] == 2
    assert source["epsilon_together"] > 1.9 * source["epsilon"]


def test_a_second_private_choice_of_the_same_threshold_is_charged_too(tree: Path) -> None:
    path = artifacts.folder(RECIPE, "predictions", "published", "metrics.json")
    metrics = artifacts.read_json(path)
    charged = []
    for draw in ("one", "one", "another"):
        artifacts.write_json(path, {**metrics, "threshold_draw": draw})
        stage.main([RECIPE])
        source = artifacts.read_json(tree / "published" / "audit.json")["source"]
        charged.append((source["releases"], source["epsilon_together"] / source["epsilon"]))
    assert [releases for releases, _ in charged] == [1, 1, 2]
    assert [times for _, times in charged] == pytest.approx([1, 1, 2])


def test_suppressed_mode_publishes_exact_figures(tree: Path) -> None:
    artifacts.write_section(RECIPE, "release", replace(RELEASE, mode="suppressed"))
    stage.main([RECIPE])
    published = artifacts.read_json(tree / "published" / "audit.json")
    internal = artifacts.read_json(tree / "internal" / "audit.json")
    assert published["source"] == {"kind": "suppressed"}
    shown = published["features"][0]["groups"][0]["metrics"]["selection_rate"]
    exact = internal["model"]["features"][0]["groups"][0]["metrics"]["selection_rate"]
    assert shown in (None, exact)
    before = artifacts.digest_folder(tree)
    stage.main([RECIPE])
    assert artifacts.digest_folder(tree) == before
    assert len(list(Path(".sordino/audits", RECIPE, "shown").iterdir())) == 1


def test_missing_labels_are_the_group_unknown(tree: Path) -> None:
    path = artifacts.folder(RECIPE, "prepared", "sensitive_features.parquet")
    sexes = pl.read_parquet(path)
    gaps = pl.Series([None, "f", "m", "f", "m"] * 100)
    sexes.with_columns(sex=gaps, none=pl.lit(None, dtype=pl.String)).write_parquet(path)
    stage.main([RECIPE])
    tables = artifacts.read_json(tree / "internal" / "audit.json")["model"]["features"]
    assert [row["label"] for row in tables[1]["groups"]] == ["unknown"]
    assert all(a <= b for a, b in pairwise(row["label"] for row in tables[0]["groups"]))


def test_no_sensitive_features_is_an_empty_audit(tree: Path) -> None:
    path = artifacts.folder(RECIPE, "prepared", "sensitive_features.parquet")
    pl.DataFrame().write_parquet(path)
    artifacts.write_section(RECIPE, "release", replace(RELEASE, groups={}))
    stage.main([RECIPE])
    published = artifacts.read_json(tree / "published" / "audit.json")
    assert (published["features"], published["gate"]) == ([], None)
    # Everybody together is still measured, with noise.
    assert published["overall"]["accuracy"]["value"] is not None
    internal = artifacts.read_json(tree / "internal" / "audit.json")
    assert (internal["model"]["features"], internal["model"]["gate"]) == ([], None)


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_other_targets_are_published_exactly_with_small_groups_withheld(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tree(task)
    predict.main([RECIPE])
    stage.main([RECIPE])
    tree = artifacts.folder(RECIPE, "audit")
    published = artifacts.read_json(tree / "published" / "audit.json")
    internal = artifacts.read_json(tree / "internal" / "audit.json")
    assert (published["source"]["kind"], published["gate"]) == ("suppressed", None)
    account = (published["source"].get("interval") or {}).get("account", {})
    assert account.get("epsilon") == (RELEASE.epsilon if task == "regression" else None)
    names = {
        "multiclass": {"accuracy", "loss", "perplexity"},
        "regression": {"mae", "bias", "r2", "interval_coverage", "interval_width"},
    }
    (table,) = internal["model"]["features"]
    assert set(table["groups"][0]["metrics"]) == names[task]
    assert len(internal["model"]["classes"]) == (3 if task == "multiclass" else 0)
    assert [t["name"] for t in internal["privacy_cost"]] == ["sex"]
    first = artifacts.digest_folder(tree)
    stage.main([RECIPE])
    assert artifacts.digest_folder(tree) == first


def test_usage_names_both_forms() -> None:
    with pytest.raises(UserError, match=r"tasks\.audit compare RECIPE"):
        stage.main([])
