"""The certificate: planted faults are noticed by the test that is made for them, briefly."""

import json

import pytest

from tasks import certificate as module
from tasks.certificate import main, missed, page, rejected, small_run, tried
from tasks.params import UserError
from tasks.planted import FAULTS, SOUND

# A run of a fifth of the steps: enough for all but the subtlest.
STEPS = 30
NAMED = {
    "noise_0.95x": "noise_scale",
    "noise_1.05x": "noise_scale",
    "noise_0.5x": "noise_scale",
    "noise_off": "noise_scale",
    "noise_stale": "evenness",
    "clip_off": "contribution",
    "wrong_rows": "spread",
    "noise_then_clip": "noise_scale",
    "sampling_2x": "sampling",
    "sampling_0.5x": "sampling",
    "normaliser": "evenness",
    "steps": "steps",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_noticed_and_taken_away_again(fault):
    steps = module.STEPS if fault.name in ("normaliser", "noise_stale") else STEPS
    assert NAMED[fault.name] in rejected(fault, 1, steps)


def test_every_fault_has_its_test():
    assert {fault.name for fault in FAULTS} == set(NAMED)


def test_a_sound_run_is_not_rejected():
    for seed in range(5):
        assert rejected(SOUND, seed, STEPS) == ()


def test_nothing_stays_planted():
    """The same seeded run, before and after every fault was in place for a step."""
    before = _weights()
    for fault in FAULTS:
        with fault.plant():
            small_run(0, 2).step()
    assert _weights() == before


def _weights():
    fit = small_run(0, 2)
    fit.step()
    fit.step()
    return [p.detach().flatten().tolist() for p in fit.model.parameters()]


def test_a_certificate_is_written_the_same_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FAULTS", FAULTS[2:3])
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        main(["--runs", "2", "--sound", "2", "--steps", "9", "--folder", str(folder)])
    first, second = ((f / "certificate.json").read_bytes() for f in folders)
    assert first == second
    values = json.loads(first)
    assert [row["fault"] for row in values["rows"]] == ["noise_0.5x", "none"]
    assert values["rows"][0]["caught"] == 2
    assert values["rows"][0]["power"]["low"] == pytest.approx(0.025**0.5)
    text = (folders[0] / "certificate.md").read_text()
    assert text == page(values)
    assert "| noise of half of the claimed scale | 2 of 2 | 0.158 to 1.000 |" in text
    assert "| nothing is wrong | 0 of 2 |" in text


def test_a_fault_that_nobody_notices_is_named(tmp_path, monkeypatch):
    """A certificate that finds a fault missing says so and fails."""
    harmless = type(SOUND)("harmless", "nothing, under another name", SOUND.plant)
    monkeypatch.setattr(module, "FAULTS", (harmless,))
    with pytest.raises(UserError, match="not as it should be: harmless"):
        main(["--runs", "1", "--sound", "1", "--steps", "3", "--folder", str(tmp_path)])


def test_too_many_false_alarms_are_named():
    sound = tried(SOUND, 1, 2)
    assert missed([sound]) == []
    assert missed([{**sound, "runs": 100, "caught": 1}]) == []
    assert missed([{**sound, "runs": 100, "caught": 3}]) == ["none"]
