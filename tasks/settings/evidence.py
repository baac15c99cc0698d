"""How the evidence about a model is made, and the bars that it must clear."""

import re
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen

from rnn.config import FORBID_EXTRA, Count, Positive, Probability
from tasks.settings.bars import FigureBar

# Fewer coins prove nothing.
FEWEST_SECRETS = 20
EXPLAIN_METHODS = (
    "integrated_gradients", "gradient_shap", "occlusion", "shapley_sampling", "kernel_shap",
    "two_step",
)  # fmt: skip
# What `explain` is where a target is a sequence itself: each pass of the network costs more, and
# one number of many steps and symbols is explained. A recipe may state otherwise.
EXPLAIN_SEQUENCES = {
    "people": 150, "quality_people": 32, "orders": 6, "max_players": 20, "compare": ("occlusion",),
}  # fmt: skip
_DEEP_LIFT = (
    "DeepLIFT's rules do not reach into a recurrent cell, and what comes out is gradient times "
    "input under another name; integrated_gradients is complete on recurrent models"
)
REFUSED_METHODS = dict.fromkeys(("deep_lift", "deeplift", "deep_lift_shap"), _DEEP_LIFT)


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """The baseline beside the model, and the intervals of predictions and of all figures.

    Attributes:
        baseline: beside the model; null: boosting, or the first of the target's kind.
        interval: share of people whose number shall lie in the interval of its prediction, for
            regressions; null: no intervals, and nobody is set aside for their width.
        bootstraps: resamples of a figure.
        confidence: of the figures' intervals.
        seed: of the resampling.
        examples: held-out rows that are shown beside what the model says of them, where targets
            are sequences themselves.
        publish_examples: show them in the published report too; for data about things alone.
    """

    __pydantic_config__ = FORBID_EXTRA

    examples: Annotated[int, Ge(0), Le(20)] = 3
    publish_examples: bool = False
    baseline: Annotated[str, MinLen(1)] | None = None
    interval: Annotated[float, Ge(0.5), Lt(1)] | None = 0.9
    bootstraps: Annotated[int, Ge(100), Le(100_000)] = 1000
    confidence: Annotated[float, Gt(0.5), Lt(1)] = 0.95
    seed: Annotated[int, Ge(0)] = 0


@dataclass(frozen=True, kw_only=True)
class SwapGroup:
    """Terms of a text and their counterparts: written here, or in a file of the user's.

    Attributes:
        file: YAML or CSV with such groups, or the name of one under tasks/evidence/swaps/; then
            only `where` may stand beside it.
        name: of the group.
        pairs: a term and its counterpart, whole words; each is swapped for the other.
        sides: what the first and the second terms have in common.
        where: anywhere in the text, or its first word alone.
    """

    __pydantic_config__ = FORBID_EXTRA

    file: str | None = None
    name: str = ""
    pairs: tuple[tuple[str, str], ...] = ()
    sides: tuple[str, str] = ("first", "second")
    where: Literal["anywhere", "first_word"] | None = None

    def __post_init__(self) -> None:
        """A file or pairs; a swap changes something."""
        if self.file is not None:
            if self.name or self.pairs:
                raise ValueError(f"file = {self.file!r} stands beside name or pairs: use one")
            return
        if not self.name.strip() or not self.pairs:
            raise ValueError("a group of swaps needs a file, or a name and pairs")
        for pair in self.pairs:
            first, second = (" ".join(term.split()).casefold() for term in pair)
            if not first or not second or first == second:
                raise ValueError(
                    f"{self.name}: pair {list(pair)} must be two terms that are not the same"
                )


@dataclass(frozen=True, kw_only=True)
class ReleaseConfig:
    """What is published about held-out people.

    Attributes:
        mode: noised: what is published of a binary target is made from one histogram with noise;
            suppressed: exact figures, small groups hidden, which promises no epsilon.
        epsilon: of a held-out person, all that is released noised together; null: training's.
        delta: of the same; null: training's.
        threshold_share: share of epsilon for the threshold, where an approval_rate asks for one.
        decision_share: what decisions take of the release, the rest is for scores: decisions
            carry the ratios between groups, scores AUC and calibration.
        score_bins: of the scores; more bins, more noise in their sums.
        intersections: crossings of sensitive features to count beside the single ones; each
            adds noise to all.
        max_rows: of one person that count; the others are left out.
        insecure_seed: repeatable noise, for tests; null: training's. Never registered.
    """

    __pydantic_config__ = FORBID_EXTRA

    mode: Literal["noised", "suppressed"] = "noised"
    epsilon: Positive | None = None
    delta: Annotated[float, Gt(0), Lt(1)] | None = None
    threshold_share: Annotated[float, Gt(0), Lt(1)] = 0.1
    decision_share: Annotated[float, Gt(0), Lt(1)] = 0.6
    score_bins: Annotated[int, Ge(2), Le(100)] = 10
    intersections: tuple[Annotated[tuple[str, ...], MinLen(2)], ...] = ()
    max_rows: Count = 1
    insecure_seed: Annotated[int, Ge(0)] | None = None

    def __post_init__(self) -> None:
        """A crossing is of distinct features, once."""
        crossings = [frozenset(names) for names in self.intersections]
        for names, crossing in zip(self.intersections, crossings, strict=True):
            if len(crossing) < len(names) or crossings.count(crossing) > 1:
                raise ValueError(f"intersections: {list(names)} names the same thing twice")


