"""What of a kind's targets is drawn: figures by step, and single rows beside what was said of them.

A kind that has something to draw is one class here or in a file of its own, and one line in DRAWN;
what it says as text is shown for every kind that says text.

n rows asked for, H steps to come, S seasons.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from rnn.heads.next_token import inside, token_losses
from rnn.model import SequenceModel
from tasks.artifacts import Prepared
from tasks.kinds.answers.forecast import forecasts_of
from tasks.kinds.base import Array, Judged, Parts, Rows, batches, shares
from tasks.kinds.forecast import histories, repeated, wanted_of

Json = dict[str, Any]
# So many horizons of what went before stand beside an example.
BEFORE = 2
# Positions of a text that are taken together, up to each of these.
POSITIONS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Curve:
    """One picture: figures by step.

    Attributes:
        name: key, also in ids of the page.
        title: above it.
        axis: what a step is.
        value_axis: what is measured.
        lines: key of each line and what it is called, the model's first.
        mark: value that the model aims at; None for none.
        steps: what each step is called; empty for 1, 2, 3 and so on.
    """

    name: str
    title: str
    axis: str
    value_axis: str
    lines: tuple[tuple[str, str], ...]
    mark: float | None = None
    steps: tuple[str, ...] = ()


class Drawing(Protocol):
    """What a kind draws."""

    def curves(self, schema: Mapping[str, Any]) -> tuple[Curve, ...]:
        """Return the pictures."""

    def sums(self, model: SequenceModel, prepared: Prepared, rows: Rows) -> dict[str, Array]:
        """Return statistics that add up over rows, by name float64 [n, H]."""

    def lines(self, sums: Mapping[str, Array]) -> dict[str, Array]:
        """Return every line of every picture, float64 [..., H], from totals."""

    def of_another(self, judged: Judged) -> dict[str, Array]:
        """Return what of another's statistics makes a line of its own; nothing if none does."""

    def examples(self, model: SequenceModel, prepared: Prepared, rows: Rows) -> list[Json]:
        """Return single rows with what was said of them; none where a kind has none to show."""


@dataclass(frozen=True)
class Forecasts:
    """Errors and coverage by step to come, and some windows."""

    def curves(self, schema: Mapping[str, Any]) -> tuple[Curve, ...]:
        """Return the error beside the seasons repeated, and the share inside the interval."""
        levels, axis = (
            schema["target"]["quantiles"],
            f"steps of {schema['series']['every']} to come",
        )
        seasons = tuple(
            (f"season_{season}", f"{season} steps before, repeated")
            for season in schema["series"]["seasons"]
        )
        return (
            Curve("error", "Mean absolute error by step", axis, "mean absolute error",
                  (("error", "this model"), *seasons)),
            Curve("coverage", "Share inside the outer quantiles by step", axis, "share",
                  (("coverage", "this model"),), float(levels[-1] - levels[0])),
        )  # fmt: skip

    def sums(self, model: SequenceModel, prepared: Prepared, rows: Rows) -> dict[str, Array]:
        """Return errors, hits and what is known by step."""
        target, wanted = prepared.schema["target"], wanted_of(prepared, rows)
        (low, high), levels = target["bounds"], list(target["quantiles"])
        half, known = (high - low) / 2, np.isfinite(wanted)
        made = np.clip(forecasts_of(model, prepared.sequences, rows, prepared.schema), -1.0, 1.0)
        inside = (made[..., 0] <= wanted) & (wanted <= made[..., -1])
        history = histories(prepared, rows)
        found = {
            "known": known.astype(np.float64),
            "error": np.abs(made[..., levels.index(0.5)] - wanted),
            "coverage": inside.astype(np.float64),
        }
        for season in prepared.schema["series"]["seasons"]:
            naive = repeated(history, season, wanted.shape[1])
            found[f"season_{season}"] = np.abs(naive - wanted)
        scale = {"known": 1.0, "coverage": 1.0}
        return {
            name: np.where(known, scale.get(name, half) * values, 0.0)
            for name, values in found.items()
        }

    def lines(self, sums: Mapping[str, Array]) -> dict[str, Array]:
        """Return means over the rows that know a step."""
        return {k: shares(v, sums["known"]) for k, v in sums.items() if k != "known"}

    def of_another(self, judged: Judged) -> dict[str, Array]:
        """Return its errors by step."""
        return {"error": judged.sums["absolute"], "known": judged.sums["known"]}

    def examples(self, model: SequenceModel, prepared: Prepared, rows: Rows) -> list[Json]:
        """Return what went before, what came, and the quantiles that were forecast."""
        target = prepared.schema["target"]
        (low, high), levels = target["bounds"], list(target["quantiles"])
        made = np.clip(forecasts_of(model, prepared.sequences, rows, prepared.schema), -1.0, 1.0)
        wanted = wanted_of(prepared, rows)
        history = histories(prepared, rows)[:, -BEFORE * wanted.shape[1] :]

        def units(values: Array) -> list[float | None]:
            scaled = low + (values + 1) / 2 * (high - low)
            return [round(float(v), 6) if np.isfinite(v) else None for v in scaled]

        return [
            {
                "before": units(history[index]),
                "came": units(wanted[index]),
                "low": units(made[index, :, 0]),
                "middle": units(made[index, :, levels.index(0.5)]),
                "high": units(made[index, :, -1]),
            }
            for index in range(len(rows))
        ]


@dataclass(frozen=True)
class NextTokens:
    """Cross-entropy by position: what a longer beginning is worth."""

    def curves(self, schema: Mapping[str, Any]) -> tuple[Curve, ...]:
        """Return bits a token by its position."""
        steps = tuple(map(str, POSITIONS))
        return (
            Curve("bits", "Cross-entropy by position", "position of the token, up to",
                  "bits a token", (("bits", "this model"),), None, steps),
        )  # fmt: skip

    @torch.no_grad()
    def sums(self, model: SequenceModel, prepared: Prepared, rows: Rows) -> dict[str, Array]:
        """Return bits and tokens of each text by position."""
        parts = Parts(len(rows))
        for places, batch in batches(prepared.sequences, rows, model.shape.output_size):
            logits = model.outputs(batch).double()
            real = inside(batch.lengths, batch.targets.shape[1])
            bits = (token_losses(logits, batch.targets) * real).numpy() / np.log(2)
            positions = np.arange(1, bits.shape[1] + 1)
            # Which of POSITIONS each token belongs to; the last takes all beyond it.
            bins = np.minimum(np.searchsorted(POSITIONS, positions), len(POSITIONS) - 1)
            member = (bins[:, None] == np.arange(len(POSITIONS))).astype(np.float64)
            parts.put(places, bits=bits @ member, known=real.numpy().astype(np.float64) @ member)
        return parts.sums("bits", "known")

    def lines(self, sums: Mapping[str, Array]) -> dict[str, Array]:
        """Return means over the tokens at a position."""
        return {"bits": shares(sums["bits"], sums["known"])}

    def of_another(self, judged: Judged) -> dict[str, Array]:
        """Return nothing: totals of a text do not tell of its positions."""
        return {}

    def examples(self, model: SequenceModel, prepared: Prepared, rows: Rows) -> list[Json]:
        """Return none: a text is its own target."""
        return []


DRAWN: dict[str, Drawing] = {"forecast": Forecasts(), "next_token": NextTokens()}
