"""The model in use: looked up by its alias, swapped whole when the alias moves."""

import logging
import tempfile
import threading
from pathlib import Path

from tasks import registry
from tasks.serving.scorer import Scorer

log = logging.getLogger("sordino.serve")


class Live:
    """What an alias of a registered model names, kept up to date."""

    def __init__(self, store: registry.Store, name: str, alias: str, threads: int) -> None:
        """Look nothing up yet.

        Args:
            store: of registered models.
            name: of the registered model.
            alias: to follow.
            threads: CPU threads for the network.
        """
        self.store, self.name, self.alias, self.threads = store, name, alias, threads
        self.scorer: Scorer | None = None
        self._stop = threading.Event()

    def current(self) -> Scorer | None:
        """Return the model in use; None before the first."""
        return self.scorer

    def refresh(self) -> bool:
        """Take up the alias's version where it is another than the one in use.

        Returns:
            Whether the model changed.

        Raises:
            UserError: nothing has the alias, or its version cannot be read.
        """
        version = self.store.find(self.name, self.alias)
        if self.scorer and self.scorer.identity["version"] == version.number:
            return False
        identity = {"name": self.name, "version": version.number, "alias": self.alias}
        with tempfile.TemporaryDirectory() as work:
            folder = self.store.download(version, Path(work))
            self.scorer = Scorer.read(folder, identity, self.threads)
        return True

    def watch(self, every: float) -> threading.Thread:
        """Look again and again until `stop`; a failed look keeps the model in use.

        Args:
            every: seconds between two looks.
        """

        def look() -> None:
            while not self._stop.wait(every):
                try:
                    if self.refresh():
                        log.info("now serving %s", self.described())
                except Exception as error:
                    log.warning("%s stays: %s", self.described(), type(error).__name__)

        thread = threading.Thread(target=look, name="alias", daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        """End `watch`."""
        self._stop.set()

    def described(self) -> str:
        """Return name, version and alias in a line."""
        if self.scorer is None:
            return f"{self.name} (no version yet)"
        return f"{self.name} version {self.scorer.identity['version']} ({self.alias})"
