"""What happens to the same text when its names or pronouns are those of others.

n texts that contain a term, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks import artifacts, stats
from tasks.evidence.group_thresholds import cuts_of
from tasks.evidence.swap_release import publishable
from tasks.evidence.swap_terms import UNKNOWN, Swapper, read_swaps
from tasks.recipe import AuditConfig, ReleasePlan, SwapGroup, TargetPlan, TextLayout
from tasks.table.released import read_data
from tasks.table.tokens import Codec, codec_of

Json = dict[str, Any]
Array = NDArray[np.float64]

UNKNOWN_ID = 1
# No text is so long.
WHOLE = 1 << 62


@dataclass(frozen=True)
class Changes:
    """What swapping did to n texts.

    Attributes:
        flipped: bool [n], another decision; empty for regression.
        signed: float64 [n] or fewer, from the first side to the second; or, of several classes,
            of the class that was predicted.
        absolute: float64 [n].
    """

    flipped: NDArray[np.bool_]
    signed: Array
    absolute: Array


@dataclass(frozen=True)
class Scored:
    """The held-out texts as the model scored them.

    Attributes:
        texts: as the model reads them.
        rows: int64, row of each text among all prepared people.
        scores: P(event), predictions scaled to -1..1, or [., C].
        task: binary, multiclass or regression.
        threshold: of a binary decision, of everybody or of each text.
        favoured: the event is the favourable outcome.
        scale: what one unit of a score is worth.
    """

    texts: list[str]
    rows: NDArray[np.int64]
    scores: Array
    task: str
    threshold: float | Array = 0.5
    favoured: bool = True
    scale: float = 1.0


def texts_of(tokens: NDArray[np.generic], lengths: NDArray[np.int64], codec: Codec) -> list[str]:
    """Return texts from token ids end to end.

    Args:
        tokens: int [total].
        lengths: int64 [n].
        codec: what each id stands for; an unknown token becomes one letter of no alphabet.
    """
    ends = np.cumsum(lengths).tolist()
    return [
        codec.text(tokens[start:end], UNKNOWN) for start, end in zip([0, *ends], ends, strict=False)
    ]


def changes(before: Scored, index: NDArray[np.int64], after: Array, side: Array) -> Changes:
    """Return what swapping did.

    Args:
        before: all held-out texts.
        index: int64 [n], which of them were swapped.
        after: scores of the swapped texts.
        side: float64 [n]: 1 where the text as it was had first terms, -1 second ones, else 0.
    """
    old = before.scores[index]
    if before.task == "multiclass":
        chosen, each = old.argmax(1), np.arange(len(old))
        signed = after[each, chosen] - old[each, chosen]
        return Changes(chosen != after.argmax(1), signed, np.abs(after - old).sum(1) / 2)
    moved = (after - old) * before.scale
    if before.task == "regression":
        return Changes(np.zeros(0, dtype=bool), (moved * side)[side != 0], np.abs(moved))
    cut = np.broadcast_to(np.asarray(before.threshold), before.scores.shape)[index]
    flipped = (old >= cut) != (after >= cut)
    # From first to second: a text that had second terms moved the other way.
    toward = moved * side * (1 if before.favoured else -1)
    return Changes(flipped, toward[side != 0], np.abs(moved))


def row_of(found: Changes, confidence: float) -> Json:
    """Return the figures of some swapped texts; each text is its own pair."""
    n, flips = len(found.absolute), int(found.flipped.sum())
    return {
        "n": n,
        "suppressed": None,
        "with_a_side": len(found.signed),
        "flips": flips if len(found.flipped) else None,
        "flip_rate": stats.wilson(flips, len(found.flipped), confidence).as_dict(),
        "mean_change": stats.mean(found.signed, confidence).as_dict(),
        "mean_absolute_change": stats.mean(found.absolute, confidence).as_dict(),
    }


class Scorer:
    """Scores texts with the private model, and makes a row of each way to swap."""

    def __init__(self, recipe: str, held: Scored, prepared: Any, layout: TextLayout, level: float):
        """Read the model, once.

        Args:
            recipe: name under data/.
            held: held-out texts.
            prepared: of the recipe.
            layout: its vocabulary and where texts are cut.
            level: confidence of the intervals.
        """
        self.model = artifacts.read_model(artifacts.folder(recipe, "model"))
        self.held, self.prepared, self.layout, self.level = held, prepared, layout, level

    def row(self, groups: tuple[SwapGroup, ...], among: Sequence[int]) -> tuple[Json, list[int]]:
        """Return the figures of one way to swap, and which texts had a term.

        Args:
            groups: to be swapped at once.
            among: numbers of the texts that may have a term.
        """
        swapper, texts = Swapper(groups), self.held.texts
        # Words are whole wherever a text was cut.
        cut = self.layout.max_length if self.layout.tokens == "characters" else WHOLE
        found = {i: swapper.swap(texts[i], cut) for i in among}
        hits = {i: swapped for i, swapped in found.items() if swapped is not None}
        index = np.array(list(hits), dtype=np.int64)
        after = self.score([text for text, _ in hits.values()], self.held.rows[index])
        side = np.array([side for _, side in hits.values()], dtype=np.float64)
        return row_of(changes(self.held, index, after, side), self.level), list(hits)

    def score(self, texts: list[str], rows: NDArray[np.int64]) -> Array:
        """Return the private model's scores of texts, all else of these people unchanged."""
        from rnn.batch import PreparedSequences
        from tasks.evidence.scoring import model_logits, scores_of

        tokens, offsets = codec_of(self.layout).ids(pl.Series(texts, dtype=pl.String))
        people = PreparedSequences(
            sequences=tokens,
            missing=None,
            offsets=offsets,
            static=np.asarray(self.prepared.sequences.static[rows]),
            targets=np.zeros(len(texts), dtype=np.int64),
        )
        return scores_of(
            model_logits(self.model, people, np.arange(len(texts))), self.prepared.schema["task"]
        )


