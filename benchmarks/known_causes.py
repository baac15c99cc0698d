"""Do attribution methods find causes that are known? Sequences made up for the purpose.

`python -m benchmarks.known_causes [--seeds 3] [--people 150] [--json FILE]`

Three tasks, each with a GRU trained on it until it knows the answer:

- position: the sum of three fixed cells, one of them early;
- lag: the value of a channel three steps before a mark that stands elsewhere in each sequence;
  the mark is a cause too;
- interaction: the sign of the product of two cells; neither alone tells anything.

The hit rate is the share of the k true cells that are among the k cells with the largest absolute
attribution, averaged over people whom the model gets right. Rows beginning with `captum_` are
Captum's own methods with its defaults, but 200 draws for KernelShap instead of 25; the others are
ours, by their names in params.yaml and with its defaults.
"""

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from captum import attr
from torch import Tensor, nn
from tqdm import tqdm

from rnn.batch import SequenceBatch
from rnn.config import InputShape, ModelConfig
from rnn.model import SequenceModel, build
from tasks.explaining.methods import METHODS, explain_cells
from tasks.explaining.question import Groups, ask, undisturbed
from tasks.recipe import ExplainConfig

STEPS, CHANNELS, HIDDEN, BATCH, UPDATES, LAG = 12, 4, 32, 256, 900, 3
Made = tuple[Tensor, Tensor, Tensor]


def _cells(rng: np.random.Generator, people: int) -> tuple[np.ndarray, np.ndarray]:
    """Normal values [N, T, D], and room for where the causes are."""
    values = rng.normal(size=(people, STEPS, CHANNELS)).astype(np.float32)
    return values, np.zeros(values.shape, dtype=bool)


def position(rng: np.random.Generator, people: int) -> Made:
    """Return inputs [N, T, D], classes [N], and bool [N, T, D]: where the causes are."""
    x, truth = _cells(rng, people)
    cells = ((1, 0), (6, 1), (10, 2))
    for t, d in cells:
        truth[:, t, d] = True
    y = sum(x[:, t, d] for t, d in cells) > 0
    return torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(truth)


def lag(rng: np.random.Generator, people: int) -> Made:
    """The mark is in channel 0, the value in channel 1."""
    x, truth = _cells(rng, people)
    mark, everyone = rng.integers(LAG, STEPS, people), np.arange(people)
    x[:, :, 0] = 0
    x[everyone, mark, 0] = 1
    truth[everyone, mark, 0] = truth[everyone, mark - LAG, 1] = True
    y = x[everyone, mark - LAG, 1] > 0
    return torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(truth)


def interaction(rng: np.random.Generator, people: int) -> Made:
    """Neither cell tells anything without the other."""
    x, truth = _cells(rng, people)
    truth[:, 3, 1] = truth[:, 9, 3] = True
    y = x[:, 3, 1] * x[:, 9, 3] > 0
    return torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(truth)


TASKS = {"position": position, "lag": lag, "interaction": interaction}


def train(task: str, seed: int) -> SequenceModel:
    """Return a GRU that has seen new people at every update."""
    shape = InputShape(
        input_size=CHANNELS, vocabulary_size=0, static_size=0, output_size=1, task="binary"
    )
    model = build(ModelConfig(cell="gru", hidden_size=HIDDEN), shape, seed)
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=UPDATES)
    for _ in range(UPDATES):
        inputs, classes, _ = TASKS[task](rng, BATCH)
        loss = nn.functional.binary_cross_entropy_with_logits(
            logits(model, inputs), classes.float()
        )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


