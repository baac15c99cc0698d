"""The only MLflow client: where runs and models are kept, and how they are found again.

    python -m tasks.registry

makes the database ready before a server opens it.
"""

import contextlib
import fcntl
import logging
import os
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.checkout import checkout
from tasks.params import UserError, command
from tasks.runs import Runs, in_one_line

# A server that is down is reported within seconds.
HTTP = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}

# Columns in which MLflow keeps absolute paths of artifacts.
PATHS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def database(root: Path) -> Path:
    """Return the file that holds runs and models of a checkout."""
    return root / "mlflow" / "mlflow.db"


def tracking_uri(root: Path) -> str:
    """Return the server that the environment names, or the checkout's own database."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{database(root)}"


def repair_paths(file: Path, root: Path) -> int:
    """Turn paths of the folder in which the checkout once was to its folder of today.

    Args:
        file: MLflow's SQLite database.
        root: the checkout; its artifacts are in mlflow/artifacts.

    Returns:
        Number of paths that were changed.
    """
    suffix = "/mlflow/artifacts"
    with contextlib.closing(sqlite3.connect(file, timeout=60)) as base, base:
        rows = base.execute("SELECT DISTINCT artifact_location FROM experiments")
        known = {str(row[0]).removesuffix(suffix) for row in rows if str(row[0]).endswith(suffix)}
        changed = 0
        for old in sorted(known - {str(root)}):
            for table, column in PATHS:
                changed += base.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                    f"WHERE substr({column}, 1, ?) = ?",
                    (str(root), len(old) + 1, len(old) + 1, f"{old}/"),
                ).rowcount
        return changed


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Hold the checkout's database lock: two processes would spoil a fresh database."""
    (root / ".sordino").mkdir(exist_ok=True)
    with (root / ".sordino" / "registry.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _environment_kept() -> Iterator[None]:
    """MLflow writes its address into the environment, where it would pass for the user's."""
    before = dict(os.environ)
    yield
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        if name in before:
            os.environ[name] = before[name]
        else:
            os.environ.pop(name, None)


def open_store(root: Path) -> "Store":
    """Return the registry of a checkout, its database made and its paths repaired.

    Raises:
        UserError: the server that MLFLOW_TRACKING_URI names does not answer.
    """
    for name, value in {**HTTP, **QUIET}.items():
        os.environ.setdefault(name, value)
    import mlflow

    if not hasattr(mlflow, "__version__"):
        raise UserError("the package mlflow is not installed: run make env")
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    uri = tracking_uri(root)
    with _environment_kept():
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
    file = database(root)
    local = uri == f"sqlite:///{file}"
    with _alone(root), in_one_line(uri):
        file.parent.mkdir(exist_ok=True)
        # The client makes the tables of a new database and upgrades old ones.
        client = mlflow.MlflowClient(uri, uri)
        client.search_experiments(max_results=1)
        if local:
            repair_paths(file, root)
    return Store(client=client, uri=uri, artifacts=root / "mlflow" / "artifacts" if local else None)


@dataclass(frozen=True)
class Version:
    """One version of a registered model."""

    name: str
    number: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Store(Runs):
    """Runs, and the models that were registered from them."""

    def version_of(self, name: str, run_id: str) -> Version | None:
        """Return the version that a run was registered as."""
        found = self.client.search_model_versions(f"run_id = '{run_id}'")
        numbers = [int(v.version) for v in found if v.name == name]
        return self.version(name, str(min(numbers))) if numbers else None

    def version(self, name: str, number: str) -> Version:
        """Return one version with its aliases, which searching leaves out."""
        found = self.client.get_model_version(name, number)
        aliases = self.client.get_registered_model(name).aliases
        own = tuple(sorted(a for a, v in aliases.items() if str(v) == number))
        return Version(name, number, own, dict(found.tags))

    def holder(self, name: str, alias: str) -> Version | None:
        """Return the version that has an alias."""
        aliases = self.client.get_registered_model(name).aliases
        return self.version(name, str(aliases[alias])) if alias in aliases else None

    def register(
        self,
        name: str,
        source: str,
        run_id: str,
        tags: Mapping[str, str],
        description: str,
        about: str = "",
    ) -> Version:
        """Make a version of a run's model, or of its evidence alone.

        Args:
            name: of the registered model, made where there is none.
            source: models:/ID, or runs:/ID/published.
            run_id: its run.
            tags: of the version.
            description: its first line stands in the list of versions.
            about: what a new model's page begins with.
        """
        from mlflow.exceptions import MlflowException

        with contextlib.suppress(MlflowException):
            self.client.create_registered_model(name, description=about)
        model_id = source.removeprefix("models:/") if source.startswith("models:/") else None
        made = self.client.create_model_version(
            name, source, run_id, tags=dict(tags), description=description, model_id=model_id
        )
        return self.version(name, str(made.version))

    def find(self, name: str, alias: str) -> Version:
        """Return the version that has an alias.

        Raises:
            UserError: no model has the name, or no version the alias.
        """
        from mlflow.exceptions import MlflowException

        try:
            aliases = self.client.get_registered_model(name).aliases
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise UserError(f"no model is registered as {name!r} at {self.uri}") from None
        if alias not in aliases:
            known = ", ".join(sorted(aliases)) or "none"
            raise UserError(f"{name} has no version with alias {alias!r}; it has: {known}")
        return self.version(name, str(aliases[alias]))

    def download(self, version: Version, target: Path) -> Path:
        """Copy what a version's model reads into a folder, and return where its files are.

        Raises:
            UserError: the version carries no model.
        """
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        address = f"models:/{version.name}/{version.number}"
        with in_one_line(self.uri):
            try:
                place = download_artifacts(address, dst_path=str(target), tracking_uri=self.uri)
            except MlflowException:
                raise UserError(f"{address} carries no model: it was not accepted") from None
        found = Path(place) / "artifacts"
        if not (found / "serving.json").is_file():
            raise UserError(f"{address} carries no model: it was not accepted")
        return found

    def numbers(self, name: str) -> list[str]:
        """Return the numbers of a model's versions, rising; none where no model has the name."""
        found = self.client.search_model_versions(f"name = '{name}'")
        return [str(n) for n in sorted(int(version.version) for version in found)]

    def run_of(self, version: Version) -> str:
        """Return the id of the run that a version came from."""
        return str(self.client.get_model_version(version.name, version.number).run_id)

    def description(self, name: str, number: str | None = None) -> str:
        """Return what the page of a model says, or that of a version."""
        if number is None:
            return str(self.client.get_registered_model(name).description or "")
        return str(self.client.get_model_version(name, number).description or "")

    def describe(self, name: str, text: str, number: str | None = None) -> None:
        """Write what the page of a model says, or that of a version."""
        if number is None:
            self.client.update_registered_model(name, text)
        else:
            self.client.update_model_version(name, number, text)

    def tag_version(self, version: Version, tags: Mapping[str, str]) -> None:
        """Write tags of a version."""
        for key, value in tags.items():
            self.client.set_model_version_tag(version.name, version.number, key, value)

    def drop_alias(self, version: Version, alias: str) -> None:
        """Take an alias from a version that has it."""
        if alias in self.version(version.name, version.number).aliases:
            self.client.delete_registered_model_alias(version.name, alias)

    def set_alias(self, version: Version, alias: str) -> Version:
        """Give a version an alias, which any other version loses."""
        self.client.set_registered_model_alias(version.name, alias, version.number)
        return self.version(version.name, version.number)


def main(_arguments: list[str]) -> None:
    """Make the database ready."""
    open_store(checkout())
    print(f"registry ready: {tracking_uri(checkout())}", file=sys.stderr)


if __name__ == "__main__":
    command(main)
