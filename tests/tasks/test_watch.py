"""A registered model is watched: files in, a book, a page, MLflow's figures."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from tasks import artifacts, register, registry, watch
from tasks.params import UserError
from tasks.serving.scorer import Scorer
from tasks.watching.book import read_book
from tasks.watching.shown import show
from tests import fake

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
PEOPLE = 600


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with one registered version."""
    root = tmp_path_factory.mktemp("watch") / "a check out"
    for name in ("mlflow", ".sordino", "inbox"):
        (root / name).mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv("DVC_ROOT", raising=False)
        fake.write_recipe()
        _write_params()
        register.register("tiny", root)
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it."""
    root = tmp_path / "a copy"
    shutil.copytree(made, root)
    monkeypatch.chdir(root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return root


def _write_params(**watched: object) -> None:
    """params.yaml with the faked recipe."""
    data = {**fake.WIDE, "decision": {"favourable": 0, "threshold": 0.5}}
    block = {
        "data": data,
        "model": {"hidden_size": 5},
        "train": {"steps": 5, "expected_batch_size": 10},
        "privacy": {"population": 400, "delta": 1e-4, "noise_multiplier": 2.0},
        "gate": {"max_epsilon": 8, "min_group_ratio": 0.8},
        "report": {"title": "Tiny & <small>"},
        "watch": {"first_people": 300, "inbox": "inbox/*.csv", **watched},
    }
    Path("params.yaml").write_text(yaml.safe_dump({"run": ["tiny"], "recipes": {"tiny": block}}))


def new_people(seed: int, people: int = PEOPLE, outcomes: bool = False) -> pl.DataFrame:
    """Raw rows with ids of their own, without the target unless it is asked for."""
    frame = fake.raw_rows("wide", people, seed)
    frame = frame.with_columns(id=pl.col("id") + 10_000 * seed)
    return frame if outcomes else frame.drop("y")


def test_the_first_file_is_the_reference_and_the_same_again_is_quiet(root: Path) -> None:
    for seed in (1, 2, 3):
        new_people(seed).write_csv(f"inbox/week-{seed}.csv")
    watch.main(["tiny"])
    watched = watch.open_watch("tiny")
    book = watched.book
    assert book is not None and book.reference == "the first 600 new people"
    assert [entry["name"] for entry in book.batches] == ["week-2.csv", "week-3.csv"]
    assert book.alarms == [] and len(book.pending) == 3 * PEOPLE
    assert watch.new_files(watched) == []
    page = watch.report_of(watched).read_text()
    assert "Tiny &amp; &lt;small&gt;" in page and "Nothing speaks against the model so far" in page
    assert (
        "sex: women" in page
        and page.count("<svg") >= 1
        and "http" not in page.replace("http://www.w3.org", "")
    )


def test_measures_are_the_scorers_answers(root: Path) -> None:
    new_people(1).write_csv("inbox/a.csv")
    watched = watch.open_watch("tiny")
    book = watch.take(watched, Path("inbox/a.csv"))
    new_people(2).write_csv("inbox/b.csv")
    book = watch.take(watched, Path("inbox/b.csv"))
    answer = pl.DataFrame(watched.scorer.score(new_people(2)))
    means = book.batches[0]["means"]
    assert means["score|"] == [PEOPLE, pytest.approx(answer["score"].mean())]
    rate = (answer["decision"] == "no").mean()
    assert means["favourable decision|"] == [PEOPLE, pytest.approx(rate)]
    women = new_people(2)["sex"] == "f"
    assert means["favourable decision|sex: women"][0] == int(women.sum())
    # A number's channel in 0..1, over the steps where it is there.
    raw = new_people(2).select("d1", "d2", "d3").with_columns(pl.all().clip(0, 100) / 100)
    assert means["input: debt|"][1] == pytest.approx(raw.mean_horizontal().mean(), abs=1e-6)


def test_a_change_of_the_inputs_is_an_alarm_and_stays_one(root: Path, capsys) -> None:
    new_people(1).write_csv("inbox/a.csv")
    watch.main(["tiny"])
    new_people(2).with_columns(d1=pl.lit(120.0), d2=pl.lit(120.0), d3=pl.lit(120.0)).write_csv(
        "inbox/b.csv"
    )
    capsys.readouterr()
    watch.main(["tiny"])
    said = capsys.readouterr().out
    assert "b.csv: " in said and "drift: no longer input: debt: at most" in said
    watched = watch.open_watch("tiny")
    new_people(3).write_csv("inbox/c.csv")
    book = watch.take(watched, Path("inbox/c.csv"))
    assert book.fresh() == [] and book.alarms and book.alarms[0].raised == 1
    assert "Something changed" in watch.report_of(watched).read_text()


def test_outcomes_come_later_and_are_joined_by_person(root: Path) -> None:
    watched = watch.open_watch("tiny")
    for seed in (1, 2):
        new_people(seed).write_csv(f"inbox/{seed}.csv")
        watch.take(watched, Path(f"inbox/{seed}.csv"))
    late = new_people(2, outcomes=True).select("id", "y").head(400)
    late = pl.concat([late, pl.DataFrame({"id": [-1], "y": [1]})])
    late.write_csv("late.csv")
    book = watch.take_outcomes(watched, Path("late.csv"))
    assert len(book.pending) == 2 * PEOPLE - 400
    scores = pl.DataFrame(watched.scorer.score(new_people(2)))["score"].head(400).to_numpy()
    truth = late["y"].head(400).to_numpy()
    found = book.batches[-1]["means"]["calibration|"]
    assert found == [400, pytest.approx((1 + (truth - scores).mean()) / 2)]
    wrong = ((scores >= 0.5) != truth).mean()
    assert book.batches[-1]["means"]["error|"] == [400, pytest.approx(wrong)]
    with pytest.raises(UserError, match=r"late\.csv was read before"):
        watch.take_outcomes(watched, Path("late.csv"))


def test_rows_with_their_outcome_need_no_second_file(root: Path) -> None:
    watched = watch.open_watch("tiny")
    new_people(1, outcomes=True).write_csv("inbox/1.csv")
    watch.take(watched, Path("inbox/1.csv"))
    new_people(2, outcomes=True).write_csv("inbox/2.csv")
    book = watch.take(watched, Path("inbox/2.csv"))
    assert len(book.pending) == 0 and "calibration|sex: men" in book.batches[0]["means"]


def test_held_out_people_are_the_reference_where_they_are_those_of_the_model(root: Path) -> None:
    _write_params(min_people=20)
    # What predict and prepare would have left: the fake has no arrays.
    from tasks.table.arrays import ArraysWriter

    folder = artifacts.folder("tiny", "prepared")
    data = watch.open_watch("tiny").scorer.data
    with artifacts.replacing(folder) as draft, ArraysWriter(draft, data) as writer:
        writer.append(fake.raw_rows("wide"))
        writer.finish()
    new_people(1).write_csv("inbox/1.csv")
    watched = watch.open_watch("tiny")
    book = watch.take(watched, Path("inbox/1.csv"))
    assert book.reference == "40 held-out people of the model's own split"
    assert len(book.batches) == 1
    # Another model's held-out people are no reference.
    weights = artifacts.folder("tiny", "model", "weights.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert watch.begun(watched) is None


def test_mlflow_has_a_run_of_its_own_once(root: Path) -> None:
    for seed in (1, 2):
        new_people(seed).write_csv(f"inbox/{seed}.csv")
    watch.main(["tiny"])
    watched = watch.open_watch("tiny")
    show(watched)
    store = registry.open_store(root)
    place = store.client.get_experiment_by_name("tiny-watch").experiment_id
    (run,) = store.client.search_runs([place])
    history = store.client.get_metric_history(run.info.run_id, "alarms")
    assert [(m.step, m.value) for m in history] == [(1, 0.0)]
    assert "score/everybody" in run.data.metrics
    assert store.read_text(run.info.run_id, "internal/watch.html")


def test_mistakes_are_one_line_and_cost_nothing(root: Path) -> None:
    watched = watch.open_watch("tiny")
    new_people(1).head(200).write_csv("few.csv")
    with pytest.raises(UserError, match=r"few.csv has 200 people: .* watch.first_people = 300"):
        watch.take(watched, Path("few.csv"))
    new_people(1).write_csv("a.csv")
    with pytest.raises(UserError, match="nobody was scored yet"):
        watch.take_outcomes(watched, Path("a.csv"))
    watch.take(watched, Path("a.csv"))
    before = read_book(watched.folder)
    with pytest.raises(UserError, match=r"a\.csv was read before"):
        watch.take(watched, Path("a.csv"))
    new_people(2).with_columns(d1=pl.lit("much")).write_csv("b.csv")
    with pytest.raises(UserError, match=r"column d1, row 1: 'much' is not a number"):
        watch.take(watched, Path("b.csv"))
    new_people(2).drop("d1").write_csv("c.csv")
    with pytest.raises(UserError, match=r"data.sequence.features.debt: .*d1"):
        watch.take(watched, Path("c.csv"))
    new_people(2, outcomes=True).with_columns(y=pl.lit(7)).write_csv("d.csv")
    with pytest.raises(UserError, match=r"data.target: column y, row 1: .*7.* is not among"):
        watch.take(watched, Path("d.csv"))
    after = read_book(watched.folder)
    assert after is not None and before is not None and after.digests == before.digests
    with pytest.raises(UserError, match="other is not there"):
        watch.main(["tiny", "other"])
    _write_params(inbox=None)
    with pytest.raises(UserError, match=r"watch\.inbox is not set"):
        watch.main(["tiny"])
    (watched.folder / "book.json").write_text("{}")
    with pytest.raises(UserError, match="is damaged: move"):
        watch.take(watched, Path("b.csv"))


def test_a_scorer_is_left_as_it_is(root: Path) -> None:
    watched = watch.open_watch("tiny")
    assert isinstance(watched.scorer, Scorer)
    assert watched.scorer.data.decision is not None
    assert np.isfinite(watched.scorer.score(new_people(5).head(3))["score"]).all()
