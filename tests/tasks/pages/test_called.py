"""Pages about things do not speak of people, pages about people do."""

import re

import pytest

from rnn.config import PrivacyConfig
from tasks.pages.called import called, many
from tasks.pages.card import UNSIGNED, answers, signer
from tasks.pages.exhibits import calibration, name_of
from tasks.pages.html import environment
from tasks.pages.words import data_words, held_out
from tasks.recipe import NoPrivacy, ReportConfig
from tasks.settings.report import ORIGIN, USE, check_rows, rows_called

WINDOWS = ("window", "windows")
DATA = {
    "sequence": {"layout": "long", "max_length": 5, "features": []},
    "static": [],
    "target": {"column": "y", "kind": "regression", "names": [], "classes": [], "bounds": [0, 1]},
    "decision": None,
    "sensitive": [],
    "split": {"train": 0.8},
}
BIN = {"low": 0.0, "high": 1.0, "n": 40, "mean_score": 0.4, "rate": 0.5}


def said() -> str:
    """Sentences, headers and captions of a page."""
    drawn = calibration([BIN])
    assert drawn
    words = [
        *data_words(DATA, {}).values(),
        *held_out({"min_people": 30, "min_events": 10}).values(),
    ]
    template = environment().from_string("{{ many() }} {{ one() }}")
    return " ".join(map(str, [*words, name_of("n"), drawn.table.headers, template.render()]))


def test_things_are_called_by_their_name_everywhere() -> None:
    assert len(re.findall(r"\b[Pp]eople\b|\bperson\b", said())) >= 6
    with called(WINDOWS):
        assert not re.search(r"\b[Pp]eople\b|\b[Pp]erson", said())
        assert len(re.findall(r"\b[Ww]indows?\b", said())) >= 6
    assert many() == "people"


def test_what_is_called_what_by_unit() -> None:
    plain = ReportConfig(title="t")
    assert [rows_called(plain, unit)[1] for unit in ("person", "record", None)] == [
        "people", "records", "rows"
    ]  # fmt: skip
    assert rows_called(ReportConfig(title="t", rows=WINDOWS), None) == WINDOWS


def test_people_who_were_promised_privacy_stay_people() -> None:
    person = PrivacyConfig(population=100, delta=1e-4, noise_multiplier=1.0)
    record = PrivacyConfig(population=100, delta=1e-4, noise_multiplier=1.0, unit="record")
    things = ReportConfig(title="t", rows=WINDOWS)
    with pytest.raises(ValueError, match=r"report.rows = \['window', 'windows'\]: .*by person"):
        check_rows(things, person)
    check_rows(things, record)
    check_rows(things, NoPrivacy(none="Loops that count vehicles on a road", population=100))
    check_rows(ReportConfig(title="t", rows=("person", "people")), person)


def test_every_question_is_asked_and_an_empty_answer_is_none() -> None:
    fields = {one.field for one in (*USE, *ORIGIN)}
    assert fields == set(ReportConfig.__dataclass_fields__) - {"title", "rows"}
    use, origin = answers(ReportConfig(title="t", jobs_changed="Clerks. ", data_dates=" "))
    by_field = {one["field"]: one for one in (*use, *origin)}
    assert by_field["jobs_changed"]["answer"] == "Clerks."
    assert by_field["jobs_changed"]["prompt"].endswith("?")
    assert by_field["data_dates"]["answer"] is None and by_field["harms"]["answer"] is None


def test_who_signed() -> None:
    assert signer({}) == {"name": None, "words": UNSIGNED}
    asked = {"approver": "Ada Lovelace", "reason": "Because.", "status": "refused"}
    assert signer({"override": asked})["name"] is None
    assert signer({"override": {**asked, "status": "applied"}})["name"] == "Ada Lovelace"
