"""A worker: one of several processes that answer at one address, and what it asks of the others by their parent."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from flambeau.core import plugins
from flambeau.core.errors import FlambeauError, UsageError
from flambeau.predictor import Predictor
from flambeau.serve import heap
from flambeau.serve.changes import Alone, Operation, rebuilding
from flambeau.serve.channel import Channel
from flambeau.serve.limits import Limits
from flambeau.serve.metrics import Family, Metrics
from flambeau.serve.observing import write_logs
from flambeau.serve.problems import Problem
from flambeau.serve.protocol import ModelState
from flambeau.serve.registry import Registry
from flambeau.serve.server import Building, Doors, Server, build

if TYPE_CHECKING:
    from flambeau.production.log import LogSettings

ACCEPTED = 1
"""Connections that a worker takes at once: so that a crowd that comes together is shared out."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a worker is made of; it goes to another process.

    Attributes:
        threads: that torch computes with.
        log: the place of the log of predictions with its password, the folder where it waits, its settings.
        plugins: files of plug-ins, which a process of its own has not loaded.
    """

    limits: Limits
    title: str
    doors: Doors
    host: str
    threads: int
    logs: Literal["", "text", "json"] = ""
    log: tuple[str, Path, LogSettings] | None = None
    plugins: tuple[str, ...] = ()


class Shared(socket.socket):
    """A listening socket that several processes have: its queue is as long as the first has said."""

    def listen(self, backlog: int = 0) -> None:
        """Nothing: it listens."""


class Joined:
    """A worker's place in the server: it asks its parent for what concerns all, and does what the parent says."""

    def __init__(self, end: socket.socket, states: list[ModelState]):
        self._end, self._states = end, states
        self.channel = Channel(self._answer)
        self.server: Server | None = None
        self._alone: Alone | None = None

    async def join(self, registry: Registry, metrics: Metrics) -> None:
        """Loads what the other workers have, and waits until all of it is warm.

        Raises:
            Problem: something of it cannot be loaded or warmed.
        """
        self._alone = Alone(registry, metrics)
        listening = await self.channel.connect(self._end)
        listening.add_done_callback(self._left)
        for state in self._states:
            for operation in rebuilding(state)[1:]:
                await self._alone.change(operation)
        for model in registry.models.values():
            if not await model.current.service.warmed():
                raise Problem(500, "not-warmed", f"the model '{model.name}' failed on a first forward pass")

    def _left(self, _: asyncio.Task[None]) -> None:
        if self.server is not None:  # the parent has died: nobody else would end this
            self.server.should_exit = True

    async def _answer(self, what: str, about: Any) -> Any:
        assert self._alone is not None
        if what == "change":
            state = await self._alone.change(Operation(**about))
            return state and state.model_dump()
        if what == "states":
            return [state.model_dump() for state in await self._alone.states()]
        return await self._alone.told()

    async def change(self, operation: Operation) -> ModelState | None:
        """See `Whole.change`."""
        state = await self.channel.ask("change", operation.model_dump())
        return state and ModelState(**state)

    async def states(self) -> list[ModelState]:
        """See `Whole.states`."""
        return [ModelState(**state) for state in await self.channel.ask("states")]

    async def told(self) -> list[Family]:
        """See `Whole.told`."""
        told: list[Family] = await self.channel.ask("told")
        return told


def main(plan: Plan, states: list[dict[str, Any]], listener: socket.socket, end: socket.socket) -> None:
    """Runs a worker until its parent says, or dies.

    Args:
        states: the models and their versions, as the other workers have them.
        listener: the socket that all of them listen at.
        end: of the channel to the parent.
    """
    os.setpgid(0, 0)  # so that Ctrl-C reaches the parent alone, which lets all drain
    if plan.logs:
        write_logs(as_json=plan.logs == "json")
    heap.limit_arenas()
    torch.set_num_threads(plan.threads)
    joined = Joined(end, [ModelState(**state) for state in states])
    try:
        plugins.load(plan.plugins)
        first = {state.name: rebuilding(state)[0] for state in joined._states}
        building = Building(
            predictors={name: Predictor.load(one.source) for name, one in first.items()},
            sources={name: one.source for name, one in first.items()},
            versions={name: one.version or "1" for name, one in first.items()},
            limits=plan.limits, title=plan.title, doors=plan.doors, host=plan.host, kept_in=_log_of(plan),
            joined=joined,
        )  # fmt: skip
        app, config = build(building)
    except FlambeauError as error:
        _fail(end, error)
        return
    config.backlog = ACCEPTED
    shared = Shared(fileno=listener.detach())

    def listening() -> None:
        ready.append(asyncio.ensure_future(joined.channel.ask("ready")))

    ready: list[asyncio.Future[Any]] = []
    server = joined.server = Server(config, listening)
    try:
        server.run(sockets=[shared])
    except SystemExit:  # it could not start; the log says why
        _fail(end, UsageError("a worker could not start", fix="see its log above"))


def _fail(end: socket.socket, error: FlambeauError) -> None:
    import json

    about = error.to_dict()
    with contextlib.suppress(OSError):
        end.sendall(json.dumps({"ask": "failed", "id": 0, "about": about}).encode() + b"\n")
    end.close()


def _log_of(plan: Plan) -> Any:
    if plan.log is None:
        return None
    from flambeau.production.log import PredictionLog
    from flambeau.production.tables import LogTables

    place, waiting, settings = plan.log
    return PredictionLog(LogTables(place), waiting, settings)
