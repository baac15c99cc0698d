"""Reference models: the twin's network, trained without privacy on random halves of the people.

Internal, like the twin. N rows of all people, n of them to be scored, K reference models.
"""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from rnn.fit import Fit
from rnn.model import SequenceModel
from rnn.privacy.noise import Keystream
from tasks.artifacts import Prepared
from tasks.evidence.scoring import row_losses
from tasks.params import UserError
from tasks.recipe import TrainPlan
from tasks.starting.fresh import fresh_model

Rows = NDArray[np.int64]


def halves(persons: Rows, references: int, seed: int) -> NDArray[np.bool_]:
    """Return who is trained on by each reference model, bool [K, N].

    Models 2i and 2i + 1 share a random halving of the persons, so that everybody is in half of
    the models and out of half.

    Args:
        persons: int64 [N], number of the person of each row; a person's rows stay together.
        references: K, even.
        seed: of the halvings.
    """
    rng = np.random.default_rng(seed)
    people = int(persons.max(initial=-1)) + 1
    found = np.zeros((references, len(persons)), dtype=bool)
    for pair in range(references // 2):
        first = np.zeros(people, dtype=bool)
        first[rng.permutation(people)[: (people + 1) // 2]] = True
        found[2 * pair], found[2 * pair + 1] = first[persons], ~first[persons]
    return found


def train_reference(
    plan: TrainPlan, prepared: Prepared, rows: Rows, steps: int, seed: int
) -> SequenceModel:
    """Return the twin's network after a few steps on some rows, on the CPU.

    Args:
        plan: the twin's.
        prepared: all people.
        rows: to train on.
        steps: of the optimizer.
        seed: of initial weights and sampling.

    Raises:
        UserError: the weights are not finite.
    """
    batch = min(plan.train.expected_batch_size, len(rows))
    train = replace(plan.train, steps=steps, expected_batch_size=batch, seed=seed)
    fit = Fit(
        fresh_model(plan, prepared, seed),
        prepared.sequences,
        rows,
        train,
        sample_rate=batch / len(rows),
        mechanism=None,
        keystream=Keystream.from_seed(seed),
        freeze=plan.frozen,
    )
    for _ in range(steps):
        fit.step()
    if not all(bool(t.isfinite().all()) for t in fit.average.values()):
        raise UserError(
            f"attack: a reference model's weights are not finite after {steps} steps; "
            f"lower twin.learning_rate = {train.learning_rate} or attack.reference_steps"
        )
    with torch.no_grad():
        for name, parameter in fit.model.named_parameters():
            parameter.copy_(fit.average[name])
    return fit.model.cpu().eval()


def losses(model: SequenceModel, prepared: Prepared, rows: Rows) -> NDArray[np.float64]:
    """Return a model's loss of each row, float64 [n]."""
    return row_losses(model, prepared.sequences, rows)


def reference_losses(
    plan: TrainPlan,
    prepared: Prepared,
    seen: NDArray[np.bool_],
    rows: Rows,
    steps: int,
    seed: int,
) -> NDArray[np.float64]:
    """Return what each reference model makes of some rows, float64 [K, n].

    Args:
        plan: the twin's.
        prepared: all people.
        seen: bool [K, N], from `halves`.
        rows: int64 [n], to be scored.
        steps: of each model's training.
        seed: of all of it.
    """
    found = np.zeros((len(seen), len(rows)))
    seeds = np.random.SeedSequence([seed, 1]).generate_state(len(seen))
    for number, mine in enumerate(seen):
        own = int(seeds[number])
        model = train_reference(plan, prepared, np.flatnonzero(mine), steps, own)
        found[number] = losses(model, prepared, rows)
    return found
