"""Figures of quality: hand-computed where a function is simple, Captum's where it has them."""

import captum.metrics
import numpy as np
import pytest
import torch
from torch import Tensor

from tasks.explaining import assess
from tasks.explaining.bench import (
    MOVE,
    Bench,
    curves,
    infidelity,
    max_sensitivity,
    places,
    random_curves,
    remove,
    shuffled,
    shuffled_shares,
)
from tasks.explaining.methods import METHODS, CellShares
from tasks.explaining.question import Groups, Question, ask
from tasks.recipe import ExplainConfig
from tests.tasks.explaining.test_path import question
from tests.tasks.test_explain import model, sequences

TWO = Groups(torch.arange(2), torch.arange(0))
WEIGHTS = torch.tensor([4.0, 1.0])


def linear(values: Tensor) -> Tensor:
    """f = 4 a + b, summed over steps, and 7."""
    return (values * WEIGHTS).sum((1, 2)) + 7


def bench() -> Bench:
    """One person whose two cells are worth 4 and 1, one with the signs turned."""
    return Bench(question(linear, torch.tensor([[[1.0, 1.0]], [[-1.0, -1.0]]])), TWO, 3)


def test_outputs_are_those_of_the_cells_that_are_there() -> None:
    present = np.array([[[1, 0], [1, 0]], [[0, 1], [1, 1]]], dtype=bool)
    assert bench().outputs(present).tolist() == [[11, 3], [8, 2]]
    assert [e.tolist() for e in bench().ends()] == [[12, 2], [7, 7]]


def test_curves_of_a_linear_function_by_hand() -> None:
    """Best first: 0, 4, 5 of 5 over halves: area 3.25; worst first: 0, 1, 5: 1.75."""
    place = bench()
    ends = place.ends()
    right = np.array([[4.0, 1.0], [-4.0, -1.0]])
    insertion, deletion = curves(place, right, ends)
    assert insertion.tolist() == [3.25, 3.25]
    assert deletion.tolist() == [1.75, 1.75]
    wrong, late = curves(place, right[:, ::-1], ends)
    assert wrong.tolist() == [1.75, 1.75]
    assert late.tolist() == [3.25, 3.25]
    some, _ = random_curves(place, ends, 400, 0)
    np.testing.assert_allclose(some, 2.5, atol=0.15)


def test_padding_is_last_and_ties_keep_their_order() -> None:
    real = np.array([[True, False, True, True]])
    assert places(np.array([[1.0, 9.0, 3.0, 1.0]]), real).tolist() == [[1, 3, 0, 2]]


def test_infidelity_of_the_right_shares_is_nothing_and_of_none_everything() -> None:
    place = bench()
    removals = remove(place, place.ends(), 200, 0)
    right = np.array([[4.0, 1.0], [-4.0, -1.0]])
    np.testing.assert_allclose(infidelity(removals, right), 0, atol=1e-9)
    np.testing.assert_allclose(infidelity(removals, 10 * right), 0, atol=1e-9)
    np.testing.assert_allclose(infidelity(removals, 0 * right), 1)
    assert (infidelity(removals, right[:, ::-1]) > 0.1).all()