@dataclass(frozen=True, kw_only=True)
class AuditConfig:
    """What is compared between groups, and what is too small to show."""

    __pydantic_config__ = FORBID_EXTRA

    min_people: Count = 30
    min_events: Count = 10
    references: dict[str, str] = field(default_factory=dict)
    intersections: Annotated[int, Ge(1), Le(3)] = 2
    control: tuple[str, ...] = ()
    sweep: tuple[Annotated[float, Gt(0), Lt(1)], ...] = (
        0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9,
    )  # fmt: skip
    bootstraps: Annotated[int, Ge(100), Le(100_000)] = 2000
    confidence: Annotated[float, Gt(0.5), Lt(1)] = 0.95
    seed: Annotated[int, Ge(0)] = 0
    release: ReleaseConfig = field(default_factory=ReleaseConfig)
    # Of texts only. Plan writes out what a file holds, so that its edits are noticed.
    swaps: tuple[SwapGroup, ...] = (
        SwapGroup(file="pronouns"),
        SwapGroup(file="given_names"),
    )
    # Names under tasks/evidence/profiles/, or YAML files of the user's. Read by plan alone.
    profiles: tuple[Annotated[str, MinLen(1)], ...] = (
        "four_fifths", "nyc_local_law_144", "eu_ai_act_annex_iv", "nist_ai_rmf_measure_2_11",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ExplainConfig:
    """How attributions are made."""

    __pydantic_config__ = FORBID_EXTRA

    method: str = "shapley_sampling"
    # Methods whose agreement with `method` is measured, on `quality_people`.
    compare: tuple[str, ...] = ("integrated_gradients", "gradient_shap", "occlusion")
    n_steps: Annotated[int, Ge(2), Le(1000)] = 20
    # Points of a person's path at most, where n_steps miss the change of the output.
    max_steps: Annotated[int, Ge(2), Le(100_000)] = 2560
    internal_batch_size: Count = 4096
    people: Count = 2000
    quality_people: Count = 100
    # Steps that occlusion takes away together.
    window: Count = 1
    # Shapley values: more cells than these share players; orders of the players, with reverses.
    max_players: Annotated[int, Ge(1), Le(10_000)] = 60
    orders: Annotated[int, Ge(2), Le(10_000)] = 24
    local_people: Annotated[int, Ge(0), Le(50)] = 6
    seed: Annotated[int, Ge(0)] = 0
    # Shares of attributions by group; the smallest p-value is 1 over one more than these.
    permutations: Annotated[int, Ge(99), Le(100_000)] = 2000
    probe_shuffles: Annotated[int, Ge(1), Le(200)] = 9
    # Unfavourable decisions to give reasons for at most; 0: none.
    reason_people: Annotated[int, Ge(0)] = 2000
    # Reasons are stable if each other way of asking finds at least this share of them again.
    reason_stability: Probability = 0.75
    # Folder with another private model of the same recipe, for the stability of reasons.
    second_model: Annotated[str, MinLen(1)] | None = None

    def __post_init__(self) -> None:
        """Methods that there are, and that mean something for a recurrent model."""
        for field_, name in (("method", self.method), *(("compare", n) for n in self.compare)):
            if name in REFUSED_METHODS:
                raise ValueError(f"{field_} = {name!r}: {REFUSED_METHODS[name]}")
            if name not in EXPLAIN_METHODS:
                raise ValueError(f"{field_} = {name!r} must be one of {', '.join(EXPLAIN_METHODS)}")
        if len(set(self.compare)) < len(self.compare) or self.method in self.compare:
            raise ValueError(f"compare = {list(self.compare)} names a method twice")
        if self.max_steps < self.n_steps:
            raise ValueError(
                f"max_steps = {self.max_steps} must not be below n_steps = {self.n_steps}"
            )


@dataclass(frozen=True, kw_only=True)
class AttackRunConfig:
    """The attack run: the recipe's training on people who do not exist, attacked and discarded.

    Attributes:
        canaries: invented people who are there or not by a coin each; 0: no attack run.
        bystanders: invented people who are there.
        longest: steps of an invented sequence at most.
        simulations: of an ideal attack, beside which the bound is shown.
    """

    __pydantic_config__ = FORBID_EXTRA

    canaries: Annotated[int, Ge(0), Le(20_000)] = 1000
    bystanders: Annotated[int, Ge(0), Le(20_000)] = 500
    longest: Annotated[int, Ge(1), Le(1000)] = 8
    simulations: Annotated[int, Ge(1), Le(1000)] = 25


@dataclass(frozen=True, kw_only=True)
class SecretsConfig:
    """Secrets in invented text, for recipes that predict the next token; the run is discarded.

    Attributes:
        count: random secrets, each put in or not by a coin; 0: no such run.
        slots: tokens of a secret that are random, one of ten each.
        candidates: further secrets that are never put in.
        bystanders: invented texts beside them.
    """

    __pydantic_config__ = FORBID_EXTRA

    count: Annotated[int, Ge(0), Le(20_000)] = 200
    slots: Annotated[int, Ge(1), Le(30)] = 6
    candidates: Annotated[int, Ge(10), Le(100_000)] = 1000
    bystanders: Annotated[int, Ge(0), Le(100_000)] = 800

    def __post_init__(self) -> None:
        """There are so many secrets."""
        if 0 < self.count < FEWEST_SECRETS:
            raise ValueError(f"secrets.count = {self.count} must be 0 or at least {FEWEST_SECRETS}")


@dataclass(frozen=True, kw_only=True)
class AttackConfig:
    """How hard membership is guessed.

    Attributes:
        false_positive_rates: at which the share of found members is read.
        references: models without privacy, each trained on a random half of all people, that
            tell how hard a person is to predict; 0: plain losses alone.
        reference_steps: of each one's training.
        variant: online also uses the references that were trained on the person.
        gamma: by how much a person's likelihood ratio must exceed that of others.
        shuffles: of the group labels, behind the test of differences between groups.
        run: the attack run.
        secrets: in invented text, where the next token is predicted.
        confidence: of the intervals.
        seed: of all of it.
    """

    __pydantic_config__ = FORBID_EXTRA

    false_positive_rates: tuple[Annotated[float, Gt(0), Lt(1)], ...] = (0.001, 0.01, 0.1)
    references: Annotated[int, Ge(0), Le(64)] = 4
    reference_steps: Count = 900
    variant: Literal["offline", "online"] = "online"
    gamma: Annotated[float, Ge(1)] = 1.0
    shuffles: Annotated[int, Ge(99), Le(100_000)] = 199
    run: AttackRunConfig = field(default_factory=AttackRunConfig)
    secrets: SecretsConfig = field(default_factory=SecretsConfig)
    confidence: Annotated[float, Gt(0.5), Lt(1)] = 0.95
    seed: Annotated[int, Ge(0)] = 0

    def __post_init__(self) -> None:
        """References come in pairs, of opposite halves."""
        if self.references % 2:
            raise ValueError(
                f"references = {self.references} must be even: each pair shares one halving of "
                "the people"
            )


@dataclass(frozen=True, kw_only=True)
class GateConfig:
    """Bars that were set before training; `figures` has those of any published figure."""

    __pydantic_config__ = FORBID_EXTRA

    # None where the recipe promises no privacy, and nowhere else.
    max_epsilon: Positive | None = None
    min_auc: Probability | None = None
    min_accuracy: Probability | None = None
    min_group_ratio: Probability | None = 0.8
    figures: dict[Annotated[str, MinLen(1)], FigureBar] = field(default_factory=dict)
    on_fail: Literal["exit_1", "exit_0"] = "exit_0"


@dataclass(frozen=True, kw_only=True)
class OverrideConfig:
    """A person answers for a model that did not pass.

    Attributes:
        approver: first and last name, or an e-mail address.
        reason: at least 20 characters.
        model: first 12 hex digits of the one model that this speaks of, as the gate prints them.
    """

    __pydantic_config__ = FORBID_EXTRA

    approver: str
    reason: str
    model: str

    def __post_init__(self) -> None:
        """A name, words, and one model."""
        words = re.findall(r"[^\W\d_][^\s@]*", self.approver)
        mail = re.fullmatch(r"[^\s@]+@[^\s@]+\.[^\s@]+", self.approver.strip())
        if (len(words) < 2 and not mail) or len(self.approver) > 200:
            raise ValueError(
                f"approver = {self.approver!r}: a first and last name, or an e-mail address, at "
                "most 200 characters"
            )
        if not 20 <= len(" ".join(self.reason.split())) <= 2000:
            raise ValueError("reason must be written out: from 20 to 2,000 characters")
        if not re.fullmatch(r"[0-9a-f]{12}", self.model):
            raise ValueError(
                f"model = {self.model!r}: the 12 hex digits of the model that the gate prints"
            )


@dataclass(frozen=True, kw_only=True)
class OverridePlan:
    """plan/override.json, for the gate alone."""

    __pydantic_config__ = FORBID_EXTRA

    override: OverrideConfig | None = None
