"""The plan: every section there, noise solved for, only what changed changes."""

import copy
import json
from dataclasses import replace

import pytest
import yaml

from rnn.privacy.event import Event
from rnn.privacy.ledger import epsilon_of, training_event
from tasks import budget
from tasks import plan as module
from tasks.params import UserError, load_recipe
from tasks.plan import sections, twin_plan
from tasks.recipe import TextLayout
from tests.tiny import RECIPE, raw_rows


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    raw_rows(50).write_csv("people.csv")
    return tmp_path


def _recipe(root, **changes):
    recipe = copy.deepcopy(RECIPE)
    for key, value in changes.items():
        recipe.setdefault(key, {}).update(value)
    (root / "params.yaml").write_text(yaml.safe_dump({"recipes": {"tiny": recipe}}))
    return load_recipe(root / "params.yaml", "tiny")


def test_noise_is_taken_over_where_it_still_holds_and_solved_again_where_not(checkout, monkeypatch):
    recipe = _recipe(checkout, privacy={"noise_multiplier": None, "target_epsilon": 2.0})
    before = sections("tiny", recipe)

    def forbidden(**_):
        raise AssertionError("solved again")

    monkeypatch.setattr(budget, "training_noise", forbidden)
    faster = _recipe(
        checkout,
        privacy={"noise_multiplier": None, "target_epsilon": 2.0},
        train={"learning_rate": 0.9},
    )
    after = sections("tiny", faster, before)
    assert after["train"]["epsilon"] == before["train"]["epsilon"]
    assert after["train"]["train"]["learning_rate"] == 0.9
    for changes in ({"steps": 21}, {"expected_batch_size": 90}):
        other = _recipe(
            checkout,
            privacy={"noise_multiplier": None, "target_epsilon": 2.0},
            train=changes,
        )
        with pytest.raises(AssertionError, match="solved again"):
            sections("tiny", other, before)
    stale = {**before, "summary": {**before["summary"], "accountant_version": "opacus 0"}}
    with pytest.raises(AssertionError, match="solved again"):
        sections("tiny", recipe, stale)


def test_noise_that_promises_nothing_is_refused(checkout):
    recipe = _recipe(checkout, train={"steps": 200_000})
    with pytest.raises(
        UserError, match=r"noise_multiplier = 2 over train\.steps = 200000 promises"
    ):
        sections("tiny", recipe)


def test_every_section_is_written_and_said(checkout, capsys):
    _recipe(checkout)
    module.main(["tiny"])
    written = sorted(p.stem for p in (checkout / "data/tiny/plan").iterdir())
    assert written == sorted(
        [
            "source",
            "data",
            "target",
            "train",
            "twin",
            "predict",
            "audit",
            "explain",
            "attack",
            "gate",
            "override",
            "population",
            "preparation",
            "profiles",
            "report",
            "register",
            "release",
            "summary",
        ]
    )
    said = capsys.readouterr().out
    assert "noise multiplier 2.0000, 20 steps, sample rate 0.2778 of N = 360" in said
    assert "expect 0.0 min for the model" in said
    module.main(["tiny"])
    assert "expect" not in capsys.readouterr().out, "nothing to train: no estimate"


def test_target_epsilon_is_solved_for(checkout):
    recipe = _recipe(checkout, privacy={"noise_multiplier": None, "target_epsilon": 2.0})
    train = sections("tiny", recipe)["train"]
    assert 1.99 <= train["epsilon"] <= 2.0
    noise = train["noise_multiplier"]
    steps = training_event(noise_multiplier=noise, sample_rate=100 / 360, steps=20)
    assert train["epsilon"] == epsilon_of([steps], 1e-4)


