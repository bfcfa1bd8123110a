"""The Predictor of an export: reads and tells as that of its run, and answers by the exported programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.core import plugins
from flambeau.core.reporter import QUIET, Reporter
from flambeau.data.batch import Batch
from flambeau.data.dataset import Dataset
from flambeau.data.prepare import Preparer
from flambeau.data.store.encode import EncodeOptions
from flambeau.data.store.store import Gathered
from flambeau.exports.base import EXPORTERS
from flambeau.exports.deployed import as_arrays, columns_of
from flambeau.exports.manifest import Manifest
from flambeau.fields import Field
from flambeau.objectives import OBJECTIVES, Context, Objective
from flambeau.objectives.programs import Fed, Port, Runtimes
from flambeau.predictor import Predictor, Reading
from flambeau.predictor.tiling import TilingPredictor
from flambeau.run import Run
from flambeau.training.engine import Engine


class Feeding(Preparer):
    """Prepares batches that also have the arrays of a program."""

    def __init__(self, predictor: Predictor, target: str | None):
        super().__init__(predictor.fields, predictor.inputs, target, torch.device("cpu"))
        self._columns = columns_of(predictor)

    def __call__(
        self, rows: Tensor, gathered: Gathered, training: bool = False, generator: torch.Generator | None = None
    ) -> Fed:
        batch = super().__call__(rows, gathered, training, generator)
        return Fed(batch.input, batch.target, batch.rows, as_arrays(self._columns, gathered))


class ExportedPredictor(Predictor):
    """A Predictor whose answers come from exported programs, on the processor.

    Args:
        manifest: of the export.
        runtimes: its programs.
    """

    def __init__(
        self, objective: Objective, fields: Mapping[str, Field], inputs: Sequence[str], target: str | None,
        manifest: Manifest, runtimes: Runtimes,
    ):  # fmt: skip
        super().__init__(objective, Engine(), fields, inputs, target)
        self.manifest, self.runtimes = manifest, runtimes
        self.prepare = Feeding(self, None)

    @classmethod
    def of(cls, run: Run) -> ExportedPredictor:
        """That of a folder.

        Raises:
            RunError: it is damaged. MissingExtra: what runs its programs is not installed.
        """
        manifest, recipe = Manifest.read(run.path), run.recipe
        plugins.need(recipe.plugins, run.path)
        fields, inputs, target = run.fields()
        choice, exporter = recipe.objective, EXPORTERS[manifest.format]
        ports = {
            name: [[Port.of(port) for port in said[which]] for which in ("inputs", "outputs")]
            for name, said in manifest.programs.items()
        }
        runtimes = Runtimes(
            {n: exporter.load(run.path / said["file"], *ports[n]) for n, said in manifest.programs.items()},
            {name: inputs for name, (inputs, _) in ports.items()},
        )
        loss = "auto" if "loss" in recipe.own_parts else choice.loss
        context = Context(fields, inputs, fields.get(target or ""), _no_model, loss, choice.metric, choice.metrics)
        objective = OBJECTIVES[choice.name].of_programs(context, runtimes)
        objective.calibration, objective.decision = manifest.calibration, run.decision
        tiles = objective.task.tiles([fields[name] for name in inputs])
        kind = TilingExportedPredictor if tiles else cls
        predictor = kind(objective, fields, inputs, target, manifest, runtimes)
        predictor.examples, predictor.version = run.examples, run.version
        return predictor

    def forward(self, batch: Batch) -> np.ndarray:
        return self.objective.predict(batch).float().numpy()

    def read(self, dataset: Dataset, options: EncodeOptions | None = None, reporter: Reporter = QUIET) -> Reading:
        return super().read(dataset, options, reporter)._replace(prepare=Feeding(self, self.target))


class TilingExportedPredictor(TilingPredictor, ExportedPredictor):
    """One for pictures of any size, in tiles."""


def _no_model(*_: Any) -> Any:
    raise AssertionError("an export has no model")


def load(folder: str | Path | Run) -> ExportedPredictor:
    """The Predictor of an export; see `ExportedPredictor.of`."""
    return ExportedPredictor.of(folder if isinstance(folder, Run) else Run.open(folder))
