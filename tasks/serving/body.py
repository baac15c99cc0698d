"""What a client sends: a table as JSON rows or CSV, and how many reasons are asked for.

A mistake names the field, never a value.
"""

import io
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from pydantic_core import from_json

from tasks.serving.options import MOST_REASONS

MOST_ROWS = 10_000
MOST_BYTES = 16 * 2**20
JSON, CSV = "application/json", "text/csv"


class Refused(Exception):
    """A request that cannot be answered.

    Attributes:
        field: where the mistake is.
        reason: what is wrong and what is allowed; never a value of a person.
        status: HTTP status.
    """

    def __init__(self, field: str, reason: str, status: int = 400) -> None:
        """Keep what the client is told."""
        super().__init__(f"{field}: {reason}")
        self.field, self.reason, self.status = field, reason, status


def asked(
    body: bytes, kind: str, wanted: Sequence[str], reasons: str | None = None
) -> tuple[pl.DataFrame, int | None]:
    """Return a body's rows, the columns that the model reads alone, and how many reasons.

    Args:
        body: as it was sent.
        kind: application/json, {"rows": [{column: value}]}; or text/csv with a header.
        wanted: columns that the model reads; others are left out unread.
        reasons: as the address says; JSON may say it too, and is then heard. None: not said.

    Raises:
        Refused: too large, of another kind, or not a table.
    """
    if len(body) > MOST_BYTES:
        raise Refused("body", f"at most {MOST_BYTES:,} bytes are read", 413)
    count: object = _number(reasons)
    if kind == CSV:
        table = _csv(body, wanted)
    elif kind in ("", JSON):
        table, said = _json(body, wanted)
        count = count if said is None else said
    else:
        raise Refused("content-type", f"{JSON} or {CSV} is read", 415)
    if len(table) > MOST_ROWS:
        raise Refused("rows", f"at most {MOST_ROWS:,} rows are read, not {len(table):,}", 413)
    if not len(table):
        raise Refused("rows", "at least one row is needed")
    if count is not None and (type(count) is not int or not 0 <= count <= MOST_REASONS):
        raise Refused("reasons", f"a whole number from 0 to {MOST_REASONS} is needed")
    return table, count


def _number(text: str | None) -> int | str | None:
    """A whole number that an address holds; what is none stays text."""
    return int(text) if text is not None and len(text) < 4 and text.isdecimal() else text


def _csv(body: bytes, wanted: Sequence[str]) -> pl.DataFrame:
    """All cells as text; the encoder reads numbers itself."""
    try:
        table = pl.read_csv(io.BytesIO(body), infer_schema=False)
    except (pl.exceptions.PolarsError, UnicodeDecodeError, ValueError):
        raise Refused("body", "is not CSV in UTF-8 with a header and rows of one length") from None
    return table.select(name for name in wanted if name in table.columns)


def _json(body: bytes, wanted: Sequence[str]) -> tuple[pl.DataFrame, object]:
    """A list of objects, one a row; and whatever is said about reasons."""
    try:
        given = from_json(body, allow_inf_nan=False)
    except ValueError:
        raise Refused("body", "is not JSON") from None
    rows = given.get("rows") if isinstance(given, dict) else None
    if not isinstance(rows, list):
        raise Refused("rows", 'a JSON object {"rows": [...]} is needed')
    if len(rows) > MOST_ROWS:
        raise Refused("rows", f"at most {MOST_ROWS:,} rows are read, not {len(rows):,}", 413)
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise Refused("rows", f"row {number} is not an object of columns and values")
    present = [name for name in wanted if any(name in row for row in rows)]
    return pl.DataFrame([_column(name, rows) for name in present]), given.get("reasons")


def _column(name: str, rows: Sequence[Mapping[str, Any]]) -> pl.Series:
    """One column: whole numbers, numbers, or text where they are mixed."""
    values = [row.get(name) for row in rows]
    kinds = {type(value) for value in values} - {type(None)}
    if kinds - {int, float, str, bool}:
        number = next(n for n, v in enumerate(values, start=1) if isinstance(v, list | dict))
        raise Refused(name, f"row {number}: a number, a text, true, false or null is needed")
    if kinds == {int} and all(v is None or abs(v) < 2**63 for v in values):
        return pl.Series(name, values, dtype=pl.Int64)
    for number, value in enumerate(values, start=1):
        if isinstance(value, int) and abs(value) > sys.float_info.max:
            raise Refused(name, f"row {number}: the number is too large")
    if kinds and kinds <= {int, float}:
        return pl.Series(name, [None if v is None else float(v) for v in values], dtype=pl.Float64)
    return pl.Series(name, [_text(v) for v in values], dtype=pl.String)


def _text(value: object) -> str | None:
    """A value as a CSV would hold it."""
    if value is None or isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)
