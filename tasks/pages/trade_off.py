"""What the ledger promises against every attack, as a curve, and attacks as points beside it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator

from rnn.privacy.ledger import Event, deltas_of
from tasks.figures import most_found
from tasks.pages.exhibits import Exhibit, Json, exhibit
from tasks.pages.html import interval, percent, power
from tasks.pages.svg import ACCENT, BAD, INK, MUTED, SECOND, draw, plain
from tasks.params import UserError, validate

# The curve is the best of the lines of so many epsilons: an upper bound with any number of them.
_LINES = 120
# No accountant says anything useful beyond.
_LARGEST = 50.0
# Left end of the picture, and the share below which a point stands on its edge.
_LEAST = 1e-3
_MARKS = (("o", INK), ("s", SECOND), ("^", BAD), ("v", BAD), ("x", MUTED), ("+", MUTED))


@dataclass(frozen=True)
class Promise:
    """All that some events promise: delta at many epsilons.

    Attributes:
        epsilon: as stated.
        delta: at which it is stated.
        epsilons: rising from 0.
        deltas: of each; an attack's true positive rate is at most e^epsilon times its false
            positive rate, plus delta, for each pair.
    """

    epsilon: float
    delta: float
    epsilons: tuple[float, ...]
    deltas: tuple[float, ...]

    def most_found(self, false_positive_rate: float) -> float:
        """Return the largest true positive rate of any membership attack.

        Source: Dong, Roth, Su (2022), proposition 2.12: a trade-off curve from its deltas.

        Example:
            >>> Promise(3.0, 0.0, (0.0, 3.0), (0.2, 0.0)).most_found(0.5)
            0.7
        """
        ratio, slack = np.exp(self.epsilons), np.asarray(self.deltas)
        missed = np.maximum(
            1 - slack - ratio * false_positive_rate, (1 - slack - false_positive_rate) / ratio
        )
        return float(min(1.0, 1 - missed.max(initial=0.0)))

    def best_guess(self, prior: float) -> float:
        """Return how often the best guess "in" or "not in" is right, at most.

        Args:
            prior: chance of being in, before anything is seen; above 0, at most a half.

        Example:
            >>> Promise(3.0, 0.0, (0.0, 3.0), (0.2, 0.0)).best_guess(0.5)
            0.6
        """
        wanted = math.log((1 - prior) / prior)
        # Delta falls with epsilon: the one before is too large, never too small.
        before = max(i for i, e in enumerate(self.epsilons) if e <= wanted + 1e-12)
        return 1 - prior + prior * self.deltas[before]


def event_of(values: Json) -> Event:
    """Return a ledger's event from its JSON values, which may say more.

    Raises:
        UserError: it has another shape.
    """
    known = {k: v for k, v in values.items() if k in Event.__dataclass_fields__}
    return validate(Event, known, "model/ledger.json: events")


def promise_of(ledger: Json) -> Promise:
    """Return what a ledger's events promise together.

    Args:
        ledger: model/ledger.json.

    Raises:
        UserError: an event has another shape.
    """
    events = [event_of(event) for event in ledger["events"] if event["people"] == "training"]
    epsilon, delta = ledger["epsilon"], ledger["delta"]
    if not 0 < epsilon <= _LARGEST:
        return Promise(epsilon, delta, (0.0,), (0.0 if epsilon == 0 else 1.0,))
    grid = np.geomspace(0.01, max(1.5 * epsilon, 2.5), _LINES)
    # Where a guess that starts even, and one that starts at one in ten, read the curve.
    epsilons = tuple(sorted({0.0, math.log(9), epsilon, *(float(e) for e in grid)}))
    try:
        return Promise(epsilon, delta, epsilons, tuple(deltas_of(events, epsilons)))
    except ValueError as error:
        raise UserError(f"model/ledger.json: {error}") from None


def points_of(found: Sequence[Json] | None) -> list[Json]:
    """Return an attack's points in one form: rate, value, low, high."""
    return [
        {
            "rate": point["false_positive_rate"],
            "value": point.get("true_positive_rate", point.get("value")),
            "low": point.get("low"),
            "high": point.get("high"),
        }
        for point in found or ()
    ]


