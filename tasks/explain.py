"""Explain stage: what the private model listens to, by which method, and how far to trust it.

B people, T the longest sequence among them, E embedded width, S static channels.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from rnn.batch import PreparedSequences, SequenceBatch
from rnn.model import SequenceModel
from tasks.artifacts import (
    folder,
    read_model,
    read_predictions,
    read_prepared,
    read_section,
    read_sensitive_features,
    replacing,
    write_json,
)
from tasks.evidence import quality
from tasks.evidence.attributions import Attributions, in_target_units, joined, summarise
from tasks.evidence.contributions import Attribute
from tasks.evidence.local import choose, describe, words_of
from tasks.evidence.reading import read
from tasks.evidence.subject import Subject
from tasks.explaining import assess
from tasks.explaining.methods import explain_cells, to_channels
from tasks.explaining.path import integrate, outputs_at
from tasks.explaining.question import Groups, Question, ask, undisturbed
from tasks.explaining.scores import SCORES, Score, rows_at_once
from tasks.params import UserError, command
from tasks.recipe import AuditConfig, ExplainConfig, TargetPlan
from tasks.table.released import read_data

# Passes are small: threads would wait for each other longer than they work.
THREADS = 1
# People that are asked about at once, as a share of the rows of one pass.
_PEOPLE_SHARE = 4


def groups_of(model: SequenceModel, schema: dict[str, Any]) -> Groups:
    """Return the features of a model's channels; all of a token's embedding is one feature."""
    found = []
    for channels, width in ((schema.get("channels") or [], model.shape.input_size),
                            (schema["static"], model.shape.static_size)):  # fmt: skip
        names = [str(channel["feature"]) for channel in channels]
        # Indicators of missing values, if any, follow in the same order.
        names *= width // len(names) if names else 1
        order = list(dict.fromkeys(names))
        found.append(torch.tensor([order.index(name) for name in names], dtype=torch.int64))
    return _embedded(model, *found)


def _embedded(model: SequenceModel, sequence: torch.Tensor, static: torch.Tensor) -> Groups:
    """The groups of what the recurrent layers see."""
    if model.shape.vocabulary_size:
        sequence = torch.zeros(model.config.embedding_size, dtype=torch.int64)
    return Groups(sequence, static)


def _each_channel(model: SequenceModel) -> Groups:
    """Every channel a feature of its own."""
    shape = model.shape
    return _embedded(model, torch.arange(shape.input_size), torch.arange(shape.static_size))


def answer(
    question: Question, groups: Groups, config: ExplainConfig, method: str, *, tokens: bool
) -> Attributions:
    """Return the attributions that answer a question.

    Args:
        question: about B people.
        groups: the channels of each feature.
        config: how.
        method: one of params.yaml's.
        tokens: sum over the embedding, so that each token has one number.
    """
    rows, everyone = config.internal_batch_size, np.arange(len(question))
    ends = [outputs_at(question, everyone, np.full(len(everyone), x), rows) for x in (1.0, 0.0)]
    points = None
    if method == "integrated_gradients":
        found = integrate(question, config.n_steps, config.max_steps, rows)
        sequence, static, points = found.sequence, found.static, found.points
    else:
        sequence, static = to_channels(explain_cells(method, question, groups, config), groups)
    inputs = sequence.sum(2) if tokens else sequence
    lengths = question.lengths.cpu().numpy()
    return Attributions(inputs.numpy(), static.numpy(), lengths, ends[0], ends[1], points)


def attribute(
    model: SequenceModel,
    batch: SequenceBatch,
    config: ExplainConfig,
    groups: Groups | None = None,
    method: str | None = None,
) -> Attributions:
    """Return one batch's attributions against the baseline of zeros.

    Explained is the one number that `tasks.explaining.scores` has for the kind of target. Zero is
    the middle of the public bounds, the absence of a category, and for text of any token.

    Args:
        model: left as it is, hooks and mode included.
        batch: B people, at least one.
        config: how.
        groups: the channels of each feature; a feature a channel by default.
        method: instead of the config's.
    """
    with undisturbed(model):
        return answer(
            ask(model, batch), groups or _each_channel(model), config, method or config.method,
            tokens=batch.inputs.ndim == 2,
        )  # fmt: skip


def attribute_rows(
    model: SequenceModel,
    sequences: PreparedSequences,
    rows: NDArray[np.int64],
    config: ExplainConfig,
    groups: Groups | None = None,
    method: str | None = None,
) -> Attributions:
    """Return the attributions of some rows, in the order given, in bounded memory.

    Args:
        model: as for `attribute`, like the rest.
        sequences: prepared data.
        rows: int64 [B].
        config: internal_batch_size rows of the network at once.
        groups: the channels of each feature.
        method: instead of the config's.
    """
    # People of like length together: little padding.
    order = np.argsort(np.diff(sequences.offsets)[rows], kind="stable")
    at_once = max(1, config.internal_batch_size // _PEOPLE_SHARE)
    parts = [
        attribute(model, sequences.batch(rows[order[i : i + at_once]]), config, groups, method)
        for i in range(0, len(rows), at_once)
    ]
    return joined(parts).take(np.argsort(order))


def measure_quality(
    model: SequenceModel,
    sequences: PreparedSequences,
    rows: NDArray[np.int64],
    groups: Groups,
    config: ExplainConfig,
) -> dict[str, Any]:
    """Return the published quality of the config's method and of those to compare.

    Args:
        model: left as it is.
        sequences: prepared data.
        rows: int64 [B], held-out people.
        groups: the channels of each feature.
        config: methods.
    """
    batch = sequences.batch(rows)
    with undisturbed(model):
        trial = assess.prepare(model, ask(model, batch), batch.inputs, groups, config)
        methods = (config.method, *config.compare)
        tried = {method: assess.attempt(trial, method, config) for method in methods}
    return quality.published(tried, assess.DRAWS)


def explain(
    subject: Subject, second: SequenceModel | None = None
) -> tuple[dict[str, Any], dict[str, Any], pl.DataFrame | None]:
    """Return the published summary, what stays inside, and a row a person and reason.

    Args:
        subject: model, people, groups and settings.
        second: another private model of the same recipe.

    Raises:
        UserError: nobody is held out.
    """
    model, prepared, target = subject.model, subject.prepared, subject.target
    held_out = prepared.rows("test")
    if len(held_out) == 0:
        raise UserError("data.split leaves nobody held out: explain needs at least one person")
    config = _within_memory(subject)
    subject, score = replace(subject, config=config), SCORES[model.shape.task]
    generator = np.random.default_rng(config.seed)
    some = generator.choice(held_out, min(config.people, len(held_out)), replace=False)

    groups = groups_of(model, prepared.schema)

    def found(rows: NDArray[np.int64]) -> Attributions:
        raw = attribute_rows(model, prepared.sequences, np.sort(rows), config, groups)
        return in_target_units(raw, target)

    sample = found(some)
    published = summarise(sample, prepared.schema, config)
    few = np.sort(some[: config.quality_people])
    published["quality"] = measure_quality(model, prepared.sequences, few, groups, config)
    published["explained"] = score.words(target)
    published["unit"] = score.unit
    more = read(subject, np.sort(some), sample, _ways(config, groups), second)
    internal = {"explained": published["explained"], "people": _people(subject, found, score)}
    return {**published, **more.published}, {**internal, **more.internal}, more.reasons


def _within_memory(subject: Subject) -> ExplainConfig:
    """The settings with as many rows at once as fit."""
    config, longest = subject.config, int(np.diff(subject.prepared.sequences.offsets).max())
    rows = rows_at_once(subject.model, longest, config.internal_batch_size)
    return replace(config, internal_batch_size=rows)


def _people(
    subject: Subject, found: Callable[[NDArray[np.int64]], Attributions], score: Score
) -> list[dict[str, Any]]:
    """Explanations of a few people, chosen by rule, under no name."""
    predictions, kind = subject.predictions, subject.target.target.kind
    rows = predictions["row"].to_numpy()
    labels = {name: subject.sensitive[name].gather(rows).to_list()
              for name in subject.sensitive.columns}  # fmt: skip
    chosen = choose(predictions, kind, subject.config.local_people, labels)
    out = []
    for number, (rule, person) in enumerate(chosen, start=1):
        row = np.array([person["row"]])
        with torch.no_grad():
            index = score.index(subject.model, subject.prepared.sequences.batch(row))
        said = words_of(subject.prepared.schema, score.said(index[0]))
        entry = describe(subject.prepared, person, found(row), subject.data, subject.target)
        out.append({"id": f"person {number}", "rule": rule, "said": said, **entry})
    return out


def _ways(config: ExplainConfig, groups: Groups) -> dict[str, Attribute]:
    """The recipe's method, and the first other one to compare with, if there is one."""

    def asked(method: str) -> Attribute:
        return lambda model, sequences, rows: attribute_rows(
            model, sequences, rows, config, groups, method
        )

    return {method: asked(method) for method in (config.method, *config.compare[:1])}


