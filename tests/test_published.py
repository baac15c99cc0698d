"""What is computed from training rows is either in the ledger or stays inside: the whole walk."""

import hashlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from tests import tiny, walk

pytestmark = pytest.mark.pipeline

STAGES = (
    "plan", "fetch", "prepare", "train", "twin", "predict", "audit", "explain", "attack", "gate",
    "report", "register",
)  # fmt: skip
SALT = "salt-of-the-split-5417"
# Every published file, and why it may be shown.
FILES = {
    "model/weights.safetensors": "the ledger's events",
    "model/config.json": "settings",
    "model/privacy_spent.json": "the account",
    "model/ledger.json": "the account",
    "model/null_block.json": "coins alone",
    "model/bars.json": "settings",
    "model/thresholds.json": "the ledger's events",
    "predictions/published/metrics.json": "held-out people",
    "audit/published/audit.json": "held-out people, an event of their own",
    "attributions/published/attributions.json": "held-out people",
    "attack/published/attack.json": "one word, whose chance of being wrong is stated",
    "decision/decision.json": "verdicts over published figures",
    "figures.json": "published figures",
    "report/published/report.html": "published figures",
    "report/published/model_card.md": "published figures",
    "report/published/model_card.json": "published figures",
    "report/published/sbom.json": "names and versions of installed packages",
}
BY_SETTING = {"model/thresholds.json"}
# Names in MLflow: figures of held-out people, the account, coins. Nothing of training rows.
METRICS = re.compile(
    r"(auc|accuracy|loss|ece|calibration_slope|calibration_intercept|brier|skill|tpr|fpr|fnr|ppv|"
    r"base_rate|selection_rate|positives|n|threshold|approval_rate|impact_ratio|gap_by_sex|epsilon|delta|"
    r"null_block_noise_scale|null_block_epsilon_lower_bound)(_low|_high)?"
)
TAGS = {
    "attack", "lineage", "mlflow.runName", "mlflow.user", "null_block", "reasons",
    "sordino.content", "sordino.model", "sordino.recipe", "sordino.state", "status", "verdict",
    "mlflow.source.name", "mlflow.source.type", "model", "score", "epsilon", "delta",
}  # fmt: skip

# Runs the stages in one process and writes down all entropy that they draw.
DRIVER = f"""
import os, sys
drawn, system = [], os.urandom
def urandom(size):
    found = system(size)
    if size >= 24 and size <= 64:
        drawn.append(found.hex())
    return found
os.urandom = urandom
from importlib import import_module
for stage in {STAGES!r}:
    module = import_module("tasks." + stage.replace("twin", "train"))
    module.main(["tiny", "--twin"] if stage == "twin" else ["tiny"])
import json
from tasks.register import content_digest
json.dump({{"keys": drawn, "content": content_digest("tiny")}}, open(sys.argv[1], "w"))
"""


def _recipe() -> dict[str, Any]:
    """The small recipe, with a salt that is found where it stands."""
    found = json.loads(json.dumps(tiny.RECIPE))
    found["data"]["split"]["salt"] = SALT
    found["privacy"] |= {"population": 1500, "delta": 5e-5}
    return dict(found)


def _people(root: Path, people: int = 2347) -> None:
    """Rows whose every name and number is its own."""
    rng = np.random.default_rng(3)
    frame = tiny.raw_rows(people)
    letters = rng.choice(list("bcdfghjkmnpqrtvwxz"), (people, 14))
    debts = {f"d{i + 1}": frame[f"d{i + 1}"] + rng.normal(0, 1e-4, people) for i in range(3)}
    names = ["person-" + "".join(row) for row in letters]
    frame.with_columns(id=pl.Series(names), **debts).write_csv(root / "people.csv")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, walk.Needles]:
    """The recipe built from beginning to end, and what must not be found in it.

    The noise is the system's, and the null block and the attack run raise a false alarm in one of
    a thousand runs each, which keeps the weights out of MLflow: then it is built again.
    """
    for _ in range(tiny.BUILDS):
        found = _build(tmp_path_factory.mktemp("walk"))
        if not tiny.false_alarm(found[0]):
            break
    return found