def _percent_tick(value: float, _position: int) -> str:
    """A tick of a logarithmic axis."""
    return f"{100 * value:g} %"


def _lines(axes: Axes, promise: Promise) -> None:
    """The promise, what epsilon and delta alone say, and guessing."""
    rates = np.geomspace(_LEAST, 1, 160)
    stated = f"ε {promise.epsilon:.3g} and δ {power(format(promise.delta, 'g'))} alone"
    axes.plot(rates, [promise.most_found(a) for a in rates], "-", color=ACCENT, linewidth=1.8,
              label="the ledger's events")  # fmt: skip
    axes.plot(rates, [most_found(a, promise.epsilon, promise.delta) for a in rates], "--",
              color=SECOND, linewidth=1.3, label=stated)  # fmt: skip
    axes.plot([_LEAST, 1], [_LEAST, 1], ":", color=MUTED, linewidth=1.2, label="guessing")


def _attack(axes: Axes, label: str, points: Sequence[Json], mark: tuple[str, str]) -> None:
    """One attack's points with their intervals."""
    shown = [p for p in points if p["rate"] >= _LEAST and p["value"] is not None]
    sign, colour = mark
    for point in shown:
        if point["low"] is not None and point["high"] is not None:
            ends = [max(point[end], _LEAST) for end in ("low", "high")]
            axes.plot([point["rate"]] * 2, ends, "-", color=colour, linewidth=1)
    axes.plot([p["rate"] for p in shown], [max(p["value"], _LEAST) for p in shown], sign,
              color=colour, markersize=4.5, label=plain(label))  # fmt: skip


def picture(name: str, title: str, promise: Promise, attacks: Mapping[str, Sequence[Json]]) -> str:
    """Return the curve with points under it, both axes logarithmic, as SVG.

    Args:
        name: prefix of ids.
        title: of the figure.
        promise: of the ledger.
        attacks: name to points as from `points_of`.
    """

    def paint(axes: Axes) -> None:
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.grid()
        _lines(axes, promise)
        for number, (label, points) in enumerate(attacks.items()):
            _attack(axes, label, points, _MARKS[number % len(_MARKS)])
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(_percent_tick))
            axis.set_minor_locator(NullLocator())
        axes.set_xlim(_LEAST, 1)
        axes.set_ylim(_LEAST, 1.08)
        axes.set_xlabel("wrongly accused, of those not in the data")
        axes.set_ylabel("found, of those in the data")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.19), ncols=2)

    words = (
        "Solid: the most that any attack can find under the ledger's events. Dashed: under epsilon "
        f"and delta alone. Dotted: guessing. Points: {', '.join(attacks) or 'none'}."
    )
    height = 3.3 + 0.2 * math.ceil(len(attacks) / 2)
    return draw(name, title, words, height, paint)


def trade_off(name: str, promise: Promise, attacks: Mapping[str, Sequence[Json]]) -> Exhibit:
    """Return the picture with its numbers.

    Args:
        name: prefix of ids.
        promise: of the ledger.
        attacks: name to points as they stand in files; one without points is left out.
    """
    points = {label: points_of(found) for label, found in attacks.items() if found}
    title = "What an attacker can reach at most"
    headers = (
        "Wrongly accused, of those not in the data",
        "Found at most, of those in, by the ledger",
        "by ε and δ alone",
        "Found by an attack",
    )

    def row(label: str, rate: float, found: str) -> tuple[str, str, str, str]:
        stated = most_found(rate, promise.epsilon, promise.delta)
        return label, percent(promise.most_found(rate)), percent(stated), found

    rows = [row(percent(a), a, "–") for a in (0.001, 0.01, 0.05, 0.1, 0.25, 0.5)]
    rows += [
        row(f"{percent(p['rate'])}, {label}", p["rate"], interval(p, "percent"))
        for label, some in points.items()
        for p in some
    ]
    note = "No attack on what was published, however clever, lies above the solid line but by luck."
    svg = picture(name, title, promise, points)
    return exhibit(title, note, svg, headers, rows)
