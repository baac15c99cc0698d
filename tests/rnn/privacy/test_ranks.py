"""Two processes over gloo give the steps, the noise and the account of one."""

import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing, nn

from rnn.batch import PreparedSequences
from rnn.config import AdaptiveConfig, InputShape, ModelConfig, TrainConfig
from rnn.fairness.config import BoundedGroupLoss, GlobalAdapt, GroupClipping, NoMitigation
from rnn.fairness.groups import Groups
from rnn.fit import Fit, Mechanism
from rnn.model import build
from rnn.privacy.moving import total_bound
from rnn.privacy.noise import Keystream
from rnn.privacy.ranks import Ranks
from rnn.private import make_private
from rnn.units import Sample

STEPS = 6
SHAPE = InputShape(input_size=2, vocabulary_size=0, static_size=0, output_size=1, task="binary")
MITIGATIONS = {
    "dpsgd_f": GroupClipping(method="dpsgd_f", feature="f", count_noise=2.0),
    "global_adapt": GlobalAdapt(method="global_adapt", count_noise=2.0),
    "bounded_group_loss": BoundedGroupLoss(
        method="bounded_group_loss", feature="f", loss_noise=2.0, count_noise=2.0
    ),
}
CASES = [
    ("flat", 0.1),
    ("adaptive", 0.1),
    ("flat", 0.02),
    ("dpsgd_f", 0.1),
    ("global_adapt", 0.1),
    ("bounded_group_loss", 0.1),
]


def _fit(clipping, rate, ranks):
    numbers = np.random.default_rng(0)
    people = 40
    sequences = PreparedSequences(
        numbers.standard_normal((people * 3, 2)).astype(np.float32),
        None,
        np.arange(people + 1) * 3,
        np.zeros((people, 0), dtype=np.float32),
        numbers.integers(0, 2, people),
        units=np.arange(people) // 2,
    )
    config = TrainConfig(steps=STEPS, expected_batch_size=4, learning_rate=0.05)
    mitigation = MITIGATIONS.get(clipping, NoMitigation())
    mechanism = Mechanism(
        rate,
        0.8,
        0.5,
        clipping="flat" if clipping in MITIGATIONS else clipping,
        adaptive=AdaptiveConfig(count_noise=2.0),
        mitigation=mitigation,
        groups=3,
    )
    return Fit(
        build(ModelConfig(hidden_size=3), SHAPE, 0).double(),
        sequences,
        np.arange(people),
        config,
        sample_rate=rate,
        mechanism=mechanism,
        keystream=Keystream.from_seed(5),
        ranks=ranks,
        mitigation=mitigation,
        groups=Groups(np.arange(people) // 2 % 3, ("a", "b", "unknown")),
        null_canaries=100,
    )


def _double(fit):
    """Numbers in double precision, so that the order of sums does not show."""
    plain = fit.sequences.batch

    def batch(rows):
        got = plain(rows)
        object.__setattr__(got, "inputs", got.inputs.double())
        return got

    object.__setattr__(fit.sequences, "batch", batch)
    return fit


def _run(fit):
    rows = [_double(fit).step().rows for _ in range(STEPS)]
    weights = torch.cat([p.detach().flatten() for p in fit.model.parameters()])
    moved = [fit.mitigator.tensors()[key].double() for key in sorted(fit.mitigator.tensors())]
    moved.append(torch.tensor([total_bound(fit.bound)], dtype=torch.float64))
    seen = torch.from_numpy(fit.null.account.sums)
    return weights, rows, torch.cat([value.flatten() for value in moved]), seen


def _private_loop(ranks_folder=None):
    """A loop of one's own on whatever processes there are."""
    torch.manual_seed(0)
    layer = nn.Linear(2, 1).double()
    private = make_private(
        layer,
        torch.optim.SGD(layer.parameters(), lr=0.1),
        sample_rate=0.05,
        expected_batch_size=2,
        max_grad_norm=1.0,
        noise_multiplier=1.0,
        insecure_seed=3,
    )
    data = torch.randn(30, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for _ in range(STEPS):
        rows = private.sample(30)
        private.step(lambda r=rows: layer(data[r]).squeeze(1).square())
    return layer.weight.detach().flatten(), private.epsilon(1e-5)


def _worker(rank, folder):
    """One of two processes."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    results = {}
    for clipping, rate in CASES:
        results[f"{clipping}/{rate}"] = _run(_fit(clipping, rate, Ranks.current()))
    results["loop"] = _private_loop()
    torch.save(results, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    multiprocessing.spawn(_worker, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize(("clipping", "rate"), CASES)
def test_two_processes_end_where_one_does(both, clipping, rate):
    weights, rows, bound, seen = _run(_fit(clipping, rate, None))
    parts = [result[f"{clipping}/{rate}"] for result in both]
    for part in parts:
        torch.testing.assert_close(part[0], weights, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(part[2], bound, rtol=1e-7, atol=1e-9)
    assert [sum(pair) for pair in zip(parts[0][1], parts[1][1], strict=True)] == rows
    # The first process has the canaries; what it sees is what one process alone would see.
    torch.testing.assert_close(parts[0][3], seen, rtol=1e-6, atol=1e-6)
    assert float(seen[3].sum()) > 0 == float(parts[1][3].abs().sum())
    # Persons have two rows, and are never divided.
    assert all(count % 2 == 0 for part in parts for count in part[1])
    assert any(count == 0 for part in parts for count in part[1])


def test_a_loop_of_ones_own(both):
    weights, epsilon = _private_loop()
    for result in both:
        torch.testing.assert_close(result["loop"][0], weights, rtol=1e-9, atol=1e-9)
        assert result["loop"][1] == epsilon


def test_parts_divide_the_units():
    sample = Sample(np.arange(7), np.array([4, 4, 9, 1, 9, 9, 5]))
    parts = [sample.part(rank, 3) for rank in range(3)]
    assert sorted(np.concatenate([p.rows for p in parts]).tolist()) == list(range(7))
    for part in parts:
        assert set(part.rows) == set(np.flatnonzero(np.isin(sample.units, part.units)))


def test_alone_without_torch_distributed():
    ranks = Ranks.current()
    assert (ranks.rank, ranks.size) == (0, 1)
    assert ranks.agree(None).tolist() == []
    assert ranks.share(np.arange(3)).tolist() == [0, 1, 2]
