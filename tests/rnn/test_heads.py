"""Every kind of target: shapes, padding, per-example losses, and gradients in one pass."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rnn.batch import PreparedSequences, SequenceBatch
from rnn.config import InputShape, ModelConfig
from rnn.heads import HEADS, POOLED, losses_for
from rnn.heads.forecast import forecast_losses, quantiles_of
from rnn.losses import batch_losses
from rnn.model import build
from rnn.privacy.engine import accumulate_clipped


def shape_of(task: str) -> InputShape:
    """A small shape of each kind that reads steps, or forecasts."""
    tokens = task in ("next_token", "seq2seq")
    return InputShape(
        input_size=0 if tokens else 3,
        vocabulary_size=9 if tokens else 0,
        static_size=2,
        output_size={"next_token": 9, "ctc": 5, "seq2seq": 7, "forecast": 6}[task],
        task=task,
        quantiles=(0.1, 0.5, 0.9) if task == "forecast" else (),
    )


def data_of(task: str, seed: int = 0, count: int = 6) -> PreparedSequences:
    """Ragged inputs and targets."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(7, 12, count)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens = task in ("next_token", "seq2seq")
    total = int(offsets[-1])
    sizes = rng.integers(2, 4, count)
    target_offsets = None
    targets = np.zeros(count, dtype=np.int64)
    if task in ("ctc", "seq2seq"):
        target_offsets = np.concatenate([[0], np.cumsum(sizes)])
        targets = rng.integers(1, 5, int(target_offsets[-1])).astype(np.int32)
    if task == "forecast":
        targets = rng.normal(size=(count, 2)).astype(np.float32)
    return PreparedSequences(
        sequences=rng.integers(2, 9, total).astype(np.int32)
        if tokens
        else rng.normal(size=(total, 3)).astype(np.float32),
        missing=None,
        offsets=offsets,
        static=rng.normal(size=(count, 2)).astype(np.float32),
        targets=targets,
        target_offsets=target_offsets,
        next_token=task == "next_token",
    )


KINDS = ["forecast", "next_token", "ctc", "seq2seq"]


def losses(model: torch.nn.Module, batch: SequenceBatch) -> torch.Tensor:
    """Each example's loss, in the model's own precision."""
    if batch.inputs.is_floating_point():
        batch = replace(batch, inputs=batch.inputs.to(next(model.parameters()).dtype))
    return batch_losses(model.outputs(batch), batch, model.shape)


@pytest.mark.parametrize("task", KINDS)
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_an_example_s_loss_does_not_depend_on_the_others_nor_on_padding(task, cell):
    model = build(ModelConfig(cell=cell, hidden_size=8, embedding_size=5), shape_of(task), 0)
    data = data_of(task)
    together = losses(model, data.batch(np.arange(6)))
    alone = torch.cat([losses(model, data.batch(np.array([row]))) for row in range(6)])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("task", KINDS)
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("layers", [1, 2])
def test_clipped_sums_equal_those_of_one_example_at_a_time(task, cell, layers):
    config = ModelConfig(cell=cell, hidden_size=8, embedding_size=5, num_layers=layers)
    model = build(config, shape_of(task), 1).double()
    data = data_of(task, 3)
    batch = data.batch(np.arange(6))
    bound = 0.05
    _, report = accumulate_clipped(model, lambda: losses(model, batch), bound, None, None)
    wanted = [torch.zeros_like(p) for p in model.parameters()]
    for row in range(6):
        model.zero_grad()
        losses(model, data.batch(np.array([row]))).sum().backward()
        own = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
        norm = torch.stack([g.square().sum() for g in own]).sum().sqrt()
        assert norm == pytest.approx(float(report.norms[row]), rel=1e-6)
        for total, gradient in zip(wanted, own, strict=True):
            total += gradient * min(1.0, bound / float(norm))
    for parameter, total in zip(model.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.summed_grad.double(), total, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("task", ["next_token", "ctc", "seq2seq"])
def test_a_few_rows_are_learnt_by_heart(task):
    torch.manual_seed(0)
    model = build(ModelConfig(hidden_size=24, embedding_size=12), shape_of(task), 0)
    batch = data_of(task).batch(np.arange(6))
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    before = float(losses(model, batch).mean().detach())
    for _ in range(150):
        optimizer.zero_grad()
        losses(model, batch).mean().backward()
        optimizer.step()
    assert float(losses(model, batch).mean().detach()) < 0.2 * before


def test_a_language_model_reads_all_but_the_last_and_says_all_but_the_first():
    data = PreparedSequences(
        sequences=np.array([2, 5, 6, 3, 2, 7, 3], dtype=np.int32),
        missing=None,
        offsets=np.array([0, 4, 7]),
        static=np.zeros((2, 0), dtype=np.float32),
        targets=np.zeros(2, dtype=np.int64),
        next_token=True,
    )
    batch = data.batch(np.array([1, 0]))
    assert batch.inputs.tolist() == [[2, 7, 0], [2, 5, 6]]
    assert batch.targets.tolist() == [[7, 3, 0], [5, 6, 3]]
    assert batch.lengths.tolist() == [2, 3] == batch.target_lengths.tolist()
    assert len(data.batch(np.zeros(0, dtype=np.int64))) == 0


def test_a_language_model_must_not_see_what_it_is_to_say():
    with pytest.raises(ValueError, match="bidirectional"):
        build(ModelConfig(bidirectional=True), shape_of("next_token"), 0)
    with pytest.raises(ValueError, match="needs tokens"):
        shape = InputShape(
            input_size=3, vocabulary_size=0, static_size=0, output_size=4, task="next_token"
        )
        build(ModelConfig(), shape, 0)


def test_ctc_is_the_sum_over_all_alignments():
    # Two steps, one class: the symbol at step 1, at step 2, or at both.
    logits = torch.log(torch.tensor([[[0.4, 0.6], [0.7, 0.3]]]))
    outputs = torch.cat([logits, torch.ones(1, 2, 1)], 2)
    shape = InputShape(input_size=1, vocabulary_size=0, static_size=0, output_size=2, task="ctc")
    loss = losses_for("ctc")(outputs, torch.tensor([[1]]), torch.tensor([1]), shape)
    chance = 0.6 * 0.7 + 0.4 * 0.3 + 0.6 * 0.3
    assert float(loss) == pytest.approx(-np.log(chance), rel=1e-5)


def test_quantiles_rise_and_the_pinball_loss_is_known_by_hand():
    shape = shape_of("forecast")
    outputs = torch.tensor([[0.0, -50.0, -50.0, 1.0, 0.0, 0.0]])
    made = quantiles_of(outputs, shape)
    assert bool((made.diff(dim=2) >= 0).all())
    # All quantiles of the first step at 0, its number is 2: 0.1, 0.5 and 0.9 times 2; the second
    # is not known.
    loss = forecast_losses(outputs, torch.tensor([[2.0, float("nan")]]), None, shape)
    assert float(loss) == pytest.approx((0.2 + 1.0 + 1.8) / 3)


def test_every_kind_has_a_loss_and_an_unknown_one_is_refused():
    assert not set(POOLED) & set(HEADS)
    for task in (*POOLED, *HEADS):
        assert callable(losses_for(task))
    with pytest.raises(ValueError, match="task = 'ordinal'"):
        losses_for("ordinal")
