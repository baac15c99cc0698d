"""Watch a served model: new rows in, one more page and perhaps an alarm out.

    python -m tasks.watch RECIPE [FILE ...] [--outcomes FILE ...] [--alias champion]

Without files, those of the recipe's watch.inbox that were not read yet. What is learnt stays in
.sordino/watch/ and in the experiment RECIPE-watch of MLflow: it is about new people.
"""

import argparse
import glob
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from tasks.artifacts import digest_file, folder, read_json, replacing_file
from tasks.checkout import checkout
from tasks.params import UserError, command, load_recipe
from tasks.recipe import GateConfig, Recipe
from tasks.serving.options import Parser
from tasks.serving.scorer import Scorer
from tasks.watching.book import Book, joined, read_book, write_book
from tasks.watching.claims import Claim, People, claims_of
from tasks.watching.page import page
from tasks.watching.reading import KINDS, held_out, read_new, read_outcomes

STATE = Path(".sordino", "watch")


@dataclass(frozen=True)
class Watched:
    """A model in use and its book.

    Attributes:
        recipe: name.
        settings: of the recipe.
        scorer: the registered model.
        folder: where the book lies.
        weights: digest of the registered weights.
    """

    recipe: str
    settings: Recipe
    scorer: Scorer
    folder: Path
    weights: str

    @property
    def book(self) -> Book | None:
        """The book so far."""
        return read_book(self.folder)


def open_watch(recipe: str, alias: str = "champion", root: Path | None = None) -> Watched:
    """Return the model that an alias names, with its book.

    Args:
        recipe: name in params.yaml.
        alias: to follow; another version has a book of its own.
        root: the checkout.

    Raises:
        UserError: nothing has the alias, or its kind cannot be watched.
    """
    from tasks.registry import open_store

    root = root or checkout()
    settings = load_recipe(root / "params.yaml", recipe)
    kind = settings.data.target.kind
    if kind not in KINDS:
        raise UserError(f"{recipe}: data.target.kind = {kind!r} cannot be watched, {KINDS} can")
    store = open_store(root)
    name = settings.register.model_name or recipe
    version = store.find(name, alias)
    with tempfile.TemporaryDirectory() as work:
        files = store.download(version, Path(work))
        identity = {"name": name, "version": version.number, "alias": alias}
        scorer = Scorer.read(files, identity)
        # Which outcome is favourable is the recipe's to say, not the network's.
        scorer = replace(scorer, data=replace(scorer.data, decision=settings.data.decision))
        weights = digest_file(files / "weights.safetensors")
    return Watched(recipe, settings, scorer, root / STATE / recipe / version.number, weights)


def begun(watched: Watched, first: People | None = None) -> Book | None:
    """Return a new book, its claims made from held-out people or from the first new ones.

    Args:
        watched: a model without a book.
        first: new people, where no held-out ones of this very model are here.

    Returns:
        The book, or None where there are too few first people.
    """
    config = watched.settings.watch
    here = folder(watched.recipe, "model", "weights.safetensors")
    same = here.exists() and digest_file(here) == watched.weights
    needed = (("prepared", "arrays", "sequences.npy"), ("predictions", "internal", "test.parquet"))
    if same and all(folder(watched.recipe, *parts).exists() for parts in needed):
        reference = held_out(watched.recipe, watched.scorer.data)
        words = f"{len(reference):,} held-out people of the model's own split"
    elif first is not None and len(first) >= config.first_people:
        reference, words = first, f"the first {len(first):,} new people"
    else:
        return None
    model = {k: watched.scorer.identity[k] for k in ("name", "version")}
    claims = claims_of(reference, _passed(watched, same), config)
    return Book(model, words, tuple(claims))


def _passed(watched: Watched, same: bool) -> GateConfig:
    """The gate's bars, without those that the model did not clear when it was registered."""
    gate = watched.settings.gate
    decision = folder(watched.recipe, "decision", "decision.json")
    if not (same and decision.exists()):
        return gate
    failed = {c["name"] for c in read_json(decision)["checks"] if c["verdict"] != "pass"}
    return replace(
        gate,
        min_auc=None if "auc" in failed else gate.min_auc,
        min_accuracy=None if "accuracy" in failed else gate.min_accuracy,
        min_group_ratio=None if "group_ratio" in failed else gate.min_group_ratio,
    )


