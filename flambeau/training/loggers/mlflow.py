"""MLflow: figures, pictures and the recipe's settings, as a run of an experiment on its tracking server."""

from __future__ import annotations

import contextlib
import http.client
import io
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image

from flambeau.core.errors import RunError, first_line
from flambeau.core.files import parse_yaml, read_json, read_regular, write_json
from flambeau.training.loggers.base import LOGGERS, Logger

KEPT = "mlflow.json"  # which run of the server a folder is, so that a resume goes on in it
MOST_AT_ONCE = 1000  # figures that the server takes in one request
PATIENCE = 10.0  # seconds that a server has for its first answer
LONGEST = 500  # characters of a setting's value


@LOGGERS.register("mlflow")
class MLflow(Logger):
    """A run of MLflow.

    Args:
        uri: of the server or the database, such as http://127.0.0.1:5000 or sqlite:///mlflow.db; what MLflow is set to
            (MLFLOW_TRACKING_URI), if not given.
        experiment: whose run it is; made where there is none.
    """

    extra = "mlflow"

    def __init__(self, folder: Path, uri: str = "", experiment: str = "flambeau"):
        super().__init__(folder)
        from mlflow import MlflowClient, get_tracking_uri
        from mlflow.entities import Metric, Param
        from mlflow.exceptions import MlflowException

        self._metric, self._failed = Metric, MlflowException
        self._client = MlflowClient(tracking_uri=uri or None)
        self._uri = uri or str(get_tracking_uri())
        with self._telling():
            reach(self._uri)
            if (folder / KEPT).exists():
                self._run = str(read_json(folder / KEPT)["run"])
                self._client.update_run(self._run, status="RUNNING")
                return
            known = self._client.get_experiment_by_name(experiment)
            of = known.experiment_id if known is not None else self._client.create_experiment(experiment)
            self._run = self._client.create_run(of, run_name=folder.resolve().name).info.run_id
            params = [Param(name, value[:LONGEST]) for name, value in settings_of(folder).items()]
            self._client.log_batch(self._run, params=params[:100])
        write_json(folder / KEPT, {"run": self._run})

    @classmethod
    def available(cls) -> bool:
        return find_spec("mlflow") is not None

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        metrics = [self._metric(tag_of(tag), value, now, step) for tag, value in numbers.items()]
        with self._telling():
            for start in range(0, len(metrics), MOST_AT_ONCE):
                self._client.log_batch(self._run, metrics=metrics[start : start + MOST_AT_ONCE])

    def picture(self, step: int, tag: str, size: tuple[int, int], png: bytes) -> None:
        with self._telling(), Image.open(io.BytesIO(png), formats=["PNG"]) as opened:
            self._client.log_image(self._run, opened.convert("RGB"), artifact_file=f"{tag_of(tag)}/{step}.png")

    def close(self) -> None:
        with self._telling():
            self._client.set_terminated(self._run)

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except (self._failed, OSError, http.client.HTTPException) as error:
            raise RunError(f"the figures cannot be written ({first_line(error)})", where=shown_uri(self._uri),
                           fix="start the server, or leave the logger out and resume") from None  # fmt: skip


def shown_uri(uri: str) -> str:
    """An address without the name and the password in it.

    >>> shown_uri("https://me:secret@figures.example/mlflow")
    'https://figures.example/mlflow'
    """
    parts = urllib.parse.urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if parts.netloc else uri


def reach(uri: str) -> None:
    """Raises OSError where a server does not answer at all: MLflow's own client would try for minutes."""
    if uri.startswith(("http://", "https://")):
        with contextlib.suppress(urllib.error.HTTPError):  # it answers
            urllib.request.urlopen(f"{shown_uri(uri).rstrip('/')}/health", timeout=PATIENCE).close()


def tag_of(tag: str) -> str:
    """A tag with the characters alone that MLflow takes.

    >>> tag_of("valid/f1:cat")
    'valid/f1_cat'
    """
    return re.sub(r"[^\w ./-]", "_", tag)


def settings_of(folder: Path) -> dict[str, str]:
    """The settings of a run's recipe, by their full names, without what says nothing."""
    path = folder / "recipe.yaml"
    recipe: Any = parse_yaml(read_regular(path).decode("utf-8")) if path.exists() else {}
    sections = {name: recipe.get(name) or {} for name in ("model", "objective", "training")}
    return {f"{section}.{name}": str(value) for section, values in sections.items() for name, value in values.items()
            if value not in (None, {}, [])}  # fmt: skip
