"""The loop.

It knows devices, precision, schedules, checkpoints and logs, and nothing about kinds of data: batches come prepared
and losses come from the Objective. What a step does is a pure function of the weights and of (seed, step), so a
training that is stopped at any instant goes on from its last checkpoint as if nothing had happened.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from flambeau.core.errors import TrainingError
from flambeau.core.printable import duration, quoted
from flambeau.core.randomness import mix
from flambeau.core.reporter import QUIET, Bar, Reporter
from flambeau.data.batch import Batch
from flambeau.objectives import Objective
from flambeau.techniques import HOOKS, Technique, not_kept, objects
from flambeau.training import checkpoint
from flambeau.training.engine import Engine
from flambeau.training.gradients import told_at
from flambeau.training.interrupts import Interrupted, Interrupts
from flambeau.training.logging import Log
from flambeau.training.measure import Prepare, Source
from flambeau.training.observer import Observer
from flambeau.training.outlook import Outlook
from flambeau.training.own import OwnSteps
from flambeau.training.processes import ALONE, Processes
from flambeau.training.saver import Saver
from flambeau.training.schedulefree import Averaged
from flambeau.training.settings import Settings
from flambeau.training.state import State
from flambeau.training.stopwatch import Stopwatch
from flambeau.training.updates import Updates
from flambeau.training.watching import onlookers

ONE_VALUE = "Expected more than 1 value per channel"  # of torch's batch normalisation


class Trainer:
    """Trains an Objective.

    Args:
        objective: what is minimised; holds the model.
        train, valid: where batches come from; no validation without `valid`.
        prepare: from (rows, gathered, training, generator) to a Batch on the device.
        random: whether `prepare` uses its generator in training.
        folder: the run's folder; None to keep nothing on disk.
        own: an optimiser and a schedule of the user's, where the settings name none.
        processes: that take part in the training.
    """

    def __init__(
        self,
        objective: Objective,
        engine: Engine,
        settings: Settings,
        *,
        train: Source,
        valid: Source | None,
        prepare: Prepare,
        random: bool = False,
        techniques: Sequence[Technique] = (),
        folder: Path | None = None,
        reporter: Reporter = QUIET,
        own: OwnSteps | None = None,
        processes: Processes = ALONE,
    ):
        self.objective, self.engine, self.settings = objective, engine, settings
        self.train, self.valid, self.prepare = train, valid, prepare
        self.techniques, self.folder, self.reporter = objects(techniques), folder, reporter
        self.saver = Saver(folder / "checkpoints") if folder else None
        self.not_kept = not_kept(objective.model, self.techniques.values())
        # a technique that does nothing at a hook costs nothing there
        acting = (Averaged(), *self.techniques.values())
        self.hooks = {h: [getattr(t, h) for t in acting if t.overridden(h)] for h in HOOKS}
        self.own, self.processes = own or OwnSteps(), processes
        self.random = random or bool(self.hooks["on_batch"])
        if processes.count > 1:
            self.hooks["on_batch"].append(processes.share)
        self.observer, self.state = Observer(self), State()
        self.history: list[dict[str, Any]] = []
        self.best_weights: dict[str, Tensor] | None = None  # where there is no folder
        self.notes: list[str] = []
        self._pending: list[dict[str, Tensor]] = []  # losses of each step, still on the device
        self._speed: dict[str, float] = {}  # of the last epoch
        self._generator = torch.Generator(engine.device)

    def fit(self, resume: bool = False, until: int | None = None) -> State:
        """Trains to the last epoch.

        Args:
            resume: go on from the newest whole checkpoint in the folder, if there is one.
            until: the epoch after which it rests, all saved, to go on by `resume`; it is not `done` then.

        Raises:
            TrainingError: the loss became NaN or infinite, or a batch is too small for a batch normalisation; it names
                the step.
            Interrupted: SIGINT or SIGTERM came; everything is saved.
        """
        assert self.settings.epochs is not None
        self._start(resume)
        state, epochs = self.state, min(self.settings.epochs, until or self.settings.epochs)
        with told_at(state, self.folder), self.processes.interrupts() as interrupts:
            try:
                while state.epoch < epochs and not state.stopped:
                    self._train_epoch(interrupts)
                    self._end_epoch(interrupts)
                    self._save()
                    self.processes.agree()
                    if interrupts.received is not None:
                        raise self._stopped(interrupts.received)
                if self.done:
                    self._finish()
            except ValueError as error:
                if ONE_VALUE in str(error):
                    raise self._one_value() from error
                raise
            finally:
                self.processes.end(self.objective.model)
                self.observer.close()
                self.log.close()
        return state

    def _one_value(self) -> TrainingError:
        """A batch in which a batch normalisation has a single value for each channel."""
        return TrainingError(
            "a batch normalisation got one value for each channel, and has nothing to take a mean over",
            where=f"step {self.state.step}", expected="batches of two samples and more",
            fix=f"give a larger batch_size (it is {self.settings.batch_size}), or larger pictures",
        )  # fmt: skip

    def _start(self, resume: bool) -> None:
        settings, processes = self.settings, self.processes
        processes.start(self.objective, settings.seed)
        steps_per_epoch = math.ceil(self.train.count(0) / settings.accumulate)
        making = self.objective, self.engine, settings, self.own, self.hooks, steps_per_epoch
        self.updates = Updates(*making, self.note, processes)
        outlook = Outlook(self.objective, self.folder, settings.epochs or 1, self.updates, self.train, self.prepare)
        for hook in self.hooks["on_training"]:
            hook(outlook)
        for hook in self.hooks["on_fit_start"]:
            hook(self.objective)
        self.updates.wrap_criterion()
        found = self.saver.load_newest(self) if resume and self.saver else False
        folder = self.folder if processes.first else None
        self.log = Log(folder, self.state.step if found else None, self.state.epoch, settings.loggers)
        self.history = [line for line in self.log.lines if "valid" in line or "train_loss" in line]
        self.hooks["on_epoch_end"] += onlookers(self)
        self.stopwatch = Stopwatch(self.engine)
        self._saved_at = time.perf_counter()

    def _finish(self) -> None:
        for hook in self.hooks["on_fit_end"]:
            hook(self.objective)
        self.updates.unwrap_criterion()
        self.processes.whole(self.objective)
        if (scale := self.updates.scale) and scale.skipped:
            self.note(f"{scale.skipped:,} updates in {self.state.step:,} steps overflowed in float16 and were left out")
        if self.settings.keep != "last" and self.state.best is not None:
            best = self.saver.best_weights(self) if self.saver is not None else self.best_weights
            if best is not None:
                checkpoint.restore(self.objective.model, best, self.not_kept)
        for hook in self.hooks["on_done"]:
            hook(self.objective)

    @property
    def done(self) -> bool:
        """Whether it has come to its last epoch, or was ended before."""
        return bool(self.state.stopped) or self.state.epoch >= (self.settings.epochs or 1)

    @property
    def kept_epoch(self) -> int | None:
        """The epoch whose weights are kept because it was the best, from 1 on; None where the last ones are."""
        return int(self.state.best["epoch"]) if self.state.best and self.settings.keep != "last" else None

    def _train_epoch(self, interrupts: Interrupts) -> None:
        state, settings = self.state, self.settings
        self.updates.start_epoch(state.epoch)
        self.objective.model.train()
        for hook in (*self.hooks["on_freeze"], *self.hooks["on_epoch_start"]):  # parts of the model may rest
            hook(self.objective, state.epoch)
        source = self.train.epoch(state.epoch, start=state.step_in_epoch * settings.accumulate)
        began, first, samples = time.perf_counter(), state.step_in_epoch, 0
        # under a token budget one order of ragged rows may need a batch more than another
        steps = math.ceil(self.train.count(state.epoch) / settings.accumulate)
        with self.reporter.bar(f"epoch {state.epoch + 1}/{settings.epochs}", steps) as bar:
            while state.step_in_epoch < steps:
                self.stopwatch.start(state.step)
                batches = [
                    self._prepared(i, rows, gathered)
                    for i, (rows, gathered) in enumerate(islice(source, settings.accumulate))
                ]
                if not batches:
                    break  # a user's own source may end early
                self.stopwatch.lap("data")
                self._pending.append(self.updates.step(state.step, batches, self.stopwatch))
                for hook in self.hooks["on_step_end"]:
                    hook(self.objective, state.step)
                samples += self.processes.count * (len(batches[0]) if len(batches) == 1 else sum(map(len, batches)))
                del batches  # else two would be in memory while the next is made
                state.step += 1
                state.step_in_epoch += 1
                now = time.perf_counter()
                if state.step % settings.log_every == 0:
                    self._log(samples / (now - began))
                if now >= bar.due:
                    self._show(bar, samples / (now - began), (now - began) / (state.step_in_epoch - first) * steps)
                if interrupts.received is not None:
                    self._save()
                    raise self._stopped(interrupts.received)
                if self.processes.due(now - self._saved_at > settings.checkpoint_minutes * 60):
                    self._save()
        self._collect_losses()
        seconds = time.perf_counter() - began
        if state.step_in_epoch > first:
            self._speed = {"samples_per_second": round(samples / seconds, 1), "seconds": round(seconds, 2)}

    def _prepared(self, part: int, rows: Tensor, gathered: Any) -> Batch:
        generator = None
        if self.random:
            # by the step alone: the same noise whether or not the training was interrupted before it
            generator = self._generator.manual_seed(mix(self.settings.seed, "batch", self.state.step, part))
        batch = self.prepare(rows, gathered, True, generator)
        for hook in self.hooks["on_batch"]:
            batch = hook(batch, generator)
        return batch

    def _collect_losses(self) -> None:
        """Reads the losses of the steps since the last call: one device sync for all of them."""
        pending = [loss.float() for losses in self._pending for loss in losses.values()]
        values = iter(torch.stack(pending).tolist() if pending else ())
        steps = [{phase: next(values) for phase in losses} for losses in self._pending]
        self._pending.clear()
        self.observer.losses(self.state.step, steps)
        self.state.add_losses(steps, self.settings.rate)

    def _log(self, samples_per_second: float) -> None:
        self._collect_losses()
        loss = sum(self.state.recent) / max(len(self.state.recent), 1)
        self.state.recent.clear()
        self.log.write(self.state.step, epoch=self.state.epoch + 1, loss=loss, learning_rate=self.updates.learning_rate,
                       samples_per_second=round(samples_per_second, 1))  # fmt: skip

    def _show(self, bar: Bar, samples_per_second: float, epoch: float) -> None:
        """Progress, and what is left of all by the seconds of an epoch where that is minutes."""
        self._collect_losses()
        state, monitor = self.state, self.objective.monitor
        left = epoch * ((self.settings.epochs or 1) - state.epoch - 1)
        loss = f"loss {sum(self.state.recent) / len(self.state.recent):.4f}" if self.state.recent else ""
        best = f" {monitor} {state.metrics[monitor]:.4g}" if monitor in state.metrics else ""
        more = f", and {duration(left)} for the other epochs" if left > 60 else ""
        bar.update(state.step_in_epoch, f"{loss}{best} {samples_per_second:,.0f}/s{more}")

    def _end_epoch(self, interrupts: Interrupts) -> None:
        state = self.state
        values = self._validate(interrupts) if self.valid is not None else {}
        state.metrics = values
        train_loss = state.loss_sum / max(state.step_in_epoch, 1)
        line: dict[str, Any] = {"epoch": state.epoch + 1, "train_loss": train_loss}
        line |= {name: found for name, found in (("valid", values), ("phases", state.by_phase)) if found}
        line["speed"] = {**self._speed, **self.stopwatch.shares()}
        self.log.write(state.step, **line)
        self.history.append({"step": state.step, **line})
        told = "  ".join(f"{k} {v:.4f}" for k, v in {**state.by_phase, **values}.items() if k != "loss")
        valid_loss = f"  valid loss {values['loss']:.4f}" if "loss" in values else ""
        self.reporter.say(f"epoch {state.epoch + 1}: train loss {train_loss:.4f}{valid_loss}  {told}")
        self.updates.end_epoch(values, train_loss)
        state.end_epoch()
        for hook in self.hooks["on_epoch_end"]:
            state.stopped = hook(state.epoch, values) or state.stopped
        if state.stopped:
            self.reporter.say(f"stopped after epoch {state.epoch}: {state.stopped}")

    def _validate(self, interrupts: Interrupts) -> dict[str, float]:
        for hook in self.hooks["on_evaluation"]:
            hook(self.objective, True)
        assert self.valid is not None
        values = self.processes.evaluate(
            self.objective, self.engine, self.valid, self.prepare, self.reporter, interrupts
        )
        received = interrupts.received
        if received is None:
            self._compare(values)
        for hook in reversed(self.hooks["on_evaluation"]):  # the last that changed something gives it back first
            hook(self.objective, False)
        if received is not None:
            self._save()
            raise self._stopped(received)  # validated anew by the resume
        return values

    def _compare(self, values: dict[str, float]) -> None:
        """Keeps the weights if they are the best so far."""
        better = self.state.is_best(values, self.objective.monitor, self.objective.higher_is_better)
        if not better or self.settings.keep == "last":
            return
        if self.saver is not None:
            self.saver.save_best(self)
        else:
            kept = checkpoint.kept(self.objective.model, self.not_kept)
            self.best_weights = {name: value.detach().clone() for name, value in kept.items()}

    def _save(self) -> None:
        self._saved_at = time.perf_counter()
        self._collect_losses()  # never keep weights that a NaN has reached
        if self.saver is not None:
            self.saver.save(self)

    def _stopped(self, number: int) -> Interrupted:
        where = f"step {self.state.step} (epoch {self.state.epoch + (self.state.step_in_epoch > 0)})"
        fix = f"go on with: flambeau resume {quoted(self.folder)}" if self.folder else None
        return Interrupted(f"stopped by {signal.Signals(number).name} at {where}, all saved", number, fix=fix)

    def note(self, text: str) -> None:
        """Remembers and says what a user should know of this training."""
        self.notes.append(text)
        self.reporter.say(text, style="yellow")
