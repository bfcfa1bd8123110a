"""The Run: the folder that a training leaves, and what can be read from it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import math
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import BaseModel, ValidationError
from torch import nn

from flambeau.contents import Attacked, Benched, Checked, Decision, Environment, Evaluation, Examples, Picture
from flambeau.core.display import Pictured, as_html
from flambeau.core.errors import RunError, nearest
from flambeau.core.files import read_json, values_of, write_atomic, write_json
from flambeau.core.findings import Finding, Findings
from flambeau.core.printable import quoted
from flambeau.data.grouping import PRESENT
from flambeau.fields import Field
from flambeau.models import make_room
from flambeau.recipe import Recipe
from flambeau.training import checkpoint
from flambeau.training.logging import history_of, numbers, read
from flambeau.training.sealed import calibration_in, seal, stated_digest, unseal
from flambeau.training.state import State

if TYPE_CHECKING:
    import polars as pl

ANSWERS_BY = ("recipe.yaml", "fields.json", "model.safetensors", "export.json", "decision.json")
"""Files that a run, or an export of one, answers by; none of them holds a row of its data."""


class Run(Pictured):
    """A run folder: `recipe.yaml`, `fields.json`, `examples.json`, `model.safetensors`, `checkpoints/`,
    `metrics.jsonl`, `evaluation.json`, `decision.json`, `findings.json`, `environment.json`, `report.html`,
    `samples/`, TensorBoard events. No pickle anywhere."""

    _repr_html_ = as_html

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"Run('{self.path}')"

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """A run that exists.

        Raises:
            RunError: there is none.
        """
        run = cls(path)
        if not run.path.exists():
            known = sorted(p.name for p in run.path.parent.iterdir() if p.is_dir()) if run.path.parent.is_dir() else []
            raise RunError("there is no such run", where=path, fix=nearest(run.path.name, known), code="not-found")
        if not (run.path / "recipe.yaml").exists():
            raise RunError(
                "this is not a run: it holds no recipe.yaml", where=path, fix="start a training with flambeau train"
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

    @classmethod
    def newest(cls, name: str, folder: str | Path = "runs") -> Run:
        """The last of those that `free` has given for a name; a free one where there is none."""
        path, number = Path(folder) / name, 2
        while (following := Path(folder) / f"{name}-{number}").joinpath("recipe.yaml").exists():
            path, number = following, number + 1
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
                    where=self.path,
                    fix="wait for it, or give another folder with --run",
                ) from None
            handle.truncate(0)
            handle.write(str(os.getpid()))
            handle.flush()
            for left in self.path.glob(".*.tmp"):
                left.unlink(missing_ok=True)  # of a training that was killed while it wrote
            try:
                yield
            finally:
                handle.truncate(0)  # a training that is killed leaves its number

    # -- what is in it ------------------------------------------------------------------------------------------

    @property
    def recipe(self) -> Recipe:
        """The recipe."""
        return Recipe.load(self.path / "recipe.yaml")

    @property
    def members(self) -> list[Run]:
        """The runs that an ensemble is made of, which lie in it; none of any other run."""
        found = (path.parent for path in (self.path / "members").glob("*/recipe.yaml"))
        return [Run(path) for path in sorted(found, key=lambda path: (len(path.name), path.name))]

    @property
    def finished(self) -> bool:
        """Whether the training came to its end: the final weights, or programs of them, are there."""
        return (self.path / "model.safetensors").exists() or self.exported

    @property
    def version(self) -> str:
        """Which weights it answers by: twelve hexadecimal digits, the same only for the same ones; empty for none."""
        path = next((p for p in (self.path / "export.json", self.path / "model.safetensors") if p.exists()), None)
        if path is None:
            return ""
        parts = [stated_digest(path) if path.suffix == ".safetensors" else path.read_text("utf-8")]
        parts += [member.version for member in self.members]
        return hashlib.sha256("".join(parts).encode()).hexdigest()[:12]

    @property
    def exported(self) -> bool:
        """Whether it is an export: programs in place of weights."""
        return (self.path / "export.json").exists()

    @property
    def measured(self) -> bool:
        """Whether the final weights were measured, and all that is put beside them."""
        return self.finished and not self.evaluation.get("pending")

    @property
    def status(self) -> str:
        """`finished`; `unmeasured` or `unreported`, which a resume finishes; `running`; `stopped` by a signal or an
        error; `killed`; `begun`, with nothing saved."""
        held, holder = self._lock()
        if held:
            return "running"
        if self.finished:
            return "unmeasured" if not self.measured else "finished" if self.reported else "unreported"
        return "killed" if holder else "stopped" if self.started else "begun"

    @property
    def reported(self) -> bool:
        """Whether there is a report."""
        return (self.path / "report.html").exists()

    @property
    def holder(self) -> int | None:
        """The process that trains in the folder; None where none does, or it is not known."""
        held, holder = self._lock()
        return int(holder) if held and holder.isdecimal() else None

    def _lock(self) -> tuple[bool, str]:
        """Whether a training is in the folder, and the process that is or was killed in it."""
        try:
            handle = os.open(self.path / ".lock", os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            return False, ""
        with os.fdopen(handle, "rb") as file:
            holder = file.read(20).decode("ascii", "replace")
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return True, holder
            return False, holder

    @property
    def started(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return bool(checkpoint.listed(self.path / "checkpoints"))

    @property
    def progress(self) -> State:
        """Where the training stands by its newest whole checkpoint; at its beginning if there is none."""
        for path in checkpoint.listed(self.path / "checkpoints"):
            with contextlib.suppress(RunError):
                return State.of(checkpoint.manifest_of(path)["facts"], path)
        return State()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl."""
        path = self.path / "metrics.jsonl"
        return read(path) if path.exists() else []

    @property
    def history(self) -> pl.DataFrame:
        """The figures of the training, one a row: step, epoch, split, metric, value; a step's are of `step`."""
        return history_of(self.lines)

    @property
    def metrics(self) -> pl.DataFrame:
        """The figures of the evaluation, one a row: split, metric, value, and the 95 % interval low, high."""
        import polars as pl

        found = self.evaluation
        intervals = found.get("intervals") or {}
        rows = [(found.get("split"), name, value, *(intervals.get(name) or (None, None)))
                for name, value in (found.get("metrics") or {}).items()]  # fmt: skip
        kinds = {"split": pl.String, "metric": pl.String, "value": pl.Float64, "low": pl.Float64, "high": pl.Float64}
        return pl.DataFrame(rows, kinds, orient="row")

    @property
    def evaluation(self) -> dict[str, Any]:
        """The evaluation that the training ended with; empty if there is none yet."""
        found = self._read("evaluation.json", Evaluation)
        if "side" in found:  # what it was called before
            found.setdefault("split", found.pop("side"))
        for holder in (found, *(found.get("baselines") or ())):
            if holder.get("metrics"):
                holder["metrics"] = numbers(holder["metrics"])
            for name, values in (holder.get("differences") or {}).items():
                holder["differences"][name] = [math.nan if v is None else v for v in values]
        return found

    @property
    def findings(self) -> Findings:
        """What the checks found."""
        return Findings(Finding.from_dict(f) for f in self._read("findings.json", Checked).get("findings", []))

    @property
    def thumbnails(self) -> list[list[str]]:
        """Of each finding some of its samples, as HTML."""
        return self._read("findings.json", Checked).get("thumbnails") or []

    @property
    def overview(self) -> dict[str, Any]:
        """What the data is, at a glance."""
        return self._read("findings.json", Checked).get("overview") or {}

    @property
    def embedding(self) -> dict[str, Any]:
        """The picture of its held-out rows that `flambeau embed` drew; empty where there is none."""
        return self._read("embedding.json", Picture)

    @property
    def attack(self) -> dict[str, Any]:
        """What `flambeau attack` left of it on its held-out rows; empty where there is none."""
        return self._read("attack.json", Attacked)

    @property
    def bench(self) -> dict[str, Any]:
        """How quickly it and its exports answer, as `flambeau bench` measured it; empty where there is none."""
        return self._read("bench.json", Benched)

    @property
    def checked(self) -> bool | None:
        """Whether the data was checked; None where the run does not say."""
        found = self._read("findings.json", Checked)
        return found.get("checked") if found else False

    @property
    def environment(self) -> dict[str, Any]:
        """What it was trained with."""
        return self._read("environment.json", Environment)

    def _read(self, name: str, shape: type[BaseModel]) -> dict[str, Any]:
        """What a file of the run holds, empty if there is none.

        Raises:
            RunError: it is damaged, or holds something else than `shape`.
        """
        path = self.path / name
        if not path.exists():
            return {}
        value: dict[str, Any] = read_json(path)
        try:
            shape.model_validate(value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise RunError(f"{place} does not fit ({first['msg'].lower()})", where=path) from None
        return value

    def fields(self) -> tuple[dict[str, Field], list[str], str | None]:
        """(fields by column, inputs, target)."""
        path = self.path / "fields.json"
        state = read_json(path)
        if not {"fields", "inputs", "target"} <= state.keys():
            raise RunError("the fields are damaged: a part is missing", where=path)
        with values_of(path):
            fields = {n: Field.from_dict(f) for n, f in state["fields"].items()}
            inputs, target = state["inputs"], state["target"]
            if not (isinstance(inputs, list) and fields.keys() >= {*inputs} - {PRESENT} and target in (None, *fields)):
                raise RunError(f"inputs {inputs} and target {target} are not among the fields", where=path)
            return fields, inputs, target

    def save_fields(self, fields: dict[str, Field], inputs: list[str], target: str | None) -> None:
        """Writes fields.json."""
        state = {"inputs": inputs, "target": target, "fields": {n: f.to_dict() for n, f in fields.items()}}
        write_json(self.path / "fields.json", state, sealed=True)

    @property
    def examples(self) -> list[dict[str, Any]]:
        """A few training rows to try the model on, raw values by input; none where the file was taken away."""
        return self._read("examples.json", Examples).get("examples", [])

    def save_model(
        self, model: nn.Module, calibration: dict[str, Any] | None = None, without: Collection[str] = ()
    ) -> None:
        """Writes model.safetensors; from then on the run is finished.

        Args:
            calibration: what was found of the model's certainty, plain JSON; it belongs to these weights.
            without: names of tensors that are not kept, since a model that is built again begins with them.
        """
        state = checkpoint.storable({n: value for n, value in model.state_dict().items() if n not in without})
        write_atomic(self.path / "model.safetensors", seal(state, calibration))

    @property
    def calibration(self) -> dict[str, Any]:
        """What was found of the certainty of the final weights, plain JSON; empty if nothing was, or not yet."""
        path = self.path / "model.safetensors"
        if not path.exists():
            return {}
        if stated := calibration_in(path):
            return stated
        path = self.path / "fields.json"
        state = read_json(path) if path.exists() else {}
        with values_of(path):  # where versions before kept it
            target = state.get("fields", {}).get(state.get("target"), {})
            return {name: target[name] for name in ("temperature", "spread") if name in target}

    @property
    def decision(self) -> dict[str, Any]:
        """The thresholds that its answers go by, as `flambeau evaluate --apply` kept them; empty for the usual ones."""
        return self._read("decision.json", Decision)

    def push_to_hub(
        self, repository: str, *, private: bool = False, report: bool = False, token: str | None = None
    ) -> str:
        """Puts the run on a hub, with a model card; see `flambeau.hub.push`.

        Args:
            repository: ORGANISATION/NAME; `fb.load("hf://ORGANISATION/NAME")` then loads it anywhere.
            private: make it for oneself alone, where it is made.
            report: the report, mistakes, findings and examples too, which show rows of the data.
            token: of the hub; as `hf auth login` or HF_TOKEN has it if not given.

        Returns:
            its address.
        """
        from flambeau import hub

        return hub.push(self, repository, private=private, report=report, token=token)

    def save_decision(self, decision: dict[str, Any]) -> None:
        """Writes decision.json."""
        write_json(self.path / "decision.json", decision)

    def load_model(self, model: nn.Module, without: Collection[str] = ()) -> str | None:
        """Loads the weights: the final ones, or of an unfinished run the best so far (the last, where it keeps those);
        tensors `without` stay as they are where the run has them not.

        Returns:
            of an unfinished run a sentence that says so, and which weights these are.

        Raises:
            RunError: there are none, or they do not fit the model.
        """
        path, note = self.path / "model.safetensors", None
        if path.exists():
            state = unseal(path)
        else:
            state, note = self._weights_so_far()
        make_room(model, state)
        own = {n: tuple(v.shape) for n, v in model.state_dict().items()}
        other = [n for n, v in state.items() if n in own and tuple(v.shape) != own[n]]
        if other:
            raise RunError(
                f"the weights do not fit the model: {other[0]} is {tuple(state[other[0]].shape)}, and in the model "
                f"{own[other[0]]}", where=path, fix="build the model as it was trained",
            )  # fmt: skip
        missing, unexpected = model.load_state_dict(state, strict=False)
        missing = [name for name in missing if name not in without]
        if missing or unexpected:
            raise RunError(
                f"the weights do not fit the model: {len(missing)} tensors missing, {len(unexpected)} unexpected, "
                f"such as {[*missing, *unexpected][0]}", where=path, fix="build the model as it was trained",
            )  # fmt: skip
        return note

    def _weights_so_far(self) -> tuple[dict[str, torch.Tensor], str]:
        """The weights of the best epoch that the checkpoints hold, else of the newest that is whole, and which."""
        for path in checkpoint.listed(self.path / "checkpoints"):
            try:
                tree, facts = checkpoint.load(path)
                state, training = State.of(facts, path), self.recipe.training
            except RunError:
                continue
            which, weights = f"step {state.step}, the last that was saved,", tree["model"]
            best = state.best if training.keep != "last" else None
            if best is not None:
                with contextlib.suppress(RunError):
                    weights = checkpoint.load_best(path.parent, best["checkpoint"])
                    which = f"epoch {best['epoch']}, the best so far,"
            going = self.status == "running"
            return weights, (
                f"{self.path}: the training is {'still running' if going else 'unfinished'} ({state.epoch} of "
                f"{training.epochs} epochs); the weights of {which} are used"
                + ("" if going else f"; go on with: flambeau resume {quoted(self.path)}")
            )
        raise RunError(
            "the run has no weights yet", where=self.path, fix=f"finish it with: flambeau resume {quoted(self.path)}"
        )
