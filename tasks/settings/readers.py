"""A source that is no table yet: files out of packages, and the reader that makes them one."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import MinLen

from rnn.config import FORBID_EXTRA, Count, Positive

Text = Annotated[str, MinLen(1)]
# Written out, because settings/features.py would bring all layouts along.
Option = bool | int | float | str | tuple[bool | int | float | str, ...]


@dataclass(frozen=True, kw_only=True)
class PackageFile:
    """One file inside a wheel or a source archive; without `member`, the archive itself."""

    __pydantic_config__ = FORBID_EXTRA

    package: Text
    member: Text | None = None
    sha256: Text


@dataclass(frozen=True, kw_only=True)
class ReaderSource:
    """Files that one of tasks/readers makes a table of, in a process of its own.

    `seconds` and `gigabytes` are what that process may use at most.
    """

    __pydantic_config__ = FORBID_EXTRA

    kind: Literal["reader"]
    reader: Text
    files: Annotated[tuple[PackageFile, ...], MinLen(1)]
    options: dict[Text, Option] = field(default_factory=dict)
    seconds: Count = 300
    gigabytes: Positive = 4.0
    format: Literal["parquet"] = "parquet"
    null_values: tuple[str, ...] = ("",)