def logits(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return float [N]."""
    lengths = torch.full((len(inputs),), STEPS)
    return model(inputs, lengths, inputs.new_zeros(len(inputs), 0)).squeeze(1)


class Whole(nn.Module):
    """The model as Captum wants it: one input, one output."""

    def __init__(self, model: SequenceModel):
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        """Return float [N, 1]."""
        return logits(self.model, inputs)[:, None]


def captum_methods(model: SequenceModel) -> dict[str, Callable[[Tensor], Tensor]]:
    """Captum's methods, each with its defaults where it has them."""
    whole = Whole(model)
    zero = torch.zeros(1, STEPS, CHANNELS)
    return {
        "saliency": lambda x: attr.Saliency(whole).attribute(x, target=0),
        "input_x_gradient": lambda x: attr.InputXGradient(whole).attribute(x, target=0),
        "deep_lift": lambda x: attr.DeepLift(whole).attribute(x, zero, target=0),
        "integrated_gradients": lambda x: attr.IntegratedGradients(whole).attribute(
            x, target=0, n_steps=20
        ),
        "gradient_shap": lambda x: attr.GradientShap(whole).attribute(
            x, zero, n_samples=20, target=0
        ),
        "occlusion": lambda x: attr.Occlusion(whole).attribute(x, (1, 1), target=0),
        "shapley_sampling": lambda x: attr.ShapleyValueSampling(whole).attribute(x, target=0),
        "kernel_shap": lambda x: attr.KernelShap(whole).attribute(
            x, target=0, n_samples=200, perturbations_per_eval=200
        ),
    }


def hit_rates(found: Tensor, truth: Tensor) -> Tensor:
    """Return float [N]: the share of the k true cells among the k largest.

    Example:
        >>> found = torch.tensor([[[3.0, -2.0, 1.0]]])
        >>> hit_rates(found, torch.tensor([[[True, False, True]]]))
        tensor([0.5000])
    """
    size, true = found.abs().flatten(1), truth.flatten(1)
    k = int(true[0].sum())
    return true.gather(1, size.topk(k).indices).float().mean(1)


def measure(task: str, seed: int, people: int, config: ExplainConfig) -> dict[str, float]:
    """Return the hit rate of each method on one task and seed, and the model's accuracy."""
    model = train(task, seed)
    inputs, classes, truth = TASKS[task](np.random.default_rng(1000 + seed), 2 * people)
    with torch.no_grad():
        right = (logits(model, inputs) > 0) == classes
    rows = right.nonzero()[:people, 0]
    inputs, classes, truth = inputs[rows], classes[rows], truth[rows]
    lengths = torch.full((len(rows),), STEPS)
    batch = SequenceBatch(inputs, lengths, inputs.new_zeros(len(rows), 0), classes)
    groups = Groups(torch.arange(CHANNELS), torch.arange(0))
    found: dict[str, float] = {"accuracy": float(right.float().mean())}
    with undisturbed(model), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        question = ask(model, batch)
        for name in METHODS:
            shares = explain_cells(name, question, groups, config).sequence
            found[name] = float(hit_rates(shares, truth).mean())
        for name, method in captum_methods(model).items():
            torch.manual_seed(seed)
            found[f"captum_{name}"] = float(hit_rates(method(inputs).detach(), truth).mean())
    return found


def rows_of(found: dict[tuple[str, int], dict[str, float]]) -> list[dict[str, object]]:
    """Return the rows of the table: means over seeds, then over tasks."""
    names = [name for name in next(iter(found.values())) if name != "accuracy"]
    rows: list[dict[str, object]] = []
    for name in ["accuracy", *names]:
        tasks = {t: mean(f[name] for (task, _), f in found.items() if task == t) for t in TASKS}
        whole = mean(tasks.values())
        print(f"{name:32}{whole:8.3f}" + "".join(f"{v:14.3f}" for v in tasks.values()))
        kind = "model" if name == "accuracy" else name
        last = "accuracy" if name == "accuracy" else "top_k_hit_rate"
        parts = {f"explain/known_causes/{kind}/{last}": whole}
        parts |= {f"explain/known_causes/{kind}/{t}/{last}": v for t, v in tasks.items()}
        rows += [{"name": n, "value": round(v, 4), "unit": "share"} for n, v in parts.items()]
    return rows


def main() -> None:
    """Measure and print; exit with an error where the default is not the best."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--people", type=int, default=150)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    config = ExplainConfig()
    started = time.perf_counter()
    runs = [(task, seed) for task in TASKS for seed in range(options.seeds)]
    found = {
        (task, seed): measure(task, seed, options.people, config)
        for task, seed in tqdm(runs, unit="model", disable=None)
    }
    print(f"{'':32}{'all':>8}" + "".join(f"{task:>14}" for task in TASKS))
    rows = rows_of(found)
    print(f"{time.perf_counter() - started:.0f} s, {time.process_time():.0f} s of the processor")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    rate = {str(r["name"]).split("/")[2]: float(str(r["value"])) for r in rows
            if str(r["name"]).count("/") == 3}  # fmt: skip
    best = max((v, k) for k, v in rate.items() if k.startswith("captum_"))
    if rate[config.method] < best[0]:
        sys.exit(
            f"error: {config.method} {rate[config.method]:.3f} is below {best[1]} {best[0]:.3f}"
        )


if __name__ == "__main__":
    main()
