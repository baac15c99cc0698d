"""Frozen settings of a model, its training and its privacy."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

Probability = Annotated[float, Ge(0), Le(1)]
Positive = Annotated[float, Gt(0)]
Count = Annotated[int, Ge(1)]

# One answer a sequence: logits [B, C].
SCORED_TASKS = ("binary", "multiclass", "regression")
Task = Literal["binary", "multiclass", "regression", "forecast", "next_token", "ctc", "seq2seq"]

FORBID_EXTRA = {"extra": "forbid"}
FEWEST_CANARIES = 100


@dataclass(frozen=True, kw_only=True)
class ConvLayer:
    """A convolution over time.

    Attributes:
        channels: that come out.
        kernel: steps of a window.
    """

    __pydantic_config__ = FORBID_EXTRA

    channels: Count
    kernel: Annotated[int, Ge(1), Le(65)]


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What a person may choose about the network.

    Attributes:
        cell: kind of recurrence.
        hidden_size: H, units a layer and direction.
        num_layers: stacked layers.
        bidirectional: also read each sequence from its last real step.
        dropout: between layers and before the head, 0 for none.
        token_dropout: share of tokens that are read as unknown in training; used by text alone.
        embedding_size: width of a token's vector; used by text alone.
        conv: convolutions over time before the recurrence, each with SiLU.
        pooling: how outputs over time become one vector.
        head_sizes: widths of the feed-forward layers before the output.
        tie_weights: a language model scores tokens by the vectors that it reads them with.
        attention: how the decoder of a seq2seq looks at the input.
        initialisation: of recurrent weights: orthogonal gate by gate, or torch's own, uniform
            within one over the root of hidden_size.
    """

    __pydantic_config__ = FORBID_EXTRA

    cell: Literal["rnn", "lstm", "gru"] = "gru"
    hidden_size: Count = 32
    num_layers: Annotated[int, Ge(1), Le(8)] = 1
    bidirectional: bool = False
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0
    token_dropout: Annotated[float, Ge(0), Lt(1)] = 0.0
    embedding_size: Count = 32
    conv: tuple[ConvLayer, ...] = ()
    pooling: Literal["last", "mean", "attention"] = "last"
    head_sizes: tuple[Count, ...] = ()
    tie_weights: bool = True
    attention: Literal["additive", "dot"] = "additive"
    initialisation: Literal["orthogonal", "uniform"] = "orthogonal"