def test_what_is_released_beside_training_is_taken_out_of_the_one_target(checkout, monkeypatch):
    recipe = _recipe(checkout, privacy={"noise_multiplier": None, "target_epsilon": 2.0})
    alone = budget.private_plan(recipe)
    bounds = Event(released="bounds", people="training", mechanism="laplace", noise_multiplier=2.0)
    monkeypatch.setattr(budget, "prepared_events", lambda _: (bounds,))
    plan = budget.private_plan(recipe)
    assert plan.beside == (bounds,)
    assert 1.99 <= plan.epsilon <= 2.0
    steps = training_event(noise_multiplier=plan.noise_multiplier, sample_rate=100 / 360, steps=20)
    assert plan.epsilon == epsilon_of([bounds, steps], 1e-4)
    # Joint, not split: training keeps more than what is left after subtracting.
    assert epsilon_of([steps], 1e-4) > 1.5
    assert plan.noise_multiplier > alone.noise_multiplier
    dear = Event(released="bounds", people="training", mechanism="laplace", noise_multiplier=0.4)
    monkeypatch.setattr(budget, "prepared_events", lambda _: (dear,))
    with pytest.raises(UserError, match="spent before training"):
        budget.private_plan(recipe)


@pytest.mark.parametrize(
    ("changes", "touched"),
    [
        ({"gate": {"min_auc": 0.6}}, {"gate", "summary"}),
        (
            {
                "override": {
                    "approver": "Ada Lovelace",
                    "reason": "A second sample settled it.",
                    "model": "0123456789ab",
                }
            },
            {"override", "summary"},
        ),
        ({"audit": {"profiles": ["four_fifths"]}}, {"profiles", "summary"}),
        # Only a text has terms to swap.
        ({"audit": {"swaps": [{"name": "x", "pairs": [["a", "b"]]}]}}, {"summary"}),
        ({"report": {"title": "Other"}}, {"report", "register"}),
        ({"train": {"learning_rate": 0.06}}, {"train", "twin", "summary"}),
        ({"twin": {"learning_rate": 0.06}}, {"twin", "summary"}),
        ({"audit": {"min_people": 40}}, {"audit", "summary"}),
    ],
)
def test_an_edit_reaches_only_the_sections_that_it_concerns(checkout, changes, touched):
    before = sections("tiny", _recipe(checkout))
    after = sections("tiny", _recipe(checkout, **changes))
    assert {name for name in after if after[name] != before[name]} == touched


def test_a_decision_threshold_does_not_retrain(checkout):
    before = sections("tiny", _recipe(checkout))
    data = copy.deepcopy(RECIPE["data"])
    data["decision"]["approval_rate"] = 0.7
    after = sections("tiny", _recipe(checkout, data=data))
    assert {n for n in after if after[n] != before[n]} == {"target", "summary"}


def test_twin_is_the_model_but_for_privacy_and_its_own_block(checkout):
    recipe = _recipe(checkout, twin={"learning_rate": 0.5, "physical_batch_size": 7})
    twin = twin_plan(recipe)
    assert (twin.train.physical_batch_size, recipe.train.physical_batch_size) == (7, 4096)
    assert twin.privacy is None
    assert twin.noise_multiplier == 0
    assert twin.train.learning_rate == 0.5
    assert twin.model == recipe.model
    assert twin.train.expected_batch_size == recipe.train.expected_batch_size


def test_a_changed_source_changes_the_plan(checkout):
    recipe = _recipe(checkout)
    before = sections("tiny", recipe)
    raw_rows(51).write_csv("people.csv")
    after = sections("tiny", recipe)
    assert {n for n in after if after[n] != before[n]} == {"source"}
    assert json.dumps(after["source"]["files"][0]["path"]).endswith('people.csv"')


def test_held_out_people_get_training_s_epsilon_unless_the_recipe_says_otherwise(checkout):
    def released(**changes):
        planned = sections("tiny", _recipe(checkout, **changes))
        return planned["release"], planned["train"]["epsilon"], planned["register"]["insecure"]

    release, epsilon, insecure = released()
    assert (release["mode"], release["epsilon"], release["delta"]) == ("noised", epsilon, 1e-4)
    assert release["threshold_epsilon"] == pytest.approx(0.1 * epsilon)
    assert release["groups"] == {"sex": ("women", "men", "unknown")}
    assert (release["undeclared"], release["insecure_seed"], insecure) == ((), None, False)
    own = {"epsilon": 0.5, "delta": 1e-7, "threshold_share": 0.2, "max_rows": 3}
    release, _, _ = released(audit={"release": own})
    assert (release["epsilon"], release["delta"], release["max_rows"]) == (0.5, 1e-7, 3)
    assert release["threshold_epsilon"] == pytest.approx(0.1)
    release, _, insecure = released(audit={"release": {"insecure_seed": 5}})
    assert (release["insecure_seed"], insecure) == (5, True)
    release, _, insecure = released(privacy={"insecure_seed": 6})
    assert (release["insecure_seed"], insecure) == (6, True)


