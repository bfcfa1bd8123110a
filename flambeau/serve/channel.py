"""Questions and answers between two processes, over a pair of sockets: a line of JSON each, so nothing is unpickled."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from flambeau.serve.problems import Problem, overloaded

log = logging.getLogger(__name__)
LONGEST_LINE = 2**26
Answering = Callable[[str, Any], Awaitable[Any]]


class Channel:
    """One end.

    Args:
        answer: what is done with a question, by its name and what it is about; a Problem that it raises is raised
            where the question was asked.
    """

    def __init__(self, answer: Answering):
        self._answer = answer
        self._open: dict[int, asyncio.Future[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._count, self._ended = 0, False
        self._writer: asyncio.StreamWriter | None = None

    async def connect(self, end: socket.socket) -> asyncio.Task[None]:
        """Begins to listen; the task ends when the other process has closed its end or has died."""
        reader, self._writer = await asyncio.open_connection(sock=end, limit=LONGEST_LINE)
        return asyncio.create_task(self._listen(reader))

    async def ask(self, what: str, about: Any = None) -> Any:
        """What the other end answers.

        Raises:
            Problem: it refuses, or has ended.
        """
        self._count += 1
        number = self._count
        self._send({"ask": what, "id": number, "about": about})
        future = self._open[number] = asyncio.get_running_loop().create_future()
        try:
            return await future
        finally:
            self._open.pop(number, None)

    def close(self) -> None:
        """Ends this end."""
        if self._writer is not None:
            self._writer.close()

    def _send(self, told: dict[str, Any]) -> None:
        if self._ended or self._writer is None:
            raise overloaded("a process of the server has ended")
        self._writer.write(json.dumps(told).encode() + b"\n")

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while line := await reader.readline():
                    told = json.loads(line)
                    if "ask" in told:
                        task = asyncio.create_task(self._reply(told))
                        self._tasks.add(task)
                        task.add_done_callback(self._tasks.discard)
                    elif (future := self._open.pop(told["id"], None)) and not future.done():
                        if problem := told.get("problem"):
                            future.set_exception(Problem(*problem))
                        else:
                            future.set_result(told["value"])
        except ValueError:
            log.exception("another process has sent what is no line of JSON, or too long a one")
        finally:
            self._ended = True
            self.close()  # so that the other learns of it too
            for future in [*self._open.values()]:
                if not future.done():
                    future.set_exception(overloaded("a process of the server has ended"))

    async def _reply(self, told: dict[str, Any]) -> None:
        reply: dict[str, Any] = {"id": told["id"]}
        try:
            reply["value"] = await self._answer(told["ask"], told["about"])
        except Problem as problem:
            reply["problem"] = [problem.status, problem.code, problem.message, problem.headers]
        except Exception:
            log.exception("the question '%s' of another process failed", told["ask"])
            reply["problem"] = [500, "internal", "the server failed; its log says why"]
        with contextlib.suppress(Problem):
            self._send(reply)
