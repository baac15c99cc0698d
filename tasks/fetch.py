"""Stage fetch: the source's files, checked, and one manifest of them."""

from pathlib import Path

from tasks import artifacts
from tasks.params import UserError, as_json, command
from tasks.recipe import PathSource, SourceFile, SourcePlan
from tasks.table import downloads, sources


def fetch(plan: SourcePlan, raw: Path) -> tuple[SourceFile, ...]:
    """Bring the source's files, or make sure that local ones are still as planned.

    Args:
        plan: plan/source.json.
        raw: folder for what is downloaded; local files stay where they are.

    Returns:
        The files of the manifest.

    Raises:
        UserError: a file cannot be had, or is not the one that was planned.
    """
    if isinstance(plan.source, PathSource):
        sources.verify(plan.files)
        return plan.files
    return (downloads.download(plan.source, raw),)


def main(argv: list[str]) -> None:
    """Write data/RECIPE/raw."""
    if len(argv) != 1:
        raise UserError("usage: python -m tasks.fetch RECIPE")
    recipe = argv[0]
    plan = artifacts.read_section(recipe, "source", SourcePlan)
    with artifacts.replacing(artifacts.folder(recipe, "raw")) as raw:
        try:
            files = fetch(plan, raw)
        except UserError as error:
            raise UserError(f"recipes.{recipe}.{error}") from None
        artifacts.write_json(raw / "manifest.json", {"files": [as_json(file) for file in files]})
    megabytes = sum(file.size for file in files) / 1e6
    print(f"{recipe}: {len(files)} file(s), {megabytes:.1f} MB, checked")


if __name__ == "__main__":
    command(main)
