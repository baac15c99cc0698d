"""Recurrent models and their privacy: no files, no orchestration, no registry.

Example:
    >>> from rnn import LSTM
    >>> LSTM(3, 4).hidden_size
    4
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnn.masks import dropout
    from rnn.model import last_hidden
    from rnn.private import Private, make_private
    from rnn.recurrent import GRU, LSTM, RNN, LearnedState

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "LearnedState",
    "Private",
    "dropout",
    "last_hidden",
    "make_private",
]

# Settings are read without loading torch: a name loads its module when it is asked for.
_HOMES = {
    "GRU": "rnn.recurrent",
    "LSTM": "rnn.recurrent",
    "RNN": "rnn.recurrent",
    "LearnedState": "rnn.recurrent",
    "Private": "rnn.private",
    "dropout": "rnn.masks",
    "last_hidden": "rnn.model",
    "make_private": "rnn.private",
}


def __getattr__(name: str) -> Any:
    """Load a public name."""
    if name not in _HOMES:
        raise AttributeError(f"module 'rnn' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
