"""A first recipe for a user's own file, with questions as comments.

Only names and types of columns are used, and whether ids repeat. Bounds, categories and classes
are left open: taken from the data, they would tell something about the people in it.
"""

import json
import re
from pathlib import Path

import polars as pl

from tasks.params import UserError, command
from tasks.recipe import PathSource
from tasks.table.guess import FEW, Guess, guess, snake
from tasks.table.sources import format_of, reading

_SAMPLE = 10_000
_OPEN = "bounds: [FILL, FILL]"


def read_sample(path: Path) -> pl.DataFrame:
    """Return the first rows of a file, with types guessed.

    Raises:
        UserError: the file is missing or cannot be read.
    """
    if not path.is_file():
        raise UserError(f"{path} is not there")
    source = PathSource(kind="path", path=str(path))
    kind = format_of(source, path)
    with reading(source, path):
        if kind == "csv":
            frame = pl.scan_csv(path, infer_schema_length=_SAMPLE, glob=False)
        elif kind == "parquet":
            frame = pl.scan_parquet(path, glob=False)
        else:
            frame = pl.scan_ndjson(path, infer_schema_length=_SAMPLE)
        sample = frame.head(_SAMPLE).collect()
    if not len(sample):
        raise UserError(f"{path} has no rows")
    return sample


def _plain(text: str) -> str:
    """Text as YAML reads it back."""
    reserved = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", text) and text.lower() not in reserved:
        return text
    return json.dumps(text, ensure_ascii=False)


def _list(names: list[str]) -> str:
    """Names as a YAML list in one line."""
    return "[" + ", ".join(map(_plain, names)) + "]"


def _feature(name: str, column: str, number: bool) -> list[str]:
    """One feature of one column."""
    lines = [f"- name: {_plain(name)}", f"  {column}"]
    if number:
        return [*lines, f"  {_OPEN}  # lowest and highest value that the field can have"]
    return [*lines, "  values: []  # FILL: every category that the field can have"]


def _sequence(found: Guess) -> list[str]:
    """The block `sequence`."""
    if found.layout == "text":
        return [
            "layout: text",
            f"columns: {_list(found.text)}",
            "# Which characters matter? All others become one unknown character.",
            'alphabet: "abcdefghijklmnopqrstuvwxyz0123456789 .,;:!?\'-"',
            "max_length: 256",
        ]
    if found.layout == "long":
        rows = [_feature(n, f"column: {_plain(n)}", number) for n, number in found.rest.items()]
        return [
            "layout: long",
            f"time: {_plain(found.time or '')}  # set time_format unless numbers or ISO dates",
            "max_length: 128  # the latest events of a person",
            "# Which of these are the same in every row of a person? Move them to `static`.",
            "features:",
            *_indented([line for row in rows for line in row], 2),
        ]
    families = found.families or {n: [n] for n, number in found.rest.items() if number}
    steps = len(next(iter(families.values()), [""]))
    rows = [_feature(stem, f"columns: {_list(c)}", True) for stem, c in families.items()]
    return [
        "layout: wide",
        "# Which step is the oldest? Steps and columns go from the oldest to the latest.",
        f"steps: {_list([f'step {i + 1}' for i in range(steps)])}",
        "features:",
        *_indented([line for row in rows for line in row], 2),
    ]


def _static(found: Guess) -> list[str]:
    """The block `static`: what a wide table has beside its families."""
    if found.layout == "long" or (found.layout == "wide" and not found.families):
        return ["static: []"]
    rows = [_feature(n, f"column: {_plain(n)}", number) for n, number in found.rest.items()]
    if not rows:
        return ["static: []"]
    return ["static:", *_indented([line for row in rows for line in row], 2)]


