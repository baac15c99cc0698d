"""The engine alone, on a loop of one's own."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import rnn
from rnn import LSTM, last_hidden, make_private
from rnn.config import AdaptiveConfig
from rnn.privacy.accounting import epsilon_spent

SETTINGS = {"sample_rate": 0.2, "expected_batch_size": 8, "max_grad_norm": 0.5}
ROWS = 40


class _Classifier(nn.Module):
    """Somebody's model."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.recurrent, self.output = LSTM(3, 4), nn.Linear(4, 1)

    def forward(self, inputs, lengths):
        return self.output(last_hidden(self.recurrent(inputs, lengths), lengths)).squeeze(1)


def _private(**changes):
    model = _Classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    values = {"noise_multiplier": 1.0, "insecure_seed": 1, **SETTINGS, **changes}
    return model, make_private(model, optimizer, **values)


def _data():
    generator = torch.Generator().manual_seed(2)
    lengths = torch.randint(1, 6, (ROWS,), generator=generator)
    return torch.randn(ROWS, 5, 3, generator=generator), lengths


def _losses(model, rows):
    inputs, lengths = _data()
    inputs = inputs.to(model.output.weight.dtype)
    return lambda: model(inputs[rows], lengths[rows]).square()


@pytest.mark.parametrize("clipping", ["flat", "per_layer", "adaptive"])
def test_steps_are_counted_and_move_the_weights(clipping):
    adaptive = AdaptiveConfig(count_noise=4.0)
    model, private = _private(clipping=clipping, adaptive=adaptive)
    before = [p.detach().clone() for p in model.parameters()]
    for _ in range(5):
        private.step(_losses(model, private.sample(ROWS)))
    assert all(not torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))
    assert private.epsilon(1e-5) == epsilon_spent(
        noise_multiplier=1.0, sample_rate=0.2, steps=5, delta=1e-5
    )
    assert (private.optimizer.noise_multiplier > 1) == (clipping == "adaptive")
    if clipping == "adaptive":
        assert private.bound.value != 0.5


def test_physical_batches_equal_one():
    weights = []
    for parts in (1, 3):
        model, private = _private()
        model.double()
        for _ in range(4):
            rows = private.sample(ROWS)
            for part in rows.chunk(parts) if len(rows) else []:
                private.accumulate(_losses(model, part))
            private.step()
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    torch.testing.assert_close(*weights, rtol=1e-9, atol=1e-9)


def test_empty_sample_is_a_step_of_noise():
    model, private = _private(sample_rate=1e-9)
    before = model.output.weight.detach().clone()

    def forbidden():
        raise AssertionError("nothing was sampled")

    assert len(private.sample(ROWS)) == 0
    private.step(forbidden)
    assert private.steps == 1
    assert not torch.equal(before, model.output.weight)


def test_samples_and_steps_alternate():
    model, private = _private()
    with pytest.raises(RuntimeError, match="sample"):
        private.step()
    with pytest.raises(RuntimeError, match="sample"):
        private.accumulate(_losses(model, torch.arange(2)))
    private.sample(ROWS)
    with pytest.raises(RuntimeError, match="one sample a step"):
        private.sample(ROWS)


def test_other_rows_than_the_sampled_are_refused_before_anything_is_released():
    model, private = _private()
    before = model.output.weight.detach().clone()
    rows = private.sample(ROWS)
    with pytest.raises(ValueError, match=f"{len(rows) + 1} rows or persons were seen"):
        private.step(_losses(model, torch.arange(len(rows) + 1)))
    assert torch.equal(before, model.output.weight)
    assert private.steps == 0


def test_persons():
    model, private = _private(sample_rate=0.5)
    persons = private.sample(ROWS // 2)
    rows = torch.cat([persons, persons + ROWS // 2])
    private.step(_losses(model, rows), units=rows % (ROWS // 2))
    assert private.steps == 1


def test_noise_from_a_target():
    _, private = _private(noise_multiplier=None, target_epsilon=2.0, delta=1e-5, steps=50)
    private.steps = 50
    assert 1.98 <= private.epsilon(1e-5) <= 2.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noise_multiplier": None}, "exactly one"),
        ({"target_epsilon": 1.0}, "exactly one"),
        ({"noise_multiplier": None, "target_epsilon": 1.0}, "needs delta and steps"),
        ({"noise_multiplier": 0.0}, "noise_multiplier = 0"),
        ({"sample_rate": 0.0}, "sample_rate = 0"),
        ({"expected_batch_size": 0}, "must be above 0"),
        ({"clipping": "ghost"}, "'ghost' must be flat"),
        ({"clipping": "adaptive", "adaptive": AdaptiveConfig(count_noise=0.4)}, "above half"),
    ],
)
def test_bad_settings(changes, message):
    with pytest.raises(ValueError, match=message):
        _private(**changes)


def test_system_randomness_unless_told_otherwise():
    weights = []
    for _ in range(2):
        torch.manual_seed(0)
        model, private = _private(insecure_seed=None, sample_rate=1e-9)
        assert private.keystream.source == "operating system"
        private.sample(ROWS)
        private.step()
        weights.append(model.output.weight.detach())
    assert not torch.equal(*weights)


def test_settings_load_no_torch():
    code = "import rnn.config, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_public_names():
    assert all(getattr(rnn, name) for name in rnn.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Transformer'"):
        _ = rnn.Transformer


def test_examples_of_the_guide_run():
    guide = Path(__file__).parents[2] / "docs" / "engine.md"
    blocks = re.findall(r"```python\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(guide), "exec"), names)
    assert names["private"].steps == 1
