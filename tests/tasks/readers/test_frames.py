"""A pickle of a data frame is read; a pickle that names anything else does nothing."""

import lzma
import os
import pickle
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tasks.params import UserError
from tasks.readers import frames
from tasks.readers.frames import ALLOWED, read_frame


@dataclass(frozen=True)
class Named:
    """Something that a pickle names."""

    module: str
    name: str


@dataclass(frozen=True)
class Called:
    """What a pickle calls, with what, and the state it gives to what comes back."""

    what: object
    arguments: tuple[object, ...]
    state: object = None
    code: bytes = pickle.REDUCE


class Writer(pickle._Pickler):  # type: ignore[misc]
    """Writes names that need not exist here: other versions of pandas have other ones."""

    def save(self, obj, save_persistent_id=True):
        """Write a name, a call or a plain value."""
        if isinstance(obj, Named):
            self.save(obj.module)
            self.save(obj.name)
            self.write(pickle.STACK_GLOBAL)
        elif isinstance(obj, Called):
            self.save(obj.what)
            self.save(obj.arguments)
            self.write(obj.code)
            if obj.state is not None:
                self.save(obj.state)
                self.write(pickle.BUILD)
        else:
            super().save(obj, save_persistent_id)


def pickled(value: object) -> bytes:
    """Pickle a value."""
    out = BytesIO()
    Writer(out, protocol=5).dump(value)
    return out.getvalue()


def written(path: Path, content: bytes) -> Path:
    """Compress a pickle as the public files are."""
    path.write_bytes(lzma.compress(content))
    return path


NDARRAY, DTYPE = Named("numpy", "ndarray"), Named("numpy", "dtype")
INDEX = Named("pandas.core.indexes.base", "Index")
BASE, SLICE = Named("pandas.core.indexes.base", "_new_Index"), Named("builtins", "slice")


def dtype(name: str) -> Called:
    """A type of values."""
    return Called(DTYPE, (name, False, True), (3, "<", None, None, None, -1, -1, 0))


def buffer(values: list[list[float]], name: str) -> Called:
    """Numbers [columns, rows], as bytes."""
    array = np.array(values, np.dtype("<" + name))
    raw = bytearray(array.tobytes())
    shape = array.shape
    return Called(Named("numpy.core.numeric", "_frombuffer"), (raw, dtype(name), shape, "C"))


def objects(values: list[object], shape: tuple[int, ...]) -> Called:
    """Any values, as a list."""
    what = Named("numpy.core.multiarray", "_reconstruct")
    return Called(what, (NDARRAY, (0,), b"b"), (1, shape, dtype("O8"), False, values))


def block(values: object, which: object) -> Called:
    """Columns of one type."""
    return Called(Named("pandas._libs.internals", "_unpickle_block"), (values, which, 2))


def frame(
    numbers: object = None, names: list[object] | None = None, texts: list[object] | None = None
) -> Called:
    """id, value, days, test: two columns of whole numbers, one of numbers, one of text."""
    names = ["id", "value", "days", "test"] if names is None else names
    texts = ["hdl", None, float("nan")] if texts is None else texts
    axes = [
        Called(BASE, (INDEX, {"data": objects(names, (len(names),)), "name": None})),
        Called(
            BASE,
            (
                Named("pandas.core.indexes.range", "RangeIndex"),
                {"name": None, "start": 0, "stop": 3, "step": 1},
            ),
        ),
    ]
    whole = buffer([[7, 8, 9], [0, -3, 40_000_000_000]], "i8")
    blocks = (
        block(buffer([[1.5, float("nan"), -2.0]], "f8"), Called(SLICE, (1, 2, 1))),
        block(numbers or whole, Called(SLICE, (0, 4, 2))),
        block(objects(texts, (1, 3)), buffer([3], "i8")),  # type: ignore[list-item]
    )
    manager = Called(Named("pandas.core.internals.managers", "BlockManager"), (blocks, axes))
    state = {"_mgr": manager, "_typ": "dataframe", "_metadata": [], "attrs": {}}
    return Called(Named("pandas.core.frame", "DataFrame"), (), state, pickle.NEWOBJ)


def test_a_frame_is_read(tmp_path: Path) -> None:
    table = read_frame(written(tmp_path / "f.xz", pickled(frame())))
    assert table.schema == {
        "id": pl.Int64, "value": pl.Float64, "days": pl.Int64, "test": pl.String,
    }  # fmt: skip
    assert table.rows() == [
        (7, 1.5, 0, "hdl"),
        (8, None, -3, None),
        (9, -2.0, 40_000_000_000, None),
    ]


class Evil:
    """Runs a command when it is unpickled in good faith."""

    def __init__(self, call: object, *arguments: object) -> None:
        """What is called."""
        self.what = call, arguments

    def __reduce__(self) -> tuple[object, object]:
        """Call it."""
        return self.what


