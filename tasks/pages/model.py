"""What the network is and how it was fitted, and which files and versions it is made of."""

from collections.abc import Mapping
from typing import Any

from tasks.pages.exhibits import Table
from tasks.pages.html import number

Json = dict[str, Any]

CELLS = {"rnn": "plain recurrent", "lstm": "LSTM", "gru": "GRU"}
POOLED = {
    "last": "the last state",
    "mean": "the mean of all states",
    "attention": "a weighted mean of all states, by attention",
}
# Kinds of target that the head answers from one pooled state.
ONE_ANSWER = ("binary", "multiclass", "regression")


def _reads(shape: Json) -> str:
    """What comes in at a step, and beside the sequence."""
    tokens, size = shape["vocabulary_size"], shape["input_size"]
    step = f"one of {number(tokens)} tokens a step" if tokens else f"{number(size)} numbers a step"
    beside = shape["static_size"]
    return f"{step}, and {number(beside)} numbers beside the sequence" if beside else step


def _recurrence(model: Json) -> str:
    """Cell, layers, units, directions."""
    layers = "one layer" if model["num_layers"] == 1 else f"{model['num_layers']} layers"
    ways = ", both ways" if model["bidirectional"] else ""
    return f"{CELLS[model['cell']]}, {layers} of {number(model['hidden_size'])} units{ways}"


def network(config: Json, weights: int) -> Table:
    """Return the network in names and values.

    Args:
        config: model/config.json.
        weights: how many.
    """
    model, shape = config["model"], config["shape"]
    task, conv = shape["task"], model.get("conv") or []
    rows = [("Reads", _reads(shape))]
    if shape["vocabulary_size"]:
        rows.append(("Vector of a token", f"{number(model['embedding_size'])} numbers"))
    if conv:
        rows.append(("Convolutions before the recurrence", number(len(conv))))
    rows.append(("Recurrence", _recurrence(model)))
    if task in ONE_ANSWER:
        rows.append(("The head reads", POOLED[model["pooling"]]))
    if task == "seq2seq":
        rows.append(("Decoder's attention", model["attention"]))
    if model["head_sizes"]:
        rows.append(("Layers of the head", ", ".join(map(number, model["head_sizes"]))))
    rows += [("Dropout", f"{model['dropout']:g}")] if model["dropout"] else []
    rows += [("Answers", f"{number(shape['output_size'])} numbers, {task.replace('_', ' ')}")]
    rows += [("Weights", number(weights))]
    return Table(("Part", "What it is"), tuple(rows))


def fitting(settings: Json, sample_rate: float | None) -> Table:
    """Return how the model was fitted.

    Args:
        settings: blocks of the recipe.
        sample_rate: chance of a row to be in a step.
    """
    train = settings["train"]
    rows = [
        ("Optimizer", f"{train['optimizer']}, learning rate {train['learning_rate']:g}, "
                      f"{train['schedule']}"),
        ("Steps, as planned", number(train["steps"])),
        ("Rows of a step, expected", number(train["expected_batch_size"])),
    ]  # fmt: skip
    if sample_rate:
        rows.append(("Chance of a row to be in a step", f"{sample_rate:.4g}"))
    if train.get("gradient_clip"):
        rows.append(("Gradient of a step at most", f"{train['gradient_clip']:g}"))
    if train.get("weight_decay"):
        rows.append(("Weight decay", f"{train['weight_decay']:g}"))
    if train.get("averaging"):
        rows.append(("Weights averaged, decay", f"{train['averaging']:g}"))
    if train.get("early_stopping"):
        rows.append(("Ended early", "where held-back training rows no longer improved"))
    return Table(("Setting", "Value"), tuple(rows))


def made_of(
    digests: Mapping[str, str],
    versions: list[tuple[str, str]],
    parts: list[tuple[str, str, str]],
) -> tuple[Table, Table, Table]:
    """Return the tables of files with their digests, of versions, and of the environment.

    Args:
        digests: SHA-256 by file.
        versions: by name.
        parts: name, version and licence.
    """
    files = Table(("File", "SHA-256"), tuple(digests.items()))
    named = Table(("Software", "Version"), tuple(versions))
    return files, named, Table(("Part", "Version", "Licence, as stated"), tuple(parts))
