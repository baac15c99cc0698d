"""No promise is lost by accident: what was said of some data once is said of them always."""

from pathlib import Path

from tasks.artifacts import folder, read_json
from tasks.params import UserError, load_recipe, read_yaml, validate
from tasks.population import path_of, population_of, read
from tasks.recipe import NoPrivacy, PopulationPlan, Recipe


def unpromised(recipe: str, population: str | None = None) -> None:
    """Make sure that nobody was ever promised privacy in the data of a recipe without it.

    Args:
        recipe: name under data/.
        population: behind its data; None: as the plan that stands there says.

    Raises:
        UserError: the population has a ledger.
    """
    if population is None:
        path = folder(recipe, "plan", "population.json")
        population = validate(PopulationPlan, read_json(path), str(path)).population
    count = len(read(population))
    if count:
        raise UserError(
            f"recipes.{recipe}.privacy.none: {count} releases about the same data were made under "
            f"a promise, which a model without privacy would break ({path_of(population)}); "
            "allowed is a promise, or other data"
        )


def one_word(path: Path, name: str, recipe: Recipe) -> None:
    """Refuse data of which one recipe promises privacy and another says none.

    Args:
        path: params.yaml.
        name: of the recipe.
        recipe: checked.

    Raises:
        UserError: another recipe says otherwise about the same data.
    """
    without = isinstance(recipe.privacy, NoPrivacy)
    for other, block in read_yaml(path)["recipes"].items():
        stated = block.get("privacy") if isinstance(block, dict) else None
        if other == name or not isinstance(stated, dict) or ("none" in stated) == without:
            continue
        try:
            same = population_of(load_recipe(path, other).data) == population_of(recipe.data)
        except UserError:
            # Its own plan says what is wrong with it.
            continue
        if same:
            first, second = (name, other) if without else (other, name)
            raise UserError(
                f"{path}: recipes.{first}.privacy.none: recipes.{second} promises privacy for the "
                "same data; allowed is one or the other for both"
            )
