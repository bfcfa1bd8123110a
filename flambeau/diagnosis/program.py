"""Watches anybody's PyTorch program, which is not changed: through torch's own hooks and three functions of torch's."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from flambeau.core.findings import Finding, Severity
from flambeau.diagnosis.monitors import Monitors
from flambeau.diagnosis.patient import MOST_SAMPLES, Patient
from flambeau.diagnosis.probe import error, examine
from flambeau.diagnosis.replay import Recorder, Replay

EVERY = 10
LOSS, BACKWARD = -1, -2  # places beside those of modules and optimizers
OURS = str(Path(__file__).parent)
LIBRARIES = (*{sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib")}, OURS)


class Enough(BaseException):
    """As many steps as were asked for are done; no program catches it as an error."""


class Program:
    """A program that trains, while it is watched.

    Args:
        folder: where the user's own files are, which places are named from.
        most: steps after which `Enough` is raised; None to let it run.

    Attributes:
        steps: that its first optimizer has made.
        findings: so far, the worst first once `close` was called.
    """

    def __init__(self, folder: Path, most: int | None = None):
        self.folder, self.most = folder, most
        self.steps, self.findings = 0, list[Finding]()
        self._models: dict[nn.Module, str] = {}
        self._calls: list[tuple[nn.Module, Any, Any]] = []
        self._lines: dict[int, str] = {}  # of modules and optimizers, by id
        self._optimizers: dict[Optimizer, None] = {}
        self._inside, self._backwards, self._fresh, self._examined = False, False, True, False
        self._examining = False  # what probes do to copies is not the program's
        self._recorded: tuple[Recorder, Tensor, list[tuple[nn.Module, Any, Any]]] | None = None
        self._target: Any = None
        self._recorder: Recorder | None = None
        self._monitors: Monitors | None = None
        self._losses: list[Tensor] = []
        self._of_step: list[Tensor] = []
        self._measured: tuple[int, Optimizer] | None = None
        self._kept = 0

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """While entered, the program is watched; afterwards torch is as before."""
        call, of_tensor, backward = nn.Module.__call__, Tensor.backward, torch.autograd.backward
        self._call = call

        def called(module: nn.Module, *args: Any, **named: Any) -> Any:
            return self._called(module, args, named)

        def went_back(loss: Tensor, *args: Any, **named: Any) -> Any:
            self._before_backward(loss)  # before torch sees that it is recorded
            self._backwards = True
            try:
                return of_tensor(loss, *args, **named)
            finally:
                self._backwards = False

        def all_went_back(tensors: Any, *args: Any, **named: Any) -> Any:
            if not self._backwards:
                self._before_backward(tensors)
            return backward(tensors, *args, **named)

        handles = [
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(self._stepped),
        ]
        nn.Module.__call__, Tensor.backward, torch.autograd.backward = called, went_back, all_went_back  # type: ignore
        try:
            yield
        finally:
            nn.Module.__call__, Tensor.backward, torch.autograd.backward = call, of_tensor, backward  # type: ignore
            for handle in handles:
                handle.remove()
            self._stop_recording()
            if self._monitors is not None:
                self._monitors.close()

    @property
    def _looks(self) -> bool:
        """Whether the step that is made is looked at."""
        return not self._examining and (not self._examined or self._monitors is None or self._monitors.due(self.steps))

    def _called(self, module: nn.Module, args: Any, named: Any) -> Any:
        if not self._looks or not torch.is_grad_enabled():
            return self._call(module, *args, **named)
        if self._inside:
            self._lines.setdefault(id(module), self._line())
            return self._call(module, *args, **named)
        if not any(p.requires_grad for p in module.parameters()):
            return self._call(module, *args, **named)
        self._models.setdefault(module, type(module).__name__.lower())
        self._lines.setdefault(id(module), self._line())
        if self._recorder is None:
            self._recorder = Recorder(not self._examined, self._line)
            self._recorder.__enter__()
        self._inside = True
        try:
            output = self._call(module, *args, **named)
        finally:
            self._inside = False
        self._calls.append((module, (args, named), output))
        return output

    def _before_backward(self, tensors: Any) -> None:
        loss = tensors if isinstance(tensors, Tensor) else next(iter(tensors), None)
        if self._examining or not isinstance(loss, Tensor):
            return
        self._lines.setdefault(BACKWARD, self._line())
        if self._fresh and self._looks and self._monitors is not None:
            self._look_at_old_gradients()
        self._fresh = False
        self._of_step.append(loss.detach())
        recorder = self._stop_recording()
        if not self._examined and recorder is not None and self._calls:
            self._recorded = recorder, loss, self._calls
        self._target = recorder.target if recorder is not None else None
        self._calls = []

    def _look_at_old_gradients(self) -> None:
        """Gradients of the step before, that the next ones are about to be added to."""
        kept = any(p.grad is not None and bool(p.grad.any()) for o in self._optimizers for g in o.param_groups
                   for p in g["params"])  # fmt: skip
        self._kept = self._kept + 1 if kept else 0
        if self._kept == 2:
            told = (
                "gradients of the steps before are still there when the next are added: each step goes by all of them"
            )
            self.findings.append(
                error("gradients-kept", told, self._lines[BACKWARD], "call optimizer.zero_grad() in each step")
            )

    def _stop_recording(self) -> Recorder | None:
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            recorder.__exit__(None, None, None)
        return recorder

    def _before_step(self, optimizer: Optimizer, args: Any, named: Any) -> Any:
        """Torch calls it; a closure that makes the gradients only now is looked at from inside."""
        if self._examining:
            return None
        self._optimizers.setdefault(optimizer)
        self._lines.setdefault(id(optimizer), self._line())
        closure = args[0] if args else named.get("closure")
        # for some versions of torch the optimizer itself is the first argument
        if closure is optimizer:
            closure = args[1] if len(args) > 1 else named.get("closure")
        if not callable(closure):
            self._gradients_there(optimizer)
            return None

        def with_look(*given: Any) -> Any:
            with torch.enable_grad():
                result = closure(*given)
            self._gradients_there(optimizer)
            return result

        return tuple(with_look if a is closure else a for a in args), {
            n: with_look if a is closure else a for n, a in named.items()
        }

    def _gradients_there(self, optimizer: Optimizer) -> None:
        if not self._examined and self._recorded is not None:
            self._examined = True
            self._examining = True
            try:
                self._examine(optimizer)
            finally:
                self._examining = False
            self._monitors = Monitors(self._whole(), every=EVERY, tell=self.findings.append)
        if self._monitors is not None and optimizer is next(iter(self._optimizers)):
            self._monitors.before(self.steps, list(self._optimizers), self._target)

    def _stepped(self, optimizer: Optimizer, args: Any, named: Any) -> None:
        if self._examining or optimizer is not next(iter(self._optimizers)):
            return
        monitors = self._monitors
        if monitors is not None and monitors.due(self.steps):
            monitors.after()
        self.steps += 1
        self._fresh = True
        if self._of_step:
            self._losses.append(torch.stack([loss.float().mean() for loss in self._of_step]).mean())
            self._of_step = []
        if monitors is not None and monitors.due(self.steps):
            self._read()
            monitors.watch()
        if self.most is not None and self.steps >= self.most:
            raise Enough

    def _read(self) -> None:
        """One wait for the device, for all the losses since the last."""
        if self._monitors is not None and self._losses:
            self._monitors.losses(self.steps, torch.stack(self._losses).tolist())
            self._losses = []
            self._monitors.look()

    def _whole(self) -> nn.Module:
        """All that trains, as one module."""
        if len(self._models) == 1:
            return next(iter(self._models))
        return nn.ModuleDict({f"{name}{i}": module for i, (module, name) in enumerate(self._models.items())})

    def _examine(self, optimizer: Optimizer) -> None:
        assert self._recorded is not None
        recorder, loss, calls = self._recorded
        self._recorded = None
        if len(self._models) > 1:
            return  # which of several models a probe is to copy is not known
        for model, inputs, outputs in reversed(calls):
            replay = Replay.of(recorder.calls, outputs, inputs, loss)
            if replay is None:
                continue
            self._lines[LOSS] = replay.line
            whole = Patient(model, replay.criterion, inputs, replay.target, optimizer, replay.forward)
            patient = next((p for p in (whole.head(MOST_SAMPLES), whole) if _works(p)), None)
            if patient is not None:
                self.findings += examine(patient)
            return

    def close(self) -> list[Finding]:
        """All findings, with the lines of the user's program that they are about."""
        self._read()
        model = self._whole() if self._models else None
        names = {name: self._lines.get(id(m), "") for name, m in model.named_modules()} if model is not None else {}
        step = self._lines.get(id(next(iter(self._optimizers), None)), "")
        for finding in self.findings:
            finding.places = [self._with_line(place, names, step) for place in finding.places]
        order = list(Severity)
        self.findings.sort(key=lambda finding: order.index(finding.severity))
        return self.findings

    def _with_line(self, place: str, names: dict[str, str], step: str) -> str:
        named = re.search(r"([\w.]+) \(|^(?:layer )?([\w.]+)$", place)
        word = (named[1] or named[2]) if named else ""
        while word and word not in names:
            word = word.rpartition(".")[0]
        line = names.get(word) if word else None
        if "loss" in place:
            line = self._lines.get(LOSS)
        elif "optimizer" in place:
            line = step
        elif place.startswith("the model"):
            line = names.get("")
        return f"{place}, {line}" if line and line not in place else place

    def _line(self) -> str:
        """The nearest line of the user's own program."""
        frame = sys._getframe(1)
        while frame is not None:
            file = frame.f_code.co_filename
            if not file.startswith(("<", *LIBRARIES)) and "site-packages" not in file:
                return f"{os.path.relpath(file, self.folder)}:{frame.f_lineno}"
            frame = frame.f_back  # type: ignore[assignment]
        return ""


def _works(patient: Patient) -> bool:
    """Whether its loss can be computed again; not where the loop says how long a batch is."""
    try:
        with torch.no_grad(), patient.undisturbed():
            patient.criterion(patient.call(patient.model, patient.input), patient.target)  # type: ignore[misc]
    except Exception:  # noqa: BLE001 -- the user's own functions
        return False
    return True
