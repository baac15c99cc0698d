"""What of a recipe goes with which kind of target; one line names what does not."""

from typing import TYPE_CHECKING

from rnn.fairness.config import NoMitigation

if TYPE_CHECKING:
    from tasks.recipe import Recipe

# Beside targets with one answer; a kind that is a sequence itself brings its own: tasks/kinds.
BASELINES = ("boosting", "ngrams", "tfidf", "dtw", "none")
_OF_CLASSES = ("loss", "accuracy", "auc", "ece")
# Figures of held-out people by kind, as predict publishes them.
FIGURES = {
    "binary": (*_OF_CLASSES, "calibration_slope", "calibration_intercept"),
    "multiclass": (*_OF_CLASSES, "perplexity"),
    "regression": ("loss", "mae", "rmse", "r2", "interval_coverage", "interval_width"),
}


def check_kinds(recipe: "Recipe") -> None:
    """Refuse what a recipe's kind of target cannot have.

    Raises:
        ValueError: one line naming the field.
    """
    target, baseline = recipe.data.target, recipe.predict.baseline
    if target.is_scored:
        if baseline not in (None, *BASELINES):
            raise ValueError(f"predict.baseline = {baseline!r}: allowed are {', '.join(BASELINES)}")
        check_bars(recipe, FIGURES[target.kind])
        return
    asked = {
        "mitigation.method": not isinstance(recipe.mitigation, NoMitigation),
        "compare.alternatives": bool(recipe.compare.alternatives),
        "sweep": recipe.sweep is not None,
        "gate.min_auc": recipe.gate.min_auc is not None,
        "gate.min_accuracy": recipe.gate.min_accuracy is not None,
    }
    for field, stated in asked.items():
        if stated:
            instead = "; state gate.figures" if field.startswith("gate") else ""
            raise ValueError(
                f"{field} is for targets with one answer, not for {target.kind}{instead}"
            )


def check_bars(recipe: "Recipe", known: tuple[str, ...]) -> None:
    """Refuse a bar for a figure that is not there.

    Args:
        recipe: with its gate.
        known: figures of the target's kind.

    Raises:
        ValueError: one line naming the field.
    """
    for name in recipe.gate.figures:
        if name not in known:
            raise ValueError(
                f"gate.figures names {name!r}, which {recipe.data.target.kind} does not have: "
                f"allowed are {', '.join(known)}"
            )
