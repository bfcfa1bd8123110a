"""From a Trainer to its checkpoints and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from flambeau.core.errors import RunError
from flambeau.training import checkpoint
from flambeau.training.processes import ALONE
from flambeau.training.state import State

if TYPE_CHECKING:
    from flambeau.training.trainer import Trainer


class Saver:
    """Writes and reads the checkpoints of one training under `folder`. The two newest and the best are kept."""

    def __init__(self, folder: Path):
        self.folder = folder

    def save(self, trainer: Trainer) -> None:
        """All that the next step depends on: weights, optimisers, techniques, random states, progress."""
        state, device = trainer.state, trainer.engine.device
        random, *others = trainer.processes.gathered(_random_state(device)) or [{}]
        if not (trainer.processes.first or trainer.processes.shards):
            trainer.processes.wait()
            return
        tree: dict[str, Any] = {
            "model": checkpoint.kept(trainer.objective.model, trainer.not_kept),
            "optimizers": {phase: o.state_dict() for phase, o in trainer.updates.optimizers.items()},
            "techniques": {key: t.state_dict() for key, t in trainer.techniques.items()},
            "random": {**random, "others": others} if others else random,
        }
        if trainer.updates.scale is not None:
            tree["scale"] = trainer.updates.scale.state_dict()
        if trainer.updates.parts.count > 1:
            tree["parts"] = trainer.updates.parts.count
        if trainer.updates.plateau is not None:
            tree["schedule"] = trainer.updates.plateau.state_dict()
        path = self.folder / checkpoint.name(state.step, state.epoch)
        checkpoint.save(path, tree, {"progress": vars(state)}, trainer.processes.shards)
        if trainer.processes.first:
            checkpoint.sweep(self.folder, {state.best["checkpoint"]} if state.best else set())
        trainer.processes.wait()

    def save_best(self, trainer: Trainer) -> None:
        """The weights as they are now, which are the best so far. Those of before stay until a checkpoint that knows of
        these is written."""
        assert trainer.state.best is not None
        path = checkpoint.best_path(self.folder, trainer.state.best["checkpoint"])
        if trainer.processes.first or trainer.processes.shards:
            weights = checkpoint.kept(trainer.objective.model, trainer.not_kept)
            checkpoint.save(path, {"best": weights}, {}, trainer.processes.shards)
        trainer.processes.wait()

    def load_newest(self, trainer: Trainer) -> bool:
        """Takes the newest whole checkpoint and says whether there was one; damaged ones are named and passed over."""
        device = trainer.engine.device
        there = checkpoint.listed(self.folder)
        for path in there:
            try:
                tree, facts = checkpoint.load(path, device, trainer.processes.shards)
                state = State.of(facts, path)
            except RunError as error:
                trainer.note(f"{error}" + ("; the one before it is used" if path != there[-1] else ""))
                continue
            kept = tree["techniques"]
            if isinstance(kept, list):  # of a version in which they had no keys
                kept = dict(zip([*trainer.techniques, *map(str, range(len(kept)))], kept, strict=False))
            if [*kept] != [*trainer.techniques]:
                began, now = (", ".join(keys) or "none" for keys in (kept, trainer.techniques))
                raise RunError(f"the training began with other techniques ({began}) than it is resumed with ({now})",
                               where=path, fix="resume it with the same ones, in their order")  # fmt: skip
            trainer.state, placed = state, trainer.processes.placed
            own = trainer.objective.model.state_dict()
            weights = {name: placed(value, own.get(name, value)) for name, value in tree["model"].items()}
            checkpoint.restore(trainer.objective.model, weights, trainer.not_kept)
            ended = state.step_in_epoch == 0 < state.epoch  # the optimisers are still those of the epoch before
            trainer.updates.start_epoch(state.epoch - ended)
            for phase, optimizer in trainer.updates.optimizers.items():
                load_optimizer(optimizer, tree["optimizers"][phase], placed)
            for key, technique in trainer.techniques.items():
                technique.load_state_dict(kept[key])
            if trainer.updates.scale is not None and "scale" in tree:
                trainer.updates.scale.load_state_dict(tree["scale"])
            trainer.updates.parts.count = tree.get("parts", 1)
            if trainer.updates.plateau is not None and "schedule" in tree:
                trainer.updates.plateau.load_state_dict(tree["schedule"])
            _set_random_state(tree["random"], trainer.processes.rank, device)
            self._look_for_best(trainer)
            return True
        if there:
            trainer.note("no checkpoint is whole: the training starts from its beginning")
        return False

    def best_weights(self, trainer: Trainer) -> dict[str, Tensor]:
        """The weights of the best epoch.

        Raises:
            RunError: their checkpoint is gone or damaged.
        """
        assert trainer.state.best is not None
        return checkpoint.load_best(self.folder, trainer.state.best["checkpoint"], trainer.engine.device)

    def _look_for_best(self, trainer: Trainer) -> None:
        """Looks whether the best weights are whole, while another epoch can still be the best."""
        best = trainer.state.best
        if trainer.settings.keep == "last" or best is None:
            return
        try:
            self.best_weights(trainer)
        except RunError as error:
            trainer.note(f"{error}; the best epoch to come is kept in place of epoch {best['epoch']}")
            trainer.state.best = None


def _random_state(device: torch.device) -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    return state | {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else state


def _set_random_state(kept: dict[str, Any], rank: int, device: torch.device) -> None:
    """That of a process; one that was not there when the others' were kept goes on from its own beginning."""
    every = [kept, *kept.get("others", ())]
    if rank < len(every):
        torch.set_rng_state(every[rank]["cpu"].cpu())
        if "cuda" in every[rank] and device.type == "cuda":
            torch.cuda.set_rng_state(every[rank]["cuda"].cpu(), device)


def load_optimizer(
    optimizer: torch.optim.Optimizer, state: dict[str, Any], placed: Callable[[Tensor, Tensor], Tensor] = ALONE.placed
) -> None:
    """Loads the state in each parameter's own memory layout: fused kernels walk both side by side."""
    parameters = [p for g in optimizer.param_groups for p in g["params"]]
    for i, values in state["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameters[i].shape:
                values[name] = torch.empty_like(parameters[i]).copy_(placed(value, parameters[i]))
    optimizer.load_state_dict(state)
