"""Private runs of alternatives to a recipe's mitigation, on the same people at the same epsilon."""

import sys
from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rnn.fairness.config import NoMitigation, feature_of
from rnn.fairness.groups import Groups
from rnn.fit import Fit
from rnn.model import load_weights
from rnn.privacy.histogram import Histogram
from rnn.privacy.ledger import epsilon_of
from rnn.privacy.noise import Keystream
from tasks import artifacts
from tasks.account import gradients, mechanism_of
from tasks.budget import private_plan
from tasks.evidence import threshold_release
from tasks.evidence.alternatives import People, Trials
from tasks.evidence.kept import kept
from tasks.evidence.scoring import model_logits, scores_of
from tasks.evidence.threshold import exact_threshold
from tasks.params import UserError, as_json
from tasks.recipe import AdaptiveClipping, Cut, GroupThresholds, Recipe, TrainPlan
from tasks.settings.mitigation import Alternative
from tasks.table.labels import UNKNOWN, known_labels
from tasks.train import make_fit

Scores = NDArray[np.float64]


def name_of(block: Alternative) -> str:
    """Return what a method is called: its name, and what sets it apart."""
    extra = " by outcome" if getattr(block, "outcome", False) else ""
    return f"{block.method}{extra}"


def variant(recipe: Recipe, block: Alternative) -> Recipe:
    """Return the recipe with an alternative in place of its own mitigation."""
    if isinstance(block, AdaptiveClipping):
        values = as_json(block)
        start = values.pop("max_grad_norm") or recipe.promise.max_grad_norm
        values.pop("method")
        adaptive = replace(recipe.promise.adaptive, **values)
        start = min(max(start, adaptive.lowest), adaptive.highest)
        privacy = replace(
            recipe.promise, clipping="adaptive", max_grad_norm=start, adaptive=adaptive
        )
        return replace(recipe, privacy=privacy, mitigation=NoMitigation())
    changed = replace(recipe, mitigation=block)
    if isinstance(block, GroupThresholds) and recipe.promise.target_epsilon is None:
        # A stated noise leaves no room for the histogram: its epsilon is the total to solve for.
        plain = private_plan(replace(recipe, mitigation=NoMitigation()))
        privacy = replace(recipe.promise, noise_multiplier=None, target_epsilon=plain.epsilon)
        changed = replace(changed, privacy=privacy)
    return changed


def planned(recipe: Recipe, block: Alternative) -> tuple[TrainPlan, float]:
    """Return an alternative's private run, and the part of its epsilon that counts cost.

    Raises:
        UserError: its counts cost more than the recipe's epsilon.
    """
    changed = variant(recipe, block)
    plan = private_plan(changed)
    privacy = changed.promise
    steps = gradients(plan, plan.train.steps)
    whole = epsilon_of([steps, *plan.after], privacy.delta)
    if plan.after:
        return plan, whole - epsilon_of([steps], privacy.delta)
    noise = mechanism_of(plan, privacy, 1).gradient_noise(plan.train.expected_batch_size)
    gradients_alone = gradients(plan, plan.train.steps, noise)
    return plan, whole - epsilon_of([gradients_alone], privacy.delta)


def groups_of(recipe: Recipe, feature: str, sensitive: pl.DataFrame) -> Groups:
    """Return everybody's label, numbered as the recipe declares them, "unknown" last."""
    (declared,) = (s for s in recipe.data.sensitive if s.name == feature)
    labels = [*(label for label in known_labels(declared) if label != UNKNOWN), UNKNOWN]
    codes = sensitive[feature].replace_strict(
        labels, list(range(len(labels))), default=len(labels) - 1, return_dtype=pl.Int64
    )
    return Groups(codes.to_numpy(), tuple(labels))


def trained(plan: TrainPlan, prepared: artifacts.Prepared, seed: int) -> Fit:
    """Take all steps with fresh noise, and put the released weights in place."""
    privacy = plan.privacy
    if privacy is not None and privacy.insecure_seed is not None:
        # Runs of a test differ in their noise, as others do.
        privacy = replace(privacy, insecure_seed=privacy.insecure_seed + seed)
    changed = replace(plan, train=replace(plan.train, seed=seed), privacy=privacy)
    fit = make_fit(changed, prepared)
    while fit.step_count < plan.train.steps:
        fit.step()
    load_weights(fit.model, fit.average)
    fit.model.eval().cpu()
    return fit


