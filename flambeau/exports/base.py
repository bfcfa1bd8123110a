"""Exports: a run's model as programs that need no Flambeau. One file per format, entered into EXPORTERS."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch

from flambeau.core.errors import RunError, UsageError, check_known
from flambeau.core.files import disk_full_named
from flambeau.core.printable import quoted
from flambeau.core.registry import Registry
from flambeau.core.reporter import QUIET, Reporter
from flambeau.exports import huggingface
from flambeau.exports.card import write_card
from flambeau.exports.deployed import Deployed
from flambeau.exports.int8 import calibration
from flambeau.exports.manifest import Manifest, is_export
from flambeau.objectives.programs import Port, Runtime
from flambeau.predictor import Predictor
from flambeau.run import Run
from flambeau.techniques import qat
from flambeau.version import __version__

EXPORTERS: Registry[type[Exporter]] = Registry("format of exports", "format")
COPIED = ("recipe.yaml", "fields.json", "decision.json", "examples.json", "evaluation.json", "findings.json",
          "environment.json")  # fmt: skip
Rows = Sequence[dict[str, Any]]
"""Arrays by name, of batches of rows."""


class Exporter(ABC):
    """A format of programs: how one is written and run."""

    format: ClassVar[str]
    ending: ClassVar[str]
    """Of a program's file, with its dot."""
    precisions: ClassVar[tuple[str, ...]] = ("float32",)
    tolerance: ClassVar[float] = 1e-4
    """How far an output may be from the model's, as a share of its largest number, in float32. In other precisions it
    is the metric that must stay."""
    note: ClassVar[str] = ""
    """What a person should know before choosing it, in a line."""

    @abstractmethod
    def write(self, deployed: Deployed, path: Path, *, precision: str, calibration: Rows = ()) -> Sequence[Port]:
        """Writes a program and gives its outputs.

        Args:
            path: of its file; others may be put beside it.
            calibration: of training rows, by which int8 finds its ranges.

        Raises:
            ModelError: the model is none that this format can have.
        """

    @classmethod
    @abstractmethod
    def load(cls, path: Path, inputs: Sequence[Port], outputs: Sequence[Port]) -> Runtime:
        """A program that was written, to be run.

        Raises:
            MissingExtra: what runs it is not installed. RunError: the file is damaged.
        """


