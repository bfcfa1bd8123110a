"""Requests that arrive together are computed together: one forward pass at a time, in one thread."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from flambeau.serve.problems import Problem, overloaded

Encoded = Mapping[str, np.ndarray]
T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Waiting:
    value: Encoded
    answer: asyncio.Future[np.ndarray]


class Batcher:
    """Gathers encoded inputs and runs them as batches.

    While one batch is computed the next one gathers by itself. A batch waits only for inputs that have been announced
    (`coming`), and at most `max_wait` seconds, so that a lone request waits for nothing.

    Args:
        forward: B encoded inputs to outputs (B, …); called from one worker thread, never twice at a time.
        max_batch: the largest B.
        max_wait: seconds.
    """

    def __init__(
        self, forward: Callable[[Sequence[Encoded]], np.ndarray], *, max_batch: int = 32, max_wait: float = 0.004
    ):
        self._forward, self.max_batch, self.max_wait = forward, max_batch, max_wait
        self._waiting: deque[_Waiting] = deque()
        self._changed = asyncio.Event()
        self._coming = 0
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="flambeau-forward")
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to work; called inside a running event loop."""
        self._loop = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Ends the work; whoever still waits gets a Problem. The batch that is being computed is waited for."""
        if self._loop is not None:
            self._loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop
        self._loop = None
        while self._waiting:
            _fail(self._waiting.popleft(), overloaded("the server is stopping"))
        await asyncio.to_thread(self._worker.shutdown)

    @contextlib.contextmanager
    def coming(self) -> Iterator[None]:
        """Announces an input: within the block it is being decoded, right after it it is submitted, or has failed."""
        self._coming += 1
        try:
            yield
        finally:
            self._coming -= 1
            self._changed.set()

    async def submit(self, value: Encoded) -> np.ndarray:
        """One encoded input to its output.

        Raises:
            Problem: the model failed on this input, or the server is stopping.
        """
        if self._loop is None:
            raise overloaded("the server is stopping")
        waiting = _Waiting(value, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._changed.set()
        return await waiting.answer

    async def apart(self, function: Callable[..., T], *args: Any) -> T:
        """Something else that is done with the model, between two batches."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, function, *args)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = await self._gather()
            if not batch:
                continue
            try:
                rows = await loop.run_in_executor(self._worker, self._run, [w.value for w in batch])
            except asyncio.CancelledError:
                for waiting in batch:
                    _fail(waiting, overloaded("the server is stopping"))
                raise
            for waiting, row in zip(batch, rows, strict=True):
                if isinstance(row, Problem):
                    _fail(waiting, row)
                elif not waiting.answer.done():
                    waiting.answer.set_result(row)

    async def _gather(self) -> list[_Waiting]:
        """The next batch. Those who gave up while they waited are left out."""
        while not self._waiting:
            await self._wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.max_wait):
                while self._coming and len(self._waiting) < self.max_batch:
                    await self._wait()
        taken = [self._waiting.popleft() for _ in range(min(self.max_batch, len(self._waiting)))]
        return [w for w in taken if not w.answer.done()]

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _run(self, values: Sequence[Encoded]) -> list[np.ndarray | Problem]:
        """Outputs by input; where a batch fails each of it runs alone, so that only the cause fails."""
        try:
            rows = self._forward(values)
            if len(rows) != len(values):
                raise ValueError(f"the model gave {len(rows)} outputs for {len(values)} inputs")
            return list(rows)
        except Exception:
            log.exception("the forward pass of %d inputs failed", len(values))
        if len(values) > 1:
            return [row for value in values for row in self._run([value])]
        return [Problem(500, "model-failed", "the model failed on this input")]


def _fail(waiting: _Waiting, problem: Problem) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(problem)
