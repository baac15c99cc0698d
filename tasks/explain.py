"""Explain stage: what the private model listens to, by Integrated Gradients.

B people, T the longest sequence among them, E embedded width, S static channels.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import polars as pl
import torch
from captum.attr import IntegratedGradients
from numpy.typing import NDArray
from torch import Tensor

from rnn.batch import PreparedSequences, SequenceBatch
from rnn.model import SequenceModel, real_steps
from tasks.artifacts import (
    Prepared,
    folder,
    read_model,
    read_predictions,
    read_prepared,
    read_section,
    replacing,
    write_json,
)
from tasks.evidence.attributions import (
    UNITS,
    Attributions,
    explained_words,
    in_target_units,
    summarise,
)
from tasks.evidence.local import choose, describe
from tasks.params import UserError, command
from tasks.recipe import DataConfig, ExplainConfig, TargetPlan

THREADS = 2


@contextlib.contextmanager
def _plain_backward(device: torch.device) -> Iterator[None]:
    """cuDNN has no backward pass of recurrent layers in evaluation mode: off for this call."""
    if device.type != "cuda":
        yield
        return
    with torch.backends.cudnn.flags(enabled=False):
        yield


def _explained(model: SequenceModel, classes: Tensor | None) -> Callable[..., Tensor]:
    """The number of each person that is explained, as a function of captum's inputs."""

    def output(embedded: Tensor, *rest: Tensor) -> Tensor:
        static, lengths = rest if len(rest) == 2 else (embedded.new_zeros(len(embedded), 0), *rest)
        logits = model.forward_embedded(embedded, lengths, static)
        if classes is None:
            return logits.squeeze(1)
        # captum repeats people once a point of the path, all people of a point together.
        index = classes.repeat(len(logits) // len(classes))
        return logits.gather(1, index[:, None]).squeeze(1)

    return output


def attribute(model: SequenceModel, batch: SequenceBatch, n_steps: int) -> Attributions:
    """Return one batch's attributions against the baseline of zeros.

    Explained is the logit of a binary event, the logit of the predicted class, or the
    regression output. Zero is the middle of the public bounds, the absence of a category, and
    for text the absence of any character.

    Args:
        model: in evaluation mode.
        batch: B people, at least one.
        n_steps: points of the Gauss-Legendre rule.

    Source: Sundararajan, Taly, Yan (2017), equation 1.
    """
    device = batch.lengths.device
    with torch.no_grad():
        embedded = model.embed(batch.inputs)
        logits = model.forward_embedded(embedded, batch.lengths, batch.static)
    classes = logits.argmax(1) if model.shape.task == "multiclass" else None
    output = _explained(model, classes)
    inputs = (embedded, batch.static) if model.shape.static_size else (embedded,)
    zeros = tuple(torch.zeros_like(x) for x in inputs)
    with _plain_backward(device):
        shares = IntegratedGradients(output).attribute(
            inputs,
            baselines=zeros,
            additional_forward_args=(batch.lengths,),
            n_steps=n_steps,
            method="gausslegendre",
        )
        with torch.no_grad():
            ends = [output(*x, batch.lengths) for x in (inputs, zeros)]
    real = real_steps(batch.lengths, embedded.shape[1])
    sequence = torch.where(real[..., None], shares[0], 0.0).double()
    if batch.inputs.ndim == 2:
        sequence = sequence.sum(2)
    static = shares[1] if len(shares) > 1 else batch.static.new_zeros(len(batch), 0)
    as_numpy = [x.detach().double().cpu().numpy() for x in (sequence, static, *ends)]
    lengths = batch.lengths.cpu().numpy()
    return Attributions(as_numpy[0], as_numpy[1], lengths, as_numpy[2], as_numpy[3])


def attribute_rows(
    model: SequenceModel,
    sequences: PreparedSequences,
    rows: NDArray[np.int64],
    config: ExplainConfig,
) -> Attributions:
    """Return the attributions of some rows, in the order given, in bounded memory.

    Args:
        model: in evaluation mode.
        sequences: prepared data.
        rows: int64 [B].
        config: n_steps, and internal_batch_size rows times steps at once.
    """
    at_once = max(1, config.internal_batch_size // config.n_steps)
    parts = [
        attribute(model, sequences.batch(rows[i : i + at_once]), config.n_steps)
        for i in range(0, len(rows), at_once)
    ]
    longest = max(part.inputs.shape[1] for part in parts)
    padded = [
        np.pad(p.inputs, [(0, 0), (0, longest - p.inputs.shape[1]), (0, 0)][: p.inputs.ndim])
        for p in parts
    ]
    return Attributions(
        np.concatenate(padded),
        np.concatenate([p.static for p in parts]),
        np.concatenate([p.lengths for p in parts]),
        np.concatenate([p.outputs for p in parts]),
        np.concatenate([p.baseline_outputs for p in parts]),
    )


def explain(
    model: SequenceModel,
    prepared: Prepared,
    predictions: pl.DataFrame,
    config: ExplainConfig,
    target: TargetPlan,
    data: DataConfig,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the published summary and the internal explanations of a few people.

    Raises:
        UserError: nobody is held out.
    """
    held_out = prepared.rows("test")
    if len(held_out) == 0:
        raise UserError("data.split leaves nobody held out: explain needs at least one person")
    generator = np.random.default_rng(config.seed)
    some = generator.choice(held_out, min(config.people, len(held_out)), replace=False)

    def found(rows: NDArray[np.int64]) -> Attributions:
        raw = attribute_rows(model, prepared.sequences, np.sort(rows), config)
        return in_target_units(raw, target)

    published = {**summarise(found(some), prepared.schema, config)}
    published["explained"] = explained_words(target)
    published["unit"] = UNITS[target.target.kind]
    chosen = choose(predictions, target.target.kind, config.local_people)
    people = []
    for number, (rule, person) in enumerate(chosen, start=1):
        one = found(np.array([person["row"]]))
        entry = describe(prepared, person, one, data, target)
        people.append({"id": f"person {number}", "rule": rule, **entry})
    return published, {"explained": published["explained"], "people": people}


def main(argv: list[str]) -> None:
    """python -m tasks.explain RECIPE"""
    if len(argv) != 1:
        raise UserError("usage: python -m tasks.explain RECIPE")
    (recipe,) = argv
    # Sums depend on the number of threads, and numbers next to zero would slow the path down.
    torch.set_num_threads(THREADS)
    torch.set_flush_denormal(True)
    published, internal = explain(
        read_model(folder(recipe, "model")),
        read_prepared(recipe),
        read_predictions(recipe),
        read_section(recipe, "explain", ExplainConfig),
        read_section(recipe, "target", TargetPlan),
        read_section(recipe, "data", DataConfig),
    )
    with replacing(folder(recipe, "attributions", "published")) as draft:
        write_json(draft / "attributions.json", published)
    with replacing(folder(recipe, "attributions", "internal")) as draft:
        write_json(draft / "people.json", internal)


if __name__ == "__main__":
    command(main)