def export(
    run: str | Path | Run, *, format: str = "program", precision: str = "float32", out: str | Path | None = None,
    reporter: Reporter = QUIET,
) -> Run:  # fmt: skip
    """Writes what a run predicts by as programs of a format, into a folder that loads like a run, and compares them
    with its model on held-out rows.

    Args:
        format: a name of EXPORTERS, or `hf` for the layout of the Hugging Face Hub.
        precision: of weights and sums, one that the format has.
        out: the folder; `exports/FORMAT` within the run if not given. An export that lies there is replaced.

    Returns:
        the folder.

    Raises:
        RunError: there is no such run, it is not finished, or something else lies in the folder.
        UsageError: there is no such format, or it has not this precision.
        ModelError: the model is none that this format can have, or the programs answer otherwise than it.
    """
    from flambeau.exports.verify import verify

    run = run if isinstance(run, Run) else Run.open(run)
    if is_export(run.path):
        raise RunError("this is an export", where=run.path, fix="export the run that it came from")
    if not run.finished:
        raise RunError("the run is not finished", where=run.path, fix=f"finish it: flambeau resume {quoted(run.path)}")
    exporter = EXPORTERS[format]() if format != huggingface.NAME else None  # which has weights, and no program
    check_known(f"the format {format} has no precision", [precision], exporter.precisions if exporter else ("float32",))
    name = format if precision == "float32" else f"{format}-{precision}"
    folder = Path(out) if out is not None else run.path / "exports" / name
    if not folder.name:
        raise UsageError(f"an export makes a folder, and '{out}' has no name", expected="such as photos-program")
    if exporter is None:
        huggingface.write(run, folder, reporter)
        return Run(folder)
    if folder.exists() and not is_export(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError("something else than an export lies there", where=folder, fix="give another folder with --out")
    predictor = Predictor.load(run, device="cpu", reporter=reporter)
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with disk_full_named(folder):
            temporary.mkdir(parents=True)
            manifest = _written(predictor, run, exporter, temporary, precision, reporter)
            manifest.write(temporary)
            exported = Predictor.load(Run(temporary))
            manifest.verified = verify(predictor, exported, run, exporter, manifest, reporter)
            write_card(temporary, run, manifest)
            manifest.write(temporary)
            shutil.rmtree(folder, ignore_errors=True)
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Run(folder)


def _written(
    predictor: Predictor, run: Run, exporter: Exporter, folder: Path, precision: str, reporter: Reporter
) -> Manifest:
    """Programs, and what lies beside them."""
    programs: dict[str, dict[str, Any]] = {}
    for member in run.members:  # each an export of its own; their answers are joined where they are loaded
        place = f"members/{member.path.name}"
        export(member, format=exporter.format, precision=precision, out=folder / place, reporter=reporter)
        for name, said in Manifest.read(folder / place).programs.items():
            programs[f"{place}/{name}"] = {**said, "file": f"{place}/{said['file']}"}
    known = {} if run.members else predictor.objective.programs()
    of_rows = any(program.inputs is None for program in known.values())
    rows = calibration(predictor, run) if precision == "int8" and of_rows else ()
    for name in known:
        deployed = Deployed(predictor, name, precision, qat.learnt_ranges(run.path)).eval()
        file = folder / f"{name}{exporter.ending}"
        outputs = exporter.write(deployed, file, precision=precision, calibration=rows)
        programs[name] = {"file": file.name, "inputs": [vars(port) for port in deployed.inputs],
                          "outputs": [vars(port) for port in outputs]}  # fmt: skip
    for name in (*COPIED, *(["model.safetensors"] if run.members else [])):  # which says how answers are joined
        if (run.path / name).exists():
            shutil.copy2(run.path / name, folder / name)
    target = predictor.fields.get(predictor.target or "")
    said = {} if target is None else {
        "column": predictor.target, "kind": target.kind, "labels": [*target.classes],
        "answers": predictor.objective.task.answers,
    }  # fmt: skip
    outside = {name: predictor.fields[name].outside for name in predictor.inputs}
    versions = {"flambeau": __version__, "torch": torch.__version__}
    tolerance = exporter.tolerance if precision == "float32" else None
    weights = sum(value.nbytes for part in predictor.parts for value in part.objective.model.state_dict().values())
    return Manifest(
        exporter.format, precision, programs, said, outside, tolerance,
        calibration=predictor.objective.calibration, versions=versions, weights=weights,
    )  # fmt: skip


def told(folder: Path, manifest: Manifest) -> list[str]:
    """What was written, in lines for a person."""
    size, seen = sum((folder / name).stat().st_size for name in manifest.files), manifest.verified
    lines = [f"{manifest.format}, {manifest.precision}: {folder} ({_mib(size)}; the run's weights are "
             f"{_mib(manifest.weights)})"]  # fmt: skip
    for program in manifest.programs.values():
        ports = (", ".join(f"{p['name']} {p['dtype']} {_sizes(p['shape'])}" for p in program[w])
                 for w in ("inputs", "outputs"))  # fmt: skip
        lines.append(f"  {program['file']}: {' → '.join(ports)}")
    passes = f"up to {manifest.tolerance:g} is let pass" if manifest.tolerance else "what is let pass is by the metric"
    lines.append(f"verified on {seen['rows']} {seen['of']}: at most {seen['difference']:.1e} away from the model, as a "
                 f"share of its largest number ({passes})")  # fmt: skip
    if "agreement" in seen:
        lines.append(f"  {seen['agreement']:.1%} of the answers are the same")
    if "metric" in seen:
        lines[-1] += f"; {seen['metric']} {seen['model']:.4f} of the model, {seen['export']:.4f} of the export"
    if manifest.precision != "float32":
        if manifest.precision == "int8" and size >= manifest.weights:
            lines.append("it is larger than the weights in float32, of which there are few: export it in float32")
        lines.append(f"{manifest.precision} makes small models slower: flambeau bench tells whether it is quicker here")
    if note := EXPORTERS[manifest.format].note:
        lines.append(note)
    return lines


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"


def _sizes(shape: Sequence[int | str]) -> str:
    return "(" + ", ".join(map(str, shape)) + ")"
