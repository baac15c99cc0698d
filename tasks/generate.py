"""Write texts with a recipe's language model, or other texts of lines.

    python -m tasks.generate RECIPE [--count 5] [--seed 1] [--temperature 0.9] [--top-k 40]
        [--top-p 0.95] [--begin TEXT] [--max-length N] [--as text|music] [--out FILE|FOLDER]

    python -m tasks.generate RECIPE < LINES

A model of music (docs/recipes/chorales.md) writes files of music into a folder, unless --as text
asks for its tokens. The second form is for seq2seq, which makes another text of each line. The same
seed writes the same texts. They come from data/RECIPE/model: they tell no more about its training
people than the model does.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl

from rnn.sampling import Choice, written
from tasks import artifacts
from tasks.kinds.translation import translated
from tasks.music.tokens import is_music
from tasks.music.written import as_music
from tasks.params import UserError, command
from tasks.recipe import DataConfig
from tasks.serving.options import Parser
from tasks.table.encode import codec
from tasks.table.released import read_data
from tasks.table.tokens import UNKNOWN_ID, Codec

Ids = list[list[int]]


def as_text(texts: Ids, known: Codec, out: Path | None) -> None:
    """Print texts one a line, or write them into a file."""
    lines = "".join(" ".join(known.text(text).split()) + "\n" for text in texts)
    if out is None:
        sys.stdout.write(lines)
        return
    with artifacts.replacing_file(out) as draft:
        draft.write_text(lines, encoding="utf-8")


# What a text is turned into, by the word behind --as; another form is one more line.
RENDERERS: dict[str, Callable[[Ids, Codec, Path | None], None]] = {
    "text": as_text,
    "music": as_music,
}


def parsed(argv: list[str]) -> argparse.Namespace:
    """Return the command line's options."""
    parser = Parser("tasks.generate", description="Write texts with a language model.")
    parser.add_argument("recipe")
    parser.add_argument("--count", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--temperature", type=float, default=0.9)
    parser.add_argument("--top-k", type=int)
    parser.add_argument("--top-p", type=float, default=1.0)
    parser.add_argument("--begin", default="")
    parser.add_argument("--max-length", type=int)
    parser.add_argument("--as", dest="form")
    parser.add_argument("--out", type=Path)
    return parser.parse_args(argv)


def begun(data: DataConfig, text: str) -> tuple[int, ...]:
    """Return the ids of the text that every one begins with.

    Raises:
        UserError: the vocabulary lacks some of it.
    """
    if not text.strip():
        return ()
    ids = codec(data).ids(pl.Series([text]))[0][1:-1].tolist()
    if UNKNOWN_ID in ids:
        raise UserError(f"--begin {text!r}: the vocabulary does not have all of it")
    return tuple(ids)


def generate(recipe: str, wanted: argparse.Namespace) -> Ids:
    """Return texts as ids.

    Args:
        recipe: name under data/, trained.
        wanted: from `parsed`.

    Raises:
        UserError: the recipe has no language model, or an option is out of range.
    """
    data = read_data(recipe)
    if data.target.kind != "next_token":
        raise UserError(
            f"recipes.{recipe}.data.target.kind = {data.target.kind!r} writes nothing; allowed are "
            "next_token and seq2seq"
        )
    longest = getattr(data.sequence, "max_length", 1)
    steps = longest if wanted.max_length is None else wanted.max_length
    for option, value, least in (("count", wanted.count, 1), ("seed", wanted.seed, 0),
                                 ("max-length", steps, 1)):  # fmt: skip
        if value < least:
            raise UserError(f"--{option} {value}: at least {least} is needed")
    try:
        choice = Choice(wanted.temperature, wanted.top_k, wanted.top_p)
        model = artifacts.read_model(artifacts.folder(recipe, "model"))
        begin = begun(data, wanted.begin)
        return written(
            model, wanted.count, steps=steps, choice=choice, seed=wanted.seed, begin=begin
        )
    except ValueError as error:
        raise UserError(f"--{error}".replace("_", "-", 1)) from None


def main(argv: list[str]) -> None:
    """Write texts."""
    wanted = parsed(argv)
    kind = artifacts.read_section(wanted.recipe, "data", DataConfig).target.kind
    if kind == "seq2seq":
        lines = sys.stdin.read().splitlines()
        sys.stdout.writelines(f"{line}\n" for line in translated(wanted.recipe, lines))
        return
    if wanted.form not in (None, *RENDERERS):
        raise UserError(f"--as {wanted.form}: allowed are {', '.join(RENDERERS)}")
    texts = generate(wanted.recipe, wanted)
    known = codec(read_data(wanted.recipe))
    form = wanted.form or ("music" if is_music(known.vocabulary) else "text")
    RENDERERS[form](texts, known, wanted.out)


if __name__ == "__main__":
    command(main)
