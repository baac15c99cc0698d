"""Experiments of DVC: an override reaches the plan, and what they release stays written down."""

import json
import subprocess
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides

from rnn.privacy.ledger import Event
from tasks import population
from tasks.params import load_recipe, read_yaml
from tests import tiny

AUTHOR = {f"GIT_{who}_{what}": "ada@example.org"
          for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}  # fmt: skip


@pytest.mark.pipeline
def test_an_override_reaches_the_plan(tmp_path: Path) -> None:
    """The real DVC in a repository of its own."""
    root = tiny.copy_checkout(tmp_path / "check out")
    (root / ".dvc" / "config.local").unlink()
    (root / ".gitignore").write_text("/data/*/\n/.dvc/tmp/\n/.dvc/cache/\n__pycache__/\n")
    for words in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "base")):
        subprocess.run(["git", *words], cwd=root, check=True, env=tiny.variables(**AUTHOR))
    over = ("-S", "recipes.tiny.model.cell=lstm", "-S", "recipes.tiny.train.steps=7")
    done = tiny.run(root, "dvc", "exp", "run", "-n", "short-lstm", *over, "plan@tiny", **AUTHOR)
    assert done.returncode == 0, done.stdout
    plan = json.loads((root / "data/tiny/plan/train.json").read_text())
    assert (plan["model"]["cell"], plan["train"]["steps"]) == ("lstm", 7)
    assert plan["model"]["hidden_size"] == tiny.RECIPE["model"]["hidden_size"]  # type: ignore[index]
    listed = tiny.run(root, "dvc", "exp", "list", "--name-only")
    assert listed.stdout.split() == ["short-lstm"]


def test_what_dvc_writes_is_read_as_it_was_meant(tmp_path: Path) -> None:
    """DVC writes YAML 1.2: words that YAML 1.1 takes for something else lose their quotes."""
    path = tmp_path / "params.yaml"
    words = ["no", "yes", "on", "12:30", "0o17", "007", "1e3", "null", "true", "~", "1_000", "5417"]
    words += ["2005-09-01", "", "-", ".5", "0x1f", "+3", "plain"]
    numbers = [0, -3, 24000, 1.0e-6, 0.5, 1e22, None, True, False]
    values = {"recipes": {"r": {"words": words, "numbers": numbers, "cell": "gru"}}}
    # All words in quotes, as JSON has them.
    path.write_text(json.dumps(values))
    apply_overrides(str(path), ["recipes.r.cell=lstm"])
    values["recipes"]["r"]["cell"] = "lstm"
    assert read_yaml(path) == values


def test_a_whole_recipe_survives_an_override(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text((tiny.ROOT / "params.yaml").read_text(encoding="utf-8"))
    before = load_recipe(path, "credit")
    apply_overrides(str(path), ["recipes.credit.model.hidden_size=16"])
    after = load_recipe(path, "credit")
    assert after.model.hidden_size == 16 and before.model.hidden_size == 32
    assert (after.data, after.privacy, after.gate) == (before.data, before.privacy, before.gate)


def test_a_run_in_a_copy_is_charged_in_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DVC deletes the copy of a queued experiment; what it released stays released."""
    main, copy = tmp_path / "main", tmp_path / "main" / ".dvc" / "tmp" / "exps" / "tmp1"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    monkeypatch.setenv("DVC_ROOT", str(main))
    event = Event(released="counts", people="training", mechanism="stated", epsilon=0.1)
    population.charge("people", "run-1", "tiny", [event], 1e-6)
    assert not list(copy.rglob("*.jsonl"))
    monkeypatch.chdir(main)
    monkeypatch.delenv("DVC_ROOT")
    assert [entry.event for entry in population.read("people")] == [event]
    assert population.path_of("people") == Path("data/population.ledger/people.jsonl")
