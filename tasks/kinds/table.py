"""The table of kinds of targets that are sequences themselves: one file and one line each."""

from tasks.kinds.base import Kind
from tasks.kinds.ctc import Ctc
from tasks.kinds.forecast import Forecast
from tasks.kinds.next_token import NextToken
from tasks.kinds.seq2seq import Seq2seq

KINDS: dict[str, Kind] = {
    "next_token": NextToken(),
    "ctc": Ctc(),
    "forecast": Forecast(),
    "seq2seq": Seq2seq(),
}
