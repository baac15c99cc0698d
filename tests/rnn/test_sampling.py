"""Drawing tokens: what may be drawn, how often, and the same for the same seed."""

import pytest
import torch

from rnn.config import InputShape, ModelConfig
from rnn.model import SequenceModel, build
from rnn.sampling import Choice, chances, written

SHAPE = InputShape(input_size=0, vocabulary_size=8, static_size=0, output_size=8, task="next_token")
# Padding, unknown and start would be the likeliest.
LOGITS = torch.tensor([[9.0, 9.0, 9.0, 0.0, 1.0, 2.0, 3.0, -1.0]])


def _model() -> SequenceModel:
    """A random language model."""
    return build(ModelConfig(hidden_size=6, embedding_size=5), SHAPE, 0).eval()


def test_without_limits_it_is_the_softmax_of_what_can_be_written() -> None:
    expected = (LOGITS[0, 3:] / 0.5).double().softmax(0)
    found = chances(LOGITS, Choice(temperature=0.5))[0]
    assert found[3:].tolist() == pytest.approx(expected.tolist()) and found[:3].sum() == 0


def test_only_the_likeliest_are_left() -> None:
    two = chances(LOGITS, Choice(top_k=2))[0]
    assert two.nonzero().flatten().tolist() == [5, 6]
    assert float(two[6] / two[5]) == pytest.approx(torch.e)
    # Of 3, 2, 1, 0, -1: e^3 is 64 % of all, e^3 + e^2 are 87 %.
    assert chances(LOGITS, Choice(top_p=0.6))[0].nonzero().flatten().tolist() == [6]
    assert chances(LOGITS, Choice(top_p=0.7))[0].nonzero().flatten().tolist() == [5, 6]
    assert chances(LOGITS, Choice(top_k=100)).count_nonzero() == 5


def test_the_same_seed_writes_the_same_and_a_shorter_count_its_beginning() -> None:
    model = _model()
    first = written(model, 4, steps=12, choice=Choice(), seed=7)
    assert written(model, 2, steps=12, choice=Choice(), seed=7) == first[:2]
    assert written(model, 4, steps=12, choice=Choice(), seed=8) != first
    assert all(len(text) <= 12 and set(text) <= {4, 5, 6, 7} for text in first)


def test_the_likeliest_way_is_the_models() -> None:
    model = _model()
    (text,) = written(model, 1, steps=5, choice=Choice(top_k=1), seed=0, begin=(4,))
    assert text[0] == 4
    ids = [2, *text]
    logits = model(torch.tensor([ids]), torch.tensor([len(ids)]), torch.zeros(1, 0))[0]
    logits[:, :3] = float("-inf")
    assert logits.argmax(1).tolist()[1 : len(text)] == text[1:]


REFUSED: list[tuple[dict[str, float], str]] = [
    ({"temperature": 0.0}, "temperature = 0"),
    ({"top_k": 0}, "top_k = 0"),
    ({"top_p": 0.0}, "top_p = 0"),
]


@pytest.mark.parametrize(("settings", "message"), REFUSED)
def test_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Choice(**settings)  # type: ignore[arg-type]
