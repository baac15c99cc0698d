"""Plant known faults in private training, one after the other, and write down which are noticed.

`python -m tasks.certificate [--runs 20] [--sound 100] [--steps 60] [--folder docs]`

Every run is a whole training run of invented people with the null block beside it, through the
same code as a recipe's, judged by the same tests as `model/null_block.json`. Seeded: the same
versions write the same bytes.
"""

import argparse
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import binom

from rnn.batch import PreparedSequences
from rnn.config import InputShape, ModelConfig, TrainConfig
from rnn.fit import Fit
from rnn.model import build
from rnn.privacy.canaries import SHARE, SIGNIFICANCE
from rnn.privacy.ledger import epsilon_of, training_event
from rnn.privacy.mechanism import Mechanism
from rnn.privacy.noise import Keystream
from rnn.privacy.null_verdict import judge
from tasks import stats
from tasks.artifacts import replacing_file, write_json
from tasks.params import UserError, command
from tasks.planted import FAULTS, SOUND, Fault

PEOPLE, LENGTH, RATE, BATCH = 400, 3, 0.1, 40
STEPS, NOISE, BOUND, CANARIES, DELTA = 60, 1.5, 0.5, 1000, 1e-5
SHAPE = InputShape(input_size=2, vocabulary_size=0, static_size=0, output_size=1, task="binary")
CONFIDENCE = 0.95
PACKAGES = ("dp-accounting", "opacus", "torch")


def small_run(seed: int, steps: int) -> Fit:
    """Return a training run of invented people at its first step.

    Args:
        seed: of the people, of sampling and noise.
        steps: planned.
    """
    numbers = np.random.default_rng(seed)
    sequences = PreparedSequences(
        3 * numbers.standard_normal((PEOPLE * LENGTH, 2)).astype(np.float32),
        None,
        np.arange(PEOPLE + 1) * LENGTH,
        np.zeros((PEOPLE, 0), dtype=np.float32),
        numbers.integers(0, 2, PEOPLE),
    )
    return Fit(
        build(ModelConfig(hidden_size=4), SHAPE, 0),
        sequences,
        np.arange(PEOPLE),
        TrainConfig(steps=steps, expected_batch_size=BATCH, threads=1, device="cpu"),
        sample_rate=RATE,
        mechanism=Mechanism(RATE, NOISE, BOUND),
        keystream=Keystream.from_seed(seed),
        null_canaries=CANARIES,
    )


def rejected(fault: Fault, seed: int, steps: int) -> tuple[str, ...]:
    """Return the tests that a run with a fault in it fails.

    Args:
        fault: planted while the run lasts.
        seed: of the run.
        steps: that the account counts.
    """
    with fault.plant():
        fit = small_run(seed, steps)
        while fit.step_count < steps:
            fit.step()
    if fit.null is None:
        raise RuntimeError("a run without a null block measures nothing")
    event = training_event(noise_multiplier=NOISE, sample_rate=RATE, steps=fit.step_count)
    return judge(fit.null.account, fit.null.block.present, event, DELTA).rejected


def tried(fault: Fault, runs: int, steps: int) -> dict[str, Any]:
    """Return in how many runs a fault was noticed, and by which tests.

    Args:
        fault: planted in each.
        runs: how many.
        steps: of a run.
    """
    found = [rejected(fault, 1000 + seed, steps) for seed in range(runs)]
    caught = sum(bool(names) for names in found)
    power = stats.clopper_pearson(caught, runs, CONFIDENCE)
    return {
        "fault": fault.name,
        "what": fault.what,
        "runs": runs,
        "caught": caught,
        "power": power.as_dict(),
        "by": dict(sorted(Counter(name for names in found for name in names).items())),
    }


def setting(steps: int) -> dict[str, Any]:
    """Return what every run of so many steps has in common."""
    event = training_event(noise_multiplier=NOISE, sample_rate=RATE, steps=steps)
    return {
        "people": PEOPLE,
        "canaries": CANARIES,
        "steps": steps,
        "sample_rate": RATE,
        "noise_multiplier": NOISE,
        "epsilon": round(epsilon_of([event], DELTA), 3),
        "delta": DELTA,
        "significance": SIGNIFICANCE,
        "share_of_a_test": SHARE,
        "confidence": CONFIDENCE,
        "versions": {name: version(name) for name in PACKAGES},
    }


def _line(row: dict[str, Any]) -> str:
    """One row of the table."""
    by = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in row["by"].items())
    power = f"{row['power']['low']:.3f} to {row['power']['high']:.3f}"
    return f"| {row['what']} | {row['caught']} of {row['runs']} | {power} | {by or 'none'} |"


def page(certificate: dict[str, Any]) -> str:
    """Return the certificate as Markdown."""
    common = certificate["setting"]
    versions = ", ".join(f"{name} {number}" for name, number in common["versions"].items())
    head = [
        "# Which faults the null block notices",
        "",
        "Written by `make certificate`; [null-block.md](null-block.md) says what is tested.",
        "",
        f"Faults are planted, one at a time, in the code that clips, sums, noises and samples; "
        f"then {common['people']} invented people are trained on for {common['steps']} steps, "
        f"sample rate {common['sample_rate']:g}, noise multiplier {common['noise_multiplier']:g} "
        f"(epsilon {common['epsilon']:g} at delta {common['delta']:g}), with "
        f"{common['canaries']} canaries beside the model. A run is caught where any test rejects; "
        f"all tests together call a sound run unsound once in {1 / common['significance']:.0f}. "
        f"Intervals of the share that is caught are exact, at {common['confidence']:.0%}. "
        f"{versions}.",
        "",
        "| fault | caught | share | by |",
        "|---|---|---|---|",
    ]
    return "\n".join([*head, *(_line(row) for row in certificate["rows"])]) + "\n"


def missed(rows: list[dict[str, Any]]) -> list[str]:
    """Return the faults that were not caught in every run, and too many false alarms."""
    (sound,) = (row for row in rows if row["fault"] == SOUND.name)
    out = [row["fault"] for row in rows if row is not sound and row["caught"] < row["runs"]]
    # More false alarms than this have a chance below one in a thousand.
    allowed = int(binom.isf(0.001, sound["runs"], SIGNIFICANCE))
    return out + ([SOUND.name] if sound["caught"] > allowed else [])


def main(argv: list[str]) -> None:
    """Write certificate.md and certificate.json; fail where a fault was missed."""
    parser = argparse.ArgumentParser(prog="python -m tasks.certificate", description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="of each fault")
    parser.add_argument("--sound", type=int, default=100, help="without a fault")
    parser.add_argument("--steps", type=int, default=STEPS, help="of a run")
    parser.add_argument("--folder", type=Path, default=Path("docs"))
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    rows = []
    for fault in (*FAULTS, SOUND):
        runs = options.sound if fault is SOUND else options.runs
        rows.append(tried(fault, runs, options.steps))
        print(_line(rows[-1]), file=sys.stderr, flush=True)
    certificate = {"setting": setting(options.steps), "rows": rows}
    with replacing_file(options.folder / "certificate.md") as draft:
        draft.write_text(page(certificate), encoding="utf-8")
    with replacing_file(options.folder / "certificate.json") as draft:
        write_json(draft, certificate)
    print(page(certificate))
    bad = missed(rows)
    if bad:
        raise UserError(f"certificate: not as it should be: {', '.join(bad)}")


if __name__ == "__main__":
    command(main)
