"""Frozen settings of the mitigations of a training run: needs no torch."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, MinLen

from rnn.config import FORBID_EXTRA, Count, Positive

LABELS_ARE_TEXT = {**FORBID_EXTRA, "coerce_numbers_to_str": True}
Name = Annotated[str, MinLen(1)]
Rate = Annotated[float, Gt(0), Le(1)]
AtLeastOne = Annotated[float, Ge(1)]


@dataclass(frozen=True, kw_only=True)
class NoMitigation:
    """Everybody's loss and gradient count alike."""

    __pydantic_config__ = FORBID_EXTRA

    method: Literal["none"] = "none"


@dataclass(frozen=True, kw_only=True)
class Reweight:
    """Losses weighted by group.

    Attributes:
        feature: sensitive feature whose labels are the groups.
        weights: label -> weight, public constants; 1 for a label that is not named. Empty: from
            group counts that are released with noise in every step.
        counted: where there are no constants: counts of every step's people, or those of all
            training people that data.private_counts releases once, before training.
        outcome: cells are group x class, weighted so that the two look independent.
        power: 1 undoes the counts, 0.5 half of it on the log scale; of released counts.
        max_weight: no released weight is above.
        count_noise: standard deviation of the noise in a count; null for a twentieth of
            expected_batch_size, or the noise multiplier where that is more.

    Source: Kamiran and Calders (2012), "Data preprocessing techniques for classification without
    discrimination", section 3.2 (reweighing), for `outcome`.
    """

    __pydantic_config__ = LABELS_ARE_TEXT

    method: Literal["reweight"]
    feature: Name
    weights: dict[Name, Positive] = field(default_factory=dict)
    counted: Literal["every_step", "once"] = "every_step"
    outcome: bool = False
    power: Rate = 1.0
    max_weight: AtLeastOne = 4.0
    count_noise: Positive | None = None

    def __post_init__(self) -> None:
        """Constants are of groups."""
        if self.weights and self.outcome:
            raise ValueError("weights are constants by label: outcome is for released counts")
        if self.counted == "once" and (self.weights or self.outcome):
            raise ValueError("counted: once is by label alone, without weights and outcome")

    @property
    def counts_steps(self) -> bool:
        """Does every step release counts?"""
        return not self.weights and self.counted == "every_step"


@dataclass(frozen=True, kw_only=True)
class BoundedGroupLoss:
    """Groups whose loss is high weigh more, by multipliers that follow released group losses.

    Attributes:
        feature: sensitive feature whose labels are the groups.
        bound: loss that no group should exceed; null: the group with the highest loss counts most.
        strength: how much weight the multipliers may move: 0.5 is half of all weight.
        rate: of the exponentiated update.
        loss_clip: a person's loss counts up to this, nats.
        max_weight: no weight is above.
        loss_noise: standard deviation of the noise in a group's loss sum, in units of loss_clip;
            null as for count_noise.
        count_noise: in a group's count; null for a twentieth of expected_batch_size, or the noise
            multiplier where that is more.

    Source: Agarwal, Dudik, Wu (2019), "Fair regression", section 3 (bounded group loss); Sagawa,
    Koh, Hashimoto, Liang (2020), algorithm 1, for the rule without a bound.
    """

    __pydantic_config__ = FORBID_EXTRA

    method: Literal["bounded_group_loss"]
    feature: Name
    bound: Positive | None = None
    strength: Rate = 0.5
    rate: Rate = 0.5
    loss_clip: Positive = 2.0
    max_weight: AtLeastOne = 4.0
    loss_noise: Positive | None = None
    count_noise: Positive | None = None


