"""Runs in MLflow: their settings, figures, files and models.

Used through `tasks.registry` alone, which opens the store.
"""

import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.params import UserError

CONTENT, STATE, MODEL = "sordino.content", "sordino.state", "sordino.model"


@contextlib.contextmanager
def in_one_line(uri: str) -> Iterator[None]:
    """Turn an answer that MLflow does not give into one line."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"MLflow at {uri} (MLFLOW_TRACKING_URI): {reason}") from None


@contextlib.contextmanager
def nothing_compiled() -> Iterator[None]:
    """Loading a model from where it is kept must not leave bytecode beside it."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


@dataclass(frozen=True)
class Runs:
    """Runs of a store.

    Attributes:
        client: MLflow's own.
        uri: where it looks.
        artifacts: folder of the files; None where a server decides.
    """

    client: Any
    uri: str
    artifacts: Path | None

    def experiment(self, name: str) -> str:
        """Return the id of an experiment, made where there is none."""
        with in_one_line(self.uri):
            found = self.client.get_experiment_by_name(name)
            if found is None:
                place = str(self.artifacts) if self.artifacts else None
                return str(self.client.create_experiment(name, artifact_location=place))
            if found.lifecycle_stage != "active":
                self.client.restore_experiment(found.experiment_id)
            return str(found.experiment_id)

    def find_run(self, experiment: str, content: str) -> Any | None:
        """Return the finished run with this content; drop the ones that were cut short."""
        runs = self.client.search_runs([experiment], f"tags.`{CONTENT}` = '{content}'")
        whole = [run for run in runs if run.data.tags.get(STATE) == "complete"]
        for run in runs:
            if run not in whole:
                self.client.delete_run(run.info.run_id)
        return whole[0] if whole else None

    def start_run(
        self, experiment: str, name: str, tags: Mapping[str, str], began: int | None = None
    ) -> str:
        """Return the id of a new run, not complete yet; it began now, or at these milliseconds."""
        run = self.client.create_run(experiment, began, dict(tags), name)
        return str(run.info.run_id)

    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Write settings into a run."""
        from mlflow.entities import Param

        self.client.log_batch(run_id, params=[Param(k, v) for k, v in params.items()])

    def log_metrics(
        self, run_id: str, metrics: Mapping[str, float], source: str, data: tuple[str, str]
    ) -> None:
        """Write figures into a run, and onto the page of its model.

        Args:
            run_id: its run.
            metrics: by name.
            source: models:/ID where the run has a model.
            data: name and digest of what it was trained on.
        """
        from mlflow.entities import Metric

        model = source.removeprefix("models:/") if source.startswith("models:/") else None
        figures = [
            Metric(k, v, 0, 0, model_id=model, dataset_name=data[0], dataset_digest=data[1])
            for k, v in metrics.items()
        ]
        self.client.log_batch(run_id, metrics=figures)

    def log_dataset(
        self, run_id: str, name: str, digest: str, source: str, columns: Mapping[str, str]
    ) -> None:
        """Say what a run was trained on.

        Args:
            run_id: its run.
            name: of the data.
            digest: of them.
            source: where they are from, in words.
            columns: name to type.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        fields = [{"name": k, "type": v, "required": True} for k, v in columns.items()]
        schema = json.dumps({"mlflow_colspec": fields})
        dataset = Dataset(name, digest, source_type="sordino", source=source, schema=schema)
        use = DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])
        self.client.log_inputs(run_id, [use])

    def watch_run(
        self, experiment: str, name: str, model: Mapping[str, str], began: int | None = None
    ) -> str:
        """Return the id of the one run with such tags, made where there is none."""
        with in_one_line(self.uri):
            place = self.experiment(experiment)
            wanted = " and ".join(f"tags.`sordino.{key}` = '{model[key]}'" for key in model)
            found = self.client.search_runs([place], wanted, max_results=1)
            if found:
                return str(found[0].info.run_id)
            tags = {f"sordino.{key}": value for key, value in model.items()}
            return self.start_run(place, name, tags, began)

    def log_series(self, run_id: str, points: Sequence[tuple[str, float, int]]) -> None:
        """Write figures with their steps; what is there already is written over."""
        from mlflow.entities import Metric

        metrics = [Metric(name, value, 0, step) for name, value, step in points]
        for start in range(0, len(metrics), 1000):
            self.client.log_batch(run_id, metrics=metrics[start : start + 1000])

    def log_points(self, run_id: str, points: Sequence[tuple[str, float, int, int]]) -> None:
        """Write figures with their steps and milliseconds."""
        from mlflow.entities import Metric

        metrics = [Metric(name, value, at, step) for name, value, step, at in points]
        for start in range(0, len(metrics), 1000):
            self.client.log_batch(run_id, metrics=metrics[start : start + 1000])

    def end_run(self, run_id: str, status: str, at: int) -> None:
        """Say how a run ended, and at which milliseconds."""
        self.client.set_terminated(run_id, status, at)

    def log_folder(self, run_id: str, folder: Path) -> None:
        """Copy the folders inside `folder` into a run's artifacts."""
        self.client.log_artifacts(run_id, str(folder))

    def log_model(
        self,
        run_id: str,
        script: Path,
        files: Mapping[str, Path],
        code: Sequence[Path],
        columns: Sequence[str],
        outputs: Mapping[str, str],
        example: Any,
        requirements: Sequence[str],
    ) -> str:
        """Log a model as code and files, no pickle in it.

        Args:
            run_id: its run.
            script: sets the model (models from code).
            files: name to file, as the script will find them.
            code: folders that the script imports.
            columns: raw columns that the model reads; each may be of any type.
            outputs: name of each output column to its MLflow type, or "any".
            example: invented rows.
            requirements: exact pip requirements.

        Returns:
            The model's address, models:/ID.
        """
        import mlflow
        from mlflow.models import ModelSignature
        from mlflow.types.schema import AnyType, ColSpec, Schema

        signature = ModelSignature(
            inputs=Schema([ColSpec(AnyType(), name) for name in columns]),
            outputs=Schema(
                [
                    ColSpec(AnyType() if kind == "any" else kind, name)
                    for name, kind in outputs.items()
                ]
            ),
        )
        with mlflow.start_run(run_id=run_id), nothing_compiled():
            info = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(script),
                artifacts={name: str(path) for name, path in files.items()},
                code_paths=[str(path) for path in code],
                signature=signature,
                input_example=example,
                pip_requirements=list(requirements),
            )
        return f"models:/{info.model_id}"

    def predict(self, model: str, rows: Any) -> Any:
        """Load a model as any user would and return its answer."""
        import mlflow

        with nothing_compiled():
            return mlflow.pyfunc.load_model(model).predict(rows)

    def finish_run(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Mark a run complete: it will be found by its content from now on."""
        for key, value in tags.items():
            self.client.set_tag(run_id, key, value)
        self.client.set_tag(run_id, STATE, "complete")
        self.client.set_terminated(run_id)

    def tag(self, run_id: str, key: str) -> str:
        """Return one tag of a run."""
        return str(self.client.get_run(run_id).data.tags[key])

    def experiment_of(self, run_id: str) -> str:
        """Return the id of the experiment that a run belongs to."""
        return str(self.client.get_run(run_id).info.experiment_id)

    def read_text(self, run_id: str, path: str) -> str | None:
        """Return one file of a run's artifacts; None where there is none."""
        from mlflow.exceptions import MlflowException

        with tempfile.TemporaryDirectory() as work:
            try:
                place = self.client.download_artifacts(run_id, path, work)
            except (MlflowException, OSError):
                return None
            return Path(place).read_text(encoding="utf-8")

    def write_text(self, run_id: str, path: str, text: str) -> None:
        """Write one file of a run's artifacts anew."""
        self.client.log_text(run_id, text, path)
