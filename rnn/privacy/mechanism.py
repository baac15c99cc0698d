"""The numbers that the accounting rests on; none is taken from the data."""

from dataclasses import dataclass, field

from torch import nn

from rnn.config import AdaptiveConfig, PrivacyConfig
from rnn.fairness.config import GlobalAdapt, GroupClipping, Mitigation, NoMitigation
from rnn.privacy.clipping import AdaptiveBound, layer_bounds
from rnn.privacy.effective import Release, count_noise, gradient_noise, releases_of
from rnn.privacy.moving import AnyBound, GlobalBound, GroupBounds, total_bound


@dataclass(frozen=True)
class Mechanism:
    """One step's release.

    Attributes:
        sample_rate: inclusion probability a step.
        noise_multiplier: standard deviation of the noise over max_grad_norm; that of one Gaussian
            worth all that a step releases.
        max_grad_norm: bound on one unit's gradient.
        unit: person or record.
        max_sequences: of a person in one step.
        clipping: flat, per_layer or adaptive.
        layer_max_grad_norms: layer -> bound; equal shares of max_grad_norm if empty.
        adaptive: how the bound moves.
        mitigation: what is done for groups; what it counts is part of the release.
        groups: public number of group labels, for bounds by group.
    """

    sample_rate: float
    noise_multiplier: float
    max_grad_norm: float
    unit: str = "person"
    max_sequences: int = 16
    clipping: str = "flat"
    layer_max_grad_norms: dict[str, float] = field(default_factory=dict)
    adaptive: AdaptiveConfig = field(default_factory=AdaptiveConfig)
    mitigation: Mitigation = field(default_factory=NoMitigation)
    groups: int = 0

    @classmethod
    def of(
        cls,
        privacy: PrivacyConfig,
        *,
        sample_rate: float,
        noise_multiplier: float,
        mitigation: Mitigation | None = None,
        groups: int = 0,
    ) -> "Mechanism":
        """Return the mechanism of some settings, their noise solved for."""
        return cls(
            sample_rate,
            noise_multiplier,
            privacy.max_grad_norm,
            unit=privacy.unit,
            max_sequences=privacy.max_sequences,
            clipping=privacy.clipping,
            layer_max_grad_norms=privacy.layer_max_grad_norms,
            adaptive=privacy.adaptive,
            mitigation=mitigation or NoMitigation(),
            groups=groups,
        )

    def count_noise(self, expected_batch_size: int) -> float:
        """Return the standard deviation of the noise on the centred count."""
        return count_noise(
            self.adaptive,
            noise_multiplier=self.noise_multiplier,
            expected_batch_size=expected_batch_size,
        )

    def releases(self, expected_batch_size: int) -> tuple[Release, ...]:
        """Return what a step releases beside the gradients."""
        return releases_of(
            self.clipping,
            self.adaptive,
            self.mitigation,
            noise_multiplier=self.noise_multiplier,
            expected_batch_size=expected_batch_size,
        )

    def gradient_noise(self, expected_batch_size: int) -> float:
        """Return the noise multiplier of the gradients alone.

        Raises:
            ValueError: the counts alone cost more than noise_multiplier allows.
        """
        releases = self.releases(expected_batch_size)
        return gradient_noise(self.noise_multiplier, *releases)

    def bound(self, model: nn.Module, expected_batch_size: int) -> AnyBound:
        """Return what a unit's gradient is clipped to.

        Raises:
            ValueError: layer_max_grad_norms does not name the model's layers, or two settings
                want to move one bound.
        """
        if isinstance(self.mitigation, GlobalAdapt | GroupClipping):
            if self.clipping != "flat":
                raise ValueError(f"{self.mitigation.method} moves the bound: clipping is flat")
            # The last release is the one with a count of its own.
            noise = self.releases(expected_batch_size)[-1].noise
            if isinstance(self.mitigation, GlobalAdapt):
                return GlobalBound.of(
                    self.mitigation, self.max_grad_norm, noise, expected_batch_size
                )
            return GroupBounds.of(
                self.mitigation, self.max_grad_norm, noise, expected_batch_size, self.groups
            )
        if self.clipping == "per_layer":
            return layer_bounds(model, self.max_grad_norm, self.layer_max_grad_norms)
        if self.clipping == "adaptive":
            return AdaptiveBound(
                value=self.max_grad_norm,
                quantile=self.adaptive.quantile,
                rate=self.adaptive.rate,
                lowest=self.adaptive.lowest,
                highest=self.adaptive.highest,
                count_noise=self.count_noise(expected_batch_size),
                expected_batch_size=expected_batch_size,
            )
        return self.max_grad_norm

    @staticmethod
    def total_bound(bound: AnyBound) -> float:
        """Return the bound over all parameters, to which the noise is scaled."""
        return total_bound(bound)
