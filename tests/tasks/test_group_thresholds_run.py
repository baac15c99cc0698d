"""Thresholds by group from params.yaml to the released model: price, noise, what a kill leaves."""

import copy
import json

import numpy as np
import pytest
import yaml

from rnn.privacy.ledger import Event, epsilon_of, training_event
from tasks import fetch, plan, prepare, train
from tasks.artifacts import digest_folder, folder, read_json
from tasks.budget import private_plan, twin_plan
from tasks.params import UserError, load_recipe
from tasks.plan import release_plan
from tests.tiny import RECIPE, raw_rows

BLOCK = {"method": "group_thresholds", "feature": "sex", "noise_multiplier": 4.0, "score_bins": 8}
PRIVACY = {"noise_multiplier": None, "target_epsilon": 4.0}


def _recipe(root, block=BLOCK, **changes):
    recipe = copy.deepcopy(RECIPE)
    for key, value in {"privacy": PRIVACY, **changes}.items():
        recipe[key] = {**recipe.get(key, {}), **value}
    if block is not None:
        recipe["mitigation"] = block
    path = root / "params.yaml"
    path.write_text(yaml.safe_dump({"run": ["tiny"], "recipes": {"tiny": recipe}}))
    return load_recipe(path, "tiny")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    raw_rows().write_csv(tmp_path / "people.csv")
    return tmp_path


def _prepared(root, **changes):
    _recipe(root, **changes)
    for stage in (plan, fetch, prepare):
        stage.main(["tiny"])


def test_one_total_pays_for_training_and_histogram(here):
    planned = private_plan(_recipe(here))
    (event,) = planned.after
    assert (event.people, event.mechanism, event.noise_multiplier) == ("training", "gaussian", 4.0)
    assert 0.98 * 4.0 < planned.epsilon <= 4.0
    steps = training_event(
        noise_multiplier=planned.noise_multiplier, sample_rate=planned.sample_rate, steps=20
    )
    delta = planned.privacy.delta
    assert epsilon_of([steps, event], delta) == pytest.approx(planned.epsilon)
    # Composed, the histogram takes less than it would cost alone.
    alone = epsilon_of([event], delta)
    assert 0 < planned.epsilon - epsilon_of([steps], delta) < alone
    plain = private_plan(_recipe(here, block=None))
    assert planned.noise_multiplier > plain.noise_multiplier
    dear = {**BLOCK, "noise_multiplier": 0.5}
    with pytest.raises(UserError, match=r"privacy\.target_epsilon: .* spent before training"):
        private_plan(_recipe(here, block=dear))


def test_held_out_people_pay_for_no_threshold(here):
    recipe = _recipe(here)
    assert release_plan(recipe, private_plan(recipe)).threshold_epsilon == 0
    plain = _recipe(here, block=None)
    assert release_plan(plain, private_plan(plain)).threshold_epsilon > 0
    # The twin has no private thresholds.
    assert twin_plan(recipe).mitigation.method == "none"
    assert (twin_plan(recipe).after, twin_plan(recipe).cut) == ((), None)


def test_training_releases_one_histogram_and_accounts_for_it(here):
    _prepared(here)
    train.main(["tiny"])
    model = folder("tiny", "model")
    found, account = (read_json(model / f"{n}.json") for n in ("thresholds", "privacy_spent"))
    ledger = read_json(model / "ledger.json")
    events = [
        Event(**{k: v for k, v in event.items() if k != "epsilon_alone"})
        for event in ledger["events"]
    ]
    assert [event.mechanism for event in events] == ["sampled_gaussian", "gaussian"]
    assert epsilon_of(events, 1e-4) == pytest.approx(account["epsilon"])
    assert account["training_epsilon"] < account["epsilon"] <= 4.0
    assert account["mitigation"] == "group_thresholds"
    assert found["histogram"]["noise_multiplier"] == events[1].noise_multiplier
    # The noise is drawn from the run's own key, which is written nowhere.
    train.main(["tiny"])
    again = read_json(model / "thresholds.json")["histogram"]["counts"]
    assert again != found["histogram"]["counts"]


def test_a_kill_before_the_model_stands_shows_nothing_and_is_charged_once(here, monkeypatch):
    _prepared(here)
    real, seen = train.write_json, []

    def full(path, value):
        seen.append(path.name)
        if path.name == "ledger.json":
            raise OSError("the disk is full")
        real(path, value)

    monkeypatch.setattr(train, "write_json", full)
    with pytest.raises(OSError, match="full"):
        train.main(["tiny"])
    assert "privacy_spent.json" in seen
    assert not folder("tiny", "model").exists()
    monkeypatch.setattr(train, "write_json", real)
    train.main(["tiny"])
    account = read_json(folder("tiny", "model") / "privacy_spent.json")
    assert account["trainings"] == 1
    assert account["epsilon_together"] == pytest.approx(account["epsilon"])


def test_a_seeded_run_repeats_its_histogram(here):
    digests = []
    for _ in range(2):
        _prepared(here, privacy={**PRIVACY, "insecure_seed": 5})
        train.main(["tiny"])
        digests.append(digest_folder(folder("tiny", "model")))
    assert digests[0] == digests[1]
    counts = np.array(read_json(folder("tiny", "model") / "thresholds.json")["histogram"]["counts"])
    assert counts.shape == (3, 2, 8)
    assert json.dumps(counts.tolist()).count("e") == 0


def test_mistakes_are_one_line(here):
    target = {"target": {"column": "y", "kind": "regression", "bounds": [0, 1]}, "decision": None}
    data = {**RECIPE["data"], **target}
    with pytest.raises(UserError, match="group_thresholds is for a binary target") as error:
        _recipe(here, data=data)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"mitigation\.feature = 'age' is not among"):
        _recipe(here, block={**BLOCK, "feature": "age"})
    with pytest.raises(UserError, match=r"decision_groups is not stated here"):
        _recipe(here, data={**RECIPE["data"], "decision_groups": "sex"})
