"""A privacy promise that means nothing is refused."""

import pytest

from rnn.config import PrivacyConfig


def test_exactly_one_of_target_and_noise():
    for values in ({}, {"target_epsilon": 1.0, "noise_multiplier": 1.0}):
        with pytest.raises(ValueError, match="exactly one"):
            PrivacyConfig(population=100, delta=1e-6, **values)


def test_delta_is_at_most_a_tenth_of_one_person():
    PrivacyConfig(population=1000, delta=1e-4, target_epsilon=1.0)
    with pytest.raises(
        ValueError, match=r"delta = 0.00011 is above 1 / \(10 population\) = 0.0001"
    ):
        PrivacyConfig(population=1000, delta=1.1e-4, target_epsilon=1.0)


@pytest.mark.parametrize("count", [0, 100, 1000])
def test_a_null_block_is_none_or_large_enough(count):
    config = PrivacyConfig(population=100, delta=1e-4, noise_multiplier=1.0, null_canaries=count)
    assert config.null_canaries == count


def test_a_null_block_of_a_few_is_refused():
    with pytest.raises(ValueError, match="null_canaries = 99 must be 0 or at least 100"):
        PrivacyConfig(population=100, delta=1e-4, noise_multiplier=1.0, null_canaries=99)
