"""The settings of a training as plain data: the `training` section of a recipe."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from flambeau.core.errors import UsageError, nearest, shown

OF_EPOCH = ("optimizer", "optimizer_options", "learning_rate", "backbone_lr_scale", "weight_decay")
OF_PHASE = (*OF_EPOCH, "schedule", "warmup", "every")
MOST = 10**9  # of anything that is counted
AUTO = "auto"
USUAL_DECAY = 0.05
USUAL: dict[str, Any] = {"optimizer": "adamw", "weight_decay": USUAL_DECAY, "schedule": "one_cycle", "keep": "best"}
"""What is taken where a setting is open, and the objective suggests no other."""
FIND = "find"  # a learning rate that is looked for before the first step


@dataclass
class Settings:
    """How a model is trained. None or auto means: chosen from the data and the model; what is set is taken as it is.

    Attributes:
        epochs: passes over the training rows.
        batch_size: samples in a batch, before accumulation.
        largest_batch: whether the largest batch that fits into memory is looked for before the first step.
        max_tokens: for ragged inputs, the most padded tokens in a batch.
        accumulate: batches to a step.
        optimizer: a name of torch.optim in lower case, with `optimizer_options` for its further arguments; auto for
            adamw where nothing suggests another.
        learning_rate: the highest rate of the schedule; `find` to look for it, see `find_lr`.
        backbone_lr_scale: share of the rate at which pretrained layers learn.
        weight_decay: decoupled for adamw; 0.05 where nothing suggests another.
        schedule: one_cycle, cosine, cosine_restarts, step, exponential, wsd, plateau, linear or constant; or {name: …,
            option: …}; with `warmup`, the share that one_cycle rises in; auto for one_cycle where nothing suggests
            another.
        precision: auto, float32, bf16 or float16, with a scaled loss.
        channels_last: None to decide by the model.
        compile: use torch.compile.
        device: auto, cpu, cuda, cuda:1, mps.
        seed: all randomness follows from it.
        keep: `best` or `last`: the weights that the run ends with; auto for best where nothing suggests the last.
        checkpoint_minutes: besides the end of each epoch, save after so many minutes.
        sampler: which training rows an epoch goes through, by a name or {name: …, setting: …}; all, shuffled, if not
            given.
        loggers: besides `metrics.jsonl`, where figures go: tensorboard (left out where it is not installed), csv,
            mlflow, wandb, aim, or {name: …, option: …}.
        frozen_views: how many augmented views of each training row the frozen part of a model is computed for, once, an
            epoch seeing one of them in turn; 0 to compute it anew in each epoch.
        watch: layers whose activations, gradients and weights are written to the loggers at the end of each epoch, by
            patterns as `flambeau.watch` takes them, such as `layer4.*,Conv2d`; `all` for all.
        monitors: watch for what goes wrong in training, on every fiftieth step; results do not change.
        log_every: steps between two lines of metrics.jsonl.
        phases: of an objective that has several, what is different in some of them: {name: {optimizer, learning_rate,
            schedule, …}}; and `every`, for a phase that is updated in each so many steps only.
        every: see `phases`.
        then: what is different from an epoch on, counted from 1: {epoch: 6, optimizer: sgd, learning_rate: 0.05, …}, as
            in Keskar & Socher 2017, arXiv:1712.07628; the schedule goes on.
    """

    epochs: int | None = None
    batch_size: int | None = None
    largest_batch: bool = False
    max_tokens: int | None = None
    accumulate: int = 1
    optimizer: str = AUTO
    optimizer_options: dict[str, Any] = field(default_factory=dict)
    learning_rate: float | str | None = None
    backbone_lr_scale: float | None = None
    weight_decay: float | None = None
    schedule: str | dict[str, Any] = AUTO
    warmup: float = 0.25
    precision: str = "auto"
    channels_last: bool | None = None
    compile: bool = False
    device: str = "auto"
    seed: int = 0
    keep: str = AUTO
    checkpoint_minutes: float = 5.0
    sampler: str | dict[str, Any] | None = None
    loggers: list[str | dict[str, Any]] = field(default_factory=lambda: ["tensorboard"])
    frozen_views: int = 4
    watch: str | list[str] = field(default_factory=list)
    monitors: bool = True
    log_every: int = 50
    phases: dict[str, dict[str, Any]] = field(default_factory=dict)
    every: int = 1
    then: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate", "log_every", "max_tokens", "every"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= MOST:
                raise UsageError(f"{name}={shown(value)} does not fit", expected="1 or more" if value < 1 else "less")
        if isinstance(self.learning_rate, str) and self.learning_rate != FIND:
            try:
                self.learning_rate = float(self.learning_rate)
            except ValueError:
                told = f"learning_rate={shown(self.learning_rate)} does not fit"
                raise UsageError(told, expected=f"a number above 0, or {FIND}") from None
        for name in ("learning_rate", "backbone_lr_scale"):
            value = getattr(self, name)
            if value is not None and value != FIND and not 0 < value < math.inf:
                raise UsageError(f"{name}={value} does not fit", expected="a number above 0")
        for name in ("weight_decay", "checkpoint_minutes", "frozen_views"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise UsageError(f"{name}={value} does not fit", expected="0 or more")
        if self.keep not in (AUTO, "best", "last"):
            raise UsageError(f"keep='{self.keep}' does not fit", expected="best or last")
        if not 0 < self.warmup < 1:
            raise UsageError(f"warmup={self.warmup} does not fit", expected="a share above 0 and below 1")
        if self.then:
            self._check_then()
        for phase, own in self.phases.items():
            if wrong := next((name for name in own if name not in OF_PHASE), None):
                raise UsageError(f"the phase {phase} has no setting '{wrong}'", fix=nearest(wrong, OF_PHASE))
            self.of_phase(phase)  # checked

    def _check_then(self) -> None:
        known = ("epoch", *OF_EPOCH)
        if wrong := next((name for name in self.then if name not in known), None):
            raise UsageError(f"then has no setting '{wrong}'", fix=nearest(wrong, known))
        epoch = self.then.get("epoch")
        if not isinstance(epoch, int) or epoch < 2:
            raise UsageError(
                f"then.epoch={shown(epoch)} does not fit", expected="the epoch that it begins with, from 2 on"
            )
        if self.epochs is not None and epoch > self.epochs:
            raise UsageError(f"then.epoch={epoch} does not fit", expected=f"one of the {self.epochs} epochs")
        self.in_epoch(epoch)

    def in_epoch(self, epoch: int) -> Settings:
        """The settings of an epoch, from 1 on."""
        if not self.then or epoch < self.then["epoch"]:
            return self
        different = {name: value for name, value in self.then.items() if name != "epoch"}
        options: dict[str, Any] = {"optimizer_options": {}} if "optimizer" in different else {}  # those of another
        return replace(self, then={}, **options | different)

    @property
    def rate(self) -> float:
        """The learning rate, or 1e-3 where none is set or found yet."""
        return self.learning_rate if isinstance(self.learning_rate, float | int) else 1e-3

    @property
    def decay(self) -> float:
        """The weight decay, or the usual one where none is set."""
        return USUAL_DECAY if self.weight_decay is None else self.weight_decay

    def of_phase(self, phase: str) -> Settings:
        """The settings of one phase of the objective."""
        return replace(self, phases={}, then={}, **self.phases.get(phase, {}))
