"""The GPU's script tried out on the CPU, and what it does where there is no GPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import cuda
from benchmarks.peers.steps import Shape

ROOT = Path(__file__).resolve().parents[2]
# What a GPU machine has: nothing else of the project's packages may be asked for.
BARE = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in REFUSED:
            raise ImportError(name)
REFUSED = {"polars", "pandas", "mlflow", "dvc", "prefect", "dp_accounting", "sklearn", "pydantic",
           "yaml", "fairlearn", "captum", "safetensors", "matplotlib", "pyarrow", "annotated_types"}
sys.meta_path.insert(0, Refuse())
from benchmarks import cuda
cuda.main(sys.argv[1:])
"""


def _case(cell, label, autocast=False):
    dtype = torch.float32 if autocast else cuda.TYPES[label]
    return cuda.Case(cell, Shape(16, 7, 3, 5), torch.device("cpu"), dtype, autocast)


@pytest.mark.parametrize("cell", cuda.CELLS)
def test_single_precision_is_exact(cell):
    case = _case(cell, "float32")
    assert cuda.exactness(case) < 1e-5
    assert abs(cuda.overshoot(case)) < 1e-5, "every example is clipped to the bound, no further"


@pytest.mark.parametrize("cell", cuda.CELLS)
@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_keeps_to_the_bound(cell, autocast):
    case = _case(cell, "bfloat16", autocast)
    assert 1e-6 < cuda.exactness(case) < 0.1
    assert abs(cuda.overshoot(case)) < 1e-5


def test_the_check_sees_a_wrong_sum(monkeypatch):
    right = cuda.accumulate_clipped

    def doubled(model, losses, bound):
        right(model, losses, bound)
        model.head.weight.summed_grad *= 1.01

    monkeypatch.setattr(cuda, "accumulate_clipped", doubled)
    case = _case("lstm", "float32")
    assert cuda.exactness(case) > 1e-3
    assert cuda.overshoot(case) > 1e-3


def test_rows_carry_their_names(monkeypatch, tmp_path):
    monkeypatch.setattr("benchmarks.step_time.BLOCK_SECONDS", 0.0)
    file = tmp_path / "rows.json"
    asked = ["--device", "cpu", "--shapes", "4x3x2x2", "--cells", "gru", "--rounds", "1"]
    cuda.main([*asked, "--json", str(file)])
    names = [row["name"] for row in json.loads(file.read_text())]
    assert names[0] == "cuda/device"
    assert "cuda/gru/4x3x2x2/float32/ratio_to_plain" in names
    assert "cuda/gru/4x3x2x2/bfloat16/ratio_to_plain" in names


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_there_are_no_rows_and_no_error(tmp_path):
    file = tmp_path / "rows.json"
    command = [sys.executable, "-c", BARE, "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["no CUDA device here: nothing measured"]
    assert json.loads(file.read_text()) == []
