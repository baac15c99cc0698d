"""The population's ledger: append-only, chained, one line a release, a cap that holds."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from rnn.privacy.ledger import Event, epsilon_of
from tasks import population
from tasks.params import UserError, load_recipe, validate
from tasks.population import Entry, charge, check, path_of, population_of, read, spent, split_of
from tasks.recipe import Source, SourceFile

STEPS = Event(
    released="the gradients of training",
    people="training",
    mechanism="sampled_gaussian",
    noise_multiplier=2.0,
    sample_rate=0.05,
    count=50,
)
AUDIT = Event(released="a histogram", people="held out", mechanism="gaussian", noise_multiplier=5.0)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(population, "DATA", tmp_path / "data")


def test_what_is_charged_is_read_again():
    after = charge("people", "run-1", "credit", [STEPS, AUDIT], 1e-6)
    entries = read("people")
    assert [e.event for e in entries] == [STEPS, AUDIT]
    assert {(e.run, e.recipe) for e in entries} == {("run-1", "credit")}
    assert after == spent(entries, 1e-6)
    assert after == pytest.approx(
        max(epsilon_of([STEPS], 1e-6), epsilon_of([AUDIT], 1e-6)), abs=1e-9
    )


def test_a_second_version_adds_up_and_the_same_run_does_not():
    first = charge("people", "run-1", "credit", [STEPS], 1e-6)
    assert charge("people", "run-1", "credit", [STEPS], 1e-6) == first
    assert len(read("people")) == 1
    second = charge("people", "run-2", "credit", [STEPS], 1e-6)
    assert first < second < 2 * first
    twice = epsilon_of([STEPS, STEPS], 1e-6)
    assert second == pytest.approx(twice, abs=1e-6)


def test_another_split_adds_up_because_it_may_put_a_person_elsewhere():
    """Trained on under one split, held out under the other: that person pays both."""
    once = charge("people", "run-1", "credit", [STEPS, AUDIT], 1e-6, split="a")
    assert once == pytest.approx(epsilon_of([STEPS], 1e-6), abs=1e-9)
    # The same split again: people stay where they are, and the larger of the two sums counts.
    same = spent(read("people"), 1e-6, [AUDIT], "a")
    assert same == pytest.approx(epsilon_of([AUDIT, AUDIT], 1e-6), abs=1e-6)
    assert same < epsilon_of([STEPS, AUDIT, AUDIT], 1e-6)
    # Another split: the dearest way through both is twice in training.
    both = charge("people", "run-2", "credit", [STEPS, AUDIT], 1e-6, split="b")
    assert both == pytest.approx(epsilon_of([STEPS, STEPS], 1e-6), abs=1e-6)
    # With an audit alone under a third split, everybody may have been in training and there.
    third = spent(read("people")[:2], 1e-6, [AUDIT], "c")
    assert third == pytest.approx(epsilon_of([STEPS, AUDIT], 1e-6), abs=1e-6)
    assert third > once
    assert [entry.split for entry in read("people")] == ["a", "a", "b", "b"]


def test_many_splits_are_never_too_low():
    entries = [
        Entry(run=str(k), recipe="r", date="2001-02-03", event=event, split=f"split {k}")
        for k in range(6)
        for event in (AUDIT, replace(AUDIT, people="training"))
    ]
    # 64 ways through six splits; all twelve events together bound every one of them.
    assert spent(entries, 1e-6) == pytest.approx(epsilon_of([AUDIT] * 12, 1e-6), abs=1e-6)
    assert spent(entries[:8], 1e-6) == pytest.approx(epsilon_of([AUDIT] * 4, 1e-6), abs=1e-6)


def test_a_line_of_before_there_were_splits_is_read():
    charge("people", "run-1", "credit", [STEPS], 1e-6)
    path = path_of("people")
    body = json.loads(path.read_text())
    del body["link"], body["split"]
    line = {**body, "link": population._link("", body)}
    path.write_text(json.dumps(line, sort_keys=True) + "\n")
    (entry,) = read("people")
    assert entry.split == ""


def test_a_split_is_named_by_what_decides_where_a_person_goes():
    params = Path(__file__).resolve().parents[2] / "params.yaml"
    data = load_recipe(params, "credit").data
    one, two = (SourceFile(path="a.csv", sha256=k * 64, size=1) for k in "ab")
    assert split_of(data) == split_of(replace(data, sensitive=(), static=()))
    salted = replace(data, split=replace(data.split, salt="another"))
    larger = replace(data, split=replace(data.split, train=data.split.train / 2))
    assert len({split_of(data), split_of(salted), split_of(larger)}) == 3
    # A keyed hash keeps everybody in place when the data change; a date or a column need not.
    assert split_of(data, [one]) == split_of(data, [two])
    stated = replace(data, split=replace(data.split, column="side"))
    assert split_of(stated, [one]) != split_of(stated, [two])


def test_the_cap_is_refused_before_anything_is_written():
    first = charge("people", "run-1", "credit", [STEPS], 1e-6, cap=2.0)
    with pytest.raises(UserError, match="max_epsilon = 1 would be passed: people has spent"):
        charge("people", "run-2", "credit", [STEPS], 1e-6, cap=1.0)
    with pytest.raises(UserError, match="would be infinite"):
        check("people", [Event(released="r", people="training", mechanism="gaussian",
                               noise_multiplier=0.01)], 1e-6, 5.0)  # fmt: skip
    assert len(read("people")) == 1
    assert check("people", [], 1e-6, cap=None) == first


def test_a_changed_or_missing_line_is_found():
    for run in ("a", "b", "c"):
        charge("people", run, "credit", [STEPS], 1e-6)
    path = path_of("people")
    lines = path.read_text().splitlines()
    cheaper = json.loads(lines[1])
    cheaper["event"]["count"] = 1
    for damaged in ([lines[0], json.dumps(cheaper), lines[2]], [lines[0], lines[2]], lines[1:]):
        path.write_text("\n".join(damaged) + "\n")
        with pytest.raises(UserError, match=r"line \d does not follow"):
            read("people")
    path.write_text("\n".join([*lines[:2], "not json"]) + "\n")
    with pytest.raises(UserError, match="line 3 is damaged"):
        charge("people", "d", "credit", [STEPS], 1e-6)


def test_writers_at_the_same_time_lose_nothing():
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda k: charge("people", f"run-{k}", "r", [AUDIT], 1e-6), range(8)))
    assert {e.run for e in read("people")} == {f"run-{k}" for k in range(8)}


def test_recipes_of_the_same_source_share_a_population():
    params = Path(__file__).resolve().parents[2] / "params.yaml"
    credit, names = (load_recipe(params, name).data for name in ("credit", "names"))
    assert population_of(credit) == population_of(replace(credit, sensitive=(), static=()))
    assert population_of(credit) != population_of(names)
    assert population_of(credit).startswith("uci-credit-card-")
    assert population_of(credit) != population_of(replace(credit, person="AGE"))


def test_a_newer_version_or_another_spelling_is_no_other_population():
    """Whoever could begin a budget anew by such a word would have none."""
    data = load_recipe(Path(__file__).resolve().parents[2] / "params.yaml", "names").data

    def named(**source):
        return population_of(replace(data, source=validate(Source, source, "source")))

    wheel = {"kind": "pypi", "package": "Some_Data==1.0", "member": "d/a.csv", "sha256": "0" * 64}
    for change in ({"package": "some-data==2.0"}, {"sha256": "1" * 64}, {"null_values": ["NA"]}):
        assert named(**wheel) == named(**wheel | change)
    for change in ({"package": "some-more==1.0"}, {"member": "d/b.csv"}):
        assert named(**wheel) != named(**wheel | change)
    here = named(kind="path", path="in/people.csv")
    for path in (
        "./in/people.csv",
        "in//people.csv",
        "in/x/../people.csv",
        Path("in/people.csv").absolute(),
    ):
        assert named(kind="path", path=str(path)) == here
    assert named(kind="path", path="../in/people.csv") != here


def test_a_reader_s_options_choose_no_other_people():
    """Two labels of the same people are two releases about them."""
    data = load_recipe(Path(__file__).resolve().parents[2] / "params.yaml", "health").data
    source = data.source
    assert population_of(data).startswith("nafld-")
    for change in ({"options": {"label": "diabetes"}}, {"seconds": 7}, {"gigabytes": 1.0}):
        assert population_of(data) == population_of(replace(data, source=replace(source, **change)))
    newer = [replace(f, package=f.package.partition("==")[0] + "==99") for f in source.files]
    assert population_of(data) == population_of(
        replace(data, source=replace(source, files=tuple(newer)))
    )
    fewer = replace(source, files=source.files[:2])
    assert population_of(data) != population_of(replace(data, source=fewer))
    # Where a column says who is held out, the options may have made it.
    split = replace(data, split=replace(data.split, column="side"))
    other = replace(split, source=replace(source, options={"years": 4}))
    assert split_of(split) != split_of(other)
    assert split_of(data) == split_of(replace(data, source=other.source))