def _build(folder: Path) -> tuple[Path, walk.Needles]:
    """One build in a checkout of its own."""
    root = tiny.copy_checkout(folder / "check out")
    _people(root)
    (root / "params.yaml").write_text(
        yaml.safe_dump({"run": ["tiny"], "recipes": {"tiny": _recipe()}})
    )
    drawn = folder / "drawn"
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(drawn)],
        cwd=root, env={**tiny.variables(), "PYTHONPATH": str(root)}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    (folder / "said").write_text(done.stdout)
    told = json.loads(drawn.read_text())
    return root, walk.needles(root, told["keys"], told["content"])


def _documents(root: Path) -> dict[str, bytes]:
    return walk.published(root) | walk.registered(root)


def test_there_is_something_to_look_for_and_something_to_look_at(
    built: tuple[Path, walk.Needles],
) -> None:
    root, wanted = built
    assert len(wanted.texts) > 2347 and len(wanted.keys) >= 2 and len(wanted.counts) == 1
    found = {what.partition(".")[0] for known in wanted.numbers.values() for what in known.values()}
    assert {"training/curve", "predictions/internal/metrics", "attack/internal/attack"} <= found
    names = set(_documents(root))
    assert {"report/published/report.html", "decision/decision.json"} <= names
    assert any(name.startswith("mlflow.db/tags/") for name in names)
    assert any(name.endswith("published/report.html") and "mlflow" in name for name in names)
    said = (root.parent / "said").read_text()[-1500:]
    assert any(name.endswith("weights.safetensors") and "mlflow" in name for name in names), said


def test_nothing_internal_is_published_or_registered(built: tuple[Path, walk.Needles]) -> None:
    root, wanted = built
    assert walk.leaks(_documents(root), wanted) == []


def test_a_share_of_few_people_is_passed_over_at_its_own_scale_alone() -> None:
    """Two shares of 276 people may be equal by chance; no other number may."""
    wanted = walk.Needles({"nobody": "somebody's id"})
    wanted.add_number(65 / 27600, "a mean score")
    wanted.add_number(0.0041237719034, "a loss")
    for text, found in {
        f"{65 / 276!r}": False, f"{65 / 27600!r}": True,
        "0.41237719034": True, "0.0041237719034": True,
    }.items():  # fmt: skip
        assert bool(walk.leaks({"a.json": text.encode()}, wanted)) == found


def test_every_published_file_is_known_with_its_reason(built: tuple[Path, walk.Needles]) -> None:
    found = set(walk.published(built[0]))
    assert found <= set(FILES) and set(FILES) - found <= BY_SETTING


def test_every_registered_file_is_a_published_one_or_serves_the_model(
    built: tuple[Path, walk.Needles],
) -> None:
    root, _ = built
    runs = re.compile(r"mlflow/artifacts/[0-9a-f]{32}/artifacts/published/(.+)")
    serves = re.compile(
        r"mlflow/artifacts/models/m-[0-9a-f]{32}/artifacts/(code/(rnn|tasks)/.+\.py|MLmodel|"
        r"python_env\.yaml|conda\.yaml|requirements\.txt|input_example\.json|"
        r"serving_input_example\.json|served\.py|artifacts/(weights\.safetensors|config\.json|"
        r"serving\.json)|registered_model_meta)"
    )
    for name in walk.registered(root):
        if name.startswith("mlflow.db"):
            continue
        of_run = runs.fullmatch(name)
        if of_run:
            own = of_run[1]
            if own == "comparison.json":
                # Published figures of two versions.
                continue
            kind, _, rest = own.partition("/")
            known = {own, f"{kind}/published/{rest}", f"report/published/{own}"}
            assert known & set(FILES), name
        else:
            assert serves.fullmatch(name), name


def test_every_name_in_mlflow_is_known(built: tuple[Path, walk.Needles]) -> None:
    root, _ = built
    data = root / "data" / "tiny" / "plan"
    settings = json.loads((data / "train.json").read_text()).keys() | {"gate"}
    base = sqlite3.connect(root / "mlflow" / "mlflow.db")

    def names(table: str, column: str = "key") -> set[str]:
        return {str(row[0]) for row in base.execute(f"SELECT {column} FROM {table}")}

    assert names("metrics") and names("metrics") | names("latest_metrics") <= {
        n for n in names("metrics") if METRICS.fullmatch(n)
    }
    assert {n.partition(".")[0] for n in names("params")} <= settings
    assert names("tags") | names("model_version_tags") <= TAGS
    assert all(re.fullmatch("[0-9a-f]{32}", d) for d in names("datasets", "digest"))
    gap = dict(base.execute("SELECT key, value FROM metrics WHERE key LIKE 'gap_by_%'"))
    base.close()
    # A gap by group is the audit's own published figure with its interval, or there is none.
    (sex,) = _read(root, "audit", "published", "audit.json")["features"]
    told = (sex["comparisons"].get("summary") or {}).get("demographic_parity_difference") or {}
    ends = {"value": "gap_by_sex", "low": "gap_by_sex_low", "high": "gap_by_sex_high"}
    assert gap == {ends[k]: v for k, v in told.items() if k in ends and v is not None}