def test_infidelity_is_captums_over_the_mean_square_change() -> None:
    made, batch = model(), sequences(9).batch(np.arange(9))
    asked, groups = ask(made, batch), Groups(torch.arange(3), torch.arange(2))
    place = Bench(asked, groups, 1000)
    removals = remove(place, place.ends(), 30, 1)
    shares = np.random.default_rng(0).normal(size=place.real().shape) * place.real()
    away = torch.from_numpy(removals.away).transpose(0, 1).flatten(0, 1)

    def output(present: Tensor, fixed: Tensor, who: Tensor) -> Tensor:
        return asked.answer_with(present, fixed, groups, who)

    def perturb(inputs: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        parts = away.float().split([away.shape[1] - 2, 2], 1)
        gone = (parts[0].view(inputs[0].shape), parts[1])
        return gone, tuple(x - g for x, g in zip(inputs, gone, strict=True))

    said = torch.from_numpy(shares).float().split([shares.shape[1] - 2, 2], 1)
    steps = asked.embedded.shape[1]
    theirs = captum.metrics.infidelity(
        output, perturb, (torch.ones(9, steps, 3), torch.ones(9, 2)),
        (said[0].view(9, steps, 3), said[1]), additional_forward_args=(torch.arange(9),),
        n_perturb_samples=30, normalize=True,
    )  # fmt: skip
    size = np.square(removals.change).mean(0)
    np.testing.assert_allclose(infidelity(removals, shares) * size, theirs, rtol=2e-3, atol=1e-6)


def test_shares_in_random_order_are_the_same_shares() -> None:
    real = np.array([[True, True, False, True], [True, False, False, True]])
    shares = np.where(real, [[1.0, 2.0, 9.0, 3.0], [4.0, 9.0, 9.0, 5.0]], 0.0)
    generator = np.random.default_rng(0)
    found = [shuffled_shares(shares, real, generator) for _ in range(50)]
    for one in found:
        assert (one[~real] == 0).all()
        assert sorted(one[0]) == [0, 1, 2, 3]
        assert sorted(one[1]) == [0, 0, 4, 5]
    assert len({tuple(one[0]) for one in found}) == 6


def test_max_sensitivity_of_what_does_not_move_and_of_what_moves_in_step() -> None:
    asked = ask(model(), sequences(8).batch(np.arange(8)))

    def still(some: Question) -> CellShares:
        return CellShares(torch.ones(len(some), 2, 1), torch.ones(len(some), 2))

    def follows(some: Question) -> CellShares:
        return CellShares(some.embedded, some.static)

    assert (max_sensitivity(asked, still, 5, 0) == 0).all()
    found = max_sensitivity(asked, follows, 50, 0)
    # A uniform move by at most 1 % of the typical size is 0.6 % of it in the mean square.
    assert 0.4 * MOVE < np.median(found) < 2 * MOVE
    assert (found == max_sensitivity(asked, follows, 50, 0)).all()
    assert max_sensitivity(asked, follows, 2, 0).mean() < found.mean(), "the largest of fewer"


def test_shuffled_weights_are_the_same_numbers_elsewhere() -> None:
    made = model()
    before = {name: p.clone() for name, p in made.named_parameters()}
    other = shuffled(made, 0)
    for name, parameter in other.named_parameters():
        assert torch.equal(parameter.flatten().sort().values, before[name].flatten().sort().values)
    assert not torch.equal(other.recurrent.weight_hh_l0, before["recurrent.weight_hh_l0"])
    assert all(torch.equal(p, before[name]) for name, p in made.named_parameters())


@pytest.mark.parametrize("tokens", [False, True])
def test_a_method_that_listens_to_the_model_is_changed_by_shuffled_weights(tokens: bool) -> None:
    made = model("multiclass" if tokens else "binary", tokens=tokens)
    data = sequences(40, tokens=tokens)
    batch = data.batch(np.arange(40))
    groups = Groups(torch.zeros(5, dtype=torch.int64) if tokens else torch.arange(3),
                    torch.arange(2))  # fmt: skip
    config = ExplainConfig(orders=4, n_steps=8)
    trial = assess.prepare(made, ask(made, batch), batch.inputs, groups, config)
    right = assess.attempt(trial, "shapley_sampling", config)
    assert np.nanmean(right.randomised) < 0.8
    assert (right.insertion - right.insertion_random).mean() > 0
    assert (right.deletion_random - right.deletion).mean() > 0
    assert np.nanmean(right.infidelity) < 0.5 * np.nanmean(right.infidelity_random)
    np.testing.assert_allclose(right.shares.sum(1), right.change, atol=1e-6)


def test_a_method_that_ignores_the_model_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def deaf(asked: Question, groups: Groups, config: ExplainConfig) -> CellShares:
        cells, _ = asked.cells(groups)
        sequence = torch.where(cells, asked.embedded.double(), 0.0)
        return CellShares(sequence, asked.static.double())

    monkeypatch.setitem(METHODS, "occlusion", deaf)
    made, batch = model(), sequences(40).batch(np.arange(40))
    config, groups = ExplainConfig(), Groups(torch.arange(3), torch.arange(2))
    trial = assess.prepare(made, ask(made, batch), batch.inputs, groups, config)
    assert np.allclose(assess.attempt(trial, "occlusion", config).randomised, 1)
