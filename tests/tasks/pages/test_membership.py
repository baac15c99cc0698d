"""Membership by group is drawn of the stronger attack, with text escaped and small groups named."""

from typing import Any

from tasks.pages import membership


def _attack(value: float, label: str = "f") -> dict[str, Any]:
    """One attack's figures of one feature with two groups, one of them small."""
    area = {"value": value, "low": value - 0.1, "high": value + 0.1}
    test = {
        "value": 0.2, "control_median": 0.1, "control_low": 0.05, "control_high": 0.15,
        "p_value": 0.005, "adjusted_p_value": 0.04,
    }  # fmt: skip
    group = {"members": 1234, "non_members": 56, "auc": area, "advantage": area}
    small = {"members": 3, "non_members": 2, "auc": None, "advantage": None}
    return {
        "by_group": [
            {
                "name": label,
                "groups": [{"label": label, **group}, {"label": "rare", **small}],
                "disparity": {"auc": test, "advantage": None},
            }
        ]
    }


def test_the_stronger_attack_of_both_models_is_drawn() -> None:
    found = {
        "model": {"loss": _attack(0.11), "rmia": _attack(0.51)},
        "twin": {"loss": _attack(0.12), "rmia": _attack(0.62)},
    }
    drawn = membership.drawn(found)
    assert [one.title for one in drawn] == [
        "Largest difference between groups, AUC",
        "AUC of the attack by f",
    ]
    assert drawn[1].table.rows == (
        ("f, private", "1,234", "56", "0.510 (0.410 to 0.610)"),
        ("f, twin", "1,234", "56", "0.620 (0.520 to 0.720)"),
        ("rare, private", "3", "2", "too few"),
        ("rare, twin", "3", "2", "too few"),
    )
    assert drawn[0].table.rows[0] == (
        "f, private", "0.200", "0.100 (0.050 to 0.150)", "0.005", "0.040",
    )  # fmt: skip
    assert "too few" in drawn[1].svg


def test_losses_alone_are_drawn_too() -> None:
    drawn = membership.drawn({"model": {"loss": _attack(0.5)}, "twin": {"loss": _attack(0.6)}})
    assert drawn[1].table.rows[1][3].startswith("0.600")
    assert membership.drawn({}) == []


def test_labels_are_escaped() -> None:
    hostile = "<b onload=1>&"
    attack = _attack(0.5, hostile)
    for one in membership.drawn({"model": {"rmia": attack}, "twin": {"rmia": attack}}):
        assert "<b " not in one.svg