def test_a_pickle_that_runs_a_command_is_refused(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    evil = pickle.dumps(Evil(os.system, f"touch '{mark}'"))
    with pytest.raises(UserError, match=r"^f.xz is refused: it names (posix|nt).system$"):
        read_frame(written(tmp_path / "f.xz", evil))
    assert not mark.exists()
    # In good faith it does run: the test would notice.
    pickle.loads(evil)  # noqa: S301
    assert mark.exists()


@pytest.mark.parametrize(
    "named",
    [
        "builtins eval", "builtins exec", "builtins getattr", "builtins __import__",
        "os system", "subprocess Popen", "numpy load", "numpy.core.multiarray fromfile",
        "pandas read_pickle", "pandas.io.pickle read_pickle", "pandas.core.frame DataFrame.eval",
        "pandas.core.frame DataFrame.__init__", "numpy dtype.__class__", "functools partial",
        "copyreg _reconstructor", "tasks.readers.frames pickle.loads", "operator attrgetter",
    ],
)  # fmt: skip
def test_every_other_name_is_refused(tmp_path: Path, named: str) -> None:
    module, name = named.split()
    old = f"c{module}\n{name}\n.".encode()
    new = b"\x80\x04" + _text(module) + _text(name) + b"\x93."
    instance = f"(i{module}\n{name}\n.".encode()
    for content in (old, new, instance):
        with pytest.raises(UserError, match=rf"^f.xz is refused: it names {module}.{name}$"):
            read_frame(written(tmp_path / "f.xz", content))


def _text(value: str) -> bytes:
    """SHORT_BINUNICODE."""
    return b"\x8c" + bytes([len(value)]) + value.encode()


def test_a_command_inside_a_frame_is_refused(tmp_path: Path) -> None:
    """In the list of column names, in a cell, and where the manager's blocks stand."""
    mark = tmp_path / "mark"
    evil = Evil(os.system, f"touch '{mark}'")
    for hidden in (
        frame(texts=["hdl", evil, "sbp"]),
        frame(names=["id", evil, "days", "test"]),
        frame(numbers=evil),
    ):
        with pytest.raises(UserError, match=r"refused: it names (posix|nt).system$"):
            read_frame(written(tmp_path / "f.xz", pickled(hidden)))
    assert not mark.exists()


def test_all_allowed_names_are_inert() -> None:
    """Whatever a pickle does with them, it gets back what it put in."""
    for kind in ALLOWED.values():
        assert issubclass(kind, frames._Record)  # type: ignore[arg-type]
        assert kind.__module__ == "tasks.readers.frames"
        assert not any(callable(value) for value in vars(kind).values())
        made = kind("a", 1)
        made.__setstate__({"b": 2})  # type: ignore[attr-defined]
        assert (made.arguments, made.state) == (("a", 1), {"b": 2})


def test_no_state_changes_what_a_name_stands_for(tmp_path: Path) -> None:
    """A pickle may give a state to a name itself, not to what it made."""
    content = b"\x80\x04" + _text("numpy") + _text("dtype") + b"\x93N}" + _text("mark")
    with pytest.raises(UserError, match=r"^f.xz holds no data frame: TypeError"):
        read_frame(written(tmp_path / "f.xz", content + b"K\x01s\x86b."))
    assert not hasattr(ALLOWED["numpy", "dtype"], "mark")


@pytest.mark.parametrize("one", sorted(ALLOWED))
def test_a_frame_needs_every_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one: tuple[str, str]
) -> None:
    path = written(tmp_path / "f.xz", pickled(frame()))
    monkeypatch.delitem(ALLOWED, one)
    with pytest.raises(UserError, match=rf"^f.xz is refused: it names {one[0]}.{one[1]}$"):
        read_frame(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps([1, 2]), "f.xz is refused: it has list where _Frame belongs"),
        (pickle.dumps({})[:-1], "f.xz holds no data frame: "),
        (b"\x80\x04Vkey\nQ.", "f.xz is refused: it names an object outside itself"),
        (b"", "f.xz holds no data frame: "),
        (pickled(frame(numbers=buffer([[1, 2, 3]] * 2, "i2"))), "f.xz is refused: it has values"),
        (pickled(frame(names=["id", "value", "days", "id"])), "f.xz is refused: its columns have"),
        (pickled(frame(names=["id", "value", "days", 5])), "f.xz is refused: its columns have no"),
        (pickled(frame(names=["id", "value", "days"])), "f.xz holds no data frame: IndexError"),
        (pickled(frame(texts=[["a"], "b", "c"])), "f.xz holds no data frame: "),
        (pickled(frame(numbers=buffer([[1, 2, 3]], "i8"))), "f.xz holds no data frame: Value"),
    ],
)  # fmt: skip
def test_what_is_no_frame_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(UserError) as caught:
        read_frame(written(tmp_path / "f.xz", content))
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_what_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "MAX_BYTES", 1 << 16)
    path = written(tmp_path / "f.xz", bytes(1 << 20))
    with pytest.raises(UserError, match=r"^f.xz is refused: it is cut off, or larger than 65536"):
        read_frame(path)
    path.write_bytes(b"this is no xz file")
    with pytest.raises(UserError, match=r"^f.xz holds no data frame: LZMAError"):
        read_frame(path)
