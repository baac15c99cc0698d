"""What the rows of a recipe are called on its pages: people, or the things that it is about.

Set once around a page: every sentence, header and caption of it then says the same.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_CALLED = ContextVar("called", default=("person", "people"))


@contextmanager
def called(rows: tuple[str, str]) -> Iterator[None]:
    """Say of one row and of several what `rows` says, within this block.

    Example:
        >>> with called(("window", "windows")):
        ...     one(), many(), titled()
        ('window', 'windows', 'Windows')
        >>> many()
        'people'
    """
    token = _CALLED.set(rows)
    try:
        yield
    finally:
        _CALLED.reset(token)


def one() -> str:
    """Return what one row is called."""
    return _CALLED.get()[0]


def many() -> str:
    """Return what several rows are called."""
    return _CALLED.get()[1]


def titled() -> str:
    """Return what several rows are called, as a header begins."""
    return many()[:1].upper() + many()[1:]
