"""How much intervals of predicted numbers cover, and what the private choice of their width costs.

`python -m benchmarks.intervals [--draws 200] [--json FILE]`

200, 1,000 or 5,000 people are set aside; errors are normal, or have the heavy tails of Student's t
with 3 degrees of freedom, in a range of 80 of their scales; the level is 90 %. Coverage is that of
everybody, by the errors' own distribution, averaged over draws of people and of the choice: the
lower of both distributions. `width` is the half width over the exact one that the same people give,
the median over draws and the larger of both. Epsilon `exact` chooses without noise.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from scipy import stats

from rnn.privacy.noise import Keystream
from tasks.evidence.prediction_interval import exact_half_width, private_half_width
from tasks.recipe import ReleasePlan

LEVEL = 0.9
BOUNDS = (-40.0, 40.0)
PEOPLE = (200, 1000, 5000)
EPSILONS = (1.0, 3.0)
ERRORS = {"normal": stats.norm(), "t": stats.t(3)}


def plan_of(epsilon: float) -> ReleasePlan:
    """Return a release of which the width takes the whole epsilon."""
    return ReleasePlan(
        mode="suppressed",
        epsilon=epsilon,
        delta=1e-6,
        threshold_epsilon=0.0,
        unit="person",
        max_rows=1,
        score_bins=10,
        groups={},
    )


def simulate(people: int, epsilon: float | None, draws: int) -> tuple[float, float]:
    """Return coverage and relative width; arguments as in the module's words.

    Args:
        people: set aside.
        epsilon: of the choice; None for the exact width.
        draws: of people and choice.
    """
    covered, wider = [], []
    for errors in ERRORS.values():
        rng, inside, ratios = np.random.default_rng(people), [], []
        for draw in range(draws):
            residuals = np.abs(errors.rvs(people, random_state=rng))
            exact = exact_half_width(residuals, LEVEL, BOUNDS)
            stream = Keystream.from_seed(draw)
            width = (
                exact
                if epsilon is None
                else private_half_width(residuals, LEVEL, BOUNDS, plan_of(epsilon), stream)
            )
            inside.append(1 - 2 * float(errors.sf(width)))
            ratios.append(width / exact)
        covered.append(float(np.mean(inside)))
        wider.append(float(np.median(ratios)))
    return min(covered), max(wider)


def main() -> None:
    """Print the table; write it as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: list[dict[str, object]] = []
    for people in PEOPLE:
        for epsilon in (None, *EPSILONS):
            word = "exact" if epsilon is None else f"{epsilon:g}"
            coverage, width = simulate(people, epsilon, options.draws)
            where = f"people_{people}/epsilon_{word}"
            found = [("coverage", round(100 * coverage, 2), "%")]
            if epsilon is not None:
                found.append(("width", round(width, 2), "times"))
            for name, value, unit in found:
                row = f"interval/{name}/{where}"
                rows.append({"name": row, "value": value, "unit": unit})
                print(f"{row:50} {value} {unit}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
