"""Secrets in invented text: would this recipe's training give them away?

A run of the recipe's training on texts that nobody wrote, discarded afterwards. Random secrets of
one format are put in, each or not by a coin of its own. Whoever sees the model alone ranks them by
how likely it finds them; the guesses of the coins are held against the ledger's curve, as those
of the attack run are. The same without privacy stands beside it: it says what would be remembered.

k secrets, n candidates, N texts, V tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rnn.batch import PreparedSequences
from rnn.beam import END_ID, START_ID
from rnn.config import InputShape, PrivacySpent
from rnn.fairness.config import NoMitigation
from rnn.fit import Fit
from rnn.model import SequenceModel, build
from rnn.privacy.ledger import training_event
from rnn.privacy.lower_bounds import lower_bound, violated
from rnn.privacy.mechanism import Mechanism
from rnn.privacy.noise import Keystream
from rnn.privacy.null_verdict import promised_curve
from tasks.evidence.attacked import SIGNIFICANCE, Begin, threads_for
from tasks.evidence.exposure import Format, exposure
from tasks.evidence.scoring import row_losses
from tasks.recipe import AttackConfig, SecretsConfig, TrainPlan

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

# The first id of the vocabulary, behind padding, unknown, start and end.
FIRST = 4
# Words before the secret, and tokens that may stand at each of its places.
_WORDS, _DIGITS = 2, 10
# Tokens that may follow a token in an invented text, and how often another one does.
_FOLLOWERS, _ODD = 3, 0.2


def format_of(vocabulary_size: int, slots: int) -> Format | None:
    """Return what a secret looks like: two fixed words, then ten tokens' worth of choice a slot.

    Args:
        vocabulary_size: V, padding, unknown, start and end included.
        slots: of a secret.

    Returns:
        None where the vocabulary is too small for words and a choice.
    """
    known = range(FIRST, vocabulary_size)
    if len(known) < _WORDS + 2:
        return None
    digits = tuple(known[_WORDS : _WORDS + _DIGITS])
    return Format((*((word,) for word in known[:_WORDS]), *(digits for _ in range(slots))))


def invented_texts(
    vocabulary_size: int, count: int, longest: int, seed: int
) -> list[NDArray[np.int64]]:
    """Return texts that nobody wrote: each token has a few followers, and at times another.

    Args:
        vocabulary_size: V.
        count: of texts.
        longest: tokens, start and end not counted.
        seed: public.
    """
    rng = np.random.default_rng(seed)
    followers = rng.integers(FIRST, vocabulary_size, (vocabulary_size, _FOLLOWERS))
    lengths = rng.integers(1, longest, count, endpoint=True)
    tokens = np.zeros((count, longest), dtype=np.int64)
    before = np.full(count, START_ID)
    for step in range(longest):
        usual = followers[before, rng.integers(0, _FOLLOWERS, count)]
        other = rng.integers(FIRST, vocabulary_size, count)
        before = np.where(rng.random(count) < _ODD, other, usual)
        tokens[:, step] = before
    return [row[:length] for row, length in zip(tokens, lengths, strict=True)]


def as_sequences(texts: Sequence[NDArray[np.int64]], static_size: int) -> PreparedSequences:
    """Return texts as prepared data, each between a start and an end."""
    marked = [np.concatenate([[START_ID], text, [END_ID]]) for text in texts]
    return PreparedSequences(
        sequences=np.concatenate(marked).astype(np.int32),
        missing=None,
        offsets=np.concatenate([[0], np.cumsum([len(text) for text in marked])]),
        static=np.zeros((len(texts), static_size), dtype=np.float32),
        targets=np.zeros(len(texts), dtype=np.int64),
        next_token=True,
    )


@dataclass(frozen=True)
class Planted:
    """Texts with secrets in them.

    Attributes:
        texts: secrets, then candidates, then bystanders.
        present: bool [k], which secrets are trained on.
        candidates: n.
        size: how many secrets the format has.
    """

    texts: PreparedSequences
    present: Flags
    candidates: int
    size: int

    @property
    def rows(self) -> NDArray[np.int64]:
        """Return what is trained on."""
        others = np.arange(len(self.present) + self.candidates, len(self.texts))
        return np.concatenate([np.flatnonzero(self.present), others])

    def surprise(self, model: SequenceModel) -> Array:
        """Return the log-perplexity of secrets and candidates, nats of the whole text, [k + n]."""
        rows = np.arange(len(self.present) + self.candidates)
        steps = np.diff(self.texts.offsets)[rows] - 1
        return row_losses(model, self.texts, rows) * steps


def plant(shape: InputShape, config: SecretsConfig, seed: int) -> Planted | None:
    """Return invented texts with secrets, None where the vocabulary has too few of them.

    Args:
        shape: of the model's input.
        config: how many.
        seed: public: of texts, secrets and coins.
    """
    secret = format_of(shape.vocabulary_size, config.slots)
    wanted = config.count + config.candidates
    if secret is None or secret.size < wanted:
        return None
    drawn = list(secret.draw(wanted, seed))
    longest = len(secret.slots)
    others = invented_texts(shape.vocabulary_size, config.bystanders, longest, seed)
    texts = as_sequences([*drawn, *others], shape.static_size)
    present = Keystream.from_seed(seed).child(0).bernoulli(0.5, config.count)
    return Planted(texts, present, config.candidates, secret.size)


def trained(
    plan: TrainPlan,
    shape: InputShape,
    planted: Planted,
    mechanism: Mechanism | None,
    seed: int,
    begin: Begin | None = None,
) -> SequenceModel:
    """Return the recipe's network after the recipe's steps on planted texts.

    A batch is as large as the recipe's sampling makes it of so few texts: the promise depends on
    the sample rate, not on the number of texts.

    Args:
        plan: of the recipe's training.
        shape: of the model's input.
        planted: the texts.
        mechanism: of the recipe's promise, None for no privacy.
        seed: of weights, sampling and noise, which are no secret here.
        begin: makes the network before its first step, without dropout; random weights if None.
    """
    bare = replace(plan.model, dropout=0.0, token_dropout=0.0)
    rate, rows = plan.sample_rate, planted.rows
    everyone = len(planted.texts) - planted.candidates - len(planted.present) / 2
    train = replace(plan.train, expected_batch_size=max(1, round(rate * everyone)), device="cpu")
    fit = Fit(
        begin() if begin is not None else build(bare, shape, train.seed),
        planted.texts,
        rows,
        train,
        sample_rate=rate,
        mechanism=mechanism,
        keystream=Keystream.from_seed(seed).child(1),
        freeze=plan.frozen,
    )
    for _ in range(train.steps):
        fit.step()
    with torch.no_grad():
        for name, parameter in fit.model.named_parameters():
            parameter.copy_(fit.average[name])
    return fit.model.eval()


def judged(planted: Planted, surprise: Array, config: AttackConfig) -> dict[str, Any]:
    """Return how far a model gives the secrets away, in JSON values.

    Args:
        planted: the texts.
        surprise: float64 [k + n], of a model.
        config: confidence and seed.
    """
    count = len(planted.present)
    inside = surprise[:count][planted.present]
    outside = np.concatenate([surprise[:count][~planted.present], surprise[count:]])
    found = exposure(inside, outside, planted.size, config.confidence, config.seed)
    highest = max(found["extrapolated"], key=lambda one: float(one["value"]))
    kept = ("secrets", "candidates", "bits", "forgotten", "mean", "fit_p_value", "p_value")
    return {**{name: found[name] for name in kept}, "highest": highest}


def study(
    plan: TrainPlan,
    spent: PrivacySpent,
    shape: InputShape,
    config: AttackConfig,
    begin: Begin | None = None,
) -> tuple[dict[str, Any] | None, str | None]:
    """Return what the run with secrets found, or None and why there was none.

    Args:
        plan: of the recipe's training.
        spent: the claim.
        shape: of the model's input.
        config: of the attack.
        begin: as in `trained`.
    """
    if shape.task != "next_token":
        return None, "secrets are put into texts whose next token is predicted"
    if not config.secrets.count:
        return None, "attack.secrets.count is 0"
    if plan.privacy is None:
        return None, "the recipe trains without privacy"
    if not isinstance(plan.mitigation, NoMitigation):
        return None, "invented texts have no groups, which the recipe's mitigation reads"
    planted = plant(shape, config.secrets, config.seed)
    if planted is None:
        return None, "the vocabulary has too few tokens for so many secrets"
    mechanism = Mechanism.of(
        plan.privacy, sample_rate=plan.sample_rate, noise_multiplier=plan.noise_multiplier
    )
    with threads_for(plan):
        models = [trained(plan, shape, planted, m, config.seed, begin) for m in (mechanism, None)]
        private, plain = (planted.surprise(model) for model in models)
    if not np.isfinite([private, plain]).all():
        return None, "the run's weights are not finite"
    event = training_event(
        noise_multiplier=spent.noise_multiplier, sample_rate=spent.sample_rate, steps=spent.steps
    )
    scores = -private[: len(planted.present)]
    curve = promised_curve(event, spent.delta)
    refuted = curve is not None and violated(scores, planted.present, curve, SIGNIFICANCE)
    return {
        "settings": {
            "inserted": int(planted.present.sum()),
            "texts": len(planted.rows),
            "steps": plan.train.steps,
            "slots": config.secrets.slots,
        },
        "private": judged(planted, private, config),
        "plain": judged(planted, plain, config),
        "lower_bound": vars(lower_bound(scores, planted.present, spent.delta)),
        "refutes_curve": refuted,
    }, None
