"""Exposure by hand, its extrapolation against exact tails, and secrets of a format."""

import math

import numpy as np
import pytest
import scipy.stats
from scipy import integrate

from tasks.evidence import exposure
from tasks.evidence.exposure import Format, SkewNormal

DIGITS = tuple(range(10))
NINE = Format(((40,), (41,), *((DIGITS,) * 9)))


def test_rank_by_hand() -> None:
    every = np.arange(1.0, 1025.0)
    # First of 1024 is worth all ten bits, the last none; the 32nd five.
    assert exposure.by_rank(np.array([1.0, 32.0, 1024.0]), every).tolist() == [10.0, 5.0, 0.0]
    assert exposure.by_rank(np.ones(1), np.ones(8)).tolist() == [0.0]


def test_sampling_by_hand() -> None:
    candidates = np.arange(100.0)
    found = exposure.by_sampling(9.5, candidates, 2**20)
    assert found.value == pytest.approx(-math.log2(11 / 101))
    assert found.low == pytest.approx(-math.log2(scipy.stats.beta.ppf(0.975, 11, 90)))
    assert found.high == pytest.approx(-math.log2(scipy.stats.beta.ppf(0.025, 10, 91)))
    first = exposure.by_sampling(-1.0, candidates, 2**20)
    assert first.high == 20.0
    assert first.low == pytest.approx(-math.log2(1 - 0.025 ** (1 / 100)))
    assert exposure.by_sampling(-1.0, candidates, 8).value == 3.0


def test_moments_give_back_the_distribution() -> None:
    values = scipy.stats.skewnorm(4.0, 30.0, 5.0).rvs(200_000, random_state=0)
    found = SkewNormal.of(values)
    assert (found.place, found.scale) == pytest.approx((30.0, 5.0), rel=0.02)
    assert found.shape == pytest.approx(4.0, rel=0.1)
    mirrored = SkewNormal.of(-values)
    assert mirrored.shape == pytest.approx(-found.shape)
    assert SkewNormal.of(np.ones(5)).scale > 0
    wanted = scipy.stats.skewnorm.cdf([25.0, 31.0], 4.0, 30.0, 5.0)
    assert SkewNormal(4.0, 30.0, 5.0).below(np.array([25.0, 31.0])) == pytest.approx(wanted)


@pytest.mark.parametrize("shape", [-3.0, 0.0, 2.0])
@pytest.mark.parametrize("z", [-1.0, -4.0, -7.0, -12.0])
def test_far_tails_are_exact(shape: float, z: float) -> None:
    def density(t: float) -> float:
        # Scaled by its value at z, so that nothing underflows.
        return math.exp(
            (z * z - t * t) / 2
            + scipy.special.log_ndtr(shape * t)
            - scipy.special.log_ndtr(shape * z)
        )

    whole = integrate.quad(density, z - 30, z, epsabs=0, epsrel=1e-10, limit=500)[0]
    at_z = math.log(2) - z * z / 2 - math.log(2 * math.pi) / 2 + scipy.special.log_ndtr(shape * z)
    found = SkewNormal(shape, 5.0, 2.0).log_below(5.0 + 2.0 * z)
    assert found == pytest.approx(math.log(whole) + at_z, rel=1e-3)


def test_extrapolation_finds_what_a_sample_cannot_rank() -> None:
    rng = np.random.default_rng(1)
    candidates = rng.normal(100, 10, 2000)
    secrets = np.array([100.0 - 50.0])
    truth = -scipy.stats.norm.logcdf(-5) / math.log(2)
    (found,) = exposure.by_skew_normal(secrets, candidates, 10**9)
    assert found.low <= truth <= found.high
    assert found.value == pytest.approx(truth, rel=0.25)
    assert exposure.by_sampling(50.0, candidates, 10**9).value < 11.0
    assert exposure.by_skew_normal(np.array([-1e3]), candidates, 1024)[0].value == 10.0


def test_interval_of_the_extrapolation_holds() -> None:
    truth = -scipy.stats.skewnorm.logcdf(-2.2, 1.0) / math.log(2)
    missed = 0
    for seed in range(60):
        sample = scipy.stats.skewnorm(1.0).rvs(800, random_state=seed)
        (found,) = exposure.by_skew_normal(np.array([-2.2]), sample, 2**60, resamples=200)
        missed += not found.low <= truth <= found.high
    assert missed <= 9


def test_the_shape_is_checked() -> None:
    rng = np.random.default_rng(2)
    assert exposure.fit(rng.normal(size=1000)) > 0.05
    assert exposure.fit(np.r_[rng.normal(-4, 1, 500), rng.normal(4, 1, 500)]) < 0.001


def test_forgotten_secrets_expose_what_chance_does() -> None:
    rng = np.random.default_rng(3)
    found = [
        exposure.exposure(rng.gamma(50, size=10), rng.gamma(50, size=400), 10**9) for _ in range(40)
    ]
    assert np.mean([one["mean"]["value"] for one in found]) == pytest.approx(
        exposure.FORGOTTEN, abs=0.2
    )
    assert scipy.stats.kstest([one["p_value"] for one in found], "uniform").pvalue > 0.01


def test_remembered_secrets_are_exposed() -> None:
    rng = np.random.default_rng(4)
    found = exposure.exposure(rng.normal(40, 5, 6), rng.normal(100, 10, 500), 10**9)
    assert found["mean"]["low"] > 10
    assert found["p_value"] < 1e-4
    assert all(one["low"] > 5 for one in found["sampled"])
    assert (found["secrets"], found["candidates"]) == (6, 500)
    assert found["bits"] == pytest.approx(9 * math.log2(10))


def test_secrets_of_a_format() -> None:
    assert NINE.size == 10**9
    drawn = NINE.draw(500, seed=0)
    assert drawn.shape == (500, 11)
    assert (drawn[:, :2] == [40, 41]).all()
    assert len({tuple(row) for row in drawn}) == 500
    assert (NINE.draw(500, seed=0) == drawn).all()
    assert (NINE.draw(500, seed=1) != drawn).any()
    # Each digit about as often as the others.
    counts = np.bincount(drawn[:, 2:].ravel(), minlength=10)
    assert scipy.stats.chisquare(counts).pvalue > 0.001


def test_every_secret_of_a_small_format() -> None:
    small = Format(((7,), (1, 2), (3, 4, 5)))
    every = small.every()
    assert [tuple(row) for row in every.tolist()] == [small.secret(i) for i in range(6)]
    assert sorted(map(tuple, small.draw(6, seed=3).tolist())) == sorted(map(tuple, every.tolist()))
    with pytest.raises(ValueError, match="7 secrets were asked for, the format has 6"):
        small.draw(7, seed=0)


@pytest.mark.parametrize("slots", [(), ((1,), (2,)), ((1, 1),), ((), (1, 2))])
def test_a_format_without_secrets_is_refused(slots: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match="at least two secrets"):
        Format(slots)
