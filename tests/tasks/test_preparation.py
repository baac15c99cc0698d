"""What prepare draws from training people: charged before, drawn once, and used by all later."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from rnn.config import ModelConfig, PrivacyConfig, TrainConfig
from rnn.privacy.ledger import epsilon_of
from tasks import artifacts, population, prepare
from tasks.params import UserError, as_json, validate
from tasks.recipe import DataConfig, PopulationPlan, TrainPlan
from tasks.settings.preparation import (
    PreparationPlan,
    drawn_of,
    preparation_events,
    preparation_plan,
)
from tasks.table import release
from tasks.table.encode import encode
from tasks.table.released import read_data, resolved
from tasks.table.sources import resolve

PEOPLE = 3000
PRIVACY = PrivacyConfig(population=2000, delta=1e-5, target_epsilon=3.0)
BOUNDS = {"epsilon": 2.0, "range": [-1000, 1000], "low_quantile": 0.05, "high_quantile": 0.95}


@pytest.fixture(autouse=True)
def _checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test in a folder of its own."""
    monkeypatch.chdir(tmp_path)


def table() -> pl.DataFrame:
    """Numbers of one size in training, a thousand times larger among the held-out."""
    rng = np.random.default_rng(0)
    side = np.where(np.arange(PEOPLE) % 3, "train", "test")
    size = np.where(side == "train", 1.0, 1000.0)
    return pl.DataFrame(
        {
            "id": [f"p{i}" for i in range(PEOPLE)],
            "side": side,
            **{f"x{i}": rng.normal(20, 10, PEOPLE).round(2) * size for i in (1, 2)},
            "w": np.where(side == "train", rng.choice(["a", "b"], PEOPLE), "held-out"),
            "sex": rng.choice(["f", "m"], PEOPLE, p=[0.25, 0.75]),
            "y": rng.choice([0, 1], PEOPLE),
        }
    ).with_columns(
        x1=pl.when(pl.int_range(pl.len()) % 10 == 1).then(None).otherwise("x1"),
        w=pl.when(pl.col("id") == "p1").then(pl.lit("rare")).otherwise("w"),
    )


def block(**changes: Any) -> dict[str, Any]:
    """A wide recipe whose bounds and values are not public."""
    number = {"name": "x", "columns": ["x1", "x2"], "private_bounds": BOUNDS}
    base = {
        "source": {"kind": "path", "path": "table.csv"},
        "person": "id",
        "sequence": {"layout": "wide", "steps": ["one", "two"], "features": [number]},
        "static": [{"name": "ward", "column": "w", "private_values": {"epsilon": 1.0}}],
        "target": {"column": "y", "kind": "binary", "classes": [0, 1]},
        "sensitive": [{"name": "sex", "column": "sex", "labels": {"f": "women", "m": "men"}}],
        "split": {"salt": "s", "column": "side"},
    }
    return {**base, **changes}


def plan(values: dict[str, Any], recipe: str = "toy", cap: float | None = None) -> DataConfig:
    """Write what prepare reads."""
    data = validate(DataConfig, values, "test")
    artifacts.write_section(recipe, "data", data)
    artifacts.write_section(recipe, "preparation", preparation_plan(data, PRIVACY))
    training = TrainPlan(
        model=ModelConfig(),
        train=TrainConfig(steps=10, expected_batch_size=20),
        privacy=PRIVACY,
        sample_rate=0.01,
        noise_multiplier=4.0,
    )
    artifacts.write_section(recipe, "train", training)
    people = PopulationPlan(population="people", max_epsilon=cap)
    artifacts.write_section(recipe, "population", people)
    files = [as_json(file) for file in resolve(data.source)]
    artifacts.write_json(artifacts.folder(recipe, "raw", "manifest.json"), {"files": files})
    return data


def run(values: dict[str, Any], recipe: str = "toy", cap: float | None = None) -> DataConfig:
    """Prepare the table; return the data block as later stages read it."""
    if not Path("table.csv").exists():
        table().write_csv("table.csv")
    plan(values, recipe, cap)
    prepare.main([recipe])
    return read_data(recipe)


def arrays(recipe: str = "toy") -> Path:
    """Where prepare writes."""
    return artifacts.folder(recipe, "prepared", "arrays")


