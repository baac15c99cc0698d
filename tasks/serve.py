"""Serve a registered model: scores, decisions and an OpenAPI page on one address.

    python -m tasks.serve RECIPE [--alias champion] [--host 127.0.0.1] [--port 8000]
                          [--every 10] [--threads 1] [--reasons 4]

The model is the one that the alias names; when the alias moves, the new one is taken up within
`--every` seconds and no request notices. `python -m tasks.serve RECIPE --alias challenger` serves
what nobody has accepted yet.
"""

import logging
import os
import sys
from dataclasses import dataclass

from tasks.checkout import checkout
from tasks.params import UserError, command, load_recipe
from tasks.serving.options import MOST_REASONS, Parser


@dataclass(frozen=True)
class Options:
    """The command line.

    Attributes:
        recipe: of params.yaml.
        alias: of the registered model to follow.
        host: address to listen on; 127.0.0.1 is this machine alone.
        port: to listen on.
        every: seconds between two looks at the alias.
        threads: CPU threads for the network.
        reasons: of an unfavourable decision, where a request does not say how many.
    """

    recipe: str
    alias: str
    host: str
    port: int
    every: float
    threads: int
    reasons: int


def options(argv: list[str]) -> Options:
    """Return the command line.

    Raises:
        UserError: a word is wrong.
    """
    parser = Parser("tasks.serve", description="Serve a registered model.")
    parser.add_argument("recipe")
    parser.add_argument("--alias", default="champion")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--every", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--reasons", type=int, default=4)
    found = Options(**vars(parser.parse_args(argv)))
    if not 0 <= found.port < 65536:
        raise UserError(f"--port {found.port} must be 0 to 65535")
    if not found.every > 0 or found.threads < 1:
        raise UserError(f"--every {found.every:g} must be above 0, --threads {found.threads} too")
    if not 0 <= found.reasons <= MOST_REASONS:
        raise UserError(f"--reasons {found.reasons} must be 0 to {MOST_REASONS}")
    return found


def main(argv: list[str]) -> None:
    """Serve until interrupted."""
    wanted = options(argv)
    root = checkout()
    recipe = load_recipe(root / "params.yaml", wanted.recipe)
    # Late: nobody waits for a server to learn that a word was wrong.
    os.environ.setdefault("POLARS_MAX_THREADS", str(max(2, wanted.threads)))
    import torch
    import uvicorn

    from tasks.registry import open_store
    from tasks.serving.app import create_app
    from tasks.serving.live import Live

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    name = recipe.register.model_name or wanted.recipe
    torch.set_num_threads(wanted.threads)
    live = Live(open_store(root), name, wanted.alias, wanted.threads)
    live.refresh()
    live.watch(wanted.every)
    print(
        f"{live.described()}: http://{wanted.host}:{wanted.port}/score, "
        f"page http://{wanted.host}:{wanted.port}/docs",
        file=sys.stderr,
    )
    try:
        # No access log: a path may be personal, and nothing about a person is written down.
        uvicorn.run(
            create_app(name, live.current, wanted.reasons),
            host=wanted.host,
            port=wanted.port,
            log_level="warning",
            access_log=False,
        )
    finally:
        live.stop()


if __name__ == "__main__":
    command(main)
