"""Compressed CSV files to one table."""

import gzip
import lzma
from pathlib import Path

import pytest

from tasks.params import UserError
from tasks.readers.compressed_csv import read

TEXT = b"Date,Time,load\n16/12/2006,17:24:00,4.2\n17/12/2006,00:00:00,?\n"


def test_files_are_read_in_order_and_columns_joined(tmp_path: Path) -> None:
    first, second = tmp_path / "a.csv.xz", tmp_path / "b.csv.gz"
    first.write_bytes(lzma.compress(TEXT))
    second.write_bytes(gzip.compress(TEXT.replace(b"2006", b"2007")))
    got = read([first, second], {"join": ["Date", "Time"], "into": "when"})
    assert got.columns == ["when", "load"]
    assert got["when"].to_list() == [
        "16/12/2006 17:24:00", "17/12/2006 00:00:00", "16/12/2007 17:24:00", "17/12/2007 00:00:00"
    ]  # fmt: skip
    assert got["load"].to_list() == ["4.2", "?", "4.2", "?"]


def test_without_options_columns_stay(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(TEXT)
    assert read([file], {}).columns == ["Date", "Time", "load"]


@pytest.mark.parametrize(
    ("options", "content", "words"),
    [
        ({"joined": ["a"]}, lzma.compress(TEXT), "options.joined: allowed are join, into"),
        ({"join": ["Day"]}, lzma.compress(TEXT), "options.join: column Day is not among"),
        ({}, TEXT, "a.csv.xz cannot be read"),
        ({}, lzma.compress(TEXT)[:40], "a.csv.xz cannot be read"),
    ],
)
def test_a_mistake_is_one_line(
    options: dict[str, list[str]], content: bytes, words: str, tmp_path: Path
) -> None:
    file = tmp_path / "a.csv.xz"
    file.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read([file], options)
    assert words in str(caught.value) and "\n" not in str(caught.value)
