"""Kinds of clipping from params.yaml to the account."""

import copy
import json

import pytest
import yaml

from rnn.privacy.effective import centred_count, effective_noise
from tasks.account import spent
from tasks.budget import private_plan
from tasks.params import UserError, load_recipe, validate
from tasks.recipe import TrainPlan
from tasks.train import make_fit
from tests.tiny import RECIPE


class _Prepared:
    """A few rows in the shape that training reads."""

    def __init__(self):
        import numpy as np

        from rnn.batch import PreparedSequences
        from rnn.config import InputShape

        self.groups = self.vectors = None
        self.shape = InputShape(
            input_size=2, vocabulary_size=0, static_size=0, output_size=1, task="binary"
        )
        self.sequences = PreparedSequences(
            np.ones((12, 2), dtype=np.float32),
            None,
            np.arange(5) * 3,
            np.zeros((4, 0), dtype=np.float32),
            np.array([0, 1, 0, 1]),
        )

    def rows(self, split):
        return self.sequences.offsets[:-1] // 3


def _plan(root, **privacy):
    recipe = copy.deepcopy(RECIPE)
    recipe["privacy"].update(privacy)
    path = root / "params.yaml"
    path.write_text(yaml.safe_dump({"recipes": {"tiny": recipe}}))
    return private_plan(load_recipe(path, "tiny"))


@pytest.mark.parametrize("clipping", ["flat", "per_layer", "adaptive"])
def test_account_is_of_the_effective_noise(tmp_path, clipping):
    plan = _plan(tmp_path, clipping=clipping)
    fit = make_fit(plan, _Prepared())
    account = spent(plan, 3, "test")
    assert account.clipping == clipping
    assert account.noise_multiplier == plan.noise_multiplier
    noise = fit.optimizer.noise_multiplier
    if clipping == "adaptive":
        noise = effective_noise(noise, centred_count(fit.bound.count_noise))
    assert noise == pytest.approx(plan.noise_multiplier)
    fit.step()


def test_plan_survives_json(tmp_path):
    from tasks.params import as_json

    plan = _plan(tmp_path, clipping="per_layer", layer_max_grad_norms={"head.1": 0.5})
    assert validate(TrainPlan, json.loads(json.dumps(as_json(plan))), "train") == plan


def test_mistakes_are_one_line(tmp_path):
    with pytest.raises(UserError, match=r"^privacy\.adaptive\.count_noise = .* must be above half"):
        _plan(tmp_path, clipping="adaptive", adaptive={"count_noise": 0.001})
    plan = _plan(tmp_path, clipping="per_layer", layer_max_grad_norms={"tail": 1.0})
    with pytest.raises(UserError, match=r"^privacy: bounds for layers \['tail'\]"):
        make_fit(plan, _Prepared())
