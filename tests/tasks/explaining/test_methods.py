"""Every method: right on what can be known, blind to padding, the same for the same seed."""

import warnings
from itertools import permutations

import captum.attr
import numpy as np
import pytest
import torch
from torch import Tensor

from tasks.explaining.methods import METHODS, explain_cells
from tasks.explaining.question import Groups, ask
from tasks.explaining.shapley import by_length, coalitions, players, regress, sampled, values_of
from tasks.params import UserError, validate
from tasks.recipe import ExplainConfig
from tasks.settings.evidence import EXPLAIN_METHODS
from tests.tasks.explaining.test_path import question
from tests.tasks.test_explain import model, sequences

CONFIG = ExplainConfig(orders=8)
GROUPS = Groups(torch.tensor([0, 1, 0]), torch.tensor([0, 0]))
ONE = Groups(torch.arange(1), torch.arange(0))


def test_the_settings_name_the_methods_that_there_are() -> None:
    assert set(EXPLAIN_METHODS) == set(METHODS)


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("static", [0, 2])
def test_padding_gets_nothing_and_the_global_generators_nothing_either(
    method: str, static: int
) -> None:
    made, data = model(static=static), sequences(20, static=static)
    asked = ask(made, data.batch(np.arange(20)))
    groups = Groups(GROUPS.sequence, GROUPS.static[:static])
    torch.manual_seed(5)
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    found = explain_cells(method, asked, groups, CONFIG)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.random.get_state()[1].tolist() == numpy_state  # noqa: NPY002
    assert found.sequence.shape == (20, int(asked.lengths.max()), 2)
    assert found.static.shape == (20, static // 2)
    for row, length in enumerate(asked.lengths.tolist()):
        assert (found.sequence[row, length:] == 0).all()
        assert found.sequence[row, :length].abs().sum() > 0
    torch.manual_seed(6)
    again = explain_cells(method, asked, groups, CONFIG)
    assert torch.equal(found.sequence, again.sequence)
    assert torch.equal(found.static, again.static)


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"two_step", "gradient_shap"}))
def test_a_linear_function_is_known_to_all(method: str) -> None:
    weights = torch.tensor([2.0, -1.0])
    inputs = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[0.0, 1.0], [-1.0, 0.5]]])
    asked = question(lambda x: (x * weights).sum((1, 2)) + 7, inputs)
    found = explain_cells(method, asked, Groups(torch.arange(2), torch.arange(0)), CONFIG)
    np.testing.assert_allclose(found.sequence, inputs * weights, atol=1e-5)


def test_gradient_shap_is_near_it() -> None:
    """Its noise around the baseline shifts a linear function by as much and no more."""
    asked = question(lambda x: 2 * x.sum((1, 2)), torch.full((5, 3, 1), 4.0))
    found = explain_cells("gradient_shap", asked, ONE, ExplainConfig(n_steps=200))
    np.testing.assert_allclose(found.sequence, np.full((5, 3, 1), 8.0), atol=0.2)


def test_two_steps_find_the_cell_that_matters_with_its_sign() -> None:
    """f = -x[1, 0] alone: taking away another step or feature changes no attribution."""
    inputs = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]])
    asked = question(lambda x: -x[:, 1, 0], inputs)
    found = explain_cells("two_step", asked, Groups(torch.arange(2), torch.arange(0)), CONFIG)
    np.testing.assert_allclose(found.sequence[0], [[0, 0], [-3, 0], [0, 0]], atol=1e-6)


def test_windows_of_occlusion_take_steps_away_together() -> None:
    """f is the product of two steps: each window that holds one of them takes it all."""
    asked = question(lambda x: x[:, 0, 0] * x[:, 1, 0], torch.ones(1, 4, 1))
    single = explain_cells("occlusion", asked, ONE, ExplainConfig(window=1))
    assert single.sequence[0, :, 0].tolist() == [1, 1, 0, 0]
    double = explain_cells("occlusion", asked, ONE, ExplainConfig(window=2))
    # Step 1 is in two windows with an effect of 1 each, step 2 in one of its two.
    assert double.sequence[0, :, 0].tolist() == [1, 1, 0.5, 0]


def exact(function, inputs: Tensor) -> np.ndarray:
    """Shapley values of the cells of one person by all orders."""
    cells = inputs.numel()
    total = np.zeros(cells)
    orders = list(permutations(range(cells)))
    for order in orders:
        kept = torch.zeros(cells)
        before = float(function(inputs * 0))
        for cell in order:
            kept[cell] = 1
            after = float(function(inputs * kept.view(inputs.shape)))
            total[cell] += after - before
            before = after
    return total / len(orders)


