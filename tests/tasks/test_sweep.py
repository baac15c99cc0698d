"""A search for settings: what is shown, what is charged, what is left after a kill."""

import copy
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import yaml
from safetensors.torch import load_file

from rnn.privacy.ledger import epsilon_of, training_event
from rnn.privacy.selection import Repeats
from tasks import fetch, hunt, plan, population, prepare, sweep, train
from tasks.budget import private_plan
from tasks.params import UserError, load_recipe
from tasks.search import search_of
from tests.tiny import RECIPE, raw_rows

PARAMETERS = {
    "train.learning_rate": {"low": 0.01, "high": 0.2, "log": True},
    "model.hidden_size": [2, 4],
}
STEPS = 6
SCORE = {"metric": "auc", "noise_multiplier": 5.0, "bins": 8}


def blocks(rule="random", privacy=None, ledger=None, sweep=None, **more):
    """A recipe with a search."""
    recipe = copy.deepcopy(RECIPE)
    recipe["train"]["steps"] = STEPS
    recipe["privacy"] = {"population": 360, "delta": 1.0e-4, "noise_multiplier": 4.0}
    recipe["privacy"] |= {"null_canaries": 0, **(privacy or {})}
    recipe["ledger"] = ledger or {}
    recipe["sweep"] = {
        "rule": rule, "trials": 3, "parameters": PARAMETERS, "score": SCORE, **(sweep or {}),
    }  # fmt: skip
    for block, values in more.items():
        recipe[block] |= values
    return recipe