def take(watched: Watched, path: Path) -> Book:
    """Read one file of new rows into the book, and return it.

    Raises:
        UserError: it was read before, cannot be read, or is too short to begin with.
    """
    book, digest = watched.book, digest_file(path)
    _refuse_twice(book, digest, path)
    watched.folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".rows-", dir=watched.folder.parent) as work:
        parts = list(read_new(watched.scorer, path, Path(work)))
    if not parts:
        raise UserError(f"{path} has no rows")
    people, waiting = joined([p for p, _ in parts]), pl.concat([w for _, w in parts])
    if book is None:
        book = begun(watched)
    if book is None:
        book = begun(watched, people)
        if book is None:
            raise UserError(
                f"{path} has {len(people):,} people: the first file of a model whose held-out "
                f"people are not here is the reference and needs watch.first_people = "
                f"{watched.settings.watch.first_people:,}"
            )
        book = replace(book, digests=(digest,), pending=waiting)
    else:
        pending = pl.concat([book.pending, waiting], how="diagonal")
        book = book.after(path.name, people, digest, pending)
    return _kept(watched, book)


def take_outcomes(watched: Watched, path: Path) -> Book:
    """Read late outcomes into the book, and return it.

    Raises:
        UserError: nobody was scored yet, or the table cannot be read.
    """
    book, digest = watched.book, digest_file(path)
    if book is None:
        raise UserError(f"{path}: nobody was scored yet whose outcome could have come")
    _refuse_twice(book, digest, path)
    people, pending = read_outcomes(watched.scorer.data, path, book.pending)
    if people is None:
        raise UserError(f"{path}: none of its people waits for an outcome")
    return _kept(watched, book.after(path.name, people, digest, pending))


def _refuse_twice(book: Book | None, digest: str, path: Path) -> None:
    """The same rows twice are no new evidence."""
    if book is not None and digest in book.digests:
        raise UserError(f"{path} was read before")


def _kept(watched: Watched, book: Book) -> Book:
    """Write the book and its page."""
    write_book(watched.folder, book)
    with replacing_file(report_of(watched)) as draft:
        draft.write_text(page(book, watched.settings), encoding="utf-8")
    return book


def report_of(watched: Watched) -> Path:
    """Where the page is."""
    return watched.folder.with_name(f"{watched.folder.name}.html")


def new_files(watched: Watched) -> list[Path]:
    """Return the inbox's files that were not read yet, in the order of their names.

    Raises:
        UserError: the recipe has no inbox.
    """
    inbox = watched.settings.watch.inbox
    if inbox is None:
        raise UserError("watch.inbox is not set, and no file was named")
    book = watched.book
    known = set(book.digests) if book else set()
    files = sorted(Path(name) for name in glob.glob(inbox) if Path(name).is_file())  # noqa: PTH207
    return [path for path in files if digest_file(path) not in known]


def told(book: Book, name: str) -> list[str]:
    """Return what one more file came to, in lines."""
    fresh: Sequence[Claim] = book.fresh() if book.batches else ()
    lines = [f"{name}: {len(fresh)} new alarms, {len(book.alarms)} in all"]
    return lines + [f"  {claim.kind}: no longer {claim.words}" for claim in fresh]


def main(argv: list[str]) -> None:
    """Read new rows and outcomes."""
    parser = Parser("tasks.watch", description="Watch a registered model on new rows.")
    parser.add_argument("recipe")
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--outcomes", nargs="*", type=Path, default=[])
    parser.add_argument("--alias", default="champion")
    wanted: argparse.Namespace = parser.parse_args(argv)
    watched = open_watch(wanted.recipe, wanted.alias)
    files = wanted.files or ([] if wanted.outcomes else new_files(watched))
    for path in (*files, *wanted.outcomes):
        if not path.is_file():
            raise UserError(f"{path} is not there")
    for path in files:
        print("\n".join(told(take(watched, path), str(path))))
    for path in wanted.outcomes:
        print("\n".join(told(take_outcomes(watched, path), str(path))))
    if files or wanted.outcomes:
        from tasks.watching.shown import show

        print(f"{report_of(watched)}, {show(watched)}")
    else:
        print("nothing new")


if __name__ == "__main__":
    command(main)
