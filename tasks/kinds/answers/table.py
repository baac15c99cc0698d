"""What a served model answers, by kind of target; without what only judging one needs."""

from collections.abc import Callable, Mapping
from typing import Any

from rnn.batch import PreparedSequences
from rnn.model import SequenceModel
from tasks.kinds.answers import ctc, forecast, next_token, seq2seq
from tasks.kinds.base import Rows

Answer = Callable[[SequenceModel, PreparedSequences, Rows, Mapping[str, Any]], dict[str, list[Any]]]

ANSWERS: dict[str, Answer] = {
    "next_token": next_token.answers,
    "ctc": ctc.answers,
    "forecast": forecast.answers,
    "seq2seq": seq2seq.answers,
}