@dataclass(frozen=True, kw_only=True)
class InputShape:
    """What the prepared data fix about the network.

    Attributes:
        input_size: D, channels a step; 0 for tokens.
        vocabulary_size: number of token ids, padding and unknown included; 0 for numbers.
        static_size: S, channels beside the sequence.
        output_size: logits: 1 for binary and regression, C for multiclass; horizon times
            quantiles for forecast; tokens for next_token and seq2seq; classes and the blank
            for ctc.
        task: kind of target.
        quantiles: of a forecast, rising; empty for other tasks.
    """

    __pydantic_config__ = FORBID_EXTRA

    input_size: Annotated[int, Ge(0)]
    vocabulary_size: Annotated[int, Ge(0)]
    static_size: Annotated[int, Ge(0)]
    output_size: Count
    task: Task
    quantiles: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class EarlyStopping:
    """When training without privacy ends before its last step.

    Attributes:
        share: of the training rows that are set aside to tell.
        every: steps between two looks at them.
        patience: looks without a better loss; the weights of the best look are kept.
    """

    __pydantic_config__ = FORBID_EXTRA

    share: Annotated[float, Gt(0), Lt(0.5)] = 0.1
    every: Count = 50
    patience: Count = 10


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a model is fitted, with or without privacy.

    Attributes:
        optimizer: update rule.
        learning_rate: at its highest.
        schedule: constant; cosine or linear down to zero at the last step; or halved after every
            fifth of the steps.
        warmup_steps: linear rise at the start.
        weight_decay: decoupled from the gradient.
        steps: optimizer steps, each on one Poisson sample.
        expected_batch_size: B, mean size of a Poisson sample; also the normaliser.
        physical_batch_size: rows in memory at once.
        gradient_clip: norm of a step's whole gradient at most, in training without privacy; private
            training bounds each unit's instead.
        early_stopping: when training without privacy ends early; null: at the last step.
        averaging: decay of the exponential average of weights that is released; 0 for none.
        seed: of the initial weights; and of sampling where there is no privacy.
        device: where to compute; auto takes a GPU when there is one.
        threads: CPU threads; part of the settings because sums depend on it.
        checkpoint_seconds: time between checkpoints.
    """

    __pydantic_config__ = FORBID_EXTRA

    optimizer: Literal["sgd", "adam"] = "adam"
    learning_rate: Positive = 0.01
    schedule: Literal["constant", "cosine", "linear", "halving"] = "constant"
    warmup_steps: Annotated[int, Ge(0)] = 0
    weight_decay: Annotated[float, Ge(0)] = 0.0
    steps: Count
    expected_batch_size: Count
    physical_batch_size: Count = 4096
    gradient_clip: Positive | None = None
    early_stopping: EarlyStopping | None = None
    averaging: Annotated[float, Ge(0), Lt(1)] = 0.0
    seed: Annotated[int, Ge(0)] = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, Ge(1), Le(256)] = 2
    checkpoint_seconds: Positive = 5.0


@dataclass(frozen=True, kw_only=True)
class AdaptiveConfig:
    """How clipping = adaptive moves the bound, from max_grad_norm on.

    Attributes:
        quantile: share of units that should lie below the bound.
        rate: of its geometric update.
        lowest: it never falls below.
        highest: it never rises above.
        count_noise: standard deviation of the noise on the centred count; null for a twentieth
            of expected_batch_size, or the noise multiplier where that is more.
    """

    __pydantic_config__ = FORBID_EXTRA

    quantile: Annotated[float, Gt(0), Lt(1)] = 0.5
    rate: Annotated[float, Gt(0), Le(1)] = 0.2
    lowest: Positive = 0.01
    highest: Positive = 100.0
    count_noise: Positive | None = None

    def __post_init__(self) -> None:
        """Bounds of the bound must rise."""
        if self.lowest >= self.highest:
            raise ValueError(f"lowest = {self.lowest:g} must be below highest = {self.highest:g}")


@dataclass(frozen=True, kw_only=True)
class PrivacyConfig:
    """The privacy promise and the mechanism that keeps it.

    Attributes:
        unit: whose contribution is bounded.
        population: N, a public constant, never counted from the data.
        delta: at most 1 / (10 N).
        target_epsilon: noise is solved for; exactly one of this and noise_multiplier.
        noise_multiplier: standard deviation of the noise over max_grad_norm; where more than the
            gradients is released (clipping = adaptive), that of one release worth all.
        max_grad_norm: bound on one unit's gradient, over all layers.
        max_sequences: of one person in one step, drawn afresh; a person's gradients are added up
            before they are clipped, so that this bounds work, not privacy.
        clipping: one bound, one a layer, or one that follows a quantile of the norms.
        layer_max_grad_norms: per_layer: layer -> bound; max_grad_norm in equal shares if empty.
        adaptive: adaptive: how the bound moves.
        insecure_seed: repeatable noise for tests and benchmarks; such a model is never registered.
        null_canaries: parameters beside the model, which none of its outputs depends on, that
            measure noise, clipping, sampling and steps of the run; 0 for none.
    """

    __pydantic_config__ = FORBID_EXTRA

    unit: Literal["record", "person"] = "person"
    population: Count
    delta: Annotated[float, Gt(0), Lt(1)]
    target_epsilon: Positive | None = None
    noise_multiplier: Positive | None = None
    max_grad_norm: Positive = 1.0
    max_sequences: Count = 16
    clipping: Literal["flat", "per_layer", "adaptive"] = "flat"
    layer_max_grad_norms: dict[str, Positive] = field(default_factory=dict)
    adaptive: AdaptiveConfig = field(default_factory=AdaptiveConfig)
    insecure_seed: Annotated[int, Ge(0)] | None = None
    null_canaries: Annotated[int, Ge(0), Le(1_000_000)] = 1000

    def __post_init__(self) -> None:
        """Refuse a promise that means nothing."""
        if 0 < self.null_canaries < FEWEST_CANARIES:
            raise ValueError(
                f"null_canaries = {self.null_canaries} must be 0 or at least {FEWEST_CANARIES}: "
                "fewer measure nothing"
            )
        if (self.target_epsilon is None) == (self.noise_multiplier is None):
            raise ValueError("state exactly one of target_epsilon and noise_multiplier")
        if self.layer_max_grad_norms and self.clipping != "per_layer":
            raise ValueError(
                f"layer_max_grad_norms is for clipping per_layer, not for {self.clipping}"
            )
        low, high = self.adaptive.lowest, self.adaptive.highest
        if self.clipping == "adaptive" and not low <= self.max_grad_norm <= high:
            raise ValueError(
                f"max_grad_norm = {self.max_grad_norm:g} must be from adaptive.lowest = {low:g} to "
                f"adaptive.highest = {high:g}"
            )
        if self.delta > 1 / (10 * self.population):
            raise ValueError(
                f"delta = {self.delta:g} is above 1 / (10 population) = "
                f"{1 / (10 * self.population):.3g}"
            )


@dataclass(frozen=True, kw_only=True)
class PrivacySpent:
    """What a trained model cost the people in its training set.

    Attributes:
        epsilon: upper bound at delta.
        delta: as promised.
        unit: whose contribution is bounded.
        adjacency: what two neighbouring data sets are.
        sampling: how each step chose its people.
        population: N, the public constant.
        sample_rate: inclusion probability a step.
        steps: released optimizer steps.
        noise_multiplier: standard deviation of the noise over max_grad_norm.
        max_grad_norm: bound on one unit's gradient.
        accountant: what composed the steps.
        accountant_version: package and version of the accountant.
        noise_source: where noise and sampling came from.
        clipping: flat, per_layer or adaptive; noise_multiplier then covers the adaptive count too.
        mitigation: what was done for groups; noise_multiplier covers what it counted.
        counts_epsilon: the part of epsilon that counts beside the gradients cost.
        training_epsilon: of the steps alone; None where nobody worked it out.
        trainings: private trainings of the same population so far, this one included.
        epsilon_together: of all of them, at delta; None where nobody kept count.
    """

    epsilon: float
    delta: float
    unit: str
    adjacency: str
    sampling: str
    population: int
    sample_rate: float
    steps: int
    noise_multiplier: float
    max_grad_norm: float
    accountant: str
    accountant_version: str
    noise_source: str
    clipping: str = "flat"
    mitigation: str = "none"
    counts_epsilon: float = 0.0
    training_epsilon: float | None = None
    trainings: int = 1
    epsilon_together: float | None = None
