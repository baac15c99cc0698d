"""Command lines whose mistakes are one line and exit status 1, as everywhere."""

import argparse

from tasks.params import UserError

# Of one person, in any answer.
MOST_REASONS = 20


class Parser(argparse.ArgumentParser):
    """argparse without its own way out."""

    def error(self, message: str) -> None:  # type: ignore[override]
        """Raise instead of printing the usage."""
        raise UserError(f"{message}; see python -m {self.prog} --help")