def test_a_stated_threshold_and_undeclared_labels_are_known_to_the_release(checkout):
    data = copy.deepcopy(RECIPE["data"])
    data["decision"] = {"favourable": 0, "threshold": 0.4}
    data["sensitive"].append({"name": "raw", "column": "limit"})
    release = sections("tiny", _recipe(checkout, data=data))["release"]
    assert release["threshold_epsilon"] == 0
    assert (list(release["groups"]), release["undeclared"]) == (["sex"], ("raw",))
    crossed = {"release": {"intersections": [["sex", "raw"]]}}
    with pytest.raises(UserError, match=r"intersections names 'raw', whose cells are its labels"):
        sections("tiny", _recipe(checkout, data=data, audit=crossed))


def test_a_release_s_edit_re_runs_predict_and_audit_alone(checkout):
    before = sections("tiny", _recipe(checkout))
    after = sections("tiny", _recipe(checkout, audit={"release": {"epsilon": 1.0}}))
    assert {n for n in after if after[n] != before[n]} == {"release", "summary"}


@pytest.mark.parametrize("crossing", [["sex", "town"], ["sex", "sex"]])
def test_crossings_to_publish_name_sensitive_features(checkout, crossing):
    with pytest.raises(UserError, match="intersections"):
        _recipe(checkout, audit={"release": {"intersections": [crossing]}})


@pytest.mark.parametrize(
    ("block", "value", "said"),
    [
        ("override", {"approver": "Ada Lovelace", "model": "0123456789ab"}, "reason: is required"),
        (
            "override",
            {"approver": "Ada", "reason": "x" * 20, "model": "0" * 12},
            "approver = 'Ada'",
        ),
        ("audit", {"profiles": ["gdpr"]}, r"audit\.profiles names 'gdpr'"),
        ("audit", {"profiles": ["own.yaml"]}, r"own\.yaml is missing"),
    ],
)
def test_half_an_override_and_a_list_that_is_not_there_stop_the_plan(checkout, block, value, said):
    with pytest.raises(UserError, match=said) as caught:
        sections("tiny", _recipe(checkout, **{block: value}))
    assert "\n" not in str(caught.value)


def test_an_edit_of_a_list_of_the_users_is_noticed(checkout):
    (checkout / "own.yaml").write_text(
        "{title: Own, source: A, as_of: 2024-01-31, about: B, items: [{id: a, asks: b}]}"
    )
    recipe = _recipe(checkout, audit={"profiles": ["own.yaml"]})
    before = sections("tiny", recipe)
    (checkout / "own.yaml").write_text(
        "{title: Own, source: A, as_of: 2024-01-31, about: B, items: [{id: a, asks: c}]}"
    )
    after = sections("tiny", recipe)
    assert {n for n in after if after[n] != before[n]} == {"profiles"}


def test_a_text_gets_the_terms_of_its_files_written_out(checkout):
    (checkout / "own.csv").write_text("group,first,second\npronouns,he,she\n")
    recipe = _recipe(checkout, audit={"swaps": [{"file": "own.csv", "where": "first_word"}]})
    layout = TextLayout(layout="text", columns=("d1",), alphabet="ehs ")
    text = replace(recipe, data=replace(recipe.data, sequence=layout))
    (group,) = sections("tiny", text)["audit"]["swaps"]
    assert (group["name"], group["pairs"], group["where"], group["file"]) == (
        "pronouns",
        (("he", "she"),),
        "first_word",
        None,
    )
    assert sections("tiny", recipe)["audit"]["swaps"] == ()