def test_no_key_of_noise_stands_anywhere(built: tuple[Path, walk.Needles]) -> None:
    assert walk.keys_found(*built) == []


def test_no_weight_is_the_twins(built: tuple[Path, walk.Needles]) -> None:
    from safetensors.numpy import load_file

    model, twin = (
        load_file(built[0] / "data" / "tiny" / name / "weights.safetensors")
        for name in ("model", "twin")
    )
    for name, values in model.items():
        assert not np.any((values == twin[name]) & (values != 0)), name


def test_no_published_figure_draws_what_stays_inside(built: tuple[Path, walk.Needles]) -> None:
    """The walk reads what is written, not what is drawn."""
    page = walk.published(built[0])["report/published/report.html"].decode()
    titles = re.findall(r"<figcaption><strong>(.*?)</strong>", page)
    assert len(titles) >= 3
    assert not [one for one in titles if re.search("training|twin|baseline|norm|member", one, re.I)]


def test_the_officers_commands_work(built: tuple[Path, walk.Needles]) -> None:
    root, _ = built
    digest = _read(root, "report", "published", "model_card.json")["lineage"]
    for more in ([], [digest]):
        done = tiny.run(root, "tasks.lineage", "verify", "tiny", *more)
        assert done.stdout == f"tiny: {digest} is of the 1 raw file(s) that lie here\n"
    wrong = tiny.run(root, "tasks.lineage", "verify", "tiny", "0" * 32)
    assert wrong.returncode == 1 and wrong.stdout.count("\n") == 1
    guide = (tiny.ROOT / "docs" / "officer.md").read_text(encoding="utf-8")
    (code,) = re.findall(r'```\npython -c "\n(.*?)"\n```', guide, re.S)
    (ledger,) = (root / "data" / "population.ledger").glob("*.jsonl")
    said = subprocess.run(
        [sys.executable, "-c", code.replace("NAME", ledger.stem)], cwd=root, check=True,
        env={**tiny.variables(), "PYTHONPATH": str(root)}, capture_output=True, text=True,
    )  # fmt: skip
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert said.stdout.startswith(f"{len(lines)} releases, epsilon 0.")
    # Every field that the guide names is there, and none that it does not.
    named = set(re.findall(r"`(?:event\.)?(\w+)`", guide[guide.index("| field | meaning |") :]))
    for line in lines:
        assert (line.keys() | line["event"].keys()) - {"event", "date", "recipe"} <= named
    link = ""
    for line in lines:
        body = {k: v for k, v in line.items() if k != "link"}
        text = link + json.dumps(body, sort_keys=True, ensure_ascii=False)
        link = hashlib.sha256(text.encode()).hexdigest()
        assert link == line["link"]


def _card(root: Path) -> Path:
    return root / "data" / "tiny" / "report" / "published" / "model_card.json"


def _read(root: Path, *parts: str) -> Any:
    return json.loads(root.joinpath("data", "tiny", *parts).read_text())


def _sql(root: Path, statement: str, *values: str) -> None:
    with sqlite3.connect(root / "mlflow" / "mlflow.db") as base:
        assert base.execute(statement, values).rowcount > 0
    base.close()


def _into_card(root: Path, **more: Any) -> None:
    _card(root).write_text(json.dumps(json.loads(_card(root).read_text()) | more))


def _into_report(root: Path, text: str) -> None:
    page = root / "data" / "tiny" / "report" / "published" / "report.html"
    page.write_text(page.read_text().replace("</main>", f"<p>{text}</p></main>"))


def _raw_digest_in_a_tag(root: Path) -> None:
    digest = _read(root, "raw", "manifest.json")["files"][0]["sha256"]
    _sql(root, "UPDATE tags SET value = ? WHERE key = 'sordino.content'", digest[:20])


def _prepared_digest_as_dataset(root: Path) -> None:
    from tasks.artifacts import digest_folder

    digest = digest_folder(root / "data" / "tiny" / "prepared")
    _sql(root, "UPDATE datasets SET digest = ?", digest[:32])