def releases(recipe: str = "toy") -> list[dict[str, Any]]:
    """What preparation.json says."""
    found: list[dict[str, Any]] = artifacts.read_json(arrays(recipe) / "preparation.json")[
        "releases"
    ]
    return found


def test_bounds_and_values_are_those_of_training_people() -> None:
    data = run(block())
    (feature,) = data.sequence.features  # type: ignore[union-attr]
    low, high = feature.bounds
    train = table().filter(pl.col("side") == "train")
    values = np.concatenate([train["x1"].drop_nulls(), train["x2"]])
    assert np.quantile(values, 0.01) <= low <= np.quantile(values, 0.12)
    assert np.quantile(values, 0.88) <= high <= np.quantile(values, 0.999)
    assert data.static[0].values == ("a", "b"), "neither a rare value nor one of held-out people"
    # What stands in the arrays is encoded by them, and so are new rows.
    prepared = artifacts.read_prepared("toy")
    encoded = encode(table().head(40), data)
    np.testing.assert_array_equal(prepared.sequences.sequences[:80], encoded.sequences)
    np.testing.assert_array_equal(prepared.sequences.static[:40], encoded.static)
    assert prepared.schema["static"][1]["value"] == "b"


def test_the_price_is_what_was_planned_and_stands_in_the_ledger() -> None:
    run(block())
    planned = preparation_events(validate(DataConfig, block(), "test"), PRIVACY)
    assert [e.epsilon * e.count for e in planned if e.epsilon] == [2.0, 1.0]
    assert planned[1].delta == pytest.approx(1e-7) and planned[0].delta == 0
    entries = population.read("people")
    assert tuple(entry.event for entry in entries) == planned
    assert [found["event"] for found in releases()] == [e.as_dict() for e in planned]
    assert population.spent(entries, 1e-5) == pytest.approx(epsilon_of(planned, 1e-5), rel=1e-3)


def test_preparing_again_draws_nothing_and_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    run(block())
    before = artifacts.digest_folder(arrays())
    monkeypatch.setattr(release, "_draw", None)
    prepare.main(["toy"])
    assert artifacts.digest_folder(arrays()) == before
    assert len(population.read("people")) == 2
    # So does the same question about a feature of another name.
    run(block(static=[block()["static"][0] | {"name": "unit", "unit": "-"}]))
    assert releases()[1]["name"] == "unit"
    # Another recipe that asks the same of the same rows finds the answer too.
    other = block(target={"column": "sex", "kind": "binary", "classes": ["f", "m"]})
    assert run(other, "other").sequence == read_data("toy").sequence
    assert run(other, "other").static[0].values == ("a", "b")
    assert len(population.read("people")) == 2


def test_another_question_or_other_rows_cost_what_is_new() -> None:
    run(block())
    run(block(private_counts={"feature": "sex", "epsilon": 0.5}))
    assert len(population.read("people")) == 3
    counts = releases()[2]["value"]
    truth = table().filter(pl.col("side") == "train")["sex"].value_counts()
    exact = dict(truth.iter_rows())
    assert set(counts) == {"women", "men", "unknown"}
    assert abs(counts["women"] - exact["f"]) < 40 and abs(counts["men"] - exact["m"]) < 40
    table().head(PEOPLE - 1).write_csv("table.csv")
    run(block())
    assert len(population.read("people")) == 5


def test_groups_that_training_reads_have_their_released_sizes() -> None:
    counted = {"feature": "sex", "epsilon": 0.5}
    table().write_csv("table.csv")
    data = plan(block(private_counts=counted))
    artifacts.write_section("toy", "data", replace(data, training_groups="sex"))
    prepare.main(["toy"])
    groups = artifacts.read_prepared("toy").groups
    assert groups is not None and groups.labels == ("women", "men", "unknown")
    assert groups.sizes == tuple(releases()[2]["value"][label] for label in groups.labels)
    # Discrete Laplace noise of scale 2, in all its digits.
    places = np.arange(-400, 401)
    chances = np.exp(-np.abs(places) / 2)
    spread = np.sqrt((places**2 * chances).sum() / chances.sum())
    assert groups.noise == pytest.approx(spread)


