"""The Run: the folder that a training leaves, and what can be read from it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from flambeau.core.errors import RunError, nearest
from flambeau.core.files import read_json, write_atomic, write_json
from flambeau.core.findings import Finding
from flambeau.fields import Field
from flambeau.recipe import Recipe
from flambeau.training import checkpoint
from flambeau.training.logging import read
from flambeau.version import __version__


class Run:
    """A run folder: `recipe.yaml`, `fields.json`, `examples.json`, `model.safetensors`, `checkpoints/`,
    `metrics.jsonl`, `evaluation.json`, `findings.json`, `environment.json`, `report.html`, TensorBoard events. No
    pickle anywhere."""

    def __init__(self, path: str | Path):
        self.path = Path(path)

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """A run that exists.

        Raises:
            RunError: there is none.
        """
        run = cls(path)
        if not run.path.exists():
            known = [p.name for p in run.path.parent.iterdir() if p.is_dir()] if run.path.parent.is_dir() else []
            raise RunError("there is no such run", where=path, fix=nearest(run.path.name, known))
        if not (run.path / "recipe.yaml").exists():
            raise RunError(
                "this is not a run: it holds no recipe.yaml",
                where=path,
                fix="start a training with flambeau train",
            )
        return run

    @classmethod
    def free(cls, name: str, folder: str | Path = "runs") -> Run:
        """A run called `name`, or `name-2`, `name-3`, … where that is taken."""
        folder = Path(folder)
        path, number = folder / name, 2
        while (path / "recipe.yaml").exists():
            path, number = folder / f"{name}-{number}", number + 1
        return cls(path)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other trainings out of the folder; a training that is killed lets go by itself.

        Raises:
            RunError: another training is in it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("a+") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                handle.seek(0)
                raise RunError(
                    f"another training (process {handle.read().strip() or 'unknown'}) is writing into this run",
                    where=self.path, fix="wait for it, or give another folder with --run",
                ) from None  # fmt: skip
            handle.truncate(0)
            handle.write(str(os.getpid()))
            handle.flush()
            for left in self.path.glob(".*.tmp"):
                left.unlink(missing_ok=True)  # of a training that was killed while it wrote
            yield

    # -- what is in it ------------------------------------------------------------------------------------------

    @property
    def recipe(self) -> Recipe:
        """The recipe."""
        return Recipe.load(self.path / "recipe.yaml")

    @property
    def finished(self) -> bool:
        """Whether the training came to its end."""
        return (self.path / "model.safetensors").exists()

    @property
    def started(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return bool(checkpoint.listed(self.path / "checkpoints"))

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl."""
        path = self.path / "metrics.jsonl"
        return read(path) if path.exists() else []

    @property
    def evaluation(self) -> dict[str, Any]:
        """The evaluation that the training ended with; empty if there is none yet."""
        path = self.path / "evaluation.json"
        return read_json(path) if path.exists() else {}

    @property
    def findings(self) -> list[Finding]:
        """What the checks found."""
        path = self.path / "findings.json"
        return [Finding.from_dict(f) for f in read_json(path)["findings"]] if path.exists() else []

    @property
    def checked(self) -> bool:
        """Whether the data was checked."""
        path = self.path / "findings.json"
        return bool(read_json(path).get("checked")) if path.exists() else False

    @property
    def environment(self) -> dict[str, Any]:
        """What it was trained with."""
        path = self.path / "environment.json"
        return read_json(path) if path.exists() else {}

    def fields(self) -> tuple[dict[str, Field], list[str], str | None]:
        """(fields by column, inputs, target)."""
        state = read_json(self.path / "fields.json")
        try:
            return {n: Field.from_dict(f) for n, f in state["fields"].items()}, state["inputs"], state["target"]
        except (KeyError, TypeError, AttributeError) as error:
            raise RunError(f"the fields are damaged ({error!r})", where=self.path / "fields.json") from None

    def save_fields(self, fields: dict[str, Field], inputs: list[str], target: str | None) -> None:
        """Writes fields.json."""
        state = {"inputs": inputs, "target": target, "fields": {n: f.to_dict() for n, f in fields.items()}}
        write_json(self.path / "fields.json", state)

    @property
    def examples(self) -> list[dict[str, Any]]:
        """A few training rows to try the model on, raw values by input; none where the file was taken away."""
        path = self.path / "examples.json"
        return read_json(path).get("examples", []) if path.exists() else []

    def save_model(self, model: nn.Module) -> None:
        """Writes model.safetensors; from then on the run is finished."""
        data = safetensors.torch.save(checkpoint.storable(model.state_dict()), {"flambeau": __version__})
        write_atomic(self.path / "model.safetensors", data)

    def load_model(self, model: nn.Module) -> None:
        """Loads the weights: the final ones, or those of the newest whole checkpoint of an unfinished run.

        Raises:
            RunError: there are none, or they do not fit the model.
        """
        path = self.path / "model.safetensors"
        if path.exists():
            try:
                state = safetensors.torch.load(path.read_bytes())
            except SafetensorError as error:
                raise RunError(f"the weights are damaged ({error})", where=path) from None
        else:
            state = self._newest_weights()
        own = {n: tuple(v.shape) for n, v in model.state_dict().items()}
        other = [n for n, v in state.items() if n in own and tuple(v.shape) != own[n]]
        if other:
            raise RunError(
                f"the weights do not fit the model: {other[0]} is {tuple(state[other[0]].shape)}, and in the model "
                f"{own[other[0]]}", where=path, fix="build the model as it was trained",
            )  # fmt: skip
        missing, unexpected = model.load_state_dict(state, strict=False)
        if missing or unexpected:
            raise RunError(
                f"the weights do not fit the model: {len(missing)} tensors missing, {len(unexpected)} unexpected, "
                f"such as {[*missing, *unexpected][0]}", where=path, fix="build the model as it was trained",
            )  # fmt: skip

    def _newest_weights(self) -> dict[str, torch.Tensor]:
        for path in checkpoint.listed(self.path / "checkpoints"):
            try:
                return checkpoint.load(path)[0]["model"]
            except RunError:
                continue
        raise RunError(
            "the run has no weights yet", where=self.path, fix=f"finish it with: flambeau resume {self.path}"
        )


def environment() -> dict[str, Any]:
    """Versions and machine, for `environment.json`."""
    from importlib.metadata import PackageNotFoundError, version

    packages = {}
    for name in ("torch", "torchvision", "timm", "numpy", "pillow", "simplejpeg", "polars", "safetensors"):
        with contextlib.suppress(PackageNotFoundError):
            packages[name] = version(name)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "flambeau": __version__, "python": platform.python_version(), "platform": platform.platform(),
        "processor": torch.cpu.get_capabilities().get("cpu_name", platform.processor()), "gpu": gpu,
        "threads": torch.get_num_threads(), "packages": packages, "command": " ".join(sys.argv[:1]),
    }  # fmt: skip
