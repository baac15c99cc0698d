"""Recipes about things: no promise, said plainly from plan to registry, and never by accident."""

import copy
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from rnn.privacy.ledger import Event
from tasks import (
    approval,
    artifacts,
    attack,
    audit,
    explain,
    fetch,
    gate,
    lineage,
    plan,
    population,
    predict,
    prepare,
    register,
    registry,
    report,
    show,
    train,
)
from tasks.evidence.override import broken_promises
from tasks.evidence.promises import check_held_out
from tasks.pages.words import held_out
from tasks.params import UserError, as_json, load_recipe, validate
from tasks.recipe import GateConfig, NoPrivacy, Recipe, ReleasePlan
from tests import walk
from tests.heldout import SPENT
from tests.tiny import RECIPE, raw_rows

# MLflow's own, on import of its parts.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

WHY = "Counts of cars at one point of a road; no person is in the data"
WITHOUT = NoPrivacy(none=WHY, population=360)
LANES = {"name": "lane", "column": "sex", "labels": {"f": "left", "m": "right"}, "things": True}


def _block(**changes: Any) -> dict[str, Any]:
    """The small recipe without privacy, changed; None takes a block away."""
    found: dict[str, Any] = copy.deepcopy(RECIPE)
    del found["twin"], found["gate"]["max_epsilon"]
    found["data"] |= {"sensitive": [LANES], "split": {"salt": "salt-of-5417", "train": 0.6}}
    found["privacy"] = {"none": WHY + ".", "population": 360}
    found["explain"] |= {"quality_people": 10, "orders": 2, "compare": [], "probe_shuffles": 1}
    for name, values in changes.items():
        if isinstance(values, dict):
            found[name] = {**found.get(name, {}), **values}
        else:
            found[name] = values
    return found


def _regression() -> dict[str, Any]:
    """The same with a number as its target."""
    found = _block(gate={"min_auc": None})
    del found["data"]["decision"]
    found["data"]["target"] = {"column": "d3", "kind": "regression", "bounds": [-4, 4]}
    return found


