"""Known causes: they decide the answer, and hits are counted right."""

import numpy as np
import pytest
import torch

from benchmarks import known_causes
from benchmarks.explain import built, drawn


@pytest.mark.parametrize("task", sorted(known_causes.TASKS))
def test_the_causes_and_nothing_else_decide_the_answer(task):
    """Another draw of all other cells leaves the answer; another draw of the causes does not."""
    make = known_causes.TASKS[task]
    inputs, classes, truth = make(np.random.default_rng(0), 400)
    assert 0.4 < classes.float().mean() < 0.6
    assert len(set(truth.flatten(1).sum(1).tolist())) == 1
    answer = {
        "position": lambda x: x[truth].view(400, -1).sum(1) > 0,
        # The mark comes first in the order of channels, later in that of steps.
        "lag": lambda x: x[..., 1][truth[..., 1]] > 0,
        "interaction": lambda x: x[truth].view(400, -1).prod(1) > 0,
    }[task]
    assert torch.equal(answer(inputs), classes)
    other = torch.where(truth, inputs, torch.randn(inputs.shape))
    assert torch.equal(answer(other), classes)
    assert not torch.equal(answer(torch.randn(inputs.shape)), classes)


def test_hits_are_the_share_of_true_cells_among_the_largest():
    found = torch.tensor([[[3.0, -2.0], [1.0, 0.0]], [[0.0, 0.0], [-9.0, 8.0]]])
    truth = torch.tensor([[[True, False], [True, False]], [[False, False], [True, True]]])
    assert known_causes.hit_rates(found, truth).tolist() == [0.5, 1.0]


def test_rows_are_means_over_seeds_and_then_over_tasks():
    found = {
        (task, seed): {"accuracy": 1.0, "occlusion": value + 0.1 * seed}
        for task, value in (("position", 0.2), ("lag", 0.4), ("interaction", 0.6))
        for seed in (0, 1)
    }
    rows = {row["name"]: row["value"] for row in known_causes.rows_of(found)}
    assert rows["explain/known_causes/occlusion/top_k_hit_rate"] == pytest.approx(0.45)
    assert rows["explain/known_causes/occlusion/lag/top_k_hit_rate"] == pytest.approx(0.45)
    assert rows["explain/known_causes/occlusion/position/top_k_hit_rate"] == pytest.approx(0.25)


def test_a_recipe_that_is_not_built_says_how(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not built("credit")
    assert "dvc repro predict@credit" in capsys.readouterr().out


def test_people_are_taken_twice_where_they_are_too_few():
    class Few:
        def rows(self, split):
            return np.array([4, 5, 6])

    assert sorted(drawn(Few(), 7)) in ([4, 4, 4, 5, 5, 6, 6], [4, 4, 5, 5, 5, 6, 6],
                                       [4, 4, 5, 5, 6, 6, 6])  # fmt: skip
