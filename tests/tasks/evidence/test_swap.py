"""Swapped texts against the same texts typed by hand, and what may be shown of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from rnn.config import ModelConfig
from rnn.model import build
from tasks import artifacts, stats
from tasks.evidence.scoring import model_logits, scores_of
from tasks.evidence.swap import Changes, row_of, swap_audit, texts_of
from tasks.evidence.swap_release import publishable
from tasks.evidence.swap_terms import UNKNOWN
from tasks.params import validate
from tasks.recipe import AuditConfig, DataConfig, SwapGroup, TargetPlan
from tasks.settings.tokens import TextTokens
from tasks.table.encode import encode, input_shape, schema
from tasks.table.tokens import codec_of
from tests.fake import COMMON
from tests.heldout import RELEASE

RECIPE = "texts"
ALPHABET = "abcdefghijklmnopqrstuvwxyz '"
MAX_LENGTH = 14
TARGETS: dict[str, Any] = {
    "binary": {"column": "y", "kind": "binary", "classes": [0, 1], "names": ["no", "yes"]},
    "multiclass": {"column": "y", "kind": "multiclass", "classes": ["a", "b", "c"]},
    "regression": {"column": "y", "kind": "regression", "bounds": [0, 40]},
}
SWAPS = (
    SwapGroup(
        name="pronouns", pairs=(("he", "she"), ("his", "her")), sides=("he", "she"),
        where="anywhere",
    ),
    SwapGroup(
        name="names", pairs=(("bo", "émile"), ("bob", "ann")), sides=("he", "she"),
        where="first_word",
    ),
)  # fmt: skip
PLAN = AuditConfig(bootstraps=100, swaps=SWAPS, profiles=())
TEXTS = [
    "he went", "she went off", "his he", "the shell", "Bob her dog", "dog of bob", "José ann",
    "ann sees he and her", "bo", "", "zhe", "xxxxxxxxxxx he", "HE", "bob, x",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _data(task: str, **sequence: Any) -> DataConfig:
    layout = {
        "layout": "text", "columns": ["t"], "alphabet": ALPHABET, "max_length": MAX_LENGTH
    }  # fmt: skip
    values: dict[str, Any] = {**COMMON, "sequence": {**layout, **sequence}}
    values["target"] = TARGETS[task]
    if task == "binary":
        values["decision"] = {"favourable": 0, "threshold": 0.5}
    values.pop("person")
    return validate(DataConfig, values, "data")


def _scores(raw: list[str], data: DataConfig) -> Any:
    """What the model says of raw texts, through the encoding of prepare."""
    from tasks.served import sequences_of

    encoded = encode(pl.DataFrame({"t": raw}, schema={"t": pl.String}), data)
    model = artifacts.read_model(artifacts.folder(RECIPE, "model"))
    logits = model_logits(model, sequences_of(encoded, data), np.arange(len(encoded)))
    return scores_of(logits, data.target.kind)


def _tree(task: str, raw: list[str], mode: str = "suppressed") -> tuple[DataConfig, pl.DataFrame]:
    """Everything that the swaps read; the first row of prepared is a training row."""
    data = _data(task)
    model = build(ModelConfig(hidden_size=6, embedding_size=5), input_shape(data), 1).eval()
    weights = {name: 3 * tensor for name, tensor in model.state_dict().items()}
    (root := artifacts.folder(RECIPE, "model")).mkdir(parents=True)
    artifacts.write_model(root, model, weights)
    encoded = encode(pl.DataFrame({"t": ["of no use", *raw]}), data)
    arrays = artifacts.folder(RECIPE, "prepared", "arrays")
    arrays.mkdir(parents=True)
    np.save(arrays / "sequences.npy", encoded.sequences)
    np.save(arrays / "offsets.npy", encoded.offsets)
    np.save(arrays / "static.npy", encoded.static)
    np.save(arrays / "targets.npy", np.zeros(len(encoded), dtype=np.int64))
    split = ["train"] + ["test"] * len(raw)
    pl.DataFrame({"person_id": split, "split": split}).write_parquet(arrays / "people.parquet")
    artifacts.write_json(arrays / "schema.json", schema(data))
    artifacts.write_section(RECIPE, "data", replace(data, decision=None))
    artifacts.write_section(RECIPE, "release", replace(RELEASE, mode=mode))
    scores = _scores(raw, data)
    columns: dict[str, Any] = {"row": np.arange(1, len(raw) + 1)}
    if task == "multiclass":
        columns |= {f"score_{k}": scores[:, k] for k in range(3)}
    else:
        columns["y_score"] = (scores + 1) / 2 * 40 if task == "regression" else scores
    path = artifacts.folder(RECIPE, "predictions", "published", "metrics.json")
    decision = {"threshold": float(np.median(scores))} if task == "binary" else None
    artifacts.write_json(path, {"decision": decision})
    return data, pl.DataFrame(columns)


def _audit(data: DataConfig, predictions: pl.DataFrame, plan: AuditConfig = PLAN) -> Any:
    wanted = TargetPlan(target=data.target, decision=data.decision)
    return swap_audit(RECIPE, plan, wanted, predictions, "no" if data.decision else None)


# By hand: number of the text, as it reads with all terms swapped, and its side. A word at the cut
# or beside a character outside the alphabet may be part of another; "émile" cannot be written.
SWAPPED = {
    0: ("she went", 1), 1: ("he went off", -1), 2: ("her she", 1), 4: ("ann his dog", 0),
    7: ("bob sees she a", 0), 12: ("she", 1),
}  # fmt: skip


def test_scores_of_swapped_texts_are_those_of_the_same_texts_typed_by_hand() -> None:
    data, predictions = _tree("binary", TEXTS)
    _, exact = _audit(data, predictions)
    old = _scores(TEXTS, data)[list(SWAPPED)]
    new = _scores([text for text, _ in SWAPPED.values()], data)
    side = np.array([side for _, side in SWAPPED.values()])
    cut = float(np.median(_scores(TEXTS, data)))
    overall = exact["overall"]
    assert (exact["texts"], overall["n"]) == (len(TEXTS), len(SWAPPED))
    flips = int(((old >= cut) != (new >= cut)).sum())
    assert overall["flips"] == flips
    assert overall["flip_rate"] == stats.wilson(flips, 6).as_dict()
    change = overall["mean_absolute_change"]["value"]
    assert change == pytest.approx(np.abs(new - old).mean(), abs=1e-6)
    # Favourable is class 0: P(no) from "he" to "she", whichever the text had.
    toward = (-(new - old) * side)[side != 0]
    assert overall["mean_change"]["value"] == pytest.approx(toward.mean(), abs=1e-6)
    assert overall["mean_change"]["low"] < toward.mean() < overall["mean_change"]["high"]
    pronouns, names = exact["groups"]
    assert (pronouns["n"], names["n"]) == (6, 2)
    assert [pair["n"] for pair in pronouns["pairs"]] == [5, 2]
    assert names["not_in_alphabet"] == [["bo", "émile"]]
    assert [(pair["first"], pair["n"]) for pair in names["pairs"]] == [("bob", 2)]


def test_a_pair_alone_is_swapped_alone() -> None:
    data, predictions = _tree("binary", TEXTS)
    _, exact = _audit(data, predictions)
    pair = exact["groups"][0]["pairs"][1]
    assert (pair["first"], pair["second"], pair["n"]) == ("his", "her", 2)
    old, new = _scores(TEXTS, data)[[2, 4]], _scores(["her he", "bob his dog"], data)
    change = pair["mean_absolute_change"]["value"]
    assert change == pytest.approx(np.abs(new - old).mean(), abs=1e-6)
    # "his" went to "her" in the one text and the other way in the other.
    toward = -(new - old) * np.array([1, -1])
    assert pair["mean_change"]["value"] == pytest.approx(toward.mean(), abs=1e-6)


def test_several_classes_change_by_half_the_sum() -> None:
    data, predictions = _tree("multiclass", TEXTS)
    _, exact = _audit(data, predictions)
    old = _scores(TEXTS, data)[list(SWAPPED)]
    new = _scores([text for text, _ in SWAPPED.values()], data)
    assert exact["overall"]["flips"] == int((old.argmax(1) != new.argmax(1)).sum())
    half = np.abs(new - old).sum(1) / 2
    assert exact["overall"]["mean_absolute_change"]["value"] == pytest.approx(half.mean(), abs=1e-6)
    each, chosen = np.arange(len(old)), old.argmax(1)
    signed = (new[each, chosen] - old[each, chosen]).mean()
    assert exact["overall"]["mean_change"]["value"] == pytest.approx(signed, abs=1e-6)


def test_a_number_changes_in_its_own_unit_and_nothing_flips() -> None:
    data, predictions = _tree("regression", TEXTS)
    _, exact = _audit(data, predictions)
    old = _scores(TEXTS, data)[list(SWAPPED)]
    new = _scores([text for text, _ in SWAPPED.values()], data)
    change = exact["overall"]["mean_absolute_change"]["value"]
    assert change == pytest.approx(20 * np.abs(new - old).mean(), abs=1e-4)
    assert exact["overall"]["flips"] is None
    assert exact["overall"]["flip_rate"]["value"] is None


def test_nothing_changed_is_zero_with_a_high_end() -> None:
    found = row_of(Changes(np.zeros(40, dtype=bool), np.zeros(40), np.zeros(40)), 0.95)
    assert found["flip_rate"]["value"] == 0.0
    assert found["flip_rate"]["high"] == pytest.approx(0.0876, abs=1e-3)
    assert found["mean_change"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_no_text_has_a_term() -> None:
    data, predictions = _tree("binary", ["the", "shell", "other"])
    published, exact = _audit(data, predictions)
    assert exact["overall"]["n"] == 0
    assert published["no_hits"] is True and published["groups"] == []


def test_recipes_without_text_or_without_terms_have_none() -> None:
    data, predictions = _tree("binary", TEXTS)
    assert _audit(data, predictions, replace(PLAN, swaps=())) == (None, None)


def test_where_noise_covers_what_is_published_exact_figures_stay_inside() -> None:
    data, predictions = _tree("binary", TEXTS * 20, mode="noised")
    published, exact = _audit(data, predictions)
    assert published["groups"] == [] and "internal" in published["withheld"]
    assert "overall" not in published and exact["overall"]["n"] == 20 * len(SWAPPED)


def test_the_same_inputs_give_the_same_figures() -> None:
    data, predictions = _tree("binary", TEXTS)
    assert _audit(data, predictions) == _audit(data, predictions)


def test_tokens_and_texts_are_inverse() -> None:
    texts = ["abc", f"a{UNKNOWN}c ", "z"]
    codec = codec_of(TextTokens(alphabet=ALPHABET))
    tokens, offsets = codec.ids(pl.Series(texts))
    assert tokens[:3].tolist() == [2, 3, 4] and tokens[4] == 1
    assert texts_of(tokens, np.diff(offsets), codec) == texts


def _row(n: int, flips: int | None, sided: int | None = None) -> dict[str, Any]:
    sided = n if sided is None else sided
    made = Changes(
        np.arange(n if flips is not None else 0) < (flips or 0), np.zeros(sided), np.zeros(n)
    )
    return row_of(made, 0.95)


def _tables(*pairs: dict[str, Any], n: int, flips: int) -> dict[str, Any]:
    group = {"name": "g", **_row(n, flips), "pairs": list(pairs)}
    return {"texts": 999, "overall": _row(n, flips), "groups": [group]}


def _shown(found: dict[str, Any]) -> list[Any]:
    return [pair["n"] for pair in found["groups"][0]["pairs"]]


def test_few_texts_are_hidden_and_so_is_what_would_give_them_away() -> None:
    found = publishable(_tables(_row(5, 0), _row(100, 40), _row(200, 90), n=305, flips=130), PLAN)
    # 305 - 200 - 100 would be 5.
    assert _shown(found) == [None, None, 200]
    assert found["groups"][0]["n"] == 305
    small, large, _ = found["groups"][0]["pairs"]
    assert small["suppressed"] == "fewer than 30 texts"
    assert large["suppressed"] == "withheld with a smaller one"
    for pair in (small, large):
        assert pair["flip_rate"] is pair["mean_change"] is pair["mean_absolute_change"] is None


def test_hidden_ones_that_are_small_together_take_another_with_them() -> None:
    found = publishable(
        _tables(_row(5, 0), _row(7, 0), _row(40, 15), _row(90, 40), n=142, flips=55), PLAN
    )
    assert _shown(found) == [None, None, None, 90]


def test_few_flips_hide_the_rate_alone() -> None:
    found = publishable(_tables(_row(100, 4), _row(120, 60), _row(150, 60), n=370, flips=124), PLAN)
    pairs = found["groups"][0]["pairs"]
    assert _shown(found) == [100, 120, 150]
    # 124 - 60 - 60 would be 4: another rate goes with it.
    assert pairs[0]["flip_rate"] is None and pairs[1]["flip_rate"] is None
    assert pairs[2]["flip_rate"]["value"] == pytest.approx(0.4)
    assert pairs[0]["mean_absolute_change"] is not None


def test_a_group_that_is_hidden_hides_its_pairs() -> None:
    tables = _tables(_row(20, 5), n=20, flips=5)
    big = {"name": "h", **_row(500, 200), "pairs": [_row(500, 200)]}
    huge = {"name": "i", **_row(900, 300), "pairs": [_row(900, 300)]}
    found = publishable({**tables, "groups": [tables["groups"][0], big, huge]}, PLAN)
    assert [group["n"] for group in found["groups"]] == [None, None, 900]
    assert [group["pairs"][0]["n"] for group in found["groups"]] == [None, None, 900]


def test_counts_that_only_reckoning_needs_are_not_published() -> None:
    found = publishable(_tables(_row(100, 40, sided=12), n=100, flips=40), PLAN)
    for row in (found["overall"], *found["groups"], *found["groups"][0]["pairs"]):
        assert not {"flips", "with_a_side"} & set(row)
    assert found["groups"][0]["pairs"][0]["mean_change"] is None


def test_a_number_has_no_flips_to_hide() -> None:
    group = {"name": "g", **_row(100, None), "pairs": []}
    found = publishable({"texts": 9, "overall": _row(100, None), "groups": [group]}, PLAN)
    assert found["overall"]["n"] == 100 and found["overall"]["mean_change"] is not None
