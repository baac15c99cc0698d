"""What the registry's pages say: links, verdicts, and words of a person that stay."""

from tasks.evidence.story import decided_story, escaped, model_story, version_story

HELD = {"name": "m", "number": "3", "status": "accepted", "by": "", "experiment": "7", "run": "b0"}
REPORT = "#/experiments/7/runs/b0/artifacts/published/report.html?workflowType=machine_learning"


def test_a_version_opens_its_reports_with_one_click_and_tells_every_check() -> None:
    checks = [
        {"name": "epsilon", "verdict": "pass", "reason": "Epsilon is 3: at most 3."},
        {"name": "auc", "verdict": "fail", "reason": ""},
    ]
    first, _, links, *lines = version_story("fail: epsilon 3", checks, "7", "b0").splitlines()
    assert first == "fail: epsilon 3"
    assert f"[Report]({REPORT})" in links and "internal/internal.html?" in links
    assert all(f"{name}.json?" in links for name in ("model_card", "comparison", "sbom"))
    assert lines == ["", "- **pass**: Epsilon is 3: at most 3.", "- **fail**: auc"]


def test_a_model_names_who_holds_its_aliases_and_keeps_a_persons_words() -> None:
    both = {"champion": HELD | {"by": "Ada [L]"}, "challenger": HELD | {"number": "4", "run": "b1"}}
    first = model_story("Ranks people.\n\nAsk Ada.", both)
    assert first.startswith("Ranks people.\n\nAsk Ada.\n\n### Where it stands\n\n")
    assert (
        "- **champion**: [version 3](#/models/m/versions/3) (accepted, decided by Ada \\[L\\])"
        in first
    )
    # MLflow's page that shows two runs side by side.
    compare = "?runs=%5B%22b0%22%2C%22b1%22%5D&experiments=%5B%227%22%5D"
    assert f"[Compare the two](#/compare-runs{compare})" in first
    again = model_story(first, {"champion": HELD})
    assert again.startswith("Ranks people.\n\nAsk Ada.\n\n### Where it stands\n\n- **champion**")
    assert again.count("Where it stands") == 1 and "Compare" not in again
    assert model_story("", {}).strip() == "### Where it stands\n\n- nobody"


def test_decisions_stand_once_each_and_are_no_markup() -> None:
    entry = {"date": "2026-01-02", "choice": "approve", "approver": "Ada L", "reason": "a *b*\n# c"}
    once = decided_story("pass: epsilon 3\n\n- **pass**: AUC", [entry])
    assert once.endswith("### Decisions\n\n- 2026-01-02: **approve** by Ada L: a \\*b\\* # c")
    twice = decided_story(once, [entry, entry | {"choice": "roll back"}])
    assert twice.count("### Decisions") == 1 and twice.count("2026-01-02") == 2
    assert twice.startswith("pass: epsilon 3\n")
    assert escaped("<img onerror=x>") == "\\<img onerror=x\\>"
