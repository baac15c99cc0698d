"""Approve, reject, override or roll back a registered version, by name and with a reason.

    python -m tasks.approve RECIPE --approve --by "Ada Lovelace" [--reason TEXT] [--version N]
    python -m tasks.approve RECIPE --reject --by "Ada Lovelace" --reason TEXT [--version N]
    python -m tasks.approve RECIPE --override --by "Ada Lovelace" --reason TEXT [--version N]
    python -m tasks.approve RECIPE --rollback --by "Ada Lovelace" --reason TEXT

Without --version it is about the challenger. The flow `approve` asks for the same in Prefect.
"""

from tasks.approval import CHOICES, Word, decide, name_of, pending, rollback
from tasks.checkout import checkout
from tasks.evidence.story import CHAMPION
from tasks.machine.told import Row, run_links
from tasks.params import command
from tasks.registry import Store, Version, open_store
from tasks.serving.options import Parser


def parser() -> Parser:
    """Return the command line."""
    found = Parser("tasks.approve", description="A person's word on a registered version.")
    found.add_argument("recipe")
    which = found.add_mutually_exclusive_group(required=True)
    for choice in (*CHOICES, "rollback"):
        which.add_argument(f"--{choice}", dest="choice", action="store_const", const=choice)
    found.add_argument("--by", required=True, help="first and last name, or an e-mail address")
    found.add_argument("--reason", default="", help="from 20 characters on")
    found.add_argument("--version", help="a number; the challenger without it")
    return found


def told(version: Version, choice: str, by: str) -> str:
    """Return one line about what was decided."""
    aliases = f", alias {', '.join(version.aliases)}" if version.aliases else ", no alias"
    return f"{version.name} version {version.number}{aliases} ({choice} by {by})"


def rows(store: Store, version: Version) -> list[Row]:
    """Return a version beside the champion: what a person should see before deciding."""
    champion = store.holder(version.name, CHAMPION)
    listed = [version]
    if champion is not None and champion.number != version.number:
        listed.append(champion)
    names = ("status", "score", "epsilon", "attack", "null_block", "reasons", "approver")
    return [
        {
            "version": one.number,
            "alias": ", ".join(one.aliases) or "none",
            **{name: one.tags.get(name, "") for name in names},
        }
        for one in listed
    ]


def links(store: Store, version: Version) -> str:
    """Return links to a version and its reports, in Markdown."""
    run = store.run_of(version)
    return run_links(store.experiment_of(run), run, version.name, version.number)


def main(argv: list[str]) -> None:
    """Carry out one decision."""
    wanted = parser().parse_args(argv)
    root = checkout()
    name = name_of(root, wanted.recipe)
    store = open_store(root)
    if wanted.choice == "rollback":
        version = rollback(store, name, wanted.by, wanted.reason)
        print(told(version, f"{CHAMPION} again, rolled back", wanted.by))
        return
    word = Word(wanted.choice, wanted.by, wanted.reason)
    version = decide(store, pending(store, name, wanted.version), word)
    print(told(version, wanted.choice, wanted.by))


if __name__ == "__main__":
    command(main)
