"""A reader runs in a process of its own, which ends at its limits and goes nowhere else."""

import time
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from tasks.params import UserError, validate
from tasks.readers import __main__
from tasks.readers.__main__ import refuse
from tasks.recipe import PackageFile, ReaderSource
from tasks.table import reader, sources
from tests import toy_reader

FILE = PackageFile(package="toy==1", member="t", sha256="0" * 64)


def source(**more: object) -> ReaderSource:
    """A source that the toy reads."""
    return ReaderSource(kind="reader", reader="toy", files=(FILE,), **more)  # type: ignore[arg-type]


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, **more: object) -> pl.DataFrame:
    """Install a toy and return what it makes."""
    toy_reader.install(tmp_path / "checkout", monkeypatch, body)
    file, table = tmp_path / "t", tmp_path / "table.parquet"
    file.write_text("7")
    reader.run(source(**more), [file], table)
    return pl.read_parquet(table)


def test_the_same_files_give_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = """
def read(files, options):
    n, last = options["rows"], files[0].read_text()
    return pl.DataFrame({"x": range(n), "t": [str(i % 7) + last for i in range(n)]})
"""
    table = run(tmp_path, monkeypatch, body, options={"rows": 150_000})
    assert table.row(149_999) == (149_999, "37")
    first = (tmp_path / "table.parquet").read_bytes()
    run(tmp_path, monkeypatch, body, options={"rows": 150_000})
    assert (tmp_path / "table.parquet").read_bytes() == first


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "raise UserError(f\"options.n = {options['n']}: must be 1 or 2\")",
            "data.source.options.n = 3: must be 1 or 2",
        ),
        ('raise UserError("t, line 2: no number")', "data.source.reader = 'toy': t, line 2: no "),
        (
            "import socket; socket.create_connection(('localhost', 9))",
            "data.source.reader = 'toy': PermissionError: a reader may not use socket.",
        ),
        ("bytearray(5 * 2**30)", "data.source.gigabytes = 2: reader toy needed more"),
    ],
)
def test_what_goes_wrong_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, message: str
) -> None:
    with pytest.raises(UserError) as caught:
        run(
            tmp_path,
            monkeypatch,
            f"def read(files, options):\n    {body}\n",
            options={"n": 3},
            gigabytes=2,
        )
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)
    assert not (tmp_path / "table.parquet").exists()


def test_a_reader_that_does_not_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = "[0 for i in iter(int, 1)]"
    begun = time.monotonic()
    with pytest.raises(UserError, match=r"^data.source.seconds = 2: reader toy needed longer$"):
        run(tmp_path, monkeypatch, f"def read(files, options):\n    {wait}\n", seconds=2)
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize(
    "event", ["subprocess.Popen", "os.system", "os.fork", "os.exec", "socket.bind"]
)
def test_a_reader_starts_no_process(event: str) -> None:
    with pytest.raises(PermissionError, match=f"^a reader may not use {event}$"):
        refuse(event, ())
    refuse("open", ("t", "r", 0))


def test_a_reader_gives_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = SimpleNamespace(read=lambda files, options: pl.DataFrame())
    monkeypatch.setattr(__main__, "import_module", lambda name: nothing)
    with pytest.raises(UserError, match=r"^gave no rows$"):
        __main__.read("nafld", [], {})
    with pytest.raises(UserError, match=r"^known readers: .*nafld"):
        __main__.read("os", [], {})


def test_an_unknown_reader_is_found_before_anything_is_downloaded() -> None:
    with pytest.raises(UserError, match=r"^data.source.reader = 'toy': known readers: .*nafld"):
        sources.resolve(source())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"files": []}, r"^s.files: "),
        ({"options": {"a": {"b": 1}}}, r"^s.options.a"),
        ({"seconds": 0}, r"^s.seconds = 0: "),
        ({"gigabytes": -1}, r"^s.gigabytes = -1: "),
        ({"format": "csv"}, r"^s.format = 'csv': "),
        ({"shell": "x"}, r"^s.shell = 'x': unknown key"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, object], message: str) -> None:
    file = {"package": "toy==1", "member": "t", "sha256": "0"}
    values = {"kind": "reader", "reader": "toy", "files": [file]} | change
    with pytest.raises(UserError, match=message):
        validate(ReaderSource, values, "s")