def test_a_lost_ledger_is_charged_again_without_another_draw(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run(block())
    before = population.read("people")
    population.path_of("people").unlink()
    monkeypatch.setattr(release, "_draw", None)
    run(block())
    assert [e.event for e in population.read("people")] == [e.event for e in before]


def test_killed_before_it_is_kept_it_is_charged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = release._draw

    def killed(*arguments: Any) -> Any:
        draw(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(release, "_draw", killed)
        with pytest.raises(KeyboardInterrupt):
            run(block())
    assert len(population.read("people")) == 2 and not arrays().exists()
    run(block())
    assert len(population.read("people")) == 2 and len(releases()) == 2


def test_killed_after_it_is_kept_it_is_not_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(prepare, "resolved", killed)
        with pytest.raises(KeyboardInterrupt):
            run(block())
    monkeypatch.setattr(release, "_draw", None)
    run(block())
    assert len(population.read("people")) == 2


def test_the_cap_is_refused_before_anything_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "_draw", None)
    message = r"recipes.toy.ledger.max_epsilon = 2.5 would be passed: people has spent 0.000"
    with pytest.raises(UserError, match=message):
        run(block(), cap=2.5)
    assert population.read("people") == () and not arrays().exists()
    assert not list(Path("data", "population.ledger").rglob("*.json"))


def test_a_training_that_the_cap_forbids_is_refused_before_its_bounds_are_drawn() -> None:
    # What is drawn costs about 3, and the training ahead of it something on top.
    alone = epsilon_of(preparation_events(validate(DataConfig, block(), "test"), PRIVACY), 1e-5)
    with pytest.raises(UserError, match=r"ledger.max_epsilon = \S+ would be passed"):
        run(block(), cap=alone + 1e-3)
    assert population.read("people") == ()
    assert not list(Path("data", "population.ledger").rglob("*.json"))
    run(block(), cap=alone + 1)
    assert len(population.read("people")) == 2
    # What was drawn before is used whatever the cap is now.
    run(block(), cap=0.1)


def test_a_mistake_in_the_table_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "_draw", None)
    here = pl.int_range(1, pl.len() + 1) == 2999
    table().with_columns(y=pl.when(here).then(7).otherwise("y")).write_csv("table.csv")
    with pytest.raises(UserError, match=r"recipes.toy.data.target: column y, row 2999: '7' is not"):
        run(block())
    table().with_columns(x2=pl.col("x2").cast(pl.String) + "?").write_csv("table.csv")
    with pytest.raises(UserError, match=r"column x2, row 1: '.*' is not a number"):
        run(block())
    assert population.read("people") == ()


def test_nothing_kept_is_one_line_and_not_drawn_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two thousand values of one person each: with a larger delta one is shown now and then.
    asked = {"epsilon": 1.0, "delta": 1e-12}
    rare = block(static=[{"name": "who", "column": "id", "private_values": asked}])
    message = r"data.static.who.private_values: nothing was kept: fewer than about 27 training"
    with pytest.raises(UserError, match=message):
        run(rare)
    monkeypatch.setattr(release, "_draw", None)
    with pytest.raises(UserError, match=message):
        run(rare)
    assert len(population.read("people")) == 2


def test_a_public_list_needs_no_delta() -> None:
    listed = {"epsilon": 1.0, "candidates": ["z", "b", "a"]}
    data = run(block(static=[{"name": "ward", "column": "w", "private_values": listed}]))
    assert data.static[0].values == ("b", "a")
    assert population.read("people")[1].event.delta == 0


def test_a_mean_fills_missing_cells_inside_drawn_bounds() -> None:
    number = block()["sequence"]["features"][0] | {"private_missing": {"epsilon": 1.0}}
    sequence = block()["sequence"] | {"features": [number]}
    data = run(block(sequence=sequence, static=[]))
    (feature,) = data.sequence.features  # type: ignore[union-attr]
    assert feature.missing == pytest.approx(20, abs=2)
    low, high = feature.bounds
    prepared = artifacts.read_prepared("toy")
    wanted = 2 * (feature.missing - low) / (high - low) - 1
    assert prepared.sequences.sequences[2, 0] == pytest.approx(wanted, abs=1e-6)
    assert prepared.sequences.missing is not None and prepared.sequences.missing[2, 0] == 1
    assert [e.event.count for e in population.read("people")] == [2, 2]


