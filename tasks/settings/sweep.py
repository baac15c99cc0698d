"""How `python -m tasks.sweep` searches for settings: where, by which score, under which rule."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, get_type_hints

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import Discriminator, Tag, TypeAdapter, ValidationError

from rnn.config import FORBID_EXTRA, ModelConfig, Positive, PrivacyConfig, TrainConfig
from tasks.settings.data import DataConfig

# What a trial may change: nothing that says what is promised, and to whom.
SEARCHED = {
    "model": tuple(ModelConfig.__dataclass_fields__),
    "train": (
        "optimizer", "learning_rate", "schedule", "warmup_steps", "weight_decay", "steps",
        "expected_batch_size", "averaging",
    ),
    "privacy": ("max_grad_norm",),
}  # fmt: skip
# These change what a step costs.
PRICED = ("train.steps", "train.expected_batch_size")
LEAST_REASON = 20
_BLOCKS = {"model": ModelConfig, "train": TrainConfig, "privacy": PrivacyConfig}

Value = int | float | str | bool | tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Between:
    """Any number from low to high; a whole one where the field holds whole numbers.

    Attributes:
        low: the smallest.
        high: the largest.
        log: evenly on the logarithmic scale.
    """

    __pydantic_config__ = FORBID_EXTRA

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        """Ends must rise."""
        if not self.low < self.high:
            raise ValueError(f"low = {self.low:g} must be below high = {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"low = {self.low:g} must be above 0 where log is true")


def _kind(given: object) -> str:
    """Which of the two a parameter is, so that an error speaks of that one."""
    return "range" if isinstance(given, dict | Between) else "choices"


Choices = Annotated[tuple[Value, ...], MinLen(1)]
Searched = Annotated[
    Annotated[Choices, Tag("choices")] | Annotated[Between, Tag("range")], Discriminator(_kind)
]


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """How a trial's model is judged.

    Attributes:
        metric: auc (binary), accuracy (classes), or loss, the mean of what each person loses at
            most `loss_clip`.
        people: training or held_out, by counts with noise; or public: held-out people whom the
            recipe declares public, without noise.
        noise_multiplier: standard deviation of the noise in a count of people.
        bins: of the scores from which auc is read.
        loss_clip: most that one person's loss counts.
        reason: of public: why their data may be known to everyone.
    """

    __pydantic_config__ = FORBID_EXTRA

    metric: Literal["auc", "accuracy", "loss"] = "loss"
    people: Literal["training", "held_out", "public"] = "training"
    noise_multiplier: Positive = 10.0
    bins: Annotated[int, Ge(4), Le(200)] = 20
    loss_clip: Positive = 3.0
    reason: str = ""

    def __post_init__(self) -> None:
        """Who is declared public needs a reason, and nobody else has one."""
        if (self.people == "public") != bool(self.reason):
            raise ValueError("reason goes with people: public, and with nothing else")
        if self.reason and len(self.reason.strip()) < LEAST_REASON:
            raise ValueError(
                f"reason = {self.reason!r} must say in at least {LEAST_REASON} characters why the "
                "data of held-out people may be known to everyone"
            )


@dataclass(frozen=True, kw_only=True)
class _Sweep:
    """What both rules share.

    Attributes:
        parameters: dotted name of a field of the recipe -> choices, or a range.
        score: how a trial's model is judged.
        winner: digits of the winner that the recipe trains with; null before there is one.
    """

    __pydantic_config__ = FORBID_EXTRA

    parameters: Annotated[dict[str, Searched], MinLen(1)]
    score: ScoreConfig = field(default_factory=ScoreConfig)
    winner: Annotated[str, MinLen(12)] | None = None


@dataclass(frozen=True, kw_only=True)
class RandomSweep(_Sweep):
    """Independent candidates, a random and unseen number of them, only the winner shown.

    Attributes:
        trials: the mean number.
        distribution: of the number.
        shape: of negative_binomial: the smaller, the cheaper and the more uneven.
        delta_share: of the recipe's delta, for the selection; the rest is for what else is
            released about the same people.
    """

    rule: Literal["random"]
    trials: Annotated[float, Gt(1), Le(1000)] = 10.0
    distribution: Literal["logarithmic", "geometric", "negative_binomial", "poisson"] = "geometric"
    shape: Annotated[float, Gt(0), Le(100)] | None = None
    delta_share: Annotated[float, Gt(0), Le(1)] = 0.1

    def __post_init__(self) -> None:
        """One distribution alone has a shape."""
        if (self.distribution == "negative_binomial") != (self.shape is not None):
            raise ValueError("shape goes with distribution: negative_binomial, and needs it")

    @property
    def eta(self) -> float:
        """The shape of any of the distributions."""
        fixed = {"logarithmic": 0.0, "geometric": 1.0, "poisson": math.inf}
        return fixed.get(self.distribution, self.shape or 0.0)


@dataclass(frozen=True, kw_only=True)
class AdaptiveSweep(_Sweep):
    """Every trial is seen and paid for; the next candidate may follow from those before.

    Attributes:
        trials: how many; all of them are planned for.
        sampler: of Optuna: tpe or random.
        looks: scores of one trial, evenly over its steps; beyond 1, a trial that falls behind
            the median is stopped, and costs what was planned.
        seed: of the sampler.
    """

    rule: Literal["adaptive"]
    trials: Annotated[int, Ge(1), Le(1000)] = 10
    sampler: Literal["tpe", "random"] = "tpe"
    looks: Annotated[int, Ge(1), Le(20)] = 1
    seed: Annotated[int, Ge(0)] = 0

    def __post_init__(self) -> None:
        """Trials of one price add up exactly."""
        for name in PRICED:
            if name in self.parameters:
                raise ValueError(
                    f"parameters names {name}, which changes what a trial costs; allowed under "
                    "rule: random alone"
                )


Sweep = Annotated[RandomSweep | AdaptiveSweep, Discriminator("rule")]


def candidate(
    model: ModelConfig, train: TrainConfig, privacy: PrivacyConfig, values: Mapping[str, Any]
) -> tuple[ModelConfig, TrainConfig, PrivacyConfig]:
    """Return the blocks of a recipe with other values in some fields.

    Args:
        model, train, privacy: of the recipe.
        values: dotted name -> value.

    Raises:
        ValueError: a value is out of range for its field; the text names both.
    """
    blocks: dict[str, Any] = {"model": model, "train": train, "privacy": privacy}
    for name, value in values.items():
        block, _, key = name.partition(".")
        kind = type(blocks[block])
        hint = TypeAdapter(kind).validate_python
        given = {f: getattr(blocks[block], f) for f in kind.__dataclass_fields__}
        try:
            blocks[block] = hint({**given, key: value})
        except ValidationError as error:
            first = error.errors()[0]
            reason = str(first["msg"]).removeprefix("Value error, ")
            raise ValueError(f"sweep.parameters.{name} = {value!r}: {reason}") from None
    return blocks["model"], blocks["train"], blocks["privacy"]


def is_whole(name: str) -> bool:
    """Return whether a field holds whole numbers.

    Example:
        >>> is_whole("model.hidden_size"), is_whole("privacy.max_grad_norm")
        (True, False)
    """
    block, _, key = name.partition(".")
    return get_type_hints(_BLOCKS[block])[key] is int


def extremes(searched: Searched) -> tuple[Value, ...]:
    """Return values whose being in range means that all are."""
    if isinstance(searched, Between):
        return searched.low, searched.high
    return searched


def check_sweep(
    sweep: RandomSweep | AdaptiveSweep | None,
    data: DataConfig,
    model: ModelConfig,
    train: TrainConfig,
    privacy: PrivacyConfig,
) -> None:
    """Refuse a search that does not fit its recipe.

    Raises:
        ValueError: a name is no field that may be searched, a value is out of range, or the
            score is not for this target.
    """
    if sweep is None:
        return
    kind, metric = data.target.kind, sweep.score.metric
    if (metric == "auc" and kind != "binary") or (metric == "accuracy" and kind == "regression"):
        raise ValueError(f"sweep.score.metric = {metric} is not for a {kind} target")
    for name, searched in sweep.parameters.items():
        block, _, key = name.partition(".")
        if key not in SEARCHED.get(block, ()):
            known = [f"{b}.{f}" for b, fields in SEARCHED.items() for f in fields]
            raise ValueError(f"sweep.parameters names {name!r}; allowed are {', '.join(known)}")
        if name in PRICED and isinstance(searched, Between):
            raise ValueError(
                f"sweep.parameters.{name}: a range; allowed are listed values, because each has "
                "a noise of its own"
            )
        for value in extremes(searched):
            _, changed, bound = candidate(model, train, privacy, {name: value})
            if changed.expected_batch_size >= bound.population:
                raise ValueError(
                    f"sweep.parameters.{name} = {value!r} must be below privacy.population = "
                    f"{bound.population}"
                )


def unselected(sweep: RandomSweep | AdaptiveSweep) -> RandomSweep | AdaptiveSweep:
    """Return the search as it was before it had a winner."""
    return replace(sweep, winner=None)