class Comparison:
    """One recipe's people, on whom alternatives are tried."""

    def __init__(self, recipe: Recipe, prepared: artifacts.Prepared, sensitive: pl.DataFrame):
        """Read what all trials share.

        Raises:
            UserError: the recipe has no decision, or nobody to compare.
        """
        if recipe.data.decision is None or recipe.data.target.kind != "binary":
            raise UserError("compare is for a binary target with a decision")
        names = [s.name for s in recipe.data.sensitive if s.labels or s.bins or s.one_hot]
        if not names:
            raise UserError("compare needs a feature in data.sensitive whose labels are declared")
        self.recipe, self.prepared, self.sensitive = recipe, prepared, sensitive
        self.feature = recipe.compare.feature or names[0]
        self.groups = groups_of(recipe, self.feature, sensitive)
        decision, target = recipe.data.decision, recipe.data.target
        self.decision = decision
        self.event_favoured = target.classes.index(decision.favourable) == 1
        self.rows = prepared.rows("test")
        self.people = self._people(self.rows)

    def _people(self, rows: NDArray[np.int64]) -> People:
        """Outcomes and groups of some people."""
        event = np.asarray(self.prepared.sequences.targets[rows]) == 1
        y = (event == self.event_favoured).astype(np.int64)
        codes, labels = self.groups.codes[rows], self.groups.labels
        named = self.recipe.audit.references.get(self.feature)
        largest = int(np.bincount(codes, minlength=len(labels)).argmax())
        reference = labels.index(named) if named in labels else largest
        return People(y, codes, labels, reference)

    def scores(self, fit: Fit, rows: NDArray[np.int64]) -> Scores:
        """Probability of the favourable outcome."""
        event = scores_of(model_logits(fit.model, self.prepared.sequences, rows), "binary")
        return event if self.event_favoured else 1 - event

    def threshold(self, scores: Scores) -> float:
        """From which probability of the favourable outcome on the decision is favourable."""
        stated = self.decision.threshold
        if stated is None:
            return exact_threshold(scores, self.decision.approval_rate or 0.0, True)
        return stated if self.event_favoured else 1 - stated

    def by_group(
        self, fit: Fit, block: GroupThresholds, threshold: float, test: Scores
    ) -> NDArray[np.int64]:
        """Decisions by thresholds of groups, from one noised histogram of training people."""
        rows, groups = self.prepared.rows("train"), self._groups_of(block.feature)
        limit = threshold_release.limit_of(block, self.recipe.promise.unit)
        rows = rows[kept(self.prepared.people["person_id"].gather(rows), limit)]
        # Scores and outcomes are of the favourable one here.
        cut = Cut(event_favoured=True, threshold=threshold)
        own = Groups(groups.codes[rows], groups.labels)
        exact = threshold_release.table_of(
            block, cut, self.scores(fit, rows), self._people(rows).y, own
        )
        seed = self.recipe.promise.insecure_seed
        stream = Keystream.from_system() if seed is None else Keystream.from_seed(seed + 1)
        mechanism = Histogram(1, block.noise_multiplier, limit.max_rows)
        noised = threshold_release.released(exact, mechanism, stream)
        chosen = threshold_release.thresholds_of(noised, block, cut)
        return chosen.decide(test, [groups.labels[code] for code in groups.codes[self.rows]])

    def _groups_of(self, feature: str) -> Groups:
        """Everybody's label of a feature."""
        return groups_of(self.recipe, feature, self.sensitive)

    def run(self, block: Alternative, runs: int, seed: int) -> Trials:
        """Train one alternative several times."""
        plan, cost = planned(self.recipe, block)
        feature = feature_of(plan.mitigation)
        prepared = self.prepared
        if feature is not None:
            prepared = replace(prepared, groups=groups_of(self.recipe, feature, self.sensitive))
        scores, decisions = [], []
        for number in range(runs):
            fit = trained(plan, prepared, seed + number)
            found = self.scores(fit, self.rows)
            threshold = self.threshold(found)
            if isinstance(block, GroupThresholds):
                chosen = self.by_group(fit, block, threshold, found)
            else:
                chosen = (found >= threshold).astype(np.int64)
            scores.append(found)
            decisions.append(chosen)
            print(f"compare: {name_of(block)}, run {number + 1} of {runs}", file=sys.stderr)
        return Trials(
            name_of(block), plan.epsilon or 0.0, cost, np.stack(scores), np.stack(decisions)
        )
