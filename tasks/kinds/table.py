"""The table of kinds of targets that are sequences themselves: one file and one line each."""

from tasks.kinds.base import Kind
from tasks.kinds.ctc import CTC
from tasks.kinds.forecast import FORECAST
from tasks.kinds.next_token import NEXT_TOKEN
from tasks.kinds.seq2seq import SEQ2SEQ

KINDS: dict[str, Kind] = {
    "next_token": NEXT_TOKEN,
    "ctc": CTC,
    "forecast": FORECAST,
    "seq2seq": SEQ2SEQ,
}
