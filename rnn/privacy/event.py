"""One release about some people, as the ledger writes it down."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from rnn.config import FORBID_EXTRA

Mechanism = Literal["sampled_gaussian", "gaussian", "laplace", "stated"]

ADJACENCY = "zero-out: one unit's contribution is replaced by nothing, N stays"


@dataclass(frozen=True, kw_only=True)
class Event:
    """One release about some people, or `count` of the same kind.

    Attributes:
        released: what, in words that may be published.
        people: whose data; events of the same people add up.
        mechanism: sampled_gaussian (Poisson), gaussian, laplace, or stated, for a guarantee that
            is known as (epsilon, delta) alone.
        noise_multiplier: standard deviation over L2 sensitivity, or scale over L1 sensitivity.
        sample_rate: inclusion probability, of sampled_gaussian.
        count: how often; all of them planned, whether or not each was looked at.
        epsilon: of stated.
        delta: of stated.
        unit: whose contribution is bounded: record or person.
        adjacency: what two neighbouring data sets are.

    Raises:
        ValueError: a field is out of range for the mechanism.
    """

    __pydantic_config__ = FORBID_EXTRA

    released: str
    people: str
    mechanism: Mechanism
    noise_multiplier: float | None = None
    sample_rate: float = 1.0
    count: int = 1
    epsilon: float | None = None
    delta: float = 0.0
    unit: str = "person"
    adjacency: str = ADJACENCY

    def __post_init__(self) -> None:
        """Refuse an event that cannot be added up."""
        if self.mechanism == "stated":
            if self.epsilon is None or not self.epsilon >= 0 or not 0 <= self.delta < 1:
                raise ValueError(
                    f"{self.released}: epsilon = {self.epsilon}, delta = {self.delta:g} must be "
                    "at least 0, and delta below 1"
                )
        elif self.noise_multiplier is None or not self.noise_multiplier > 0:
            raise ValueError(
                f"{self.released}: noise_multiplier = {self.noise_multiplier} must be above 0"
            )
        if not 0 < self.sample_rate <= 1:
            raise ValueError(
                f"{self.released}: sample_rate = {self.sample_rate} must be above 0 and at most 1"
            )
        if self.sample_rate != 1 and self.mechanism != "sampled_gaussian":
            raise ValueError(f"{self.released}: only sampled_gaussian has a sample_rate")
        if self.count < 0:
            raise ValueError(f"{self.released}: count = {self.count} must be at least 0")

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)
