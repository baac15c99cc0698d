"""The served model follows its alias in a real registry."""

from pathlib import Path

import pytest

from tasks import register, registry
from tasks.params import UserError
from tasks.serve import options
from tasks.serving.live import Live
from tests import fake

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> registry.Store:
    """A registry with one accepted version of a small model."""
    root = tmp_path / "a check out"
    (root / "mlflow").mkdir(parents=True)
    (root / ".sordino").mkdir()
    monkeypatch.chdir(root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    fake.write_recipe()
    register.register("tiny", root)
    return registry.open_store(root)


def test_another_version_is_taken_up_and_a_broken_look_keeps_the_old(store, monkeypatch):
    live = Live(store, "tiny", "champion", 1)
    assert live.current() is None
    assert live.refresh() and not live.refresh()
    first = live.current()
    assert first is not None and first.identity["version"] == "1"
    version = store.find("tiny", "champion")
    source = store.client.get_model_version("tiny", "1").source
    second = store.register(
        "tiny", source, store.client.get_model_version("tiny", "1").run_id, {}, ""
    )
    store.set_alias(second, "champion")
    assert live.refresh()
    assert live.current() is not first
    assert live.described() == "tiny version 2 (champion)"
    store.set_alias(version, "champion")
    with monkeypatch.context() as broken:
        broken.setattr(registry.Store, "download", _refuse)
        with pytest.raises(UserError):
            live.refresh()
        assert live.described() == "tiny version 2 (champion)"
    assert live.refresh() and live.described() == "tiny version 1 (champion)"


def _refuse(*_: object) -> Path:
    raise UserError("gone")


def test_the_alias_is_looked_at_by_itself(store):
    live = Live(store, "tiny", "champion", 1)
    thread = live.watch(0.05)
    for _ in range(200):
        if live.current() is not None:
            break
        thread.join(0.05)
    live.stop()
    thread.join(5)
    assert live.current() is not None and not thread.is_alive()


def test_what_is_not_there_is_one_line(store):
    with pytest.raises(UserError, match=r"^no model is registered as 'other'"):
        Live(store, "other", "champion", 1).refresh()
    with pytest.raises(
        UserError, match=r"^tiny has no version with alias 'staging'; it has: champ"
    ):
        Live(store, "tiny", "staging", 1).refresh()


def test_options_are_checked():
    assert options(["credit"]).alias == "champion"
    for wrong, match in (
        (["credit", "--port", "99999"], "--port 99999 must be"),
        (["credit", "--every", "0"], "--every 0 must be"),
        (["credit", "--reasons", "21"], "--reasons 21 must be 0 to 20"),
        (["credit", "--prot", "1"], "unrecognized arguments: --prot"),
        ([], "required: recipe"),
    ):
        with pytest.raises(UserError, match=match):
            options(wrong)
