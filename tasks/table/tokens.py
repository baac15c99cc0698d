"""Text to the numbers that a network reads, and back: the same for training and for serving.

Ids: 0 padding, 1 whatever the vocabulary lacks, then the vocabulary in order. Where a model writes
text itself, <start> (2) and <end> (3) stand around every text, and the vocabulary follows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks.settings.tokens import TextTokens
from tasks.table.splitting import CONTINUED, cut, normalised

PADDING_ID, UNKNOWN_ID, START_ID, END_ID = 0, 1, 2, 3
SPECIAL = ("<padding>", "<unknown>", "<start>", "<end>")
_CODE_POINTS = 0x110000


@dataclass(frozen=True)
class Codec:
    """One way to read and write texts.

    Attributes:
        spec: with its vocabulary stated.
        ends: <start> and <end> stand around every text.
    """

    spec: TextTokens
    ends: bool = False

    @cached_property
    def vocabulary(self) -> list[str]:
        """Return what each id stands for, in the order of ids, from <padding> on."""
        spec = self.spec
        listed = spec.vocabulary.values if spec.vocabulary else tuple(spec.alphabet)
        return [*(SPECIAL if self.ends else SPECIAL[:START_ID]), *dict.fromkeys(listed)]

    @property
    def first(self) -> int:
        """Return the id of the vocabulary's first token."""
        return len(SPECIAL) if self.ends else START_ID

    @cached_property
    def known(self) -> dict[str, int]:
        """Return the id of each token of the vocabulary; <padding> and its like have no text."""
        return {token: self.first + i for i, token in enumerate(self.vocabulary[self.first :])}

    @cached_property
    def _points(self) -> NDArray[np.int32]:
        """Ids of all characters that there are."""
        table = np.full(_CODE_POINTS, UNKNOWN_ID, dtype=np.int32)
        for character, number in self.known.items():
            table[ord(character)] = number
        return table

    def ids(self, texts: pl.Series) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return texts as ids end to end, and where each begins.

        Args:
            texts: str [N]; one that is empty or null is one unknown token.

        Returns:
            int32 [total] and int64 [N + 1].
        """
        text = normalised(texts, self.spec)
        if self.spec.tokens == "characters":
            joined = "".join(text.to_list()).encode("utf-32-le")
            tokens = self._points[np.frombuffer(joined, dtype=np.uint32)]
            lengths = text.str.len_chars().to_numpy()
        else:
            pieces = cut(text, self.spec, self.known)
            known = self.known
            flat = pieces.explode().to_list() if len(pieces) else []
            tokens = np.array([known.get(piece, UNKNOWN_ID) for piece in flat], dtype=np.int32)
            lengths = pieces.list.len().to_numpy() if len(pieces) else np.zeros(0, dtype=np.int64)
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
        return self._between_ends(tokens, offsets) if self.ends else (tokens, offsets)

    def _between_ends(
        self, tokens: NDArray[np.int32], offsets: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Put <start> before and <end> behind each text."""
        count = len(offsets) - 1
        where = np.repeat(offsets, 2)[1:-1]
        around = np.tile(np.array([START_ID, END_ID], dtype=np.int32), count)
        wider = offsets + 2 * np.arange(count + 1, dtype=np.int64)
        return np.insert(tokens, where, around).astype(np.int32), wider

    def text(self, ids: Sequence[int] | NDArray[np.generic], unknown: str = "<unknown>") -> str:
        """Return the text of some ids.

        Args:
            ids: of one text; padding and what stands around a text are left out.
            unknown: stands for a token that is not in the vocabulary.
        """
        names = self.vocabulary
        pieces = [
            unknown if number == UNKNOWN_ID else names[number]
            for number in map(int, ids)
            if number == UNKNOWN_ID or number >= self.first
        ]
        if self.spec.tokens == "characters":
            return "".join(pieces)
        if self.spec.tokens == "bigrams":
            return "".join(pieces[:1]) + "".join(piece[-1] for piece in pieces[1:])
        joined = " ".join(pieces)
        return joined.replace(f" {CONTINUED}", "") if self.spec.tokens == "subwords" else joined


@lru_cache(maxsize=16)
def codec_of(spec: TextTokens, ends: bool = False) -> Codec:
    """Return the codec of some settings, made once.

    Args:
        spec: with its vocabulary stated.
        ends: as in `Codec`.

    Raises:
        ValueError: the vocabulary is still to be read, drawn or counted.
    """
    if not spec.is_stated:
        raise ValueError("the vocabulary is not known yet: see tasks.table.released.read_data")
    return Codec(spec, ends)
