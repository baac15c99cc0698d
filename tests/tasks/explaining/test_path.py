"""Integrated Gradients: points go where the path is steep."""

import captum.attr
import numpy as np
import pytest
import torch
from torch import Tensor

from tasks.evidence.attributions import BAR, Attributions, summarise
from tasks.explaining.path import integrate
from tasks.explaining.question import Question, ask
from tasks.explaining.scores import at_index
from tasks.recipe import ExplainConfig
from tests.tasks.test_explain import SCHEMA, model, sequences


def question(function, inputs: Tensor, lengths: list[int] | None = None) -> Question:
    """A question about any function of [n, T, E]."""
    steps = torch.tensor(lengths or [inputs.shape[1]] * len(inputs))
    nothing = inputs.new_zeros(len(inputs), 0)
    index = torch.zeros(len(inputs), 0, dtype=torch.int64)
    return Question(at_index(lambda x, n, s: function(x)), inputs, steps, nothing, index)


def test_a_polynomial_needs_few_points() -> None:
    """f = x y^2: along (a x, a y) the shares are x y^2 / 3 and 2 x y^2 / 3."""
    inputs = torch.tensor([[[2.0, 3.0]], [[-1.0, 0.5]]])
    found = integrate(question(lambda x: (x[..., 0] * x[..., 1] ** 2).sum(1), inputs), 2, 2, 100)
    np.testing.assert_allclose(found.sequence[:, 0], [[6, 12], [-1 / 12, -1 / 6]], rtol=1e-6)
    assert found.points.tolist() == [2, 2]


@pytest.mark.parametrize("pooling", ["last", "mean", "attention"])
def test_it_is_captums_where_nothing_is_steep(pooling: str) -> None:
    made, batch = model(pooling=pooling), sequences(30).batch(np.arange(30))
    asked = ask(made, batch)
    found = integrate(asked, 20, 20, 77)

    def output(embedded: Tensor, static: Tensor, lengths: Tensor) -> Tensor:
        return made.forward_embedded(embedded, lengths, static).squeeze(1)

    theirs = captum.attr.IntegratedGradients(output).attribute(
        (asked.embedded, asked.static), n_steps=20, method="gausslegendre",
        additional_forward_args=(asked.lengths,),
    )  # fmt: skip
    np.testing.assert_allclose(found.sequence, theirs[0].detach(), atol=1e-6)
    np.testing.assert_allclose(found.static, theirs[1].detach(), atol=1e-6)


def steep(values: Tensor) -> Tensor:
    """A step of width 1/200 somewhere along the path."""
    return torch.tanh(200 * (values[..., 0] - 0.3)).sum(1) + values[..., 1].sum(1)


def test_steep_places_get_more_points() -> None:
    inputs = torch.tensor([[[1.0, 1.0]], [[0.1, 1.0]]], dtype=torch.float64)
    few = integrate(question(steep, inputs), 20, 20, 100)
    many = integrate(question(steep, inputs), 20, 1000, 100)
    error = [
        np.abs(f.sequence.sum((1, 2)).numpy() - (f.outputs - f.baseline_outputs))
        / (f.outputs - f.baseline_outputs)
        for f in (few, many)
    ]
    assert error[0][0] > 0.05
    assert error[1].max() <= BAR
    assert few.points.tolist() == [20, 20]
    assert many.points[0] > 100
    assert many.points[1] == 20, "this person's path never meets the step"
    np.testing.assert_allclose(many.sequence[0, 0], [2, 1], rtol=2e-3)


@pytest.mark.parametrize("most", [20, 50, 200])
def test_the_cap_of_points_is_kept(most: int) -> None:
    found = integrate(question(steep, torch.ones(3, 1, 2, dtype=torch.float64)), 20, most, 100)
    assert (found.points <= most).all()
    assert (found.points > most - 60).all()


def test_no_pass_is_larger_than_allowed() -> None:
    seen = []

    def output(values: Tensor) -> Tensor:
        seen.append(len(values))
        return steep(values)

    inputs = torch.rand(50, 3, 2, generator=torch.Generator().manual_seed(0))
    whole = integrate(question(steep, inputs), 10, 100, 10_000)
    small = integrate(question(output, inputs), 10, 100, 40)
    assert max(seen) <= 40
    np.testing.assert_allclose(small.sequence, whole.sequence, atol=1e-5)


def test_too_few_points_are_said() -> None:
    """The published summary says that the bar is missed, and why."""
    inputs = torch.rand(60, 2, 1, generator=torch.Generator().manual_seed(0)) + 0.5

    def output(values: Tensor) -> Tensor:
        return torch.tanh(50 * (values[..., 0] - 0.4)).sum(1)

    for most, reached in ((4, False), (2000, True)):
        found = integrate(question(output, inputs), 4, most, 1000)
        whole = Attributions(
            found.sequence.numpy(), np.zeros((60, 1)), np.full(60, 2), found.outputs,
            found.baseline_outputs, found.points,
        )  # fmt: skip
        config = ExplainConfig(method="integrated_gradients", compare=(), n_steps=4, max_steps=most)
        published = summarise(whole, SCHEMA, config)
        assert published["completeness"]["reached"] is reached
        assert ("max_steps" in published["completeness"]["reason"]) is not reached
        assert published["mean_steps"] == found.points.mean()
