"""The search as a Prefect flow, against Prefect's own test server."""

import asyncio
import copy
import json

import pytest
import yaml

from tasks import fetch, plan, prepare
from tests.tiny import RECIPE, ROOT, raw_rows


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Data of a recipe under both names, each with a rule of its own."""
    root = tmp_path_factory.mktemp("flow")
    raw_rows(300).write_csv(root / "people.csv")
    recipes = {}
    for rule in ("random", "adaptive"):
        recipe = copy.deepcopy(RECIPE)
        recipe["train"]["steps"] = 4
        recipe["privacy"] |= {"noise_multiplier": 5.0, "null_canaries": 0, "delta": 1.0e-4}
        recipe["sweep"] = {
            "rule": rule,
            "trials": 2,
            "parameters": {"train.learning_rate": [0.02, 0.05]},
            "score": {"metric": "accuracy"},
        }
        recipes[rule] = recipe
    (root / "params.yaml").write_text(yaml.safe_dump({"run": list(recipes), "recipes": recipes}))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for stage in (plan, fetch, prepare):
            for name in recipes:
                stage.main([name])
    return root


async def _tasks(run):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    async with get_client() as client:
        found = await client.read_task_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run]))
        )
    return {task.name: task.state.name for task in found}


@pytest.mark.parametrize(
    ("rule", "names"),
    [("random", {"all trials, unseen"}), ("adaptive", {"trial 1 of 2", "trial 2 of 2"})],
)
def test_a_task_a_trial_and_none_for_unseen_ones(page, built, monkeypatch, rule, names):
    from flows import sweep as module

    monkeypatch.setattr(module, "ROOT", built)
    state = module.sweep(rule, return_state=True)
    assert state.is_completed(), state.message
    tasks = asyncio.run(_tasks(state.state_details.flow_run_id))
    assert tasks == dict.fromkeys(names, "Completed")
    assert (built / "data" / rule / "sweep" / "published" / "sweep.json").exists()
    shown = page(state.state_details.flow_run_id)
    trials = [row["trial"] for row in json.loads(shown[f"{rule}-trials"])]
    assert trials == ["winner", *([] if rule == "random" else [1, 2])]
    assert shown[f"{rule}-sweep"] == 100.0 and "winner:" in shown[f"{rule}-winner"]


def test_the_deployment_names_the_flow_and_a_recipe():
    wanted = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    (found,) = (d for d in wanted if d["entrypoint"] == "flows/sweep.py:sweep")
    assert (found["name"], found["parameters"]) == ("credit", {"recipe": "credit"})
    assert found["concurrency_limit"] == 1
