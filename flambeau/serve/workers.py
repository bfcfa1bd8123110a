"""Several processes behind one address: a parent that starts them, replaces those that die, and lets all drain.

All accept from one socket, so what waits to be accepted outlives whoever dies: only the requests that a dead worker was
answering are lost. Workers are forked from a process that has imported the packages and nothing else has run in, so a
new one costs the loading of the models. What concerns all goes by the parent, one change at a time: first the worker
that was asked, and where that succeeds the others; a worker that cannot follow is replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import signal
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.context import ForkServerProcess
from typing import Any

from flambeau.core.errors import UsageError
from flambeau.serve import watched, worker
from flambeau.serve.changes import Operation, added
from flambeau.serve.channel import Channel
from flambeau.serve.folder import ModelFolder
from flambeau.serve.limits import LINGER_SECONDS
from flambeau.serve.metrics import Family, Metrics, count, gauge, lasting, summed
from flambeau.serve.problems import Problem, overloaded
from flambeau.serve.protocol import ModelState

log = logging.getLogger(__name__)
SIGNALS = (signal.SIGTERM, signal.SIGINT)
QUICK, LONGEST_PAUSE = 10.0, 30.0
"""A worker that dies before so many seconds is replaced after a pause, which doubles up to the other."""
SCRAPE_SECONDS = 2.0
"""That a worker has to tell its figures, then what it told last counts; or its models."""


class Member:
    """A worker, as its parent knows it."""

    def __init__(self, process: ForkServerProcess, answer: Callable[[Member, str, Any], Any]):
        self.process, self.born = process, time.monotonic()
        self.channel = Channel(lambda what, about: answer(self, what, about))
        self.failure: dict[str, Any] | None = None
        self.told: list[Family] = []
        self.settled = asyncio.Event()
        """It is ready, or has ended."""
        self.ready = False
        self.ended = asyncio.Event()


class Workers:
    """The parent.

    Args:
        number: of workers.
        plan: what each is made of.
        states: the models to begin with.
        listener: the socket that all listen at; closed as soon as all are to end.
        folder: where new versions come from.
    """

    def __init__(
        self, number: int, plan: worker.Plan, states: Sequence[ModelState], listener: socket.socket,
        folder: ModelFolder | None = None,
    ):  # fmt: skip
        self.number, self.plan, self.listener, self.folder = number, plan, listener, folder
        self.models = [*states]
        self.members: list[Member] = []
        self._started = 0
        self._names = {state.name: {one.version for one in state.versions} for state in states}
        self._past: list[Family] = []
        self._metrics = Metrics()
        self._metrics.readings += [self._readings, lambda: watched.readings(self._sources())]
        self._changing = asyncio.Lock()
        self._stopped: asyncio.Future[int] | None = None
        self._missing = asyncio.Event()
        self._pause = 0.0
        self._last: Member | None = None  # who ended last
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["flambeau.serve.worker"])

    def run(self, ready: Callable[[], None]) -> None:
        """Runs until SIGINT or SIGTERM, which is raised again when all have drained.

        Raises:
            UsageError: a worker cannot start.
        """
        number = asyncio.run(self._run(ready))
        signal.raise_signal(number)

    async def _run(self, ready: Callable[[], None]) -> int:
        loop = asyncio.get_running_loop()
        self._stopped = loop.create_future()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._stop, number)
        beside: list[asyncio.Task[None]] = []
        try:
            starting = asyncio.create_task(self._fill())
            await asyncio.wait((starting, self._stopped), return_when=asyncio.FIRST_COMPLETED)
            if not self._stopped.done():
                starting.result()
                if sum(one.ready for one in self.members) < self.number:
                    raise self._failure()
                ready()
                beside.append(asyncio.create_task(self._keep()))
                if self.folder is not None:
                    beside.append(asyncio.create_task(self.folder.watch(self._load, self._sources())))
                await self._stopped
            starting.cancel()
            return self._stopped.result()
        finally:
            for task in beside:
                task.cancel()
            self.listener.close()
            await self._end()
            for number in SIGNALS:
                loop.remove_signal_handler(number)

    def _stop(self, number: int) -> None:
        assert self._stopped is not None
        if not self._stopped.done():
            self._stopped.set_result(number)
        elif number == signal.SIGINT:  # a second Ctrl-C does not wait
            for member in self.members:
                member.process.kill()

    async def _end(self) -> None:
        """Lets all drain, and ends what does not."""
        members = [*self.members]
        for member in members:
            member.process.terminate()
        limits, over_grpc = self.plan.limits, self.plan.doors.grpc_port is not None
        patience = max(limits.drain, LINGER_SECONDS) + LINGER_SECONDS + over_grpc * limits.drain  # which stops last
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                for member in members:
                    await member.ended.wait()
        for member in members:
            if not member.ended.is_set():
                log.error("worker %s did not end, and is killed", member.process.pid)
                member.process.kill()
                await member.ended.wait()

    # -- the workers --------------------------------------------------------------------------------------------------

    async def _fill(self) -> None:
        """Starts as many as are missing, and waits until each is ready or has ended. Nothing is changed meanwhile: it
        would pass those by that are not ready yet.

        Raises:
            OSError: one cannot be started, such as for want of memory or files.
        """
        async with self._changing:
            fresh: list[Member] = []
            try:
                for _ in range(self.number - len(self.members)):
                    fresh.append(await self._spawn())
            finally:
                for member in fresh:
                    await member.settled.wait()

    async def _spawn(self) -> Member:
        ours, theirs = socket.socketpair()
        states = [state.model_dump() for state in self.models]
        process = self._context.Process(
            target=worker.main, args=(self.plan, states, self.listener, theirs), name="flambeau-worker", daemon=True
        )
        try:
            process.start()
        except EOFError:  # the process that forks them is gone; the next try starts another
            ours.close()
            raise OSError("it has not been forked") from None
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self._started += 1
        member = Member(process, self._answer)
        self.members.append(member)
        asyncio.get_running_loop().add_reader(process.sentinel, self._ended, member)
        await member.channel.connect(ours)
        return member

    def _ended(self, member: Member) -> None:
        asyncio.get_running_loop().remove_reader(member.process.sentinel)
        member.process.join()
        member.channel.close()
        self.members.remove(member)
        self._past = summed([self._past, lasting(member.told)])
        member.settled.set()
        member.ended.set()
        if self._stopped is not None and not self._stopped.done() and member.ready:
            log.error("worker %s has died (%s) and is replaced", member.process.pid, member.process.exitcode)
        self._pause = self._longer() if time.monotonic() - member.born < QUICK else 0.0
        self._last = member
        self._missing.set()

    async def _keep(self) -> None:
        while True:
            await self._missing.wait()
            self._missing.clear()
            while len(self.members) < self.number:
                await asyncio.sleep(self._pause)
                try:
                    await self._fill()
                except OSError as error:
                    self._pause = self._longer()
                    log.error("a worker cannot be started (%s); again in %g s", error, self._pause)

    def _longer(self) -> float:
        """The next pause."""
        return min(max(1.0, 2 * self._pause), LONGEST_PAUSE)

    def _failure(self) -> UsageError:
        about = self._last.failure if self._last is not None else None
        if about is None:
            return UsageError("a worker ended before it was ready", fix="see its log above")
        return UsageError(**{part: about[part] for part in ("found", "where", "expected", "fix", "code")})

    # -- what concerns all --------------------------------------------------------------------------------------------

    async def _answer(self, member: Member, what: str, about: Any) -> Any:
        if what == "ready":
            member.ready = True
            member.settled.set()
        elif what == "failed":
            member.failure = about
        elif what == "change":
            state = await self.change(Operation(**about), member)
            return state and state.model_dump()
        elif what == "states":
            return [state.model_dump() for state in await self.states()]
        elif what == "told":
            return await self.told()
        return None

    async def change(self, operation: Operation, first: Member | None = None) -> ModelState | None:
        """Changes a model in all workers.

        Args:
            first: who tries it.

        Raises:
            Problem: it cannot be done there; then all is as it was.
        """
        async with self._changing:
            first = first if first in self.members else next((one for one in self.members if one.ready), None)
            if first is None:
                raise overloaded("no worker is ready")
            names = self._names.setdefault(operation.name, set())
            if operation.what == "load" and operation.version is None:
                numbers = (str(number) for number in range(1, len(names) + 2))
                fresh = next(number for number in numbers if number not in names)
                operation = operation.model_copy(update={"version": fresh})
            state = await first.channel.ask("change", operation.model_dump())
            names |= {operation.version} if operation.version else set()
            self.models = [ModelState(**one) for one in await first.channel.ask("states")]
            others = [one for one in self.members if one is not first and one.ready]
            asked = (one.channel.ask("change", operation.model_dump()) for one in others)
            for other, answer in zip(others, await asyncio.gather(*asked, return_exceptions=True), strict=True):
                if isinstance(answer, BaseException):
                    log.error("worker %s cannot follow (%s), and is replaced", other.process.pid, answer)
                    other.process.terminate()
            return state and ModelState(**state)

    async def _load(self, name: str, source: str, version: str) -> None:
        await self.change(Operation(what="load", name=name, source=source, version=version))

    def _sources(self) -> list[str]:
        return [one.source for state in self.models for one in state.versions if one.source]

    async def states(self) -> list[ModelState]:
        """The models, with what all workers have answered."""
        told = await self._of_all("states")
        return added([ModelState(**state) for state in states] for states in told)

    async def told(self) -> list[Family]:
        """What all have counted, those too that have ended; of each worker what it told last, if it does not answer."""

        async def one(member: Member) -> list[Family]:
            with contextlib.suppress(TimeoutError, Problem):
                member.told = await _asked(member, "told")
            return member.told

        ready = [member for member in self.members if member.ready]
        return summed([self._past, *await asyncio.gather(*map(one, ready)), self._metrics.told()])

    async def _of_all(self, what: str) -> list[Any]:
        ready = [member for member in self.members if member.ready]
        answers = await asyncio.gather(*(_asked(one, what) for one in ready), return_exceptions=True)
        return [answer for answer in answers if not isinstance(answer, BaseException)]

    def _readings(self) -> Iterable[Any]:
        ready = sum(member.ready for member in self.members)
        yield gauge("flambeau_workers", "Processes that answer.", (), [((), ready)])
        yield count("flambeau_worker_restarts", "Workers that were started in place of others.",
                    max(0, self._started - self.number))  # fmt: skip


async def _asked(member: Member, what: str) -> Any:
    """What a worker tells.

    Raises:
        TimeoutError: it does not within SCRAPE_SECONDS. Problem: it refuses, or has ended.
    """
    async with asyncio.timeout(SCRAPE_SECONDS):
        return await member.channel.ask(what)


def threads_each(number: int) -> int:
    """How many threads torch has in each worker: together as many as it has here."""
    import torch

    return max(1, torch.get_num_threads() // number)
