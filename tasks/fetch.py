"""Stage fetch: the source's files, checked, and one manifest of them."""

import tempfile
from pathlib import Path

from tasks import artifacts
from tasks.artifacts import digest_file
from tasks.params import UserError, as_json, command
from tasks.recipe import PathSource, ReaderSource, SourceFile, SourcePlan
from tasks.starting.bring import bring
from tasks.table import downloads, reader, sources


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
    if isinstance(plan.source, ReaderSource):
        return (_read(plan.source, raw),)
    return (downloads.download(plan.source, raw),)


def _read(source: ReaderSource, raw: Path) -> SourceFile:
    """Download a reader's files and keep the one table that it makes of them."""
    table = raw / sources.TABLE
    with tempfile.TemporaryDirectory(prefix="reader-", dir=raw) as folder:
        reader.run(source, downloads.members(source.files, Path(folder)), table)
    return SourceFile(path=table.name, sha256=digest_file(table), size=table.stat().st_size)


def public_lists(plan: SourcePlan, raw: Path) -> tuple[SourceFile, ...]:
    """Download the public files that vocabularies are read from, in the plan's order."""
    paths = downloads.members(plan.lists, raw / "lists", "data.sequence.vocabulary.package")
    return tuple(
        SourceFile(
            path=path.relative_to(raw).as_posix(),
            sha256=digest_file(path),
            size=path.stat().st_size,
        )
        for path in paths
    )


def main(argv: list[str]) -> None:
    """Write data/RECIPE/raw."""
    if len(argv) != 1:
        raise UserError("usage: python -m tasks.fetch RECIPE")
    recipe = argv[0]
    plan = artifacts.read_section(recipe, "source", SourcePlan)
    with artifacts.replacing(artifacts.folder(recipe, "raw")) as raw:
        try:
            files, lists = fetch(plan, raw), public_lists(plan, raw)
            if plan.start is not None:
                bring(plan.start, raw, [file.sha256 for file in files])
        except UserError as error:
            raise UserError(f"recipes.{recipe}.{error}") from None
        brought = {"files": files} | ({"lists": lists} if lists else {})
        manifest = {name: [as_json(file) for file in found] for name, found in brought.items()}
        artifacts.write_json(raw / "manifest.json", manifest)
    megabytes = sum(file.size for file in (*files, *lists)) / 1e6
    print(f"{recipe}: {len(files) + len(lists)} file(s), {megabytes:.1f} MB, checked")


if __name__ == "__main__":
    command(main)
