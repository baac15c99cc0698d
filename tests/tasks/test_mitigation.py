"""Mitigations from params.yaml to the account: what re-runs, what is refused, what it costs."""

import copy
import json

import numpy as np
import polars as pl
import pytest
import yaml

from rnn.fairness.config import NoMitigation, Reweight
from rnn.privacy.effective import effective_noise
from rnn.privacy.ledger import epsilon_of, training_event
from tasks import fetch, plan, prepare
from tasks.account import spent
from tasks.artifacts import digest_folder, read_prepared, read_sensitive_features
from tasks.budget import private_plan, twin_plan
from tasks.params import UserError, as_json, load_recipe, validate
from tasks.plan import sections
from tasks.recipe import TrainPlan
from tasks.train import make_fit
from tests.tiny import RECIPE, raw_rows

BLOCKS = [
    {"method": "none"},
    {"method": "reweight", "feature": "sex"},
    {"method": "reweight", "feature": "sex", "outcome": True},
    {"method": "reweight", "feature": "sex", "weights": {"women": 2.0, "unknown": 0.5}},
    {"method": "bounded_group_loss", "feature": "sex"},
    {"method": "gradient_reversal", "feature": "sex"},
    {"method": "dpsgd_f", "feature": "sex"},
    {"method": "global_adapt"},
]
FREE = ("none", "gradient_reversal")


def _write(root, mitigation=None, **changes):
    recipe = copy.deepcopy(RECIPE)
    for key, value in changes.items():
        recipe[key] = {**recipe.get(key, {}), **value}
    if mitigation is not None:
        recipe["mitigation"] = mitigation
    path = root / "params.yaml"
    path.write_text(yaml.safe_dump({"run": ["tiny"], "recipes": {"tiny": recipe}}))
    return path


def _recipe(root, mitigation=None, **changes):
    return load_recipe(_write(root, mitigation, **changes), "tiny")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    raw_rows().write_csv(tmp_path / "people.csv")
    return tmp_path


def _prepared(root, mitigation=None, **changes):
    _write(root, mitigation, **changes)
    plan.main(["tiny"])
    fetch.main(["tiny"])
    prepare.main(["tiny"])
    return read_prepared("tiny")


@pytest.mark.parametrize("block", BLOCKS, ids=lambda b: "-".join(map(str, b.values()))[:40])
def test_plan_survives_json_and_the_account_covers_the_counts(here, block):
    recipe = _recipe(here, block)
    planned = private_plan(recipe)
    assert validate(TrainPlan, json.loads(json.dumps(as_json(planned))), "train") == planned
    fit = make_fit(planned, _prepared(here, block))
    releases = fit.mechanism.releases(planned.train.expected_batch_size)
    whole = effective_noise(fit.optimizer.noise_multiplier, *releases)
    assert whole == pytest.approx(planned.noise_multiplier)
    fit.step()
    account = spent(planned, 5, "test")
    assert account.mitigation == block["method"]
    noise, rate = fit.optimizer.noise_multiplier, planned.sample_rate
    steps = training_event(noise_multiplier=noise, sample_rate=rate, steps=5)
    gradients = epsilon_of([steps], account.delta)
    assert account.counts_epsilon == pytest.approx(account.epsilon - gradients)
    free = block["method"] in FREE or "weights" in block
    assert (account.counts_epsilon == 0) == free


def test_groups_are_written_for_a_mitigation_alone(here, tmp_path):
    plain = _prepared(here)
    before = digest_folder(tmp_path / "data/tiny/prepared/arrays")
    assert plain.groups is None
    assert "groups" not in plain.schema
    # A group that nobody is in changes no array, so nothing trains again.
    renamed = {**RECIPE["data"], "sensitive": [{**RECIPE["data"]["sensitive"][0]}]}
    renamed["sensitive"][0]["labels"] = {"f": "women", "m": "men", "x": "other"}
    _prepared(here, data=renamed)
    assert digest_folder(tmp_path / "data/tiny/prepared/arrays") == before
    mitigated = _prepared(here, BLOCKS[1], data=renamed)
    # Every declared label is there, whether or not anybody has it; unknown is the last.
    assert mitigated.groups.labels == ("women", "men", "other", "unknown")
    assert mitigated.groups.codes.dtype == np.int64
    sex = read_sensitive_features("tiny")["sex"]
    again = [mitigated.groups.labels[code] for code in mitigated.groups.codes]
    assert again == sex.to_list()
    assert mitigated.sequences.input_size == plain.sequences.input_size
    assert mitigated.shape == plain.shape


def test_a_label_that_was_not_declared_is_unknown(here):
    few = {**RECIPE["data"]}
    few["sensitive"] = [{"name": "sex", "column": "sex", "labels": {"f": "women"}}]
    prepared = _prepared(here, BLOCKS[1], data=few)
    assert prepared.groups.labels == ("women", "unknown")
    men = (pl.read_csv(here / "people.csv")["sex"] == "m").to_numpy()
    assert (prepared.groups.codes[men] == 1).all()
    assert (prepared.groups.codes[~men] == 0).all()


def test_the_data_section_names_a_feature_only_where_training_reads_it(here):
    assert sections("tiny", _recipe(here))["data"]["training_groups"] is None
    assert sections("tiny", _recipe(here, BLOCKS[-1]))["data"]["training_groups"] is None
    assert sections("tiny", _recipe(here, BLOCKS[1]))["data"]["training_groups"] == "sex"


def test_the_twin_has_the_losses_but_no_bounds(here):
    assert twin_plan(_recipe(here, BLOCKS[1])).mitigation == Reweight(
        method="reweight", feature="sex"
    )
    assert twin_plan(_recipe(here, BLOCKS[6])).mitigation == NoMitigation()


def test_a_known_noise_is_kept_when_the_mitigation_changes(here):
    before = sections("tiny", _recipe(here))
    planned = private_plan(_recipe(here, BLOCKS[1]), before)
    assert planned.mitigation.method == "reweight"
    assert planned.noise_multiplier == before["train"]["noise_multiplier"]


@pytest.mark.parametrize(
    ("block", "changes", "match"),
    [
        ({"method": "reweight", "feature": "age"}, {}, r"mitigation\.feature = 'age' is not among"),
        ({"method": "rewight", "feature": "sex"}, {}, r"mitigation: 'method' must be one of"),
        ({"method": "reweight", "feature": "sex", "power": 2}, {}, r"mitigation\.power = 2"),
        (
            {"method": "global_adapt"},
            {"privacy": {"clipping": "per_layer"}},
            "clipping = per_layer: .* needs flat",
        ),
        ({"method": "none"}, {"data": {"training_groups": "sex"}}, "written by plan"),
    ],
)
def test_mistakes_are_one_line(here, block, changes, match):
    with pytest.raises(UserError, match=match) as error:
        _recipe(here, block, **changes)
    assert "\n" not in str(error.value)


def test_mistakes_that_plan_finds(here):
    wrong = {**BLOCKS[1], "weights": {"girls": 2.0}}
    with pytest.raises(UserError, match=r"mitigation\.weights\.girls: .*'women', 'men', 'unknown'"):
        sections("tiny", _recipe(here, wrong))
    dear = {**BLOCKS[1], "count_noise": 0.01}
    with pytest.raises(UserError, match=r"mitigation\.count_noise = 0\.01 must be above"):
        private_plan(_recipe(here, dear))
    data = {**RECIPE["data"], "sensitive": [{"name": "sex", "column": "sex"}]}
    with pytest.raises(UserError, match="its labels must be declared"):
        _recipe(here, BLOCKS[1], data=data)
