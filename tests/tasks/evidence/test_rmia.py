"""Likelihood ratios to reference models: by hand, on planted models, and on none."""

import numpy as np
import pytest

from tasks import stats
from tasks.evidence import rmia
from tasks.evidence.references import halves
from tasks.evidence.rmia import Referees

PEOPLE, REFERENCES = 3000, 4


def _losses(likelihoods: list[list[float]]) -> np.ndarray:
    return -np.log(np.array(likelihoods))


def test_expected_likelihood_by_hand() -> None:
    referees = Referees(_losses([[0.8, 0.2], [0.4, 0.6]]), np.array([[True, False], [False, True]]))
    online = rmia.expected_likelihood(referees, "online", 0.0)
    assert online == pytest.approx([(0.8 + 0.4) / 2, (0.2 + 0.6) / 2])
    # Without the person: 0.4 and 0.2; within, by the line 0.3 x + 0.7.
    offline = rmia.expected_likelihood(referees, "offline", 0.3)
    assert offline == pytest.approx([(0.4 + 0.82) / 2, (0.2 + 0.76) / 2])
    assert rmia.expected_likelihood(referees, "offline", 1.0) == pytest.approx([0.4, 0.2])


def test_an_offline_score_never_looks_at_models_that_saw_the_person() -> None:
    rng = np.random.default_rng(0)
    seen = halves(np.arange(50), REFERENCES, 0)
    losses = rng.exponential(size=(REFERENCES, 50))
    other = np.where(seen, rng.exponential(size=losses.shape), losses)
    pair = [rmia.expected_likelihood(Referees(x, seen), "offline", 0.5) for x in (losses, other)]
    assert pair[0].tolist() == pair[1].tolist()
    moved = np.where(seen, losses, losses + 1)
    assert (rmia.expected_likelihood(Referees(moved, seen), "offline", 0.5) < pair[0]).all()


def test_gamma_asks_for_more_and_keeps_the_order() -> None:
    rng = np.random.default_rng(1)
    ratios, population = rng.lognormal(size=200), rng.lognormal(size=500)
    plain, strict = (rmia.scores(ratios, population, gamma) for gamma in (1.0, 2.0))
    assert (strict <= plain).all()
    assert strict.mean() < plain.mean()
    order = np.argsort(ratios)
    assert (np.diff(plain[order]) >= 0).all()
    # Under no signal the score of gamma = 1 is the rank in the population.
    assert plain.mean() == pytest.approx(0.5, abs=0.06)


def test_scale_of_a_regression_is_the_variance_of_its_errors() -> None:
    errors = np.random.default_rng(2).normal(0, 0.3, 5000)
    assert rmia.scale_of(0.5 * errors**2, "regression") == pytest.approx(0.09, rel=0.05)
    assert rmia.scale_of(0.5 * errors**2, "binary") == 1.0
    assert rmia.scale_of(np.zeros(5), "regression") == 1.0


def _planted(leak: float, seed: int) -> tuple[np.ndarray, Referees, np.ndarray]:
    """Losses of people who differ far more than membership makes them differ."""
    rng = np.random.default_rng(seed)
    hardness = rng.exponential(1.0, PEOPLE)

    def losses(trained: np.ndarray) -> np.ndarray:
        noise = rng.normal(0, 0.1, PEOPLE)
        return np.asarray(np.maximum(hardness * np.where(trained, 1 - leak, 1.0) + noise, 0.001))

    member = np.arange(PEOPLE) < PEOPLE // 2
    seen = halves(np.arange(PEOPLE), REFERENCES, seed)
    referees = Referees(np.stack([losses(mine) for mine in seen]), seen)
    return losses(member), referees, member


@pytest.mark.parametrize("variant", ["offline", "online"])
def test_it_beats_the_loss_on_a_planted_overfit_model(variant: rmia.Variant) -> None:
    target, referees, member = _planted(leak=0.2, seed=3)
    population = np.arange(PEOPLE - 500, PEOPLE)
    score = rmia.attack_scores(
        target, referees, population, variant=variant, gamma=1.0,
        offline_a=rmia.choose_offline_a(referees),
    )  # fmt: skip
    kept = np.arange(PEOPLE) < PEOPLE - 500
    difference = stats.auc_difference(member[kept], score[kept], -target[kept])
    assert difference.low > 0.08
    assert stats.auc(member[kept], -target[kept]).value < 0.62


def test_no_signal_is_an_auc_of_a_half() -> None:
    areas = []
    for seed in range(40):
        target, referees, member = _planted(leak=0.0, seed=100 + seed)
        score = rmia.attack_scores(
            target, referees, np.arange(PEOPLE - 500, PEOPLE), variant="online", gamma=1.0,
            offline_a=1.0,
        )  # fmt: skip
        areas.append(stats.auc(member[:-500], score[:-500]))
    missed = sum(not found.low <= 0.5 <= found.high for found in areas)
    assert missed <= 7
    assert np.mean([found.value for found in areas]) == pytest.approx(0.5, abs=0.005)


def test_the_slope_is_chosen_without_the_attacked_model() -> None:
    _, referees, _ = _planted(leak=0.3, seed=4)
    first = rmia.choose_offline_a(referees)
    assert 0.0 <= first <= 1.0
    # The first model's partner was trained on everybody else: it must not count.
    partner = referees.losses.copy()
    partner[1] = 0.0
    assert rmia.choose_offline_a(Referees(partner, referees.seen)) == first
    assert rmia.choose_offline_a(Referees(referees.losses[:2], referees.seen[:2])) == 1.0
