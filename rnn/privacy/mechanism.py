"""The numbers that the accounting rests on; none is taken from the data."""

from dataclasses import dataclass, field

from torch import nn

from rnn.config import AdaptiveConfig, PrivacyConfig
from rnn.privacy.clipping import AdaptiveBound, Bound, LayerBounds, layer_bounds
from rnn.privacy.effective import count_noise, gradient_noise


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
    """

    sample_rate: float
    noise_multiplier: float
    max_grad_norm: float
    unit: str = "person"
    max_sequences: int = 16
    clipping: str = "flat"
    layer_max_grad_norms: dict[str, float] = field(default_factory=dict)
    adaptive: AdaptiveConfig = field(default_factory=AdaptiveConfig)

    @classmethod
    def of(
        cls, privacy: PrivacyConfig, *, sample_rate: float, noise_multiplier: float
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
        )

    def count_noise(self, expected_batch_size: int) -> float:
        """Return the standard deviation of the noise on the centred count."""
        return count_noise(
            self.adaptive,
            noise_multiplier=self.noise_multiplier,
            expected_batch_size=expected_batch_size,
        )

    def gradient_noise(self, expected_batch_size: int) -> float:
        """Return the noise multiplier of the gradients alone.

        Raises:
            ValueError: the count alone costs more than noise_multiplier allows.
        """
        if self.clipping != "adaptive":
            return self.noise_multiplier
        return gradient_noise(self.noise_multiplier, self.count_noise(expected_batch_size))

    def bound(self, model: nn.Module, expected_batch_size: int) -> Bound | AdaptiveBound:
        """Return what a unit's gradient is clipped to.

        Raises:
            ValueError: layer_max_grad_norms does not name the model's layers.
        """
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
    def total_bound(bound: Bound | AdaptiveBound) -> float:
        """Return the bound over all parameters, to which the noise is scaled."""
        if isinstance(bound, AdaptiveBound):
            return bound.value
        return bound.total if isinstance(bound, LayerBounds) else bound
