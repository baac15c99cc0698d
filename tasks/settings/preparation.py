"""What a recipe draws from training people before training, and what that costs: all in advance."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, Literal

from rnn.config import PrivacyConfig
from rnn.privacy.event import Event
from tasks.settings.data import DataConfig
from tasks.settings.features import ColumnFeature, TextLayout, WideFeature
from tasks.settings.private import PrivateBounds, PrivateCounts, PrivateMean, PrivateVocabulary

Feature = WideFeature | ColumnFeature
Settings = PrivateBounds | PrivateVocabulary | PrivateMean | PrivateCounts
Kind = Literal["bounds", "values", "alphabet", "tokens", "missing", "counts"]
_WORDS = {
    "bounds": "bounds of {}",
    "values": "values of {}",
    "alphabet": "alphabet of {}",
    "tokens": "vocabulary of {}",
    "missing": "mean of {}, for missing cells",
    "counts": "people by {}",
}
# Of privacy.delta, for each vocabulary whose settings name none.
_DELTA_SHARE = 0.01


@dataclass(frozen=True)
class Drawn:
    """One thing that is drawn; two readings of the same columns share it if they ask alike.

    Attributes:
        kind: of the release.
        name: of the feature, as reports call it.
        field: place in the recipe.
        columns: whose cells.
        settings: of the release.
        static: of the person, not of the sequence.
        within: bounds of a mean, public or to be drawn.
    """

    kind: Kind
    name: str
    field: str
    columns: tuple[str, ...]
    settings: Settings
    static: bool = False
    within: tuple[float, float] | PrivateBounds | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """What makes it the same release."""
        return (self.kind, self.columns, self.static, self.settings, self.within)

    def as_json(self) -> dict[str, Any]:
        """Return the question as JSON values; what the feature is called is no part of it."""
        within = asdict(self.within) if is_dataclass(self.within) else self.within
        extra = {} if within is None else {"within": within}
        return {
            "kind": self.kind,
            "columns": list(self.columns),
            "static": self.static,
            "settings": asdict(self.settings),
            **extra,
        }

    def event(self, unit: str, delta: float) -> Event:
        """Return what it costs.

        Args:
            unit: whose contribution is bounded.
            delta: of the whole recipe.
        """
        epsilon, count, own = self.settings.epsilon, 1, 0.0
        if isinstance(self.settings, PrivateBounds):
            count = (self.settings.low is None) + (self.settings.high is None)
        elif isinstance(self.settings, PrivateMean):
            count = 2
        elif isinstance(self.settings, PrivateVocabulary) and not self.settings.candidates:
            own = self.settings.delta or _DELTA_SHARE * delta
        return Event(
            released=_WORDS[self.kind].format(self.name),
            people="training",
            mechanism="stated",
            epsilon=epsilon / count,
            delta=own,
            count=count,
            unit=unit,
        )


def _columns(feature: Feature) -> tuple[str, ...]:
    """Where a feature's cells stand."""
    return feature.columns if isinstance(feature, WideFeature) else (feature.column,)


def of_feature(feature: Feature, field: str, static: bool) -> Iterator[Drawn]:
    """Yield what one feature asks for."""
    where = f"{field}.{feature.name}"
    if feature.private_bounds is not None:
        yield Drawn(
            "bounds", feature.name, where, _columns(feature), feature.private_bounds, static
        )
    if feature.private_values is not None:
        yield Drawn(
            "values", feature.name, where, _columns(feature), feature.private_values, static
        )
    if feature.private_missing is not None:
        within = feature.bounds or feature.private_bounds
        columns = _columns(feature)
        yield Drawn(
            "missing", feature.name, where, columns, feature.private_missing, static, within
        )


def drawn_of(data: DataConfig) -> tuple[Drawn, ...]:
    """Return all that a recipe draws from training people, each thing once, in order."""
    layout, found = data.sequence, []
    if isinstance(layout, TextLayout):
        if layout.private_alphabet is not None:
            name, field = " and ".join(layout.columns), "data.sequence"
            found.append(Drawn("alphabet", name, field, layout.columns, layout.private_alphabet))
        if layout.vocabulary is not None and layout.vocabulary.private is not None:
            name, field = " and ".join(layout.columns), "data.sequence.vocabulary"
            found.append(Drawn("tokens", name, field, layout.columns, layout.vocabulary.private))
    else:
        for feature in layout.features:
            found += of_feature(feature, "data.sequence.features", False)
    for feature in data.static:
        found += of_feature(feature, "data.static", True)
    if data.private_counts is not None:
        name = data.private_counts.feature
        found.append(Drawn("counts", name, "data.private_counts", (), data.private_counts, True))
    once: dict[tuple[object, ...], Drawn] = {}
    for drawn in found:
        once.setdefault(drawn.key, drawn)
    return tuple(once.values())


def preparation_events(data: DataConfig, privacy: PrivacyConfig) -> tuple[Event, ...]:
    """Return what private preparation will release about training people, before it does.

    Args:
        data: the recipe's data block.
        privacy: whose unit, and whose delta is shared out where no other is stated.

    Raises:
        ValueError: the deltas of vocabularies leave nothing of privacy.delta.
    """
    events = tuple(drawn.event(privacy.unit, privacy.delta) for drawn in drawn_of(data))
    used = sum(event.delta * event.count for event in events)
    if used >= privacy.delta:
        raise ValueError(
            f"private vocabularies use a delta of {used:g} in all, which must be below "
            f"privacy.delta = {privacy.delta:g}"
        )
    return events


@dataclass(frozen=True, kw_only=True)
class PreparationPlan:
    """plan/preparation.json, for prepare: the price of each release, in the order of `drawn_of`.

    Constant for a recipe that draws nothing: another privacy block does not prepare again.
    """

    unit: Literal["record", "person"] = "person"
    delta: float = 0.0
    events: tuple[Event, ...] = ()


def preparation_plan(data: DataConfig, privacy: PrivacyConfig | None) -> PreparationPlan:
    """Return what prepare needs to know of a recipe's privacy; None where it promises none."""
    if privacy is None:
        return PreparationPlan()
    events = preparation_events(data, privacy)
    if not events:
        return PreparationPlan()
    return PreparationPlan(unit=privacy.unit, delta=privacy.delta, events=events)
