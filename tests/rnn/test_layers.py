"""Every layer's rule, shared parameters and initial states against one backward pass an example."""

import pytest
import torch
from torch import nn

from rnn.privacy.engine import accumulate_clipped
from rnn.recurrent import CELLS, LearnedState
from rnn.tape import recording
from tests.rnn.reference import check, flat_sum, forget

COUNT = 6
STEPS = 7


def _numbers(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _tokens(vocabulary=6, steps=STEPS):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, vocabulary, (COUNT, steps), generator=generator)


def _losses(model, inputs):
    """A loss that is not linear in the outputs, of rows."""
    weights = _numbers(10_000, seed=9)

    def losses(rows):
        out = model(inputs[rows]).flatten(1)
        return (out * weights[: out.shape[1]]).sum(1).sin() + out.square().sum(1)

    return losses


def _model(*layers):
    torch.manual_seed(0)
    model = nn.Sequential(*layers).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.7)
    return model


CONVOLUTIONS = {
    "plain": {},
    "same": {"padding": "same", "dilation": 2},
    "valid": {"padding": "valid", "stride": 2},
    "padded": {"padding": 2, "stride": 3, "dilation": 2},
    "no bias": {"bias": False},
    "groups": {"groups": 2},
}


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolution_over_time(case):
    model = _model(
        nn.Conv1d(4, 6, 3, **CONVOLUTIONS[case]), nn.Tanh(), nn.Flatten(2), nn.Conv1d(6, 2, 1)
    )
    check(model, _losses(model, _numbers(COUNT, 4, 11)), COUNT)


def test_a_long_convolution_takes_the_other_path_of_the_norm():
    model = _model(nn.Conv1d(8, 30, 5))
    check(model, _losses(model, _numbers(COUNT, 8, 9)), COUNT)


@pytest.mark.parametrize("shape", [(5,), (3, 5)])
@pytest.mark.parametrize("bias", [True, False])
def test_layer_norm(shape, bias):
    model = _model(nn.Linear(5, 5), nn.LayerNorm(shape, bias=bias), nn.Linear(5, 2))
    check(model, _losses(model, _numbers(COUNT, 3, 5)), COUNT)


@pytest.mark.parametrize("axes", [(), (4,), (2, 3), (2, 3, 2)])
def test_linear_with_any_number_of_step_axes(axes):
    model = _model(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    check(model, _losses(model, _numbers(COUNT, *axes, 3)), COUNT)


@pytest.mark.parametrize(
    ("layers", "shape", "width"),
    [
        (lambda: [nn.Conv2d(2, 3, 3), nn.GroupNorm(3, 3)], (2, 5, 4), 18),
        (lambda: [nn.InstanceNorm1d(3, affine=True)], (3, 6), 18),
        (lambda: [nn.Conv1d(4, 4, 3, groups=4, padding=1)], (4, 6), 24),
    ],
)
def test_layers_without_a_rule_fall_back_to_opacus(layers, shape, width):
    model = _model(*layers(), nn.Tanh(), nn.Flatten(), nn.Linear(width, 2))
    check(model, _losses(model, _numbers(COUNT, *shape)), COUNT)


class _Tied(nn.Module):
    """An embedding whose table is also the output layer."""

    def __init__(self, bias=True, padding=None, lookups=1):
        super().__init__()
        self.table = nn.Embedding(6, 4, padding_idx=padding)
        self.output = nn.Linear(4, 6, bias=bias)
        self.output.weight = self.table.weight
        self.lookups = lookups

    def forward(self, tokens):
        hidden = torch.tanh(self.table(tokens))
        for _ in range(self.lookups - 1):
            hidden = hidden + torch.sin(self.table((tokens + 1) % 6))
        return self.output(hidden)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("padding", [None, 0])
@pytest.mark.parametrize("lookups", [1, 2])
def test_tied_embedding(bias, padding, lookups):
    torch.manual_seed(2)
    model = _Tied(bias, padding, lookups).double()
    check(model, _losses(model, _tokens()), COUNT)


def test_forgetting_the_cross_term_of_a_tied_table_is_caught():
    torch.manual_seed(2)
    model = _Tied().double()
    losses = _losses(model, _tokens())
    with recording(model) as tape:
        losses(torch.arange(COUNT)).sum().backward()
    apart = torch.stack([r.squared_norms() for r in tape.records]).sum(0)
    assert float((apart / tape.squared_norms() - 1).abs().max()) > 1e-3


class _Twice(nn.Module):
    """Layers that are called more than once in a pass."""

    def __init__(self, layer, times=3):
        super().__init__()
        self.layer, self.times = layer, times

    def forward(self, inputs):
        for _ in range(self.times):
            inputs = torch.tanh(self.layer(inputs))
        return inputs


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: nn.Linear(4, 4), (4,)),
        (lambda: nn.Linear(4, 4), (3, 4)),
        (lambda: nn.LayerNorm(4), (3, 4)),
        (lambda: nn.Conv1d(4, 4, 3, padding=1), (4, 5)),
        (lambda: nn.GroupNorm(2, 4), (4, 5)),
        (lambda: CELLS["lstm"](4, 4), (5, 4)),
        (lambda: CELLS["gru"](4, 4), (5, 4)),
        (lambda: CELLS["rnn"](4, 4), (5, 4)),
    ],
)
def test_a_layer_that_is_called_again_counts_once_with_the_sum(layer, shape):
    model = _Twice(_model(layer())).double()
    check(model, _losses(model, _numbers(COUNT, *shape)), COUNT)