def write(recipe, root):
    text = yaml.safe_dump({"run": ["tiny"], "recipes": {"tiny": recipe}})
    (root / "params.yaml").write_text(text)
    return load_recipe(root / "params.yaml", "tiny")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Prepared data, once."""
    root = tmp_path_factory.mktemp("built")
    raw_rows().write_csv(root / "people.csv")
    write(blocks(), root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for stage in (plan, fetch, prepare):
            stage.main(["tiny"])
    return root


@pytest.fixture
def here(built, tmp_path, monkeypatch):
    root = tmp_path / "check out"
    shutil.copytree(built, root)
    monkeypatch.chdir(root)
    return root


def lines(root):
    found = []
    for file in (root / "data/population.ledger").glob("*.jsonl"):
        found += [json.loads(line) for line in file.read_text().splitlines()]
    return found


def published(root):
    return json.loads((root / "data/tiny/sweep/published/sweep.json").read_text())


def files(root):
    return sorted(str(f.relative_to(root)) for f in root.rglob("*") if f.is_file())


def draw(monkeypatch, trials):
    monkeypatch.setattr(Repeats, "draw", lambda self, stream: trials)


@pytest.fixture
def trained(monkeypatch):
    """Steps that every trial took."""
    took = []
    original = hunt.make_fit

    def counting(*arguments):
        fit = original(*arguments)
        took.append(0)
        step = fit.step

        def one():
            took[-1] += 1
            return step()

        fit.step = one
        return fit

    monkeypatch.setattr(hunt, "make_fit", counting)
    return took


# --- what it costs


def test_an_unseen_search_is_one_event_within_the_target(here):
    target = {"target_epsilon": 3.0, "noise_multiplier": None}
    recipe = write(blocks(privacy=target, sweep={"trials": 10}), here)
    found = search_of(recipe, [])
    (event,) = found.whole
    assert (event.mechanism, event.people, event.delta) == ("stated", "training", 1e-5)
    assert found.epsilon == epsilon_of([event], 1e-4)
    assert 2.99 < found.epsilon <= 3
    assert found.each == ()
    ((_, noise),) = found.noise.items()
    alone = private_plan(recipe).noise_multiplier
    seen = blocks("adaptive", privacy=target, sweep={"trials": 10})
    together = search_of(write(seen, here), [])
    # Dearer than one run, and cheaper than ten that are seen.
    assert alone < noise < next(iter(together.noise.values()))
    assert 2.99 < together.epsilon <= 3
    assert [event.count for event in together.whole] == [10 * STEPS, 10]
    assert [event.count for event in together.each] == [STEPS, 1]


def test_what_is_released_beside_takes_its_part(here):
    target = {"target_epsilon": 3.0, "noise_multiplier": None}
    recipe = write(blocks(privacy=target), here)
    beside = training_event(noise_multiplier=6.0, sample_rate=0.2, steps=10)
    alone, shared = search_of(recipe, []), search_of(recipe, [beside])
    assert shared.epsilon == epsilon_of([*shared.whole, beside], 1e-4) <= 3
    assert min(shared.noise.values()) > max(alone.noise.values())
    dear = training_event(noise_multiplier=0.6, sample_rate=0.5, steps=100)
    with pytest.raises(UserError, match="what is released beside the trials costs"):
        search_of(recipe, [dear])


def test_each_price_has_a_noise_of_its_own_and_the_dearest_decides(here):
    parameters = {**PARAMETERS, "train.steps": [6, 24], "train.expected_batch_size": [30, 120]}
    target = {"target_epsilon": 2.0, "noise_multiplier": None}
    found = search_of(write(blocks(privacy=target, sweep={"parameters": parameters}), here), [])
    assert set(found.noise) == {(6, 30), (6, 120), (24, 30), (24, 120)}
    assert found.noise[6, 30] < found.noise[24, 30] < found.noise[24, 120]
    assert 1.98 < found.epsilon <= 2
    single = {"train.steps": [24], "train.expected_batch_size": [120]}
    one = search_of(write(blocks(privacy=target, sweep={"parameters": single}), here), [])
    # Never less than the dearest price alone needs.
    assert found.noise[24, 120] >= one.noise[24, 120] * 0.999


def test_scores_cost_those_whom_they_count(here):
    def events(rule, **score):
        config = {**SCORE, **score}
        return search_of(write(blocks(rule, sweep={"score": config}), here), []).whole

    reason = "a synthetic table that anybody may download"
    for rule in ("random", "adaptive"):
        training = events(rule)
        assert {e.people for e in training} == {"training"}
        held_out = events(rule, people="held_out")
        assert [e.people for e in held_out] == ["training", "held-out"]
        public = events(rule, people="public", reason=reason)
        assert [e.people for e in public] == ["training"]
        cost = [
            epsilon_of([e for e in found if e.people == "training"], 1e-4)
            for found in (training, held_out, public)
        ]
        assert cost[0] > cost[1] == cost[2]


# --- random: only the winner


def test_only_the_winner_is_left_however_many_trials_there_were(here, monkeypatch, capsys, caplog):
    write(blocks(), here)
    left, printed = [], []
    for trials in (1, 4):
        draw(monkeypatch, trials)
        sweep.main(["tiny"])
        left.append(files(here / "data/tiny/sweep"))
        printed.append(len(capsys.readouterr().out.splitlines()))
        shutil.rmtree(here / "data/population.ledger")
        (lock,) = files(here / ".sordino" / "checkpoints")
        assert lock.endswith("tiny-sweep.lock")
    assert left[0] == left[1] == [
        "internal/arrays.json",
        "internal/winner/bars.json",
        "internal/winner/curve.json",
        "internal/winner/settings.json",
        "internal/winner/state.safetensors",
        "published/sweep.json",
    ]  # fmt: skip
    assert printed[0] == printed[1]
    assert caplog.text == ""
    found = published(here)
    assert found["trials"] is None
    assert set(found["winner"]) == {"parameters", "score", "digits"}
    assert found["sweep"]["trials"] == 3.0
    assert set(found) == {"winner", "sweep", "account", "trials"}


def test_the_best_of_its_trials_wins(here, monkeypatch):
    write(blocks(), here)
    scores = iter([0.3, 0.9, None, 0.5])
    seen = []

    def scored(model, *arguments):
        seen.append(model.config.hidden_size)
        value = next(scores)
        return float("nan") if value is None else value

    draw(monkeypatch, 4)
    monkeypatch.setattr(hunt, "score", scored)
    sweep.main(["tiny"])
    won = published(here)["winner"]
    assert won["score"] == 0.9 and won["parameters"]["model.hidden_size"] == seen[1]
    state = load_file(here / "data/tiny/sweep/internal/winner/state.safetensors")
    assert int(state["step"]) == STEPS


def test_an_unseen_search_is_charged_once_as_one_event(here):
    recipe = write(blocks(), here)
    sweep.main(["tiny"])
    (line,) = lines(here)
    event = line["event"]
    assert (event["mechanism"], event["delta"]) == ("stated", 1e-5)
    assert event["epsilon"] == search_of(recipe, []).whole[0].epsilon
    account = published(here)["account"]
    assert account["epsilon"] == pytest.approx(account["epsilon_together"])
    sweep.main(["tiny"])
    assert len({line["run"] for line in lines(here)}) == 2
    assert published(here)["account"]["epsilon_together"] > account["epsilon"]


def test_a_killed_unseen_search_goes_on_with_the_number_that_was_drawn(here, monkeypatch, trained):
    write(blocks(), here)
    drawn = iter([3, 50])
    monkeypatch.setattr(Repeats, "draw", lambda self, stream: next(drawn))
    original, killed = hunt.independent, []

    def dies(*arguments):
        if len(trained) == 2 and not killed:
            killed.append(True)
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(hunt, "independent", dies)
    with pytest.raises(KeyboardInterrupt):
        sweep.main(["tiny"])
    # Nobody saw anything yet: nothing is charged, nothing is published, one trial is kept.
    assert lines(here) == [] and not (here / "data/tiny/sweep").exists()
    (place,) = (here / ".sordino/checkpoints").glob("tiny-sweep-*/")
    assert len(list(place.glob("run-*"))) == 1
    assert json.loads((place / "standing.json").read_text())["results"] == []
    sweep.main(["tiny"])
    assert trained == [STEPS] * 3
    assert len(lines(here)) == 1 and not place.exists()


def test_a_search_killed_after_its_charge_is_not_charged_again(here, monkeypatch):
    write(blocks(), here)
    original = sweep.digits_of

    def dies(place):
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep, "digits_of", dies)
    with pytest.raises(KeyboardInterrupt):
        sweep.main(["tiny"])
    assert len(lines(here)) == 1 and not (here / "data/tiny/sweep").exists()
    monkeypatch.setattr(sweep, "digits_of", original)
    sweep.main(["tiny"])
    assert len(lines(here)) == 1 and (here / "data/tiny/sweep/published").exists()


def test_a_search_without_a_winner_is_charged_and_says_so(here, monkeypatch):
    write(blocks(sweep={"distribution": "poisson"}), here)
    draw(monkeypatch, 0)
    with pytest.raises(UserError, match="no trial gave a model that can be used"):
        sweep.main(["tiny"])
    assert len(lines(here)) == 1


# --- adaptive: every trial


def test_every_trial_is_listed_and_charged_what_was_planned(here):
    recipe = write(blocks("adaptive"), here)
    sweep.main(["tiny"])
    found = published(here)
    assert [trial["state"] for trial in found["trials"]] == ["COMPLETE"] * 3
    best = max(found["trials"], key=lambda trial: trial["score"])
    assert {k: best[k] for k in ("parameters", "score")} == {
        k: found["winner"][k] for k in ("parameters", "score")
    }
    written = lines(here)
    assert len({line["run"] for line in written}) == 3 and len(written) == 6
    assert sum(e["event"]["count"] for e in written) == 3 * (STEPS + 1)
    together = found["account"]["epsilon_together"]
    assert together == pytest.approx(search_of(recipe, []).epsilon, abs=1e-3)


def test_a_trial_that_is_stopped_or_fails_costs_its_planned_steps(here, monkeypatch, trained):
    """Early stopping gives nothing back: whether a trial stops is seen."""
    write(blocks("adaptive", sweep={"looks": 2, "trials": 5}), here)
    values = iter([0.6, 0.7, 0.6, 0.7, 0.6, 0.7, 0.1, float("nan")])
    monkeypatch.setattr(hunt, "score", lambda *arguments: next(values))
    sweep.main(["tiny"])
    assert trained == [6, 6, 6, 3, 3]
    found = published(here)
    assert [t["state"] for t in found["trials"]] == ["COMPLETE"] * 3 + ["PRUNED", "FAIL"]
    assert [t["score"] for t in found["trials"]][3:] == [None, None]
    runs = list(dict.fromkeys(line["run"] for line in lines(here)))
    assert len(runs) == 5
    for run in runs:
        counts = [line["event"]["count"] for line in lines(here) if line["run"] == run]
        assert counts == [STEPS, 2], "steps and looks as they were planned"


def test_a_killed_trial_stays_charged_once_and_begins_again(here, monkeypatch, trained):
    write(blocks("adaptive"), here)
    original = hunt.score

    def dies(*arguments):
        raise KeyboardInterrupt

    draws = iter([original, dies])
    monkeypatch.setattr(hunt, "score", lambda *arguments: next(draws)(*arguments))
    with pytest.raises(KeyboardInterrupt):
        sweep.main(["tiny"])
    # The second trial had begun: it is in the ledger before its first noise.
    assert len(lines(here)) == 4
    monkeypatch.setattr(hunt, "score", original)
    sweep.main(["tiny"])
    assert len(trained) == 4
    assert len({line["run"] for line in lines(here)}) == 3 and len(lines(here)) == 6


# --- the population


@pytest.mark.parametrize("rule", ["random", "adaptive"])
def test_the_cap_is_refused_before_any_noise(here, monkeypatch, rule):
    recipe = write(blocks(rule, ledger={"max_epsilon": 1.0}), here)
    assert search_of(recipe, []).epsilon > 1

    def never(*arguments):
        raise AssertionError("a trial began")

    monkeypatch.setattr(hunt, "make_fit", never)
    with pytest.raises(UserError, match=r"recipes.tiny: ledger.max_epsilon = 1 would be passed"):
        sweep.main(["tiny"])
    assert lines(here) == []


def test_the_sum_is_shown_before_the_first_trial(here, capsys, monkeypatch):
    recipe = write(blocks("adaptive", ledger={"max_epsilon": 50}), here)

    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(hunt.Hunt, "take", stop)
    with pytest.raises(KeyboardInterrupt):
        sweep.main(["tiny"])
    epsilon = search_of(recipe, []).epsilon
    said = capsys.readouterr().out
    assert f"3 trials, each seen and charged: epsilon {epsilon:.3f} at delta 0.0001" in said
    assert "the population will have spent" in said and "the cap is 50" in said


def test_a_seeded_search_is_repeatable_and_charged_to_nobody(here, capsys):
    write(blocks(privacy={"insecure_seed": 3}), here)
    found = []
    for _ in range(2):
        sweep.main(["tiny"])
        found.append(published(here))
    assert found[0] == found[1] and lines(here) == []
    assert "protects nobody" in capsys.readouterr().out


# --- the winner's model


def adopted(here, rule="random", **more):
    """Search, then set what the search has printed."""
    recipe = blocks(rule, **more)
    write(recipe, here)
    sweep.main(["tiny"])
    for name, value in published(here)["winner"]["parameters"].items():
        block, key = name.split(".")
        recipe[block][key] = value
    recipe["sweep"]["winner"] = published(here)["winner"]["digits"]
    write(recipe, here)
    return recipe


@pytest.mark.parametrize("rule", ["random", "adaptive"])
def test_train_takes_the_winner_over_and_charges_nothing(here, monkeypatch, rule):
    adopted(here, rule)
    before = lines(here)
    plan.main(["tiny"])

    def never(self):
        raise AssertionError("a step was taken")

    monkeypatch.setattr("rnn.fit.Fit.step", never)
    train.main(["tiny"])
    assert lines(here) == before
    state = load_file(here / "data/tiny/sweep/internal/winner/state.safetensors")
    weights = load_file(here / "data/tiny/model/weights.safetensors")
    assert weights and all((value == state[f"average/{n}"]).all() for n, value in weights.items())
    account = published(here)["account"]
    spent = json.loads((here / "data/tiny/model/privacy_spent.json").read_text())
    assert spent["epsilon"] == account["epsilon"] > spent["training_epsilon"]
    ledger = json.loads((here / "data/tiny/model/ledger.json").read_text())
    kept = ("mechanism", "count", "epsilon", "noise_multiplier")
    assert [[e[k] for k in kept] for e in ledger["events"]] == [
        [e[k] for k in kept] for e in account["events"]
    ]
    curve = json.loads((here / "data/tiny/training/curve.json").read_text())
    assert curve["step"] == list(range(1, STEPS + 1))


def test_the_same_winner_gives_the_same_model_again(here):
    adopted(here)
    plan.main(["tiny"])
    models = []
    for _ in range(2):
        train.main(["tiny"])
        models.append({f: (here / "data/tiny/model" / f).read_bytes()
                       for f in ("weights.safetensors", "ledger.json", "bars.json")})  # fmt: skip
    assert models[0] == models[1]


def test_a_winner_of_other_settings_or_data_is_refused(here):
    recipe = adopted(here)
    good = copy.deepcopy(recipe)

    def refused(changed, match):
        write(changed, here)
        plan.main(["tiny"])
        with pytest.raises(UserError, match=match):
            train.main(["tiny"])

    recipe["model"]["hidden_size"] = 9
    refused(recipe, r"was trained with model.hidden_size = \d, not 9")
    other = copy.deepcopy(good)
    other["sweep"]["winner"] = "0123456789ab"
    refused(other, "sweep.winner = '0123456789ab': the winner in .* is")
    arrays = here / "data/tiny/prepared/arrays/static.npy"
    np.save(arrays, np.load(arrays) + 1)
    refused(good, "was trained on other data")
    shutil.rmtree(here / "data/tiny/sweep")
    refused(good, "is not there; search again with python -m tasks.sweep tiny")


def test_without_the_winner_the_plan_trains_as_it_did(here):
    recipe = adopted(here, privacy={"target_epsilon": 3.0, "noise_multiplier": None})
    plan.main(["tiny"])
    taken = json.loads((here / "data/tiny/plan/train.json").read_text())
    assert taken["winner"] and taken["selected"]
    recipe["sweep"]["winner"] = None
    write(recipe, here)
    plan.main(["tiny"])
    alone = json.loads((here / "data/tiny/plan/train.json").read_text())
    assert alone["winner"] is None and alone["selected"] == []
    assert alone["noise_multiplier"] < taken["noise_multiplier"]


# --- settings


@pytest.mark.parametrize(
    ("rule", "settings", "message"),
    [
        ("random", {"parameters": {"train.threads": [1, 2]}}, "parameters names 'train.threads'"),
        ("random", {"parameters": {"privacy.delta": [1e-5]}}, "parameters names 'privacy.delta'"),
        ("random", {"parameters": {"train.steps": {"low": 2, "high": 9}}}, "train.steps: a range"),
        ("adaptive", {"parameters": {"train.steps": [5, 9]}}, "allowed under rule: random alone"),
        ("random", {"parameters": {"model.cell": ["gru", "tcn"]}}, "model.cell = 'tcn'"),
        ("random", {"parameters": {"train.averaging": {"low": 0.5, "high": 1}}}, "averaging = 1"),
        ("random", {"parameters": {"train.expected_batch_size": [360]}}, "must be below"),
        ("random", {"parameters": {"train.learning_rate": {"low": 2, "high": 1}}}, "below high"),
        ("random", {"parameters": {"train.weight_decay": {"low": 0, "high": 1, "log": True}}},
         "must be above 0 where log is true"),
        ("random", {"parameters": {}}, "sweep.parameters"),
        ("random", {"trials": 1}, "sweep.trials = 1"),
        ("random", {"shape": 2.0}, "shape goes with distribution: negative_binomial"),
        ("random", {"distribution": "negative_binomial"}, "and needs it"),
        ("random", {"looks": 2}, "unknown key"),
        ("adaptive", {"trials": 2.5}, "sweep.trials = 2.5"),
        ("random", {"score": {"people": "public"}}, "reason goes with people: public"),
        ("random", {"score": {"people": "public", "reason": "it is"}}, "at least 20 characters"),
        ("random", {"score": {"reason": "because I say that it is so"}}, "with nothing else"),
    ],
)  # fmt: skip
def test_a_bad_search_is_one_clear_line(tmp_path, rule, settings, message):
    with pytest.raises(UserError, match=message) as caught:
        write(blocks(rule, sweep=settings), tmp_path)
    assert "\n" not in str(caught.value)


def test_a_recipe_without_a_search_says_how_to_have_one(here):
    recipe = blocks()
    del recipe["sweep"]
    write(recipe, here)
    with pytest.raises(UserError, match="sweep is not set: name parameters and a rule"):
        sweep.main(["tiny"])
    with pytest.raises(UserError, match="usage"):
        sweep.main([])


def test_the_populations_sum_counts_a_search_like_all_else(here):
    """The stated event and steps of another run add up, at the delta that both share."""
    recipe = write(blocks(), here)
    event = search_of(recipe, []).whole[0]
    steps = training_event(noise_multiplier=4.0, sample_rate=0.2, steps=STEPS)
    entries = [
        population.Entry(run=str(k), recipe="tiny", date="2026-01-01", event=e)
        for k, e in enumerate([event, replace(event), steps])
    ]
    together = population.spent(entries, 1e-4)
    assert together > epsilon_of([event], 1e-4)
    assert together < 2 * event.epsilon + epsilon_of([steps], 1e-5)


def test_a_search_hands_over_to_another_process(here, monkeypatch, trained):
    """The one that is asked stops after its step; the trial begins again, charged once."""
    write(blocks("adaptive"), here)
    monkeypatch.setattr(hunt.Checkpoint, "handover_requested", lambda self: sum(trained) == 8)
    with pytest.raises(UserError, match="another process goes on"):
        sweep.main(["tiny"])
    assert trained == [STEPS, 2] and len(lines(here)) == 4
    monkeypatch.undo()
    monkeypatch.chdir(here)
    sweep.main(["tiny"])
    assert len({line["run"] for line in lines(here)}) == 3 and len(lines(here)) == 6
