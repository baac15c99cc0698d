"""One output is explained, any one; and nothing is left behind."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rnn.config import InputShape, ModelConfig
from rnn.model import SequenceModel, build
from rnn.privacy.engine import accumulate_clipped
from rnn.recurrent import GRU
from rnn.tape import recording
from tasks.explaining.methods import METHODS, explain_cells
from tasks.explaining.path import integrate
from tasks.explaining.question import Groups, Question, ask, plain_backward, undisturbed
from tasks.explaining.scores import at_index
from tasks.recipe import ExplainConfig
from tests.tasks.test_explain import model, sequences

EACH = Groups(torch.arange(3), torch.arange(2))


class NextToken(nn.Module):
    """A language model: logits of the next token after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = GRU(5, 7), nn.Linear(7, 11)

    def forward(self, embedded: Tensor, lengths: Tensor, static: Tensor) -> Tensor:
        return self.head(self.cell(embedded, lengths))


def test_past_tokens_explain_the_next_and_later_ones_nothing() -> None:
    torch.manual_seed(0)
    network, lengths = NextToken().eval(), torch.tensor([6, 4, 6])
    index = torch.tensor([[3, 2], [1, 10], [5, 0]])
    asked = Question(at_index(network), torch.randn(3, 6, 5), lengths, torch.zeros(3, 0), index)
    groups = Groups(torch.zeros(5, dtype=torch.int64), torch.arange(0))
    with torch.no_grad():
        logits = network(asked.embedded, lengths, asked.static)
        empty = network(asked.embedded * 0, lengths, asked.static)
    person = torch.arange(3)
    change = (logits - empty)[person, index[:, 0], index[:, 1]].double()
    for name in ("integrated_gradients", "shapley_sampling", "kernel_shap"):
        found = explain_cells(name, asked, groups, ExplainConfig()).sequence[..., 0]
        torch.testing.assert_close(found.sum(1), change, atol=1e-5, rtol=1e-3)
        for row, (step, _) in enumerate(index.tolist()):
            # A regression knows that a player does nothing only as well as it fits.
            most = 1e-3 if name == "kernel_shap" else 0
            assert float(found[row, step + 1 :].abs().sum()) <= most
            assert float(found[row, : step + 1].abs().min()) > 0


def test_an_index_that_names_no_number_is_refused() -> None:
    asked = ask(model("multiclass"), sequences(4).batch(np.arange(4)))
    wrong = Question(asked.forward, asked.embedded, asked.lengths, asked.static, asked.index[:, :0])
    with pytest.raises(ValueError, match="1 needed"):
        integrate(wrong, 4, 4, 100)


def test_any_class_can_be_asked_about() -> None:
    made, batch = model("multiclass"), sequences(6).batch(np.arange(6))
    with torch.no_grad():
        logits = made(batch.inputs, batch.lengths, batch.static).double().numpy()
    found = integrate(ask(made, batch), 20, 200, 4096)
    np.testing.assert_allclose(found.outputs, logits.max(1), atol=1e-6)
    for k in range(4):
        asked = ask(made, batch, torch.full((6, 1), k))
        np.testing.assert_allclose(integrate(asked, 20, 200, 4096).outputs, logits[:, k], atol=1e-6)


def everything(made: nn.Module) -> list[object]:
    """What `undisturbed` may touch."""
    found: list[object] = [p.requires_grad for p in made.parameters()]
    for module in made.modules():
        found += [module.training, dict(module._forward_hooks), getattr(module, "tape", None)]
    return found


def test_a_model_is_as_before_even_after_an_error() -> None:
    made = model().train()
    made.head[0].eval()
    next(made.parameters()).requires_grad_(False)
    made.head.register_forward_hook(lambda *_: None)
    with recording(made) as tape:
        before = everything(made)
        with pytest.raises(RuntimeError, match="midway"), undisturbed(made):
            assert not made.training
            assert not any(p.requires_grad for p in made.parameters())
            assert not any(m._forward_hooks for m in made.modules())
            raise RuntimeError("midway")
        assert everything(made) == before
        assert tape.records == []


def clipped_sums(made: SequenceModel, explain: str | None) -> tuple[list[Tensor], Tensor]:
    """The private engine's sums, with an explanation in the middle of the step if asked."""
    batch = sequences(12).batch(np.arange(12))

    def losses() -> Tensor:
        logits = made(batch.inputs, batch.lengths, batch.static)
        if explain:
            with undisturbed(made):
                explain_cells(explain, ask(made, batch), EACH, ExplainConfig(n_steps=4, orders=2))
        return nn.functional.softplus(logits.squeeze(1))

    values, _ = accumulate_clipped(made, losses, 0.3)
    return [p.summed_grad for p in made.parameters()], values


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_private_step_is_the_same_with_an_explanation_in_it(method: str) -> None:
    made = model().train()
    plain, losses = clipped_sums(copy.deepcopy(made), None)
    explained, same = clipped_sums(copy.deepcopy(made), method)
    assert torch.equal(losses, same)
    assert all(torch.equal(a, b) for a, b in zip(plain, explained, strict=True))
    assert sum(float(p.abs().sum()) for p in plain) > 0


def test_without_undisturbed_the_step_would_differ() -> None:
    """The check above can fail: a model that is explained with its tape on leaves records."""
    made, batch = model(), sequences(12).batch(np.arange(12))
    with recording(made) as tape:
        integrate(ask(made, batch), 4, 4, 100)
        assert tape.records


def test_cudnn_is_off_inside_and_on_after() -> None:
    before = torch.backends.cudnn.enabled
    with plain_backward(torch.device("cuda")):
        assert not torch.backends.cudnn.enabled
    assert torch.backends.cudnn.enabled == before
    with plain_backward(torch.device("cpu")):
        assert torch.backends.cudnn.enabled == before


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_scores_are_the_same_without_cudnn(cell: str, kind: str) -> None:
    if kind == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    device = torch.device(kind)
    shape = InputShape(input_size=3, vocabulary_size=0, static_size=2, output_size=1, task="binary")
    made = build(ModelConfig(cell=cell, hidden_size=6), shape, 0).eval().to(device)
    batch = sequences(20).batch(np.arange(20)).to(device)
    with torch.no_grad():
        fast = made(batch.inputs, batch.lengths, batch.static)
        with torch.backends.cudnn.flags(enabled=False):
            plain = made(batch.inputs, batch.lengths, batch.static)
        with undisturbed(made):
            inside = made(batch.inputs, batch.lengths, batch.static)
    assert torch.equal(plain, inside)
    if kind == "cpu":
        assert torch.equal(fast, inside)
    torch.testing.assert_close(fast, inside, rtol=1e-5, atol=1e-6)
