"""What is asked of all processes of a server at once: changes of the models, their states, the figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

from pydantic import BaseModel

from flambeau.serve.metrics import Family, Metrics
from flambeau.serve.protocol import ModelState, VersionState
from flambeau.serve.registry import Registry


class Operation(BaseModel):
    """A change of a model: `load` from `source` (see `Registry.load`), `share`, `rollback`, `unload`."""

    what: Literal["load", "share", "rollback", "unload"]
    name: str
    source: str = ""
    version: str | None = None
    share: float = 1.0
    shadow: bool = False


class Whole(Protocol):
    """A server as its processes are together."""

    async def change(self, operation: Operation) -> ModelState | None:
        """Changes a model in all of them; its state then, None where it is gone.

        Raises:
            Problem: it cannot be done; all is as it was.
        """

    async def states(self) -> list[ModelState]:
        """The models, with what all have answered."""

    async def told(self) -> list[Family]:
        """What all have counted."""


class Alone:
    """A server of one process."""

    def __init__(self, registry: Registry, metrics: Metrics):
        self.registry, self.metrics = registry, metrics

    async def change(self, operation: Operation) -> ModelState | None:
        """See `Whole.change`."""
        registry, name = self.registry, operation.name
        if operation.what == "unload":
            await registry.unload(name)
            return None
        if operation.what == "load":
            model = await registry.load(name, operation.source, operation.version, operation.share, operation.shadow)
        elif operation.what == "share":
            model = await registry.set_share(name, operation.share)
        else:
            model = await registry.roll_back(name)
        return model.state()

    async def states(self) -> list[ModelState]:
        """See `Whole.states`."""
        return [model.state() for model in self.registry.models.values()]

    async def told(self) -> list[Family]:
        """See `Whole.told`."""
        return self.metrics.told()


def first_state(name: str, version: str, source: str) -> ModelState:
    """A model that nobody has changed yet."""
    current = VersionState(version=version, role="current", source=source, underway=0, answered=0, failed=0,
                           agreed=None)  # fmt: skip
    return ModelState(name=name, share=None, versions=[current])


def rebuilding(state: ModelState) -> list[Operation]:
    """What brings a model to this state: the first is the version to begin with."""
    by_role = {one.role: one for one in state.versions}
    ordered = [by_role[role] for role in ("previous", "current", "canary", "shadow") if role in by_role]
    return [
        Operation(
            what="load", name=state.name, source=one.source or "", version=one.version,
            share=state.share or 1.0 if one.role == "canary" else 1.0, shadow=one.role == "shadow",
        )
        for one in ordered
    ]  # fmt: skip


def added(of_processes: Iterable[Sequence[ModelState]]) -> list[ModelState]:
    """The states of the same models in several processes, their counts added up."""
    models: dict[str, ModelState] = {}
    for states in of_processes:
        for state in states:
            known = models.get(state.name)
            if known is None:
                models[state.name] = state.model_copy(deep=True)
                continue
            for one in state.versions:
                same = [other for other in known.versions if (other.version, other.role) == (one.version, one.role)]
                for other in same:
                    other.underway += one.underway
                    other.answered += one.answered
                    other.failed += one.failed
                    other.agreed = None if one.agreed is None else (other.agreed or 0) + one.agreed
    return [*models.values()]
