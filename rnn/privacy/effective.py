"""Two Gaussian releases of one sample as one, so that one accountant serves: needs no torch."""

from rnn.config import AdaptiveConfig


def count_noise(
    config: AdaptiveConfig, *, noise_multiplier: float, expected_batch_size: int
) -> float:
    """Return the standard deviation of the noise on an adaptive bound's centred count."""
    if config.count_noise is not None:
        return config.count_noise
    return max(expected_batch_size / 20, noise_multiplier)


def effective_noise(noise_multiplier: float, count_noise: float) -> float:
    """Return the noise multiplier of one Gaussian that is worth both releases of a step.

    The gradient sum has sensitivity 1 in units of the bound; the centred count, sum(b - 1/2),
    has sensitivity 1/2. Scaled to their noise they are one Gaussian release of the pair, with
    sensitivity sqrt(noise_multiplier^-2 + (2 count_noise)^-2) at unit noise.

    Source: Andrew, Thakkar, McMahan, Ramaswamy (2021), theorem 1.
    """
    return float((noise_multiplier**-2 + (2 * count_noise) ** -2) ** -0.5)


def gradient_noise(effective: float, count_noise: float) -> float:
    """Return what is left for the gradients of an effective noise multiplier.

    Raises:
        ValueError: the count alone costs more.
    """
    left = effective**-2 - (2 * count_noise) ** -2
    if left <= 0:
        raise ValueError(
            f"count_noise = {count_noise:g} must be above half the noise multiplier, "
            f"{effective / 2:g}"
        )
    return float(left**-0.5)