def _sensitive(found: Guess) -> list[str]:
    """The block `sensitive`."""
    lines = ["# Who might be treated worse? These columns are audited, the model never sees them."]
    if not found.sensitive:
        return [*lines, "sensitive: []"]
    lines += ["# State labels (value -> name) or bins (lower edges); else each value is a group."]
    lines += ["sensitive:"]
    families: dict[str, list[str]] = {}
    for name in found.sensitive:
        families.setdefault(re.sub(r"_?\d+$", "", snake(name)), []).append(name)
    for stem, members in families.items():
        if len(members) > 1:
            coded = ", ".join(f"{_plain(name)}: {_plain(snake(name))}" for name in members)
            lines += [f"  - {{name: {_plain(stem)}, one_hot: {{{coded}}}}}"]
            continue
        age = re.search(r"(^|_)age(_|$)", stem)
        bins = ", bins: [18, 30, 45, 60]" if age else ""
        lines += [f"  - {{name: {_plain(stem)}, column: {_plain(members[0])}{bins}}}"]
    return lines


def _target(found: Guess, sample: pl.DataFrame) -> list[str]:
    """The blocks `target` and `decision`."""
    name = found.target[0] if found.target else "FILL"
    distinct = sample[name].n_unique() if name in sample.columns else 2
    others = f" (or {', '.join(found.target[1:])})" if found.target[1:] else ""
    lines = [f"# What is to be predicted?{others}", "target:", f"  column: {_plain(name)}"]
    if distinct > FEW and sample[name].dtype.is_numeric():
        return [*lines, "  kind: regression", f"  {_OPEN}"]
    if distinct > 2:
        return [*lines, "  kind: multiclass", "  classes: []  # FILL: every class"]
    return [
        *lines,
        "  kind: binary",
        "  classes: []  # FILL: two values; the model gives the probability of the second",
        "  # names: [no, yes]",
        "# Which class is good for the person, and which share of people gets it?",
        "decision:",
        "  favourable: FILL",
        "  approval_rate: FILL",
    ]


def _indented(lines: list[str], by: int) -> list[str]:
    """Lines moved to the right."""
    return [" " * by + line for line in lines]


def draft(path: Path, sample: pl.DataFrame) -> str:
    """Return a recipe to be filled, as YAML with comments.

    Args:
        path: the file, as the user wrote it.
        sample: its first rows.
    """
    found = guess(sample)
    name = re.sub(r"^[^a-z]+", "", snake(path.stem)) or "mine"
    person = f"person: {_plain(found.person)}" if found.person else "# person: FILL"
    data = [
        "source:",
        "  kind: path",
        f"  path: {json.dumps(str(path), ensure_ascii=False)}",
        '  null_values: [""]  # what else means missing: "NA", "-999"?',
        f"{person}  # whose row it is; the privacy promise is about this person",
        "sequence:",
        *_indented(_sequence(found), 2),
        *_static(found),
        *_target(found, sample),
        *_sensitive(found),
        f"split: {{salt: {_plain(name)}, train: 0.8}}",
    ]
    lines = [
        f"# A first recipe for {path.name}: put it under `recipes:` in params.yaml.",
        "# Answer each question and replace each FILL. Bounds, values, classes were NOT computed",
        "# from your data, which is private: a bound fitted to private rows tells something",
        "# about them. Take them from public knowledge of the field, or replace bounds by",
        "# private_bounds: {epsilon: 0.1, range: [LOWEST, HIGHEST]}, and values by",
        "# private_values: {epsilon: 0.1}, which are drawn with noise (docs/your-data.md).",
        f"{name}:",
        "  data:",
        *_indented(data, 4),
        "  train:",
        "    steps: 300",
        "    expected_batch_size: 512",
        "  privacy:",
        f"    unit: {'person' if found.person else 'record'}",
        "    # A round public number of training people; it must not be counted from the data.",
        "    population: FILL",
        "    delta: FILL  # at most 1 / (10 population)",
        "    target_epsilon: 3",
        "  gate: {max_epsilon: 3}",
        f"  report: {{title: {_plain(name)}}}",
    ]
    return "\n".join(["recipes:", *_indented(lines, 2)]) + "\n"


def main(argv: list[str]) -> None:
    """Print a first recipe for a file."""
    if len(argv) != 1:
        raise UserError("usage: python -m tasks.draft FILE.csv")
    path = Path(argv[0])
    print(draft(path, read_sample(path)), end="")


if __name__ == "__main__":
    command(main)