def _second_model(config: ExplainConfig, like: SequenceModel) -> SequenceModel | None:
    """Another private run, where the recipe names one.

    Raises:
        UserError: it reads other data.
    """
    if config.second_model is None:
        return None
    second = read_model(Path(config.second_model))
    if second.shape != like.shape:
        raise UserError(
            f"explain.second_model = {config.second_model!r} was trained on data of another shape"
        )
    return second


def main(argv: list[str]) -> None:
    """python -m tasks.explain RECIPE"""
    if len(argv) != 1:
        raise UserError("usage: python -m tasks.explain RECIPE")
    (recipe,) = argv
    # Sums depend on the number of threads, and numbers next to zero would slow the path down.
    torch.set_num_threads(THREADS)
    torch.set_flush_denormal(True)
    model = read_model(folder(recipe, "model"))
    config = read_section(recipe, "explain", ExplainConfig)
    subject = Subject(
        model,
        read_prepared(recipe),
        read_predictions(recipe),
        read_sensitive_features(recipe),
        read_section(recipe, "target", TargetPlan),
        read_data(recipe),
        config,
        read_section(recipe, "audit", AuditConfig).references,
    )
    published, internal, reasons = explain(subject, _second_model(config, model))
    with replacing(folder(recipe, "attributions", "published")) as draft:
        write_json(draft / "attributions.json", published)
    with replacing(folder(recipe, "attributions", "internal")) as draft:
        write_json(draft / "people.json", internal)
        if reasons is not None:
            reasons.write_parquet(draft / "reasons.parquet")


if __name__ == "__main__":
    command(main)