def _training_loss_as_metric(root: Path) -> None:
    loss = _read(root, "training", "curve.json")["loss"][0]
    _sql(root, "UPDATE metrics SET value = ? WHERE key = 'epsilon'", loss)


def _gradient_norm_in_the_report(root: Path) -> None:
    norm = _read(root, "training", "curve.json")["gradient_norm_median"][0]
    _into_report(root, f"The median norm is {norm:.8g}.")


def _clipped_share_as_per_cent(root: Path) -> None:
    # The twin's loss stands in for a share that happens to be round.
    loss = _read(root, "twin", "curve.json")["loss"][-1]
    _into_report(root, f"{100 * loss:.7g} %")


def _twin_figure_on_the_card(root: Path) -> None:
    auc = _read(root, "predictions", "internal", "metrics.json")["twin"]["auc"]["value"]
    _into_card(root, twin=f"AUC {auc:.9f}")


def _membership_on_the_card(root: Path) -> None:
    found = dict(walk.leaves(_read(root, "attack", "internal", "attack.json")))
    _into_card(root, auc=next(v for k, v in found.items() if k.endswith("auc.low")))


def _training_count_on_the_card(root: Path) -> None:
    people = pl.read_parquet(root / "data/tiny/prepared/arrays/people.parquet")
    _into_report(root, f"Trained on {int((people['split'] == 'train').sum()):,} people.")


def _somebody_in_the_model(root: Path) -> None:
    name = pl.read_csv(root / "people.csv")["id"][17]
    weights = root / "data" / "tiny" / "model" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes() + name.upper().encode())


def _a_cell_in_the_attributions(root: Path) -> None:
    cell = pl.read_csv(root / "people.csv")["d1"][5]
    path = root / "data/tiny/attributions/published/attributions.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"example": cell}))


def _salt_among_the_params(root: Path) -> None:
    _sql(root, "UPDATE params SET value = ? WHERE key = 'train.steps'", SALT)


def _key_in_the_registry(root: Path) -> None:
    key = (root / ".sordino" / "lineage.key").read_text()
    _sql(root, "UPDATE tags SET value = ? WHERE key = 'lineage'", key)


PLANTS = [
    _raw_digest_in_a_tag, _prepared_digest_as_dataset,
    _training_loss_as_metric, _gradient_norm_in_the_report, _clipped_share_as_per_cent,
    _twin_figure_on_the_card, _membership_on_the_card, _training_count_on_the_card,
    _somebody_in_the_model, _a_cell_in_the_attributions, _salt_among_the_params,
    _key_in_the_registry,
]  # fmt: skip


def _changed(root: Path, copy: Path) -> dict[str, bytes]:
    """Return the documents in which two builds differ; the rest was looked at already."""
    before = _documents(root)
    found = {n: text for n, text in _documents(copy).items() if before.get(n) != text}
    assert found
    return found


@pytest.fixture
def copied(built: tuple[Path, walk.Needles], tmp_path: Path) -> Path:
    return Path(shutil.copytree(built[0], tmp_path / "copy"))


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__.strip("_"))
def test_a_planted_leak_is_found(
    built: tuple[Path, walk.Needles], copied: Path, plant: Callable[[Path], None]
) -> None:
    """So that the walk can fail."""
    plant(copied)
    assert walk.leaks(_changed(built[0], copied), built[1])


def test_a_plain_digest_of_the_evidence_is_found(
    built: tuple[Path, walk.Needles], copied: Path
) -> None:
    content = next(
        k for k, what in built[1].texts.items() if what.endswith("all that is registered")
    )
    _sql(copied, "UPDATE tags SET value = ? WHERE key = 'sordino.content'", content + "0" * 20)
    assert walk.leaks(_changed(built[0], copied), built[1])


def test_a_planted_key_is_found_inside_too(built: tuple[Path, walk.Needles], copied: Path) -> None:
    key = next(iter(built[1].keys))
    leftover = copied / ".sordino" / "checkpoints" / "notes.json"
    leftover.parent.mkdir(parents=True, exist_ok=True)
    leftover.write_text(json.dumps({"key": key.hex()}))
    assert walk.keys_found(copied, built[1]) == [".sordino/checkpoints/notes.json"]
    leftover.write_bytes(os.urandom(8) + key)
    assert walk.keys_found(copied, built[1]) == [".sordino/checkpoints/notes.json"]
