"""`python -m tasks.audit compare`: every listed alternative, internal, at the recipe's epsilon."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

from tasks import audit, compare, fetch, plan, prepare
from tasks.artifacts import read_prepared, read_sensitive_features
from tasks.params import UserError, load_recipe
from tasks.recipe import AdaptiveClipping, GroupThresholds
from tasks.trials import Comparison, groups_of, planned, variant
from tests.tiny import RECIPE, raw_rows

ALTERNATIVES = [
    {"method": "none"},
    {"method": "adaptive", "lowest": 2.0},
    {"method": "reweight", "feature": "sex", "outcome": True},
    {"method": "dpsgd_f", "feature": "sex"},
    {"method": "group_thresholds", "feature": "sex", "noise_multiplier": 3.0, "score_bins": 10},
]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    raw_rows().write_csv(tmp_path / "people.csv")
    return tmp_path


def _recipe(root, **settings):
    block = {"runs": 2, "bootstraps": 100, "alternatives": ALTERNATIVES, **settings}
    text = yaml.safe_dump({"run": ["tiny"], "recipes": {"tiny": {**RECIPE, "compare": block}}})
    (root / "params.yaml").write_text(text)
    return load_recipe(root / "params.yaml", "tiny")


def _prepared():
    for stage in (plan, fetch, prepare):
        stage.main(["tiny"])


def test_everything_listed_is_tried_and_lies_inside(here, capsys):
    _recipe(here)
    _prepared()
    audit.main(["compare", "tiny"])
    assert [p.name for p in (here / "data/tiny/compare").iterdir()] == ["internal"]
    found = json.loads((here / "data/tiny/compare/internal/compare.json").read_text())
    names = [m["method"] for m in found["methods"]]
    # The recipe's own comes first, and is not tried twice.
    assert names == ["none", "adaptive", "reweight by outcome", "dpsgd_f", "group_thresholds"]
    assert "outside of the published model's account" in found["note"]
    assert found["note"] in capsys.readouterr().out
    for method in found["methods"]:
        assert method["epsilon"] == pytest.approx(found["methods"][0]["epsilon"], rel=2e-3)
        auc = method["figures"]["auc"]
        assert auc["low"] <= auc["value"] <= auc["high"]
        assert 0 <= method["disagreement"]["everybody"]["value"] < 1
    costs = {m["method"]: m["counts_epsilon"] for m in found["methods"]}
    assert costs["none"] == pytest.approx(0, abs=1e-9)
    assert min(v for k, v in costs.items() if k != "none") > 0
    svg = (here / "data/tiny/compare/internal/frontier.svg").read_text()
    assert "gap" not in svg or ElementTree.fromstring(svg) is not None
    assert "group_thresholds, epsilon 2.6" in svg


def test_thresholds_by_group_share_the_epsilon_of_training(here):
    recipe = _recipe(here)
    alone, _ = planned(recipe, recipe.compare.alternatives[0])
    beside, cost = planned(recipe, recipe.compare.alternatives[4])
    assert beside.noise_multiplier > alone.noise_multiplier
    assert 0.998 * alone.epsilon <= beside.epsilon <= alone.epsilon
    assert 0 < cost < alone.epsilon
    dear = GroupThresholds(method="group_thresholds", feature="sex", noise_multiplier=0.1)
    with pytest.raises(UserError, match="spent before training"):
        planned(recipe, dear)


def test_adaptive_clipping_starts_within_its_limits(here):
    recipe = _recipe(here)
    changed = variant(recipe, AdaptiveClipping(method="adaptive", lowest=2.0))
    assert changed.privacy.clipping == "adaptive"
    assert changed.privacy.adaptive.lowest == 2.0
    # The recipe's bound of 1 is below the lowest.
    assert changed.privacy.max_grad_norm == 2.0
    assert changed.privacy.population == recipe.privacy.population


def test_thresholds_by_group_bring_the_rates_together(here):
    recipe = _recipe(here)
    _prepared()
    sensitive = read_sensitive_features("tiny")
    comparison = Comparison(recipe, read_prepared("tiny"), sensitive)
    groups = groups_of(recipe, "sex", sensitive)
    codes = groups.codes[comparison.rows]
    scores = {}

    class _Fit:
        """Scores that favour one group."""

    def tilted(fit, rows):
        if len(rows) not in scores:
            numbers = np.random.default_rng(0).random(len(rows))
            scores[len(rows)] = 0.6 * numbers + 0.4 * (groups.codes[rows] == 0)
        return scores[len(rows)]

    comparison.scores = tilted
    test = tilted(None, comparison.rows)
    block = GroupThresholds(
        method="group_thresholds", feature="sex", noise_multiplier=1.0, score_bins=20
    )
    plain = (test >= 0.5).astype(int)
    chosen = comparison.by_group(_Fit(), block, 0.5, test)

    def gap(decisions):
        return decisions[codes == 0].mean() - decisions[codes == 1].mean()

    assert gap(plain) > 0.5
    assert abs(gap(chosen)) < 0.3 * gap(plain)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"alternatives": []}, "alternatives is empty"),
        ({"alternatives": [{"method": "reweight", "feature": "age"}]}, "is not among"),
        ({"feature": "age"}, r"compare\.feature = 'age' is not among"),
    ],
)
def test_mistakes_are_one_line(here, settings, match):
    with pytest.raises(UserError, match=match) as error:
        recipe = _recipe(here, **settings)
        _prepared()
        compare.compare(recipe, read_prepared("tiny"), read_sensitive_features("tiny"))
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="usage"):
        compare.main([])
