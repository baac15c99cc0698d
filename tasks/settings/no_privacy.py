"""A recipe about things, not people: no privacy is promised, by an explicit word and its reason."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Discriminator, Tag

from rnn.config import FORBID_EXTRA, Count, PrivacyConfig
from rnn.fairness.config import BoundedGroupLoss, GradientReversal, NoMitigation, Reweight
from tasks.settings.preparation import drawn_of

if TYPE_CHECKING:
    from tasks.recipe import Recipe

SHORTEST_REASON = 20


@dataclass(frozen=True, kw_only=True)
class NoPrivacy:
    """In place of a promise: why none is made.

    Attributes:
        none: the reason, a sentence that the model card prints.
        population: N, rows of training, a public constant; sets the sample rate.
    """

    __pydantic_config__ = FORBID_EXTRA

    none: str
    population: Count

    def __post_init__(self) -> None:
        """A sentence, not a word."""
        if len(" ".join(self.none.split())) < SHORTEST_REASON:
            raise ValueError(
                f"none = {self.none!r}: a reason in a sentence, of at least {SHORTEST_REASON} "
                "characters: what are the data about, if not people?"
            )

    @property
    def reason(self) -> str:
        """The sentence on one line, without a full stop."""
        return " ".join(self.none.split()).rstrip(".")


def _stated(value: Any) -> Any:
    """Refuse what is neither a promise nor its absence with a reason."""
    if isinstance(value, str) or value is None:
        raise ValueError(
            f"{value!r}: state a promise, or {{none: a reason in a sentence, population: N}}"
        )
    if isinstance(value, dict) and "none" in value:
        beside = sorted(str(key) for key in value if key not in ("none", "population"))
        if beside:
            raise ValueError(
                f"none stands beside {', '.join(beside)}: a recipe either promises something or "
                "says none; allowed beside it is population alone"
            )
    return value


def _which(value: Any) -> str:
    """Which of the two a block is."""
    without = isinstance(value, NoPrivacy) or (isinstance(value, dict) and "none" in value)
    return "none" if without else "promise"


Privacy = Annotated[
    Annotated[PrivacyConfig, Tag("promise")] | Annotated[NoPrivacy, Tag("none")],
    Discriminator(_which),
    BeforeValidator(_stated),
]


def check_promise(recipe: "Recipe") -> None:
    """Refuse what a recipe without privacy cannot mean, and a private one without a bar.

    Raises:
        ValueError: one line naming the field.
    """
    if isinstance(recipe.privacy, PrivacyConfig):
        if recipe.gate.max_epsilon is None:
            raise ValueError("gate.max_epsilon is required: a promise without a bar is none")
        if recipe.train.early_stopping is not None:
            raise ValueError(
                "train.early_stopping is for training without privacy: a private run takes the "
                "steps that it planned and paid for; state it under twin"
            )
        _check_uncounted(recipe)
        if recipe.predict.publish_examples:
            raise ValueError(
                "predict.publish_examples = true shows single held-out rows to everybody, and "
                "privacy is promised; allowed is false"
            )
        return
    for sensitive in recipe.data.sensitive:
        if not sensitive.things:
            raise ValueError(
                f"data.sensitive names {sensitive.name!r}: people have sensitive features, and "
                "privacy.none is for data about things; allowed are groups of things (things: "
                "true), or a promise of privacy"
            )
    mechanism = _asks_for(recipe)
    if mechanism:
        raise ValueError(f"{mechanism}, which privacy.none has no place for; take one of them away")


def _check_uncounted(recipe: "Recipe") -> None:
    """Training rows are counted privately or not at all."""
    for spec in recipe.data.texts.values():
        if spec.vocabulary is not None and spec.vocabulary.training is not None:
            raise ValueError(
                f"vocabulary.training = {spec.vocabulary.training} counts training rows, which "
                "privacy.none alone allows; allowed are values, file, package and private"
            )


def _asks_for(recipe: "Recipe") -> str:
    """What of a recipe is private, or compares with what is; empty for nothing."""
    drawn, release, mitigation = drawn_of(recipe.data), recipe.audit.release, recipe.mitigation
    plain = NoMitigation | Reweight | BoundedGroupLoss | GradientReversal
    if drawn:
        return f"{drawn[0].field} is to be drawn privately"
    if not isinstance(mitigation, plain):
        return f"mitigation.method = {mitigation.method} is a private step"
    stated = {name: getattr(release, name) for name in ("epsilon", "delta", "insecure_seed")}
    asks = {
        "gate.max_epsilon": recipe.gate.max_epsilon,
        "ledger.max_epsilon": recipe.ledger.max_epsilon,
        **{f"audit.release.{name}": value for name, value in stated.items()},
    }
    for field, value in asks.items():
        if value is not None:
            return f"{field} = {value:g} is about an epsilon"
    blocks = {
        "twin": any(value is not None for value in vars(recipe.twin).values()),
        "sweep": recipe.sweep is not None,
        "compare.alternatives": bool(recipe.compare.alternatives),
    }
    words = {
        "twin": "twin tells how to train without privacy",
        "sweep": "sweep is a search under a ledger",
        "compare.alternatives": "compare.alternatives are private runs",
    }
    return next((words[name] for name, there in blocks.items() if there), "")