def writable(group: SwapGroup, layout: TextLayout) -> tuple[SwapGroup, list[list[str]]]:
    """Return a group with the pairs that the vocabulary can write, and the others."""
    codec = codec_of(layout)

    def fits(pair: tuple[str, str]) -> bool:
        return UNKNOWN_ID not in codec.ids(pl.Series(list(pair), dtype=pl.String))[0]

    kept = tuple(pair for pair in group.pairs if fits(pair))
    return replace(group, pairs=kept), [list(p) for p in group.pairs if p not in kept]


def tables(scorer: Scorer, groups: Sequence[SwapGroup]) -> Json:
    """Return exact figures by pair, by group and over all."""
    fitting = [writable(group, scorer.layout) for group in groups]
    everyone = list(range(len(scorer.held.texts)))
    overall, hits = scorer.row(tuple(group for group, _ in fitting), everyone)
    rows = []
    for group, others in fitting:
        row, inside = scorer.row((group,), hits)
        pairs = [
            {
                "first": first,
                "second": second,
                **scorer.row((replace(group, pairs=((first, second),)),), inside)[0],
            }
            for first, second in group.pairs
        ]
        rows.append(
            {
                "name": group.name,
                "sides": list(group.sides),
                "where": group.where,
                **row,
                "pairs": pairs,
                "not_in_alphabet": others,
            }
        )
    # Sides of several groups need not be the same people.
    if len({group.sides for group in groups}) > 1 and scorer.held.task != "multiclass":
        overall["mean_change"] = stats.NOTHING.as_dict()
    return {"texts": len(everyone), "overall": overall, "groups": rows}


def held_texts(
    recipe: str, prepared: Any, predictions: pl.DataFrame, wanted: TargetPlan, codec: Codec
) -> Scored:
    """Return the held-out texts and what the private model made of them.

    Args:
        recipe: name under data/.
        prepared: of the recipe.
        predictions: one row a held-out person.
        wanted: target and decision.
        codec: of the token ids.
    """
    rows = predictions["row"].to_numpy().astype(np.int64)
    people, task, target = prepared.sequences, prepared.schema["task"], wanted.target
    starts, ends = people.offsets[rows], people.offsets[rows + 1]
    pieces = [people.sequences[a:b] for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
    tokens = np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int32)
    texts = texts_of(tokens, ends - starts, codec)
    if task == "multiclass":
        columns = [f"score_{k}" for k in range(len(target.classes))]
        return Scored(texts, rows, predictions.select(columns).to_numpy(), task)
    scores = predictions["y_score"].to_numpy().astype(np.float64)
    if task == "regression":
        low, high = target.bounds or (-1.0, 1.0)
        half = (high - low) / 2
        return Scored(texts, rows, (scores - low) / half - 1, task, scale=half)
    path = artifacts.folder(recipe, "predictions", "published", "metrics.json")
    decision = artifacts.read_json(path)["decision"]
    threshold: float | Array = float(decision["threshold"])
    if decision.get("by_group"):
        # The words are swapped, the person's group is not.
        labels = artifacts.read_sensitive_features(recipe)[decision["by_group"]["feature"]]
        threshold = cuts_of(labels.gather(rows), decision["by_group"], float(decision["threshold"]))
    assert wanted.decision is not None
    favoured = target.classes.index(wanted.decision.favourable) == 1
    return Scored(texts, rows, scores, task, threshold, favoured)


def what_changes(task: str, favourable: str | None) -> str:
    """Return the words of what a change is a change of."""
    if task == "multiclass":
        return "the probability of the class that was predicted"
    return f"the probability of {favourable}" if task == "binary" else "the prediction"


def swap_audit(
    recipe: str,
    plan: AuditConfig,
    wanted: TargetPlan,
    predictions: pl.DataFrame,
    favourable: str | None,
) -> tuple[Json | None, Json | None]:
    """Return what swapping terms does, to publish and exact; None for recipes without text.

    Args:
        recipe: name under data/.
        plan: terms, suppression and confidence.
        wanted: target and decision.
        predictions: one row a held-out person.
        favourable: name of the favourable outcome.
    """
    if not plan.swaps:
        return None, None
    data = read_data(recipe)
    if not isinstance(data.sequence, TextLayout):
        return None, None
    prepared = artifacts.read_prepared(recipe)
    held = held_texts(recipe, prepared, predictions, wanted, codec_of(data.sequence))
    scorer = Scorer(recipe, held, prepared, data.sequence, plan.confidence)
    about = {
        "what": what_changes(held.task, favourable),
        "task": held.task,
        "confidence": plan.confidence,
        "min_people": plan.min_people,
        "min_events": plan.min_events,
    }
    exact = {**about, **tables(scorer, read_swaps(plan.swaps))}
    if artifacts.read_section(recipe, "release", ReleasePlan).mode == "noised":
        note = "Exact figures are internal: the noise of this audit does not cover them."
        return {**about, "withheld": note, "groups": []}, exact
    return publishable(exact, plan), exact
