"""What a model from one sequence to another answers: a text, and how likely it finds that.

n people asked for, B a batch.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rnn.batch import PreparedSequences
from rnn.beam import beam
from rnn.model import SequenceModel
from tasks.kinds.base import Array, Parts, Rows, batches
from tasks.settings.tokens import TextTokens, Vocabulary
from tasks.table.tokens import SPECIAL, Codec

# Less than 1 lets a model that is unsure stop too soon.
WIDTH, ALPHA = 4, 1.0

_JOINED = re.compile(r"(?<=\w) ' (?=\w)")
_BEFORE = re.compile(r" ([.,)\]])")
_AFTER = re.compile(r"([(\[]) ")
_QUOTED = re.compile(r'" ([^"]*?) "')


def readable(text: str) -> str:
    """Return a text whose tokens stood apart as it is written.

    Example:
        >>> readable('l \\' arbre " a " ( slot1 , b ) .')
        'l\\'arbre "a" (slot1, b).'
    """
    quoted = _QUOTED.sub(r'"\1"', _JOINED.sub("'", text))
    return " ".join(_AFTER.sub(r"\1", _BEFORE.sub(r"\1", quoted)).split())


def codec_of(target: Mapping[str, Any]) -> Codec:
    """Return how targets become text.

    Args:
        target: block "target" of schema.json.
    """
    listed = Vocabulary(values=tuple(target["vocabulary"][len(SPECIAL) :]))
    return Codec(TextTokens(tokens=target["tokens"], vocabulary=listed), ends=True)


def texts_of(tokens: Sequence[Sequence[int]], schema: Mapping[str, Any], unknown: str) -> list[str]:
    """Return tokens as texts.

    Args:
        tokens: ids of each text.
        schema: with the target's vocabulary.
        unknown: in place of a token that the vocabulary lacks.
    """
    codec = codec_of(schema["target"])
    return [readable(codec.text(row, unknown)) for row in tokens]


def decoded(
    model: SequenceModel, sequences: PreparedSequences, rows: Rows, steps: int, width: int = WIDTH
) -> tuple[list[list[int]], Array]:
    """Return what a model says of some people, and its log-probability, float64 [n].

    Args:
        model: in evaluation mode.
        sequences: targets are not looked at.
        rows: n row numbers.
        steps: tokens at most.
        width: of the beam.
    """
    said: list[list[int]] = [[]] * len(rows)
    parts = Parts(len(rows))
    for places, batch in batches(sequences, rows, 2 * width * model.shape.output_size):
        found = beam(model, batch, steps, width=width, alpha=ALPHA)
        parts.put(places, score=found.log_probabilities)
        for place, tokens in zip(places.tolist(), found.tokens, strict=True):
            said[place] = tokens
    return said, parts["score"]


def answers(
    model: SequenceModel, sequences: PreparedSequences, rows: Rows, schema: Mapping[str, Any]
) -> dict[str, list[Any]]:
    """Return what the model says, as text, and how likely it finds that."""
    said, scores = decoded(model, sequences, rows, int(schema["target"]["max_length"]))
    return {"text": texts_of(said, schema, ""), "log_probability": scores.tolist()}
