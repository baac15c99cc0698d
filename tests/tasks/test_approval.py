"""Approving by name, rejecting, overriding and the way back, in a real registry."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tasks import approve as command
from tasks import register, registry
from tasks.approval import Word, decide, pending, rollback
from tasks.params import UserError
from tests import fake
from tests.tiny import RECIPE

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
ADA, REASON = "Ada Lovelace", "The sample of May shows the same, see the minutes."


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made once")
    registry.open_store(root)
    return registry.database(root)


@pytest.fixture
def root(tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "a check out"
    (root / "mlflow").mkdir(parents=True)
    (root / ".sordino").mkdir()
    registry.database(root).write_bytes(database.read_bytes())
    monkeypatch.chdir(root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    (root / "params.yaml").write_text(yaml.safe_dump({"recipes": {"tiny": RECIPE}}))
    return root


def _version(root: Path, verdict: str = "pass", seed: int = 0, **more) -> registry.Version:
    shutil.rmtree("data", ignore_errors=True)
    fake.write_recipe(verdict=verdict, seed=seed, **more)
    Path("data/tiny/report/published/model_card.md").write_text("# Card\n\nFacts.\n")
    facts = {"answers": [], "lineage": "of the same data"}
    Path("data/tiny/report/published/model_card.json").write_text(json.dumps(facts))
    number = register.register("tiny", root)["version"]
    return registry.open_store(root).version("tiny", str(number))


def _card(store: registry.Store, version: registry.Version) -> str:
    return store.read_text(store.run_of(version), "published/model_card.md") or ""


def test_an_undecided_version_becomes_champion_by_a_name_and_back(root):
    first = _version(root)
    assert first.aliases == ("champion",)
    second = _version(root, "inconclusive", seed=1)
    assert second.aliases == ("challenger",)
    store = registry.open_store(root)
    before = _card(store, second)
    assert "Beside version 1, the champion when" in before and "Performance: AUC" in before
    done = decide(store, pending(store, "tiny"), Word("approve", f" {ADA}  ", REASON))
    assert done.number == second.number and done.aliases == ("champion",)
    assert done.tags["approver"] == ADA and done.tags["replaced"] == first.number
    assert done.tags["status"] == "needs_review", "the gate's word stays"
    card = _card(store, second)
    assert card.startswith(before.rstrip()) and f"| approve | {ADA} |" in card
    facts = store.read_text(store.run_of(second), "published/model_card.json") or ""
    assert json.loads(facts)["signer"]["name"] == ADA
    said = store.description("tiny", second.number)
    assert "published/report.html" in said and f"**approve** by {ADA}: {REASON}" in said
    assert f"[version 2](#/models/tiny/versions/2) (needs\\_review, decided by {ADA})" in (
        store.description("tiny")
    )
    back = rollback(store, "tiny", ADA, REASON)
    assert back.number == first.number and back.aliases == ("champion",)
    lost = store.version("tiny", second.number)
    assert lost.aliases == () and lost.tags["rolled_back"] == f"{ADA}: {REASON}"
    assert "**champion**: [version 1](#/models/tiny/versions/1)" in store.description("tiny")
    card = _card(store, second)
    assert card.count("## Approval") == 1 and "| roll back |" in card
    with pytest.raises(UserError, match="took nobody's place"):
        rollback(store, "tiny", ADA, REASON)


def test_a_rejected_challenger_loses_its_alias_alone(root):
    _version(root)
    second = _version(root, "inconclusive", seed=1)
    store = registry.open_store(root)
    done = decide(store, second, Word("reject", ADA, REASON))
    assert done.aliases == () and done.tags["approval"] == "reject"
    assert store.find("tiny", "champion").number == "1"
    record = json.loads(store.read_text(store.run_of(second), "published/approval.json") or "")
    assert [entry["choice"] for entry in record] == ["reject"]
    with pytest.raises(UserError, match="version 1 is champion: roll it back"):
        decide(store, store.version("tiny", "1"), Word("reject", ADA, REASON))
    # A better one takes the place by itself: there is a way back, but never to a rejected one.
    third = _version(root, seed=2, auc=0.9)
    assert third.aliases == ("champion",) and third.tags["replaced"] == "1"
    store.tag_version(third, {"replaced": "2"})
    with pytest.raises(UserError, match=f"version 2 was rejected by {ADA}: no way back to it"):
        rollback(store, "tiny", ADA, REASON)
    store.tag_version(third, {"replaced": "1"})
    assert rollback(store, "tiny", ADA, REASON).number == "1"
    with pytest.raises(UserError, match="no version with alias 'challenger'"):
        pending(store, "tiny")


@pytest.mark.parametrize(
    ("word", "match"),
    [
        (Word("approve", "Ada", REASON), "a first and last name"),
        (Word("approve", ADA), "reason must be written out"),
        (Word("reject", ADA, "no"), "reason must be written out"),
        (Word("maybe", ADA, REASON), "allowed are approve, reject, override"),  # type: ignore[arg-type]
    ],
)
def test_what_is_missing_is_named_and_nothing_changes(root, word, match):
    version = _version(root, "inconclusive")
    store = registry.open_store(root)
    with pytest.raises(UserError, match=match):
        decide(store, version, word)
    assert store.version("tiny", version.number) == version
    assert store.read_text(store.run_of(version), "published/approval.json") is None


def test_a_failed_version_needs_an_override_and_a_broken_promise_has_none(root):
    store = registry.open_store(root)
    failed = _version(root, "fail")
    with pytest.raises(UserError, match="is rejected: it can be rejected, or overridden"):
        decide(store, failed, Word("approve", ADA, REASON))
    assert decide(store, failed, Word("override", ADA, REASON)).aliases == ("champion",)
    with pytest.raises(UserError, match="is champion already"):
        decide(store, failed, Word("override", ADA, REASON))


def test_nobody_answers_for_a_broken_promise(root):
    store = registry.open_store(root)
    broken = _version(root, "fail", attack="violated", override=True)
    for choice in ("approve", "override"):
        with pytest.raises(UserError, match=r"broken promise of privacy: .*attack"):
            decide(store, broken, Word(choice, ADA, REASON))
    assert decide(store, broken, Word("reject", ADA, REASON)).aliases == ()


def test_the_command_line(root, capsys):
    _version(root, "inconclusive")
    command.main(["tiny", "--approve", "--by", ADA, "--reason", REASON])
    said = capsys.readouterr().out.strip()
    assert said == f"tiny version 1, alias champion (approve by {ADA})"
    for words, match in (
        (["tiny", "--by", ADA], "one of the arguments"),
        (["tiny", "--approve"], "required: --by"),
        (["tiny", "--approve", "--by", ADA, "--version", "9"], "no version '9'; it has: 1"),
        (["tiny", "--rollback", "--by", ADA, "--reason", REASON], "took nobody's place"),
    ):
        with pytest.raises(UserError, match=match):
            command.main(words)