def test_one_bias_in_two_layers():
    model = _model(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4))
    model[2].bias = model[0].bias
    check(model, _losses(model, _numbers(COUNT, 2, 3)), COUNT)


def test_weight_shared_by_layers_of_different_kinds():
    model = _model(nn.Conv1d(3, 3, 1), nn.Flatten(2), nn.LayerNorm(3), nn.Linear(3, 3))
    model[2].bias = model[0].bias
    model[3].bias = model[0].bias
    check(model, _losses(model, _numbers(COUNT, 3, 3)), COUNT)


def test_part_of_a_layer_may_be_frozen():
    model = _model(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2), nn.LayerNorm(2))
    model[0].weight.requires_grad_(False)
    model[2].bias.requires_grad_(False)
    model[3].weight.requires_grad_(False)
    check(model, _losses(model, _numbers(COUNT, 3)), COUNT)


class _Started(nn.Module):
    """A recurrence from states that are learnt or come from the input."""

    def __init__(self, cell, learnt, bidirectional=True):
        super().__init__()
        self.recurrent = CELLS[cell](3, 4, 2, bidirectional=bidirectional)
        directions = 4 if bidirectional else 2
        self.learnt, self.cell, self.directions = learnt, cell, directions
        if learnt:
            self.hidden, self.memory = LearnedState(directions, 4), LearnedState(directions, 4)
            nn.init.normal_(self.hidden.weight)
            nn.init.normal_(self.memory.weight)
        else:
            self.start = nn.Linear(3, directions * 4)

    def forward(self, inputs):
        count = len(inputs)
        if self.learnt:
            hidden, memory = self.hidden(count), self.memory(count)
        else:
            hidden = self.start(inputs[:, 0]).view(count, -1, 4).transpose(0, 1)
            memory = hidden * 2
        if self.cell == "lstm":
            return self.recurrent(inputs, None, (hidden, memory))
        # A learnt parameter that the loss does not reach has a gradient of zero.
        return self.recurrent(inputs, None, hidden)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("learnt", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_initial_states(cell, learnt, bidirectional):
    torch.manual_seed(4)
    model = _Started(cell, learnt, bidirectional).double()
    check(model, _losses(model, _numbers(COUNT, 5, 3)), COUNT)


@pytest.mark.parametrize("cell", CELLS)
def test_initial_states_equal_torch(cell):
    torch.manual_seed(5)
    ours = CELLS[cell](3, 4, 2, bidirectional=True).double()
    kind = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[cell]
    theirs = kind(3, 4, 2, bidirectional=True, batch_first=True).double()
    theirs.load_state_dict(ours.state_dict())
    inputs, hidden = _numbers(COUNT, 5, 3), _numbers(4, COUNT, 4)
    initial = (hidden, _numbers(4, COUNT, 4, seed=3)) if cell == "lstm" else hidden
    torch.testing.assert_close(ours(inputs, None, initial), theirs(inputs, initial)[0])


@pytest.mark.parametrize("cell", CELLS)
def test_initial_state_of_a_wrong_shape(cell):
    wrong = torch.zeros(1, 2, 4)
    initial = (wrong, wrong) if cell == "lstm" else wrong
    with pytest.raises(ValueError, match=r"of shape \(1, 3, 4\) needed"):
        CELLS[cell](3, 4)(torch.zeros(3, 5, 3), None, initial)


@pytest.mark.parametrize("option", [{"proj_size": 2}, {"bias": False}])
def test_options_that_are_not_offered(option):
    with pytest.raises(ValueError, match="not supported"):
        CELLS["lstm"](3, 4, **option)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv1d(3, 3, 3, padding=1, padding_mode="circular"),
        nn.Embedding(3, 3, max_norm=1.0),
        nn.Embedding(3, 3, scale_grad_by_freq=True),
        nn.MultiheadAttention(4, 2),
        nn.PReLU(),
    ],
)
def test_layer_that_nobody_knows_is_refused_by_name(layer):
    model = nn.Sequential(nn.Linear(2, 2), layer)
    with pytest.raises(TypeError, match=r"no per-example gradient rule for 1\."):
        accumulate_clipped(model, lambda: torch.zeros(1), 1.0)


