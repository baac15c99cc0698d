"""Plan's share: what a recipe begins with, held against its own people, before it is brought."""

from collections.abc import Iterable

from tasks.params import as_json
from tasks.population import population_of, split_of
from tasks.recipe import DataConfig, NoPrivacy, PathSource, Recipe, SourceFile
from tasks.settings.plans import StartPlan
from tasks.starting.known import package_facts, refuse_seen, vectors_facts


def names_of(data: DataConfig, files: Iterable[SourceFile] = ()) -> tuple[str, ...]:
    """Return what a recipe's source is known by: digests, members, addresses, its population.

    Args:
        data: of the recipe.
        files: of its source, as far as they are known.
    """
    source = data.source
    found = [population_of(data)]
    for file in files:
        found += [file.sha256, *([file.path] if isinstance(source, PathSource) else [])]
    values = as_json(source)
    parts = [values, *values.get("files", ())]
    found += [part[key] for part in parts for key in ("sha256", "member", "path", "url")
              if part.get(key)]  # fmt: skip
    return tuple(dict.fromkeys(map(str, found)))


def start_plan(recipe: Recipe, files: tuple[SourceFile, ...]) -> StartPlan | None:
    """Return what fetch brings of others' weights; None where it brings nothing.

    Args:
        recipe: checked.
        files: of its source, where they are here.

    Raises:
        UserError: the weights, or the vectors, saw this recipe's people.
    """
    names = names_of(recipe.data, files)
    for vectors in vectors_facts(recipe.data):
        refuse_seen(vectors, names)
    start = recipe.start
    if start is None or not start.has_weights:
        return None
    facts = package_facts(start)
    if facts is not None:
        refuse_seen(facts, names)
    return StartPlan(
        package=start.package,
        registered=start.registered,
        population=population_of(recipe.data),
        split=split_of(recipe.data, files),
        names=names,
        promised=not isinstance(recipe.privacy, NoPrivacy),
        unit=None if isinstance(recipe.privacy, NoPrivacy) else recipe.privacy.unit,
        facts=facts,
    )