def test_two_readings_of_the_same_columns_share_bounds() -> None:
    bounds = BOUNDS | {"low": 0.0, "range": [0, 1000]}
    names = ({"transform": "linear"}, {"transform": "log"})
    features = [
        {"name": "x", "columns": ["x1", "x2"], "private_bounds": bounds, **n} for n in names
    ]
    data = run(block(sequence=block()["sequence"] | {"features": features}, static=[]))
    one, other = data.sequence.features  # type: ignore[union-attr]
    assert one.bounds == other.bounds and one.bounds[0] == 0.0
    (entry,) = population.read("people")
    assert (entry.event.count, entry.event.epsilon) == (1, 2.0)


def test_records_are_units_of_their_own_and_characters_are_counted() -> None:
    words = ["anna", "hanna", "hannah"]
    rows = {"t": [words[i % 3] for i in range(PEOPLE)], "y": [str(i % 2) for i in range(PEOPLE)]}
    pl.DataFrame(rows).with_columns(
        t=pl.when(pl.int_range(pl.len()) == 5).then(pl.lit("xénia")).otherwise("t")
    ).write_csv("table.csv")
    layout = {
        "layout": "text", "columns": ["t"], "private_alphabet": {"epsilon": 1.0, "max_values": 4}
    }  # fmt: skip
    values = block(person=None, sequence=layout, static=[], sensitive=[], split={"salt": "s"})
    data = run(values)
    assert data.sequence.alphabet == "ahn"  # type: ignore[union-attr]
    assert artifacts.read_prepared("toy").shape.vocabulary_size == 5


def test_words_are_drawn_and_read_by_all_later() -> None:
    words = ["anna again", "hanna", "hannah"]
    rows = {"t": [words[i % 3] for i in range(PEOPLE)], "y": [str(i % 2) for i in range(PEOPLE)]}
    pl.DataFrame(rows).with_columns(
        t=pl.when(pl.int_range(pl.len()) == 5).then(pl.lit("xénia hanna")).otherwise("t")
    ).write_csv("table.csv")
    layout = {
        "layout": "text", "columns": ["t"], "tokens": "words",
        "vocabulary": {"private": {"epsilon": 1.0, "max_values": 2}},
    }  # fmt: skip
    values = block(person=None, sequence=layout, static=[], sensitive=[], split={"salt": "s"})
    data = run(values)
    (spec,) = data.texts.values()
    assert spec.vocabulary is not None
    assert spec.vocabulary.values == ("again", "anna", "hanna", "hannah")
    assert artifacts.read_prepared("toy").shape.vocabulary_size == 6
    (entry,) = population.read("people")
    assert entry.event.released == "vocabulary of t"


def test_a_public_recipe_is_as_it_was() -> None:
    number = {"name": "x", "columns": ["x1", "x2"], "bounds": [-10, 50]}
    data = run(block(sequence=block()["sequence"] | {"features": [number]}, static=[]))
    assert data == read_data("toy")
    assert not (arrays() / "preparation.json").exists()
    assert not Path("data", "population.ledger").exists()
    other = replace(PRIVACY, delta=1e-6, unit="record")
    assert artifacts.read_section("toy", "preparation", PreparationPlan) == PreparationPlan()
    assert preparation_plan(data, other) == PreparationPlan()


def test_what_was_drawn_for_other_settings_is_not_used() -> None:
    run(block())
    number = {"name": "x", "columns": ["x1", "x2"], "private_bounds": BOUNDS | {"epsilon": 1.0}}
    plan(block(sequence=block()["sequence"] | {"features": [number]}))
    with pytest.raises(UserError, match=r"preparation.json was drawn for other settings"):
        read_data("toy")


def test_deltas_that_leave_nothing_are_refused() -> None:
    wards = [{"name": "ward", "column": "w", "private_values": {"epsilon": 1.0, "delta": 1e-5}}]
    data = validate(DataConfig, block(static=wards), "test")
    with pytest.raises(ValueError, match=r"use a delta of 1e-05 in all, which must be below"):
        preparation_events(data, PRIVACY)


def test_filling_in_needs_one_value_for_each() -> None:
    data = validate(DataConfig, block(), "test")
    filled = resolved(data, [[0, 1], ["a"]])
    assert drawn_of(filled) == () and len(drawn_of(data)) == 2
    with pytest.raises(ValueError, match="zip"):
        resolved(data, [[0, 1]])