@pytest.mark.parametrize(
    "layer", [nn.BatchNorm1d(2, affine=False), nn.InstanceNorm1d(2, track_running_stats=True)]
)
def test_layer_that_mixes_examples_is_refused_by_name(layer):
    model = nn.Sequential(nn.Linear(2, 2), layer)
    with pytest.raises(TypeError, match=r"1 is a .* mixes the examples"):
        accumulate_clipped(model, lambda: torch.zeros(1), 1.0)


class _Remembers(nn.Module):
    """Keeps a mean of what it saw, which `state_dict` would give away."""

    def __init__(self, anew):
        super().__init__()
        self.register_buffer("mean", torch.zeros(3))
        self.anew = anew

    def forward(self, inputs):
        if self.anew:
            self.mean = inputs.detach().mean(0)
        else:
            self.mean.copy_(inputs.detach().mean(0))
        return inputs


@pytest.mark.parametrize("anew", [True, False])
def test_layer_that_writes_down_what_it_sees_is_refused_by_name(anew):
    model = nn.Sequential(nn.Linear(3, 3), _Remembers(anew))
    with pytest.raises(TypeError, match=r"^1\.mean: written to without noise"):
        accumulate_clipped(model, lambda: model(torch.ones(2, 3)).sum(1), 1.0)
    assert all(p.summed_grad is None for p in model.parameters() if hasattr(p, "summed_grad"))


def test_inplace_activation_after_the_first_layer():
    model = _model(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2))
    check(model, _losses(model, _numbers(COUNT, 3)), COUNT)


def test_input_that_is_overwritten_is_refused():
    model = _model(nn.Linear(3, 3))
    inputs = _numbers(COUNT, 3)

    def losses():
        out = model(inputs).square().sum(1)
        inputs.mul_(2)
        return out

    with pytest.raises(RuntimeError, match="modified in place"):
        accumulate_clipped(model, losses, 1.0)


def test_part_without_gradient_stays_without():
    model = _model(nn.Linear(3, 3), nn.Linear(3, 2))
    inputs = _numbers(COUNT, 3)

    def losses():
        with torch.no_grad():
            hidden = model[0](inputs)
        return model[1](hidden).square().sum(1)

    forget(model)
    accumulate_clipped(model, losses, 1.0)
    assert torch.count_nonzero(flat_sum(model)[:12]) == 0
    assert torch.count_nonzero(flat_sum(model)[12:]) > 0


def test_layer_that_is_not_called_has_no_gradient():
    model = _model(nn.Linear(3, 3), nn.Linear(3, 2))
    forget(model)
    accumulate_clipped(model, lambda: model[0](_numbers(COUNT, 3)).square().sum(1), 1.0)
    assert model[1].weight.summed_grad is None


def test_rows_that_are_not_examples_are_refused():
    model = _model(nn.Linear(3, 2))
    with pytest.raises(ValueError, match="saw 5 rows, the losses have 2"):
        accumulate_clipped(model, lambda: model(_numbers(5, 3)).sum(1)[:2], 1.0)


def test_sampler_that_leaves_a_parameter_out_is_refused():
    model = _model(nn.GroupNorm(1, 3))
    samplers = {nn.GroupNorm: lambda layer, inputs, delta: {layer.bias: delta.sum(2)}}
    with recording(model, samplers) as tape:
        model(_numbers(COUNT, 3, 4)).square().sum().backward()
    with pytest.raises(TypeError, match="GroupNorm leaves parameters out"):
        tape.squared_norms()