def tangled(x: Tensor) -> Tensor:
    """Two and three cells that act together."""
    a, b, c, d = x.flatten(1).unbind(1)
    return a * b - 2 * b * c * d + torch.tanh(a + d)


def test_shapley_values_are_those_of_all_orders() -> None:
    inputs = torch.tensor([[[1.0, -2.0], [0.5, 1.5]]])
    asked, groups = question(tangled, inputs), Groups(torch.arange(2), torch.arange(0))
    wanted = exact(tangled, inputs)
    many = explain_cells("shapley_sampling", asked, groups, ExplainConfig(orders=4000))
    np.testing.assert_allclose(many.sequence.flatten(), wanted, atol=0.05)
    masks = players(2, groups, 60)
    every = np.array([[k >> i & 1 for i in range(4)] for k in range(16)], dtype=bool)
    present = np.concatenate([every[:1], every[-1:], every[1:-1]])
    sizes = present.sum(1)
    # All coalitions, each as often as the kernel weighs it: 1/3, 1/4, 1/3 over 4, 6, 4 of them.
    often = {0: 1, 4: 1, 1: 6, 2: 3, 3: 6}
    weight = np.repeat(np.arange(16), [often[s] if 0 < s < 4 else 1 for s in sizes])
    values = values_of(asked, groups, masks, present[weight], 100)
    assert often[1] * 4 / (often[2] * 6) == pytest.approx((1 / 3) / (1 / 4))
    np.testing.assert_allclose(regress(present[weight], values)[0], wanted, atol=1e-5)


def test_pairs_need_one_order_and_its_reverse() -> None:
    """Where cells act together by twos alone, two orders are exact; two without reverse are not."""

    def pairs(x: Tensor) -> Tensor:
        a, b, c, d = x.flatten(1).unbind(1)
        return a * b + 3 * b * c - a * d + c

    inputs = torch.tensor([[[1.0, -2.0], [0.5, 1.5]]])
    asked, groups = question(pairs, inputs), Groups(torch.arange(2), torch.arange(0))
    for seed in range(5):
        found = sampled(asked, groups, players(2, groups, 60), 2, seed, 100)
        np.testing.assert_allclose(found[0], exact(pairs, inputs), atol=1e-6)


@pytest.mark.parametrize("method", ["shapley_sampling", "kernel_shap"])
def test_ours_are_captums_within_chance(method: str) -> None:
    made, batch = model("regression", static=0), sequences(12, static=0).batch(np.arange(12))
    asked = ask(made, batch)
    groups = Groups(torch.arange(3), torch.arange(0))
    ours = explain_cells(method, asked, groups, ExplainConfig(orders=200)).sequence
    torch.manual_seed(0)

    def output(embedded: Tensor, lengths: Tensor) -> Tensor:
        with torch.no_grad():
            return made.forward_embedded(embedded, lengths, embedded.new_zeros(len(lengths), 0))[
                :, 0
            ]

    theirs = captum.attr.ShapleyValueSampling(output).attribute(
        asked.embedded, additional_forward_args=(asked.lengths,), n_samples=300,
        perturbations_per_eval=20,
    )  # fmt: skip
    error = (ours - theirs).abs().flatten(1).sum(1) / ours.abs().flatten(1).sum(1)
    assert float(error.max()) < 0.1


@pytest.mark.parametrize("method", ["shapley_sampling", "kernel_shap"])
@pytest.mark.parametrize("most", [2, 5, 60])
def test_players_add_up_whatever_their_number(method: str, most: int) -> None:
    asked = ask(model(), sequences(15).batch(np.arange(15)))
    found = explain_cells(method, asked, GROUPS, ExplainConfig(max_players=most, orders=4))
    with torch.no_grad():
        zero = torch.zeros_like(asked.embedded), torch.zeros_like(asked.static)
        who = torch.arange(15)
        change = asked.answer(asked.embedded, asked.static, who) - asked.answer(*zero, who)
    np.testing.assert_allclose(found.flat().sum(1), change.double(), atol=1e-6)


def test_players_are_windows_that_end_with_the_latest_step() -> None:
    groups = Groups(torch.arange(2), torch.arange(1))
    sequence, static = players(5, groups, 4)
    assert sequence[:, 0].tolist() == [0, 0, 2, 2, 2]
    assert sequence[:, 1].tolist() == [1, 1, 3, 3, 3]
    assert static.tolist() == [4]
    alone, _ = players(5, groups, 10)
    assert len(np.unique(alone)) == 10
    whole, _ = players(5, groups, 1)
    assert len(np.unique(whole)) == 2, "one a feature at least"


