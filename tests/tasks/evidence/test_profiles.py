"""Reviewers' lists: dated, in our words, answered where a figure stands, else missing."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.evidence.paths import find, parse
from tasks.evidence.profiles import SHIPPED, ProfilesPlan, evaluate, read_profiles
from tasks.params import UserError, as_json, validate
from tasks.recipe import AuditConfig

NAMES = AuditConfig().profiles
OWN: dict[str, Any] = {
    "title": "Own",
    "source": "A paper",
    "as_of": "2024-02-29",
    "about": "A test.",
    "items": [
        {
            "id": "1",
            "asks": "Is it fair?",
            "answers": [{"what": "ratio", "path": "audit.gate.impact_ratio"}],
            "missing": ["a date"],
        }
    ],
}


def _figure(value: float | None) -> dict[str, float | None]:
    return {"value": value, "low": value, "high": value}


def _ratio(group: str, value: float | None) -> dict[str, Any]:
    found = None if value is None else _figure(value)
    below = None if value is None else value < 0.8
    return {"group": group, "impact_ratio": found, "below_four_fifths": below}


AUDIT = {
    "gate": {"impact_ratio": {"value": 0.9, "low": 0.85, "high": 0.95}},
    "features": [
        {
            "name": "sex",
            "groups": [
                {"label": "women", "n": 500, "metrics": {"selection_rate": _figure(0.8)}},
                {"label": "men", "n": 480, "metrics": {"selection_rate": _figure(0.9)}},
                {"label": "unknown", "n": None, "suppressed": "fewer than 30", "metrics": {}},
            ],
            "comparisons": {
                "to_highest": [_ratio("women", 0.75), _ratio("men", 1.0), _ratio("unknown", None)]
            },
        },
        {
            "name": "sex x age",
            "groups": [{"label": "women, young", "n": 15, "metrics": {}}],
            "comparisons": {},
        },
    ],
}
FOUND = {"audit": AUDIT, "metrics": {"n": 1000}, "report": {"purpose": "  "}}


def _write(tmp_path: Path, values: dict[str, Any], name: str = "own.yaml") -> str:
    path = tmp_path / name
    path.write_text(yaml.safe_dump(values))
    return str(path)


def _own(tmp_path: Path, **answer: Any) -> dict[str, Any]:
    """The only row of a list with one answer."""
    values = copy.deepcopy(OWN)
    values["items"][0]["answers"] = [{"what": "w", **answer}]
    (profile,) = read_profiles([_write(tmp_path, values)]).profiles
    (row,) = evaluate(profile, FOUND)["rows"]
    return dict(row)


def test_the_default_is_all_that_are_shipped() -> None:
    assert sorted(NAMES) == sorted(path.stem for path in SHIPPED.glob("*.yaml"))
    assert len(read_profiles(NAMES).profiles) == len(NAMES) == 4


def test_each_is_dated_sourced_and_claims_nothing() -> None:
    for profile in read_profiles(NAMES).profiles:
        assert profile.source and profile.about
        assert "complian" not in json.dumps(as_json(profile)).lower()
        ids = [item.id for item in profile.items]
        assert len(ids) == len(set(ids))
        # Whatever is asked has an answer somewhere or says what is missing.
        assert all(item.answers or item.missing for item in profile.items)


def test_a_plan_of_them_comes_back_from_json_as_it_was() -> None:
    plan = read_profiles(NAMES)
    assert validate(ProfilesPlan, json.loads(json.dumps(as_json(plan))), "plan") == plan


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "found",
    [
        {},
        {"audit": None},
        {"audit": {"features": None, "gate": None}},
        {"audit": {"features": [None, 3, "x", {"name": "sex"}, {"name": "race", "groups": {}}]}},
        {"audit": {"features": [{"name": "sex", "groups": [{"metrics": None, "n": "many"}]}]}},
        {"decision": {"checks": {}}, "metrics": [], "privacy": 3, "report": "x"},
    ],
)
def test_what_is_not_there_is_missing_and_never_an_error(name: str, found: Any) -> None:
    (profile,) = read_profiles([name]).profiles
    evaluated = evaluate(profile, found)
    for row, item in zip(evaluated["rows"], profile.items, strict=True):
        assert len(row["answers"]) + len(row["missing"]) >= len(item.answers) + len(item.missing)
    json.dumps(evaluated, allow_nan=False)


def test_a_figure_comes_with_its_interval(tmp_path: Path) -> None:
    row = _own(tmp_path, path="audit.gate.impact_ratio")
    (answer,) = row["answers"]
    assert answer["figures"] == [{"label": "", "value": 0.9, "low": 0.85, "high": 0.95}]
    assert row["missing"] == ["a date"]


def test_each_of_several_has_its_name_and_the_suppressed_are_counted(tmp_path: Path) -> None:
    row = _own(tmp_path, path="audit.features[name=sex].groups[*].n")
    (answer,) = row["answers"]
    assert [(f["label"], f["value"]) for f in answer["figures"]] == [
        ("women", 500), ("men", 480)
    ]  # fmt: skip
    assert (answer["of"], answer["withheld"]) == (3, 1)
    assert row["missing"] == ["w (1 of 3 suppressed)", "a date"]


def test_the_smallest_is_named(tmp_path: Path) -> None:
    path = "audit.features[*].groups[*].metrics.selection_rate"
    (answer,) = _own(tmp_path, path=path, pick="smallest")["answers"]
    assert [f["label"] for f in answer["figures"]] == ["sex: women"]
    (answer,) = _own(tmp_path, path=path, pick="largest")["answers"]
    assert [f["value"] for f in answer["figures"]] == [0.9]


def test_groups_under_two_per_cent_are_listed(tmp_path: Path) -> None:
    share = {"share_of": "metrics.n", "under": 0.02}
    (answer,) = _own(tmp_path, path="audit.features[*].groups[*].n", **share)["answers"]
    assert [(f["label"], f["value"]) for f in answer["figures"]] == [
        ("sex x age: women, young", 0.015)
    ]
    (answer,) = _own(tmp_path, path="audit.features[name=sex].groups[*].n", **share)["answers"]
    assert answer["figures"] == [{"label": "", "text": "none"}]


def test_what_is_blank_or_suppressed_is_missing(tmp_path: Path) -> None:
    assert _own(tmp_path, path="report.purpose")["missing"] == ["w (not in this report)", "a date"]
    row = _own(
        tmp_path,
        path="audit.features[*].comparisons.to_highest[group=unknown].impact_ratio",
    )
    assert row["missing"] == ["w (suppressed)", "a date"]


def test_a_pattern_finds_features_by_name() -> None:
    assert find(FOUND, "audit.features[name~^(?!.* x ).*(SEX|gender)].name") == [("sex", "sex")]
    assert find(FOUND, "audit.features[name~ x ].name") == [("sex x age", "sex x age")]
    assert find(FOUND, "audit.features[name~race].name") == []
    flags = "audit.features[*].comparisons.to_highest[below_four_fifths=true].group"
    assert find(FOUND, flags) == [("sex", "women")]


def test_yes_is_counted_and_no_is_not(tmp_path: Path) -> None:
    path = "audit.features[*].comparisons.to_highest[*].below_four_fifths"
    (answer,) = _own(tmp_path, path=path, pick="count")["answers"]
    assert (answer["figures"][0]["value"], answer["of"], answer["withheld"]) == (1, 3, 1)


def test_a_number_is_found_by_its_value() -> None:
    sweep = {"points": [{"approval_rate": rate, "share": rate - 0.01} for rate in (0.4, 0.5)]}
    path = "audit.sweep.points[approval_rate=0.5].share"
    assert find({"audit": {"sweep": sweep}}, path) == [("", 0.49)]


def test_the_law_of_new_york_finds_sex_and_misses_race() -> None:
    (profile,) = read_profiles(["nyc_local_law_144"]).profiles
    rows = {row["id"]: row for row in evaluate(profile, FOUND)["rows"]}
    (rate, ratio) = rows["5-301(b), sex"]["answers"]
    assert [f["value"] for f in rate["figures"]] == [0.8, 0.9]
    assert [f["value"] for f in ratio["figures"]] == [0.75, 1.0]
    assert rows["5-301(b), race or ethnicity"]["answers"] == []
    assert len(rows["5-301(b), both"]["missing"]) == 2


@pytest.mark.parametrize(
    "path",
    [
        "",
        "audit.",
        "audit..n",
        "nothing.n",
        "audit[",
        "audit.f[name]",
        "audit.f[*",
        "a b",
        "audit.f[n~(]",
    ],
)
def test_a_path_that_cannot_be_read_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(UserError) as caught:
        _own(tmp_path, path=path)
    assert "\n" not in str(caught.value)
    assert parse("audit.gate") == [("audit", []), ("gate", [])]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"verdict": "met"}, r"own\.yaml\.verdict = 'met': unknown key"),
        ({"as_of": "yesterday"}, r"own\.yaml\.as_of"),
        ({"as_of": "2024-13-01"}, r"own\.yaml\.as_of"),
        ({"as_of": "20240131"}, r"own\.yaml\.as_of"),
        ({"items": []}, r"own\.yaml\.items"),
        ({"title": "  "}, r"own\.yaml\.title"),
    ],
)
def test_a_file_that_says_something_else_is_one_line(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said) as caught:
        read_profiles([_write(tmp_path, {**OWN, **change})])
    assert "\n" not in str(caught.value)


def test_an_unknown_key_of_an_item_is_one_line(tmp_path: Path) -> None:
    values = copy.deepcopy(OWN)
    values["items"][0]["answer"] = []
    with pytest.raises(UserError, match=r"items\.0\.answer: unknown key"):
        read_profiles([_write(tmp_path, values)])


def test_a_bare_date_is_a_date(tmp_path: Path) -> None:
    path = Path(_write(tmp_path, OWN))
    path.write_text(path.read_text().replace("'2024-02-29'", "2024-02-29"))
    assert read_profiles([str(path)]).profiles[0].as_of == "2024-02-29"


def test_a_name_that_nobody_ships_and_a_file_that_is_not_there() -> None:
    with pytest.raises(UserError, match=r"audit\.profiles names 'gdpr'"):
        read_profiles(["gdpr"])
    with pytest.raises(UserError, match=r"nowhere\.yaml is missing"):
        read_profiles(["nowhere.yaml"])
    assert read_profiles([]).profiles == ()