@dataclass(frozen=True, kw_only=True)
class GradientReversal:
    """A head guesses the group from the pooled state, which learns to give nothing away.

    Its loss is part of each example's own, so that one joint gradient is clipped: it costs no
    epsilon of its own, but shares the bound.

    Attributes:
        feature: sensitive feature that is guessed; "unknown" is not.
        strength: of the reversed gradient.
        hidden_size: units of the adversary's hidden layer.

    Source: Ganin et al. (2016), "Domain-adversarial training of neural networks", section 4.
    """

    __pydantic_config__ = FORBID_EXTRA

    method: Literal["gradient_reversal"]
    feature: Name
    strength: Positive = 1.0
    hidden_size: Count = 16


@dataclass(frozen=True, kw_only=True)
class GroupClipping:
    """A bound a group, larger where more gradients are clipped: DPSGD-F.

    Attributes:
        feature: sensitive feature whose labels are the groups.
        base: norm above which a gradient counts as clipped; null: half of max_grad_norm, so that
            groups which are clipped alike have max_grad_norm.
        max_ratio: no group's bound is above this times base.
        count_noise: standard deviation of the noise in each group's two counts; null for a
            twentieth of expected_batch_size, or the noise multiplier where that is more.

    Source: Xu, Du, Wu (2021), "Removing disparate impact on model accuracy in differentially
    private stochastic gradient descent", algorithm 2. Its counts are of the step itself at
    max_grad_norm; here they are of the steps before, averaged, so that one pass is enough.
    """

    __pydantic_config__ = FORBID_EXTRA

    method: Literal["dpsgd_f"]
    feature: Name
    base: Positive | None = None
    max_ratio: AtLeastOne = 4.0
    count_noise: Positive | None = None


@dataclass(frozen=True, kw_only=True)
class GlobalAdapt:
    """Gradients up to Z are scaled by max_grad_norm / Z, longer ones clipped to max_grad_norm.

    Attributes:
        start: Z at first; null: ten times max_grad_norm.
        threshold: a gradient above threshold x Z counts as above.
        rate: Z moves by exp(share above - rate) a step: at rest this share is above.
        lowest: Z never falls below; null: max_grad_norm.
        highest: Z never rises above.
        count_noise: standard deviation of the noise in the count; null for a twentieth of
            expected_batch_size, or the noise multiplier where that is more.

    Source: Esipova, Ghomi, Luo, Cresswell (2023), "Disparate impact in differential privacy from
    gradient misalignment", algorithm 2.
    """

    __pydantic_config__ = FORBID_EXTRA

    method: Literal["global_adapt"]
    start: Positive | None = None
    threshold: Positive = 1.0
    rate: Rate = 0.1
    lowest: Positive | None = None
    highest: Positive = 1000.0
    count_noise: Positive | None = None


@dataclass(frozen=True, kw_only=True)
class GroupThresholds:
    """A threshold a group, from one noised histogram of training people after the last step.

    Nothing is done while the model is trained. The decision then reads the group.

    Attributes:
        feature: sensitive feature whose groups get thresholds.
        goal: what is made equal: the share of favourable decisions among all
            (demographic_parity), or among those with the favourable outcome (equal_opportunity).
        noise_multiplier: of the histogram: standard deviation of the noise in a count, over what
            one person adds.
        score_bins: of the histogram.
        max_rows: of one person that count; the others are left out.

    Source: Hardt, Price, Srebro (2016), "Equality of opportunity in supervised learning", here
    without its random decisions.
    """

    __pydantic_config__ = FORBID_EXTRA

    method: Literal["group_thresholds"]
    feature: Name
    goal: Literal["equal_opportunity", "demographic_parity"] = "demographic_parity"
    noise_multiplier: Positive = 10.0
    score_bins: Annotated[int, Ge(2), Le(1000)] = 20
    max_rows: Count = 1


Mitigation = (
    NoMitigation
    | Reweight
    | BoundedGroupLoss
    | GradientReversal
    | GroupClipping
    | GlobalAdapt
    | GroupThresholds
)


def feature_of(mitigation: Mitigation) -> str | None:
    """Return the sensitive feature whose labels training reads, None where it reads none."""
    if isinstance(mitigation, NoMitigation | GlobalAdapt):
        return None
    return mitigation.feature
