"""What an export is held to: on rows that the run did not train on, it answers as the model does.

In float32 an output may be `tolerance` of its largest number away. Where one is further, the layers' outputs are
written as outputs of the same format, and the first that parts is named. In another precision the metric may lose LOST.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from flambeau.core.errors import DataError, ModelError
from flambeau.core.reporter import Reporter
from flambeau.evaluation import held_out
from flambeau.exports.base import Exporter
from flambeau.exports.deployed import Deployed
from flambeau.exports.loaded import ExportedPredictor
from flambeau.exports.manifest import Manifest
from flambeau.objectives.programs import Port
from flambeau.predictor import Predictor
from flambeau.run import Run

ROWS, MEASURED, AT_ONCE = 200, 1000, 8
"""Held-out rows that are compared, those where the metric decides, and how many are given at once."""
LOST = 0.01
"""What a precision may cost of the metric: a point of a share, of an error this share of it."""


@dataclass
class Compared:
    """What answers are like on rows that the model was not trained on.

    Attributes:
        rows: how many.
        of: what they are.
        batches: of them, as they are gathered.
        apart: how far an answer is from the model's, at most.
        seen: {agreement, metric, model, export}; empty where the data of the training is gone, and without the last
            three where an export measures otherwise.
    """

    rows: int
    of: str
    batches: list[dict[str, Any]]
    apart: float
    seen: dict[str, Any]


def verify(
    predictor: Predictor, exported: Predictor, run: Run, exporter: Exporter, manifest: Manifest, reporter: Reporter
) -> dict[str, Any]:
    """{rows, of, difference, agreement, metric, model, export, programs}: the largest difference as a share of the
    largest number, the share of rows whose answers are the same, and the metric of both. Of an ensemble, whose members
    were compared each, that of the joint answers.

    Raises:
        ModelError: a difference is above the tolerance; it names the layer that parts first. Or the precision costs
            too much of the metric.
    """
    by_metric, tolerance = manifest.tolerance is None, manifest.tolerance or np.inf
    try:
        compared = on_held_out(predictor, exported, run, tolerance, MEASURED if by_metric else ROWS)
    except DataError:
        reporter.say("the data of the training is gone: the export is compared on the rows that the run kept",
                     style="yellow")  # fmt: skip
        compared = _on_kept(predictor, exported)
    differences: dict[str, float] = {}
    runtimes = exported.runtimes if isinstance(exported, ExportedPredictor) else {}
    for name, runtime in runtimes.items():
        deployed = Deployed(predictor, name).eval()
        parts = [deployed.of_rows(part) for part in compared.batches]
        for arrays in [part for part in parts if part is not None] or _codes(deployed):
            difference = _difference(_called(deployed, arrays), runtime(arrays))
            differences[name] = max(difference, differences.get(name, 0.0))
            if not difference <= tolerance:
                layer = first_to_part(predictor, name, exporter, arrays, tolerance)
                raise ModelError(
                    f"the program '{name}' parts from the model by {difference:.1e} of its largest number", where=layer,
                    expected=f"{tolerance:g} at most", fix="export it in another format or precision",
                )  # fmt: skip
    if by_metric:
        _check_metric(manifest.precision, compared.seen, predictor.objective.higher_is_better)
    if not runtimes:
        differences["joint"] = compared.apart
        if not compared.apart <= tolerance:
            raise ModelError(
                f"the joint answers part from the ensemble's by {compared.apart:.1e} of the largest number",
                expected=f"{tolerance:g} at most", fix="export it in another format or precision",
            )  # fmt: skip
    return {"rows": compared.rows, "of": compared.of, "difference": max(differences.values()), "programs": differences,
            **compared.seen}  # fmt: skip


def _check_metric(precision: str, seen: Mapping[str, Any], higher_is_better: bool) -> None:
    if "metric" not in seen:
        raise ModelError(f"{precision} is held to the metric on held-out rows, which cannot be measured here",
                         fix="put the data back where it was, or export in float32")  # fmt: skip
    model, export = seen["model"], seen["export"]
    lost, most = (model - export, LOST) if higher_is_better else (export - model, LOST * abs(model))
    if not lost <= most:
        raise ModelError(
            f"in {precision} the {seen['metric']} is {export:.4g}, and {model:.4g} of the model: it loses {lost:.2g}",
            expected=f"{most:.2g} at most",
            fix="export it in float32" + (", or train it on for int8: --technique qat" if precision == "int8" else ""),
        )  # fmt: skip


def _on_kept(predictor: Predictor, exported: Predictor) -> Compared:
    """On the rows that the run kept, one by one."""
    kept = [predictor.encode({c: predictor.fields[c].from_portable(v) for c, v in row.items()})
            for row in predictor.examples] or [predictor.blank()]  # fmt: skip
    apart = [_difference({"": predictor.outputs([row])}, {"": exported.outputs([row])}) for row in kept]
    batches = [predictor.gather([row]) for row in kept] if isinstance(exported, ExportedPredictor) else []
    return Compared(len(kept), "rows that the run kept", batches, max(apart), {})


def on_held_out(predictor: Predictor, exported: Predictor, run: Run, tolerance: float, most: int) -> Compared:
    """On rows of the data, as many as `most`.

    Raises:
        DataError: it is gone.
    """
    reading, rows, split = held_out(run, predictor, None)
    chosen = torch.from_numpy(rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)])
    ours, theirs = predictor.objective, exported.objective
    both = exported.read(reading.dataset).prepare
    same: list[bool] = []
    compared = Compared(len(chosen), f"{split} rows", [], 0.0, {})
    name = predictor.inputs[0]
    values = reading.dataset.columns[name]
    ours.start_evaluation()
    theirs.start_evaluation()
    for part in chosen.split(AT_ONCE):
        columns = reading.store.gather(part)
        compared.batches.append({column: columns[column] for column in columns if column != predictor.target})
        with torch.inference_mode():
            for one, prepare in ((predictor, reading.prepare), (exported, both)):
                with one.engine.autocast():
                    one.objective.evaluate(prepare(part, columns, False, None))
            answers = [predictor.forward(reading.prepare(part, columns, False, None)),
                       exported.forward(both(part, columns, False, None))]  # fmt: skip
        for row, a, b in zip(part.tolist(), *answers, strict=True):
            labels = [str(predictor.decode(answer, 0.0, {name: values[row]}).label) for answer in (a, b)]
            apart = _difference({"": a}, {"": b})
            compared.apart = max(compared.apart, apart)
            near = apart <= tolerance < np.inf  # numbers and pictures are near, not the same
            same.append(labels[0] == labels[1] or near)
    compared.seen = {"agreement": float(np.mean(same))}
    if ours.monitor == theirs.monitor:
        metrics = [float(objective.metrics().get(ours.monitor, np.nan)) for objective in (ours, theirs)]
        compared.seen |= {"metric": ours.monitor, "model": metrics[0], "export": metrics[1]}
    return compared


def _codes(deployed: Deployed) -> list[dict[str, np.ndarray]]:
    """What a program of codes is tried with: noise, and class 0."""
    generator = np.random.default_rng(0)
    arrays = {name: value.numpy() for name, value in deployed.example().items()}
    return [{n: generator.standard_normal(a.shape).astype(a.dtype) if np.issubdtype(a.dtype, np.floating) else a
             for n, a in arrays.items()}]  # fmt: skip


def _called(deployed: Deployed, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    with torch.inference_mode():
        given = deployed(**{name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})
    return {name: value.float().numpy() for name, value in given.items()}


def _difference(model: Mapping[str, np.ndarray], given: Mapping[str, np.ndarray]) -> float:
    """The largest of all, as a share of the largest number of its output; infinite where a number is none."""
    worst = 0.0
    for name, value in model.items():
        other = given[name]
        if value.shape != other.shape or not np.array_equal(np.isfinite(value), np.isfinite(other)):
            return float("inf")
        there = np.isfinite(value)
        scale = float(np.abs(value[there]).max(initial=0)) or 1.0
        worst = max(worst, float(np.abs(value[there] - other[there]).max(initial=0)) / scale)
    return worst


class Tapped(Deployed):
    """The same with what each layer gives among its outputs, in the order in which they are called."""

    def __init__(self, predictor: Predictor, program: str, layers: Sequence[str]):
        super().__init__(predictor, program)
        self._layers = list(layers)

    def _forward(self, **arrays: Tensor) -> dict[str, Tensor]:
        seen: dict[str, Tensor] = {}
        modules = dict(self.model.named_modules())

        def hook(name: str) -> Any:
            def keep(module: nn.Module, args: Any, output: Any) -> None:
                if isinstance(output, Tensor) and output.is_floating_point():
                    seen.setdefault(f"layer/{name}", output.clone())

            return keep

        handles = [modules[name].register_forward_hook(hook(name)) for name in self._layers]
        try:
            return {**super()._forward(**arrays), **seen}
        finally:
            for handle in handles:
                handle.remove()


def first_to_part(
    predictor: Predictor, program: str, exporter: Exporter, arrays: Mapping[str, np.ndarray], tolerance: float
) -> str | None:
    """The layer, in the order of the computation, whose output is the first beyond the tolerance in this format; None
    where the format cannot show its layers, or the parting is after all of them."""
    layers = [name for name, module in predictor.objective.model.named_modules() if name and not [*module.children()]]
    tapped = Tapped(predictor, program, layers).eval()
    with TemporaryDirectory() as folder:
        file = Path(folder) / f"{program}{exporter.ending}"
        try:
            outputs: Sequence[Port] = exporter.write(tapped, file, precision="float32")
            given = exporter.load(file, tapped.inputs, outputs)(arrays)
        except ModelError:
            return None
    model = _called(tapped, arrays)
    for name in [name for name in model if name.startswith("layer/")]:
        if name in given and not _difference({name: model[name]}, {name: given[name]}) <= tolerance:
            return f"layer {name.removeprefix('layer/')}"
    return None
