"""What a recipe says of a kind of target, checked before anything is spent."""

from tasks.kinds.table import KINDS
from tasks.params import UserError
from tasks.recipe import Recipe
from tasks.settings.kinds import check_bars


def check_kind(recipe: Recipe) -> None:
    """Refuse a baseline or a bar that the recipe's kind of target does not have.

    Raises:
        UserError: one line naming the field.
    """
    kind, baseline = KINDS[recipe.data.target.kind], recipe.predict.baseline
    known = (*kind.baselines, "none")
    if baseline is not None and baseline not in known:
        raise UserError(
            f"predict.baseline = {baseline!r}: {recipe.data.target.kind} has {', '.join(known)}"
        )
    try:
        check_bars(recipe, (*(figure.name for figure in kind.figures), "loss"))
    except ValueError as error:
        raise UserError(str(error)) from None
