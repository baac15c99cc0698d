"""Curves of a run that trains: two experiments, kept apart; no server, no harm."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tasks import train as module
from tasks.checkpoint import sole_writer
from tasks.feed import feed, lines_after
from tasks.live import Mirror, follow
from tasks.registry import Store, open_store
from tests.tasks.test_train import _plan, _prepared

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
PUBLIC, INTERNAL = {"epsilon", "learning_rate"}, {
    "loss", "gradient_norm_median", "clipped_share", "refused",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def trained(private: bool, stage: str) -> Path:
    """Train as main does, with every step told."""
    plan = _plan(private=private)
    with sole_writer(f"r-{stage}", "k") as checkpoint, feed("r", stage, 10, Path("live")) as live:
        live.seconds = 0.0
        module.train(module.make_fit(plan, _prepared()), plan, checkpoint, "r", live=live)
    return Path("live", f"r-{stage}.jsonl")


def runs(store: Store, experiment: str) -> dict[str, Any]:
    """Return the runs of an experiment by the stage that they show."""
    found = store.client.get_experiment_by_name(experiment)
    listed = store.client.search_runs([found.experiment_id]) if found else []
    return {run.data.tags["sordino.stage"]: run for run in listed}


def test_what_hangs_on_people_is_shown_apart(tmp_path: Path) -> None:
    trained(private=True, stage="train")
    trained(private=False, stage="twin")
    store = open_store(tmp_path)
    mirror = Mirror(Path("live"), lambda: store)
    # Each has a first line, ten steps and an end.
    assert mirror.look() == 24 and mirror.look() == 0
    public, internal = runs(store, "r-live"), runs(store, "r-live-internal")
    assert set(public) == {"train"} and set(internal) == {"train", "twin"}
    assert set(public["train"].data.metrics) == PUBLIC
    assert set(internal["train"].data.metrics) == INTERNAL
    # A twin's learning rate belongs to a run that was never released; it has no epsilon.
    assert set(internal["twin"].data.metrics) == {"loss", "refused", "learning_rate"}
    history = store.client.get_metric_history(internal["train"].info.run_id, "loss")
    assert [point.step for point in history] == list(range(1, 11))
    assert {r.info.status for r in (*public.values(), *internal.values())} == {"FINISHED"}
    # Another one that follows the same feeds adds nothing, and finds the same runs.
    Mirror(Path("live"), lambda: store).look()
    again = store.client.get_metric_history(internal["train"].info.run_id, "loss")
    assert len(again) == 10 and len(runs(store, "r-live")) == 1


class Remembered:
    """A registry that keeps what it is told, by experiment."""

    def __init__(self) -> None:
        self.points: dict[str, list[Any]] = {}
        self.ended: list[str] = []
        self.times: dict[str, list[int | None]] = {}

    def watch_run(
        self, experiment: str, _name: str, _tags: Mapping[str, str], began: int | None = None
    ) -> str:
        self.times.setdefault(experiment, []).append(began)
        return experiment

    def log_points(self, run: str, points: list[Any]) -> None:
        self.points.setdefault(run, []).extend(points)

    def end_run(self, run: str, status: str, at: int) -> None:
        self.ended.append(f"{run} {status}")
        self.times[run].append(at)


def test_a_server_that_is_down_is_told_once_and_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained(private=True, stage="train")
    monkeypatch.setattr("tasks.live.PATIENCE", 0.0)
    said: list[str] = []

    def down() -> Store:
        raise ConnectionError("nobody\nanswers")

    mirror = Mirror(Path("live"), down)
    follow(mirror, said.append, rounds=3)
    assert said == ["not shown: nobody answers"]
    store: Any = Remembered()
    mirror.opened = lambda: store
    follow(mirror, said.append, rounds=1)
    assert len(said) == 1 and set(store.points) == {"r-live", "r-live-internal"}
    assert store.ended == ["r-live FINISHED", "r-live-internal FINISHED"]


def test_a_run_that_is_going_on_is_shown_as_far_as_it_is() -> None:
    store: Any = Remembered()
    mirror = Mirror(Path("live"), lambda: store)
    assert mirror.look() == 0
    with pytest.raises(KeyboardInterrupt), feed("r", "train", 10, Path("live")) as live:
        live.add(1, {"epsilon": 0.5}, {"loss": 2.0})
        mirror.look()
        assert [p[:3] for p in store.points["r-live"]] == [("epsilon", 0.5, 1)]
        assert [p[:3] for p in store.points["r-live-internal"]] == [("loss", 2.0, 1)]
        live.add(2, {}, {"loss": 1.0}, always=True)
        raise KeyboardInterrupt
    mirror.look()
    assert [p[:3] for p in store.points["r-live-internal"]] == [("loss", 2.0, 1), ("loss", 1.0, 2)]
    assert store.ended == ["r-live KILLED", "r-live-internal KILLED"]


@pytest.mark.parametrize("speed", [0.25, 30.0])
def test_times_and_steps_in_public_tell_nothing_of_samples(
    monkeypatch: pytest.MonkeyPatch, speed: float
) -> None:
    """A run whose steps take long, for many people were in them, looks like one that flies."""
    clock = {"now": 1000.9}
    monkeypatch.setattr("tasks.feed.time.time", lambda: clock["now"])
    monkeypatch.setattr("tasks.feed.time.monotonic", lambda: clock["now"])
    with feed("r", "train", 400, Path("live")) as live:
        for step in range(1, 11):
            clock["now"] += speed * step
            live.add(step, {"learning_rate": 0.1}, {"loss": 2.0}, always=step == 5)
    store: Any = Remembered()
    Mirror(Path("live"), lambda: store).look()
    points = [("learning_rate", 0.1, step, 1_000_000 + 1000 * step) for step in (4, 5, 8)]
    assert store.points["r-live"] == points
    assert store.times["r-live"] == [1_000_000, 1_008_000]
    # Who may see losses may see what time it was.
    assert store.times["r-live-internal"][-1] == int(1000 * (1000.9 + 55 * speed))


def test_a_feed_costs_a_step_next_to_nothing() -> None:
    with feed("r", "train", 200_000, Path("live")) as live:
        begun = time.process_time()
        for step in range(2_000):
            live.add(step, {"epsilon": 1.0}, {"loss": 1.0})
        cost = (time.process_time() - begun) / 2_000
    assert cost < 1e-4
    assert len(lines_after(Path("live", "r-train.jsonl"), 0)[0]) < 60
