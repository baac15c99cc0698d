"""Lines of text through a trained seq2seq: what `python -m tasks.generate` does with its input."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from tasks import artifacts
from tasks.kinds.answers.seq2seq import decoded, texts_of
from tasks.params import UserError
from tasks.readers.messages import SLOT, masked, tidy, unmarked
from tasks.recipe import DataConfig, ReaderSource, TextLayout
from tasks.serving.answers import sequences_of
from tasks.table.encode import encode
from tasks.table.released import read_data

_SLOT = re.compile(rf"{SLOT}\d+")


@dataclass(frozen=True)
class Line:
    """A line as a recipe's reader would have written it, and what to put back.

    Attributes:
        text: to translate.
        places: word -> placeholder of the line that it stands for.
        capital: the line begins with a capital letter.
    """

    text: str
    places: dict[str, str] = field(default_factory=dict)
    capital: bool = False

    def restored(self, said: str) -> str:
        """Return what was said with the placeholders of the line, and its capital letter.

        Example:
            >>> message("Lost %(name)s").restored("slot1 est perdu")
            '%(name)s est perdu'
        """
        text = _SLOT.sub(lambda found: self.places.get(found[0], found[0]), said)
        return text[:1].upper() + text[1:] if self.capital else text


def message(line: str) -> Line:
    """Return a program's message as the reader `messages` writes it."""
    names: dict[str, str] = {}
    text = tidy(unmarked(masked(line, names)))
    return Line(text, {slot: place for place, slot in names.items()}, text[:1].isupper())


READ: dict[str, Callable[[str], Line]] = {"messages": message}


def _rows(data: DataConfig, lines: Sequence[str]) -> pl.DataFrame:
    """Lines as rows of the recipe's table."""
    if not isinstance(data.sequence, TextLayout) or len(data.sequence.columns) > 1:
        raise UserError("data.sequence: lines of text need layout text with one column")
    if data.static or any(feature.feed for feature in data.sensitive):
        raise UserError("data.static: the model reads more than lines of text")
    columns = {data.sequence.columns[0]: list(lines)}
    if data.person is not None:
        columns[data.person] = [f"line-{i}" for i in range(len(lines))]
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))


def translated(recipe: str, lines: Sequence[str], width: int = 4) -> list[str]:
    """Return what a recipe's model makes of lines of text; an empty line stays empty.

    Args:
        recipe: name under data/, prepared and trained, of kind seq2seq.
        lines: without line ends.
        width: of the beam.

    Raises:
        UserError: the recipe reads no lines of text, or its target is no text.
    """
    data = read_data(recipe)
    if data.target.kind != "seq2seq":
        raise UserError(f"recipes.{recipe}: {data.target.kind} translates nothing; seq2seq does")
    source = data.source
    read = READ.get(source.reader, Line) if isinstance(source, ReaderSource) else Line
    asked = [(i, read(line)) for i, line in enumerate(lines) if line.strip()]
    out = [""] * len(lines)
    if not asked:
        return out
    encoded = encode(_rows(data, [line.text for _, line in asked]), data)
    model = artifacts.read_model(artifacts.folder(recipe, "model"))
    schema = artifacts.read_json(artifacts.folder(recipe, "prepared", "arrays", "schema.json"))
    rows = np.arange(len(asked))
    steps = int(schema["target"]["max_length"])
    said, _ = decoded(model, sequences_of(encoded, data), rows, steps, width)
    for (i, line), text in zip(asked, texts_of(said, schema, ""), strict=True):
        out[i] = line.restored(text)
    return out