def test_one_cell_gets_all() -> None:
    asked = question(lambda x: 3 * x[:, 0, 0], torch.ones(2, 1, 1))
    for method in ("shapley_sampling", "kernel_shap"):
        assert explain_cells(method, asked, ONE, CONFIG).sequence.flatten().tolist() == [3, 3]


def test_coalitions_come_with_their_opposites_and_the_kernels_sizes() -> None:
    found = coalitions(5, 20_000, 0)
    assert not found[0].any()
    assert found[1].all()
    some = found[2:]
    half = len(some) // 2
    assert (some[:half] == ~some[half:]).all()
    share = np.bincount(some.sum(1), minlength=6)[1:5] / len(some)
    weight = 1 / (np.arange(1, 5) * np.arange(4, 0, -1))
    np.testing.assert_allclose(share, weight / weight.sum(), atol=0.01)


def test_people_are_grouped_by_length_and_nobody_is_lost() -> None:
    asked = ask(model(), sequences(40).batch(np.arange(40)))
    rows = []
    for people, some in by_length(asked):
        assert (some.lengths == some.embedded.shape[1]).all()
        assert torch.equal(some.index, asked.index[people])
        rows += people.tolist()
    assert sorted(rows) == list(range(40))


def test_other_people_in_the_batch_change_nothing() -> None:
    made, data = model(), sequences(30)
    whole = ask(made, data.batch(np.arange(30)))
    alone = ask(made, data.batch(np.array([7])))
    steps = int(alone.lengths)
    for method in sorted(set(METHODS) - {"gradient_shap"}):
        one = explain_cells(method, alone, GROUPS, CONFIG).sequence[0]
        many = explain_cells(method, whole, GROUPS, CONFIG).sequence[7, :steps]
        np.testing.assert_allclose(one, many, atol=1e-5)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"method": "deep_lift"}, "rules do not reach into a recurrent cell"),
        ({"method": "deep_lift_shap"}, "rules do not reach into a recurrent cell"),
        ({"compare": ["deep_lift"]}, "rules do not reach into a recurrent cell"),
        ({"method": "lime"}, "must be one of integrated_gradients"),
        ({"method": "occlusion", "compare": ["occlusion"]}, "twice"),
        ({"n_steps": 50, "max_steps": 40}, "max_steps = 40 must not be below n_steps = 50"),
    ],
)
def test_a_method_that_means_nothing_is_refused_in_one_line(values: dict, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        validate(ExplainConfig, values, "params.yaml: recipes.x.explain")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("params.yaml: recipes.x.explain")


def test_deep_lift_is_gradient_times_input_here() -> None:
    """Why it is refused, by Captum's own."""
    made = model(static=0)
    batch = sequences(10, static=0).batch(np.arange(10))
    steps = int(batch.lengths.max())
    inputs, lengths = batch.inputs, torch.full((10,), steps)

    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = made

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x, lengths.repeat(len(x) // 10), x.new_zeros(len(x), 0))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        deep = captum.attr.DeepLift(Whole()).attribute(inputs, target=0).detach()
        product = captum.attr.InputXGradient(Whole()).attribute(inputs, target=0).detach()
    torch.testing.assert_close(deep, product, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_long_histories_cost_no_more_than_their_players(method: str) -> None:
    """Passes, counted in steps of the network, of 90 cells that share 9 players."""
    spent = []

    def output(values: Tensor) -> Tensor:
        spent.append(len(values))
        return torch.tanh(values.sum((1, 2)))

    inputs = torch.ones(2, 90, 1)
    config = ExplainConfig(max_players=9, orders=4, n_steps=8, max_steps=8)
    found = explain_cells(method, question(output, inputs), ONE, config).sequence
    assert sum(spent) <= 2 * 9 * 12
    assert max(spent) <= config.internal_batch_size
    if method in ("occlusion", "two_step", "shapley_sampling", "kernel_shap"):
        windows = found.view(2, 9, 10)
        assert torch.equal(windows, windows[..., :1].expand_as(windows))


@pytest.mark.parametrize("method", sorted(METHODS))
def test_passes_are_as_small_as_the_setting_says(method: str) -> None:
    seen = []

    def output(values: Tensor) -> Tensor:
        seen.append(len(values))
        return torch.tanh(values.sum((1, 2)))

    inputs = torch.rand(20, 4, 1, generator=torch.Generator().manual_seed(0))
    config = ExplainConfig(internal_batch_size=40, orders=4)
    explain_cells(method, question(output, inputs), ONE, config)
    assert max(seen) <= 40