def _write(root: Path, **recipes: Any) -> None:
    (root / "params.yaml").write_text(yaml.safe_dump({"run": ["cars"], "recipes": recipes}))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two recipes, classes and a number, from beginning to end."""
    root = tmp_path_factory.mktemp("no privacy")
    (root / "mlflow").mkdir()
    (root / ".sordino").mkdir()
    things = [f"thing-{number:04}-{number * 7919 % 1000:03}" for number in range(600)]
    raw_rows().with_columns(id=pl.Series(things)).write_csv(root / "people.csv")
    _write(root, cars=_block(), speeds=_regression())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv("DVC_ROOT", raising=False)
        for name in ("cars", "speeds"):
            for stage in (plan, fetch, prepare, train):
                stage.main([name])
            train.main([name, "--twin"])
            for later in (predict, audit):
                later.main([name])
        for last in (explain, attack, gate, report, register):
            last.main(["cars"])
    yield root


@pytest.fixture
def there(built: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(built)
    return built


def _read(*parts: str, recipe: str = "cars") -> Any:
    return json.loads(artifacts.folder(recipe, *parts).read_text(encoding="utf-8"))


def test_the_plan_solves_for_nothing(there: Path) -> None:
    summary, trained, twin = (_read("plan", f"{n}.json") for n in ("summary", "train", "twin"))
    assert summary["no_privacy"] == WHY
    assert [summary[k] for k in ("epsilon", "delta", "unit", "accountant")] == [None] * 4
    assert trained == twin
    assert trained["privacy"] is None and trained["noise_multiplier"] == 0
    assert trained["sample_rate"] == pytest.approx(100 / 360)
    release = _read("plan", "release.json")
    assert (release["mode"], release["epsilon"], release["delta"]) == ("suppressed", None, None)


def test_the_model_says_so_and_nothing_is_charged(there: Path) -> None:
    names = {p.name for p in artifacts.folder("cars", "model").iterdir()}
    assert names == {"weights.safetensors", "config.json", "privacy_spent.json", "bars.json"}
    spent = _read("model", "privacy_spent.json")
    assert spent == {"epsilon": None, "none": WHY + ".", "population": 360}
    assert artifacts.read_spent("cars") == NoPrivacy(none=WHY + ".", population=360)
    assert not (there / "data" / population.FOLDER).exists()
    curve = _read("training", "curve.json")
    assert len(curve["step"]) == 20 and set(curve["epsilon"]) == {None}
    # Bounds cut nothing off: there are none.
    assert set(curve["clipped_share"]) <= {0.0, None}


def test_there_is_one_model_trained_once(there: Path) -> None:
    assert artifacts.models_of("cars") == ("model",)
    said = _read("twin", "same_as_model.json")
    assert said == {"same_as": "model", "no_privacy": WHY}
    assert [p.name for p in artifacts.folder("cars", "twin").iterdir()] == ["same_as_model.json"]


def test_the_same_bytes_again_and_others_by_another_seed(
    there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = artifacts.digest_folder(artifacts.folder("cars", "model"))
    (tmp_path / "people.csv").write_bytes((there / "people.csv").read_bytes())
    monkeypatch.chdir(tmp_path)
    found = []
    for seed in (0, 1):
        _write(tmp_path, cars=_block(train={"seed": seed}))
        for stage in (plan, fetch, prepare, train):
            stage.main(["cars"])
        found.append(artifacts.digest_folder(artifacts.folder("cars", "model")))
    assert found[0] == first != found[1]


def test_held_out_figures_are_exact_and_no_twin_stands_beside(there: Path) -> None:
    published, internal = (
        _read("predictions", kind, "metrics.json") for kind in ("published", "internal")
    )
    rows = artifacts.read_predictions("cars")
    assert published["n"] == len(rows)
    right = float((rows["y_true"] == rows["y_pred"]).mean())
    assert published["model"]["accuracy"]["value"] == pytest.approx(right, abs=1e-12)
    assert "twin" not in internal and not [c for c in rows.columns if c.startswith("twin")]
    assert {key.rpartition("_minus_")[2] for key in internal["paired"]} == {"baseline"}
    inside = _read("audit", "internal", "audit.json")
    assert "twin" not in inside and "privacy_cost" not in inside
    shown = _read("audit", "published", "audit.json")
    assert shown["source"]["kind"] == "suppressed" and "epsilon" not in shown["source"]
    lanes = artifacts.read_sensitive_features("cars")["lane"].gather(rows["row"])
    counts = dict(lanes.value_counts().iter_rows())
    groups = {g["label"]: g["n"] for g in shown["features"][0]["groups"]}
    assert {k: groups[k] for k in counts} == counts


def test_the_width_of_intervals_is_exact(there: Path) -> None:
    """The smallest candidate that holds the share of those set aside, by hand."""
    from tasks.evidence.prediction_interval import half_widths, setting_aside

    interval = _read("predictions", "published", "metrics.json", recipe="speeds")["interval"]
    assert interval["account"] is None
    audited = _read("audit", "published", "audit.json", recipe="speeds")
    assert check_held_out(audited, None) is None
    assert "epsilon" not in held_out(audited)["made"] and "half of all" in held_out(audited)["made"]
    prepared = artifacts.read_prepared("speeds")
    rows = prepared.rows("test")
    people = prepared.people["person_id"].gather(rows)
    aside = setting_aside(people)
    scores = predict.predict_all("speeds", prepared, rows)["model"].scores
    truth = -4 + (prepared.sequences.targets[rows] + 1) * 4
    residuals = sorted(abs(truth - scores)[aside])
    # The rank that split conformal prediction asks for, and the candidate above it.
    rank = int(-(-0.9 * (len(residuals) + 1) // 1))
    widths = half_widths((-4.0, 4.0))
    assert interval["half_width"] == min(w for w in widths if w >= residuals[rank - 1])


def test_nothing_is_attacked_and_the_gate_says_why(there: Path) -> None:
    assert _read("attack", "published", "attack.json")["claim"] is None
    decision = _read("decision", "decision.json")
    names = [check["name"] for check in decision["checks"]]
    assert names == ["privacy", "auc", "bars"]
    assert decision["verdict"] == "pass" and decision["no_privacy"] == WHY
    assert decision["checks"][0]["reason"] == f"No privacy is claimed: {WHY}."
    assert (decision["epsilon"], decision["delta"], decision["insecure"]) == (None, None, False)


def test_reports_and_card_say_it_first(there: Path) -> None:
    root = artifacts.folder("cars", "report")
    page, card = ((root / "published" / n).read_text() for n in ("report.html", "model_card.md"))
    for text in (page, card):
        assert WHY in text and text.index("No privacy is claimed") < text.index("Intended use")
    assert "tests" in (facts := _read("report", "published", "model_card.json"))
    assert facts["no_privacy"] == WHY and facts["ledger"] == []
    assert [claim["name"] for claim in facts["claims"]] == [
        "Privacy",
        "Attack",
        "Fairness",
        "Attribution",
    ]
    assert facts["claims"][0]["verdict"] == "not judged"
    for name, text in (("page", page), ("card", card)):
        for word in ("private model", "Null block", "at most epsilon", " nan", "ε None"):
            assert word not in text, (name, word)
    inside = (root / "internal" / "internal.html").read_text()
    assert "There is no twin" in inside and 'id="attack"' not in inside
    assert 'href="#attack"' not in inside and 'href="#cost"' not in inside
    assert show.privacy_row("cars") == ("privacy", f"none is claimed: {WHY}.")


def test_it_is_registered_by_what_it_is(there: Path) -> None:
    store = registry.open_store(there)
    version = store.version("cars", "1")
    assert version.aliases == ("champion",)
    assert version.tags["privacy"] == f"none: {WHY}"
    assert not {"epsilon", "delta", "attack", "null_block"} & set(version.tags)
    described = store.client.get_model_version("cars", "1").description
    assert described.splitlines()[0] == "pass: no privacy is claimed"
    run = store.client.get_run(store.run_of(version))
    assert "epsilon" not in run.data.metrics and "auc" in run.data.metrics
    assert run.data.params["no_privacy.none"] == WHY + "."
    # DVC shows the same figures by the same names.
    figures = _read("figures.json")
    assert figures.pop("verdict") == "pass" and figures == run.data.metrics
    assert list((there / "mlflow" / "artifacts").rglob("weights.safetensors"))


def test_it_never_takes_the_place_of_a_champion_with_an_epsilon() -> None:
    private = registry.Version("m", "1", ("champion",), {"score": "0.1", "epsilon": "3.0"})
    plain = replace(private, tags={"score": "0.1"})
    assert register.alias_for("accepted", 0.9, private, promises=False) == "challenger"
    assert register.alias_for("accepted", 0.9, plain, promises=False) == "champion"
    assert register.alias_for("accepted", 0.9, private) == "champion"


def _decided(**changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "config": GateConfig(min_group_ratio=None), "spent": WITHOUT, "metrics": {}, "audit": {},
        "attack": {}, "null_block": None,
    }  # fmt: skip
    given |= changes
    return gate.decide(**{"before": given["config"], **given})


def test_a_bar_of_epsilon_is_not_met_without_a_promise() -> None:
    barred = GateConfig(max_epsilon=3, min_group_ratio=None)
    free = GateConfig(min_group_ratio=None)
    assert _decided()["verdict"] == "pass"
    for now, before in ((barred, barred), (free, barred), (barred, free)):
        decision = _decided(config=now, before=before)
        assert decision["verdict"] == "fail"
        assert decision["checks"][0]["name"] == "privacy"
        assert "bar of 3" in decision["checks"][0]["reason"]
        # Nobody answers for a promise that was lost.
        assert broken_promises(decision["checks"]) == ["privacy"]


def test_a_promise_without_a_bar_is_no_pass() -> None:
    evidence = {"attack": {"verdict": "consistent", "claim": SPENT.epsilon}}
    decision = _decided(spent=SPENT, null_block={"verdict": "consistent"}, **evidence)
    assert decision["verdict"] == "inconclusive"
    assert broken_promises(decision["checks"]) == ["epsilon"]


BAD = {
    "privacy: 'none': state a promise, or": {"privacy": "none"},
    "privacy: None: state a promise, or": {"privacy": None},
    "privacy: none = 'no need': a reason in a sentence": {"privacy": {"none": "no need"}},
    "privacy: none stands beside delta, target_epsilon: a recipe either": {
        "privacy": {"target_epsilon": 3, "delta": 1e-5}
    },
    "privacy.population = 0: input should be greater": {"privacy": {"population": 0}},
    "train.expected_batch_size = 360 must be below privacy.population = 360": {
        "train": {"expected_batch_size": 360}
    },
    "data.sensitive names 'sex': people have sensitive features": {
        "data": {**_block()["data"], "sensitive": RECIPE["data"]["sensitive"]}  # type: ignore[index]
    },
    "gate.max_epsilon = 3 is about an epsilon": {"gate": {"max_epsilon": 3}},
    "ledger.max_epsilon = 5 is about an epsilon": {"ledger": {"max_epsilon": 5}},
    "audit.release.epsilon = 1 is about an epsilon": {"audit": {"release": {"epsilon": 1}}},
    "twin tells how to train without privacy": {"twin": {"steps": 3}},
    "mitigation.method = dpsgd_f is a private step": {
        "mitigation": {"method": "dpsgd_f", "feature": "lane"}
    },
    "compare.alternatives are private runs": {
        "compare": {"alternatives": [{"method": "reweight", "feature": "lane"}]}
    },
    "sweep is a search under a ledger": {
        "sweep": {"rule": "random", "trials": 2, "parameters": {"model.hidden_size": [4, 8]},
                  "score": {"metric": "auc", "people": "training", "noise_multiplier": 10}}
    },
    "data.static.limit is to be drawn privately": {
        "data": {
            **_block()["data"],
            "static": [{"name": "limit", "column": "limit",
                        "private_bounds": {"epsilon": 1, "range": [0, 10]}}],
        }
    },
}  # fmt: skip


@pytest.mark.parametrize("said", BAD)
def test_what_promises_something_is_refused_in_one_line(said: str) -> None:
    with pytest.raises(UserError) as caught:
        validate(Recipe, _block(**BAD[said]), "params.yaml: recipes.cars")
    message = str(caught.value)
    assert message.startswith("params.yaml: recipes.cars") and said in message
    assert "\n" not in message


def test_a_private_recipe_needs_its_bar_and_survives_json() -> None:
    private = copy.deepcopy(RECIPE)
    del private["gate"]["max_epsilon"]  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"cars: gate\.max_epsilon is required"):
        validate(Recipe, private, "cars")
    found = validate(Recipe, _block(), "cars")
    assert validate(Recipe, json.loads(json.dumps(as_json(found))), "again") == found
    with pytest.raises(ValueError, match=r"privacy\.none: this recipe promises nothing"):
        _ = found.promise


def test_a_release_without_privacy_has_no_epsilon_to_draw_with() -> None:
    release = ReleasePlan(
        mode="suppressed", epsilon=None, delta=None, threshold_epsilon=0.0, unit="record",
        max_rows=1, score_bins=10, groups={},
    )  # fmt: skip
    with pytest.raises(ValueError, match="has no epsilon"):
        _ = release.promise


def test_data_that_were_promised_privacy_are_never_trained_on_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    raw_rows(50).write_csv("people.csv")
    _write(tmp_path, cars=_block())
    plan.main(["cars"])
    before = artifacts.digest_folder(artifacts.folder("cars", "plan"))
    name = population.population_of(load_recipe(Path("params.yaml"), "cars").data)
    event = Event(released="counts", people="held-out", mechanism="stated", epsilon=0.1)
    population.charge(name, "run-1", "another", [event], 1e-6)
    for stage, more in ((plan, []), (train, []), (train, ["--twin"])):
        with pytest.raises(UserError, match=r"cars\.privacy\.none: 1 releases about the same data"):
            stage.main(["cars", *more])
    assert artifacts.digest_folder(artifacts.folder("cars", "plan")) == before
    assert not artifacts.folder("cars", "twin").exists()


@pytest.mark.parametrize("planned", ["cars", "people"])
def test_two_recipes_say_one_thing_about_the_same_data(
    planned: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    raw_rows(50).write_csv("people.csv")
    _write(tmp_path, cars=_block(), people=RECIPE, broken={"privacy": {"population": 3}})
    said = r"recipes\.cars\.privacy\.none: recipes\.people promises privacy for the same data"
    with pytest.raises(UserError, match=said):
        plan.main([planned])
    other = copy.deepcopy(RECIPE)
    other["data"]["person"] = "limit"  # type: ignore[index]
    _write(tmp_path, cars=_block(), people=other)
    plan.main([planned])


def test_losses_may_be_weighed_by_groups_of_things(
    there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "people.csv").write_bytes((there / "people.csv").read_bytes())
    monkeypatch.chdir(tmp_path)
    weighed = {"method": "reweight", "feature": "lane", "weights": {"left": 3.0, "right": 1.0}}
    digests = []
    for more in ({}, {"mitigation": weighed}):
        _write(tmp_path, cars=_block(**more))
        for stage in (plan, fetch, prepare, train):
            stage.main(["cars"])
        digests.append(
            artifacts.digest_file(artifacts.folder("cars", "model", "weights.safetensors"))
        )
    assert digests[0] != digests[1]


def test_the_account_of_a_private_model_is_read_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    artifacts.write_json(artifacts.folder("r", "model", "privacy_spent.json"), asdict(SPENT))
    assert artifacts.read_spent("r") == SPENT
    assert artifacts.models_of("r") == ("model", "twin")
    # An account that lost its epsilon is no word for none.
    broken = {**asdict(SPENT), "epsilon": None}
    artifacts.write_json(artifacts.folder("r", "model", "privacy_spent.json"), broken)
    with pytest.raises(UserError, match=r"privacy_spent\.json\.epsilon"):
        artifacts.read_spent("r")


def test_rows_digests_and_training_curves_stay_inside(
    there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exact figures may be shown; single things, private digests and training losses are not."""
    monkeypatch.setattr(walk, "RECIPE", "cars")
    wanted = walk.needles(there, [], register.content_digest("cars"))
    wanted.numbers = {
        digits: {k: what for k, what in known.items() if what.startswith("training/")}
        for digits, known in wanted.numbers.items()
    }
    # A number as small as that stands in paths by chance.
    wanted.counts = {}
    assert len(wanted.texts) > 600 and any(wanted.numbers.values())
    documents = walk.published(there) | walk.registered(there)
    assert len(documents) > 30
    assert walk.leaks(documents, wanted) == []
    loss = _read("training", "curve.json")["loss"][3]
    for planted in ("thing-0017-623", f"{loss:.9g}"):
        name = "report/published/model_card.md"
        assert walk.leaks({name: documents[name] + planted.encode()}, wanted)


def test_its_data_can_be_verified_and_a_person_may_approve_it(
    there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lineage.main(["verify", "cars"])
    assert "is of the 1 raw file(s) that lie here" in capsys.readouterr().out
    version = registry.open_store(there).version("cars", "1")
    word = approval.Word("approve", "Ada Lovelace")
    checks = _read("decision", "decision.json")["checks"]
    assert approval.checked(word, version, checks).approver == "Ada Lovelace"
    failed = [{**checks[0], "verdict": "fail"}, *checks[1:]]
    with pytest.raises(UserError, match="nobody can answer for a broken promise of privacy"):
        approval.checked(word, version, failed)
