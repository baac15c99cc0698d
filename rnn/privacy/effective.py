"""All that one step releases of a sample as one Gaussian, so that one accountant serves.

Needs no torch.

A step adds up, over the sampled units, a vector of several blocks: the clipped gradient, and
whatever counts and sums are released beside it. Block i moves by at most s_i when a unit comes or
goes, and has Gaussian noise of standard deviation t_i in each coordinate. Divided by its noise,
the whole vector moves by at most sqrt(sum (s_i / t_i)^2) at unit noise: one Gaussian release, at
the noise multiplier (sum (s_i / t_i)^2)^(-1/2). What a block is asked for may hang on blocks
before it, in the same step too: adaptive composition of Gaussian mechanisms is no worse (Dong,
Roth, Su 2022, corollary 3.3), and sampling amplifies their joint release.

Sensitivities. Each unit belongs to one group, whoever else is there.

- Is it clipped? sum (b - 1/2), b in {0, 1}: 1/2.
- The same by group, one coordinate a group: a unit moves the coordinate of its own group by 1/2
  and no other: 1/2 in L2. (Two plain counts a group, clipped and not, would have 1.)
- Group sizes: a unit moves one coordinate by 1: 1 in L2, whatever the number of groups.
- Loss sums by group, sum (min(loss, c) - c/2): one coordinate by at most c/2: c/2 in L2.

Source: Andrew, Thakkar, McMahan, Ramaswamy (2021), theorem 1, for gradient and one count.
"""

from dataclasses import dataclass

from rnn.config import AdaptiveConfig
from rnn.fairness.config import (
    BoundedGroupLoss,
    GlobalAdapt,
    GroupClipping,
    Mitigation,
    Reweight,
)


@dataclass(frozen=True)
class Release:
    """A vector of sums over the sampled units, released with noise beside the gradients.

    Attributes:
        setting: field of params.yaml that says how much noise.
        sensitivity: how far one unit moves it, in L2.
        noise: standard deviation in each coordinate.
    """

    setting: str
    sensitivity: float
    noise: float


def centred_count(noise: float, setting: str = "count_noise") -> Release:
    """Return the release of sum(b - 1/2), over all units or by group."""
    return Release(setting, 0.5, noise)


def default_noise(stated: float | None, noise_multiplier: float, expected_batch_size: int) -> float:
    """Return the standard deviation of the noise in a count, where the settings leave it open."""
    if stated is not None:
        return stated
    return max(expected_batch_size / 20, noise_multiplier)


def count_noise(
    config: AdaptiveConfig, *, noise_multiplier: float, expected_batch_size: int
) -> float:
    """Return the standard deviation of the noise on an adaptive bound's centred count."""
    return default_noise(config.count_noise, noise_multiplier, expected_batch_size)


def releases_of(
    clipping: str,
    adaptive: AdaptiveConfig,
    mitigation: Mitigation,
    *,
    noise_multiplier: float,
    expected_batch_size: int,
) -> tuple[Release, ...]:
    """Return what a step releases beside the gradients.

    Args:
        clipping: flat, per_layer or adaptive.
        adaptive: adaptive: its settings.
        mitigation: what else is counted.
        noise_multiplier: of the whole release.
        expected_batch_size: of which the noise is a twentieth where nothing is stated.
    """

    def noise(stated: float | None) -> float:
        return default_noise(stated, noise_multiplier, expected_batch_size)

    found = []
    if clipping == "adaptive":
        found.append(centred_count(noise(adaptive.count_noise), "privacy.adaptive.count_noise"))
    sizes = "mitigation.count_noise"
    if isinstance(mitigation, GlobalAdapt):
        found.append(centred_count(noise(mitigation.count_noise), sizes))
    elif isinstance(mitigation, GroupClipping):
        tau = noise(mitigation.count_noise)
        found += [centred_count(tau, sizes), Release(sizes, 1.0, tau)]
    elif isinstance(mitigation, Reweight) and mitigation.counts_steps:
        found.append(Release(sizes, 1.0, noise(mitigation.count_noise)))
    elif isinstance(mitigation, BoundedGroupLoss):
        # In units of loss_clip.
        found.append(Release("mitigation.loss_noise", 0.5, noise(mitigation.loss_noise)))
        found.append(Release(sizes, 1.0, noise(mitigation.count_noise)))
    return tuple(found)


def effective_noise(noise_multiplier: float, *releases: Release) -> float:
    """Return the noise multiplier of one Gaussian that is worth all releases of a step.

    Args:
        noise_multiplier: of the gradients alone, whose sensitivity is 1 in units of the bound.
        releases: what is released beside them.
    """
    parts = [noise_multiplier**-2, *((r.sensitivity / r.noise) ** 2 for r in releases)]
    return float(sum(parts) ** -0.5)


def gradient_noise(effective: float, *releases: Release) -> float:
    """Return what is left for the gradients of an effective noise multiplier.

    Raises:
        ValueError: the other releases alone cost more.
    """
    if not releases:
        return effective
    left = effective**-2 - sum((r.sensitivity / r.noise) ** 2 for r in releases)
    if left <= 0:
        worst = max(releases, key=lambda r: r.sensitivity / r.noise)
        raise ValueError(
            f"{worst.setting} = {worst.noise:g} must be above "
            f"{'half ' if worst.sensitivity == 0.5 else ''}the noise multiplier, "
            f"{worst.sensitivity * effective:g}"
        )
    return float(left**-0.5)
