"""Requests that arrive together are computed together, in as many batches at a time as there are lanes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from flambeau.serve.observing import REQUEST_ID
from flambeau.serve.problems import Problem, overloaded

Encoded = Mapping[str, np.ndarray]
T = TypeVar("T")
log = logging.getLogger(__name__)

NEWEST = 0.2
"""What the newest batch weighs in the pace."""


@dataclass(eq=False)
class _Waiting:
    value: Encoded
    answer: asyncio.Future[np.ndarray]
    since: float
    request: str


class Batcher:
    """Gathers encoded inputs and runs them as batches.

    While batches are computed the next one gathers by itself. A batch waits only for inputs that have been announced
    (`coming`), and at most `max_wait` seconds, so that a lone request waits for nothing. Where several lanes are free
    they share what waits. A batch has no more inputs than are computed in `max_seconds`, by the pace so far.

    Several threads with one core each do more than one thread with all: nobody waits at the end of each operation for
    the slowest, and one batch's Python runs beside another's arithmetic.

    Args:
        forward: B encoded inputs to outputs (B, …); called from the threads of the lanes, from several at a time.
        max_batch: the largest B.
        max_wait: seconds.
        max_seconds: that a batch may take.
        lanes: batches at a time.
        initializer: called in each lane's thread before all else.
        computed: called after each forward pass with the seconds that each of its inputs had waited, and its own.
    """

    def __init__(
        self, forward: Callable[[Sequence[Encoded]], np.ndarray], *, max_batch: int = 32, max_wait: float = 0.004,
        max_seconds: float = float("inf"), lanes: int = 1, initializer: Callable[[], None] | None = None,
        computed: Callable[[Sequence[float], float], None] = lambda waited, seconds: None,
    ):  # fmt: skip
        self._computed = computed
        self._forward, self.max_batch, self.max_wait, self.max_seconds = forward, max_batch, max_wait, max_seconds
        self.lanes, self.pace = lanes, 0.0
        """Seconds that a lane takes for an input, the newest batches weighing most; 0 before the first."""
        self._waiting: deque[_Waiting] = deque()
        self._changed = asyncio.Event()
        self._coming = self._busy = 0
        self._free = asyncio.Semaphore(lanes)
        self._alone = asyncio.Lock()
        self._threads = ThreadPoolExecutor(lanes, thread_name_prefix="flambeau-forward", initializer=initializer)
        self._loop: asyncio.Task[None] | None = None
        self._computing: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begins to work; called inside a running event loop."""
        self._loop = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Ends the work; whoever still waits gets a Problem. The batches that are being computed are waited for."""
        if self._loop is not None:
            self._loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop
        self._loop = None
        while self._waiting:
            _fail(self._waiting.popleft(), overloaded("the server is stopping"))
        await asyncio.gather(*self._computing)
        await asyncio.to_thread(self._threads.shutdown)

    @contextlib.contextmanager
    def coming(self) -> Iterator[None]:
        """Announces an input: within the block it is being decoded, right after it it is submitted, or has failed."""
        self._coming += 1
        try:
            yield
        finally:
            self._coming -= 1
            self._changed.set()

    async def submit(self, value: Encoded, waited: float = 0.0) -> np.ndarray:
        """One encoded input to its output.

        Args:
            waited: seconds that it has waited elsewhere.

        Raises:
            Problem: the model failed on this input, or the server is stopping.
        """
        if self._loop is None:
            raise overloaded("the server is stopping")
        answer, since = asyncio.get_running_loop().create_future(), time.monotonic() - waited
        waiting = _Waiting(value, answer, since, REQUEST_ID.get())
        self._waiting.append(waiting)
        self._changed.set()
        return await waiting.answer

    async def apart(self, function: Callable[..., T], *args: Any) -> T:
        """Something else that is done with the model, while no batch is computed."""
        async with self._alone, contextlib.AsyncExitStack() as held:
            for _ in range(self.lanes):
                await held.enter_async_context(self._free)
            return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    async def _work(self) -> None:
        while True:
            while not self._waiting:
                await self._wait()
            await self._free.acquire()
            try:
                batch = await self._gather()
            except BaseException:
                self._free.release()
                raise
            self._busy += 1
            task = asyncio.create_task(self._compute(batch))
            self._computing.add(task)
            task.add_done_callback(self._computing.discard)

    async def _compute(self, batch: list[_Waiting]) -> None:
        try:
            if batch:
                began = time.monotonic()
                values = [w.value for w in batch]
                requests = " ".join(dict.fromkeys(w.request for w in batch))
                rows = await asyncio.get_running_loop().run_in_executor(self._threads, self._run, values, requests)
                seconds = time.monotonic() - began
                self._computed([began - w.since for w in batch], seconds)
                pace = seconds / len(batch)
                self.pace = self.pace + NEWEST * (pace - self.pace) if self.pace else pace
                for waiting, row in zip(batch, rows, strict=True):
                    if isinstance(row, Problem):
                        _fail(waiting, row)
                    elif not waiting.answer.done():
                        waiting.answer.set_result(row)
        finally:
            self._busy -= 1
            self._free.release()

    async def _gather(self) -> list[_Waiting]:
        """The next batch. Those who gave up while they waited are left out."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.max_wait):
                while self._coming and len(self._waiting) < self.max_batch:
                    await self._wait()
        waiting = [w for w in self._waiting if not w.answer.done()]
        share = -(-len(waiting) // max(1, self.lanes - self._busy))
        size = max(1, min(share, self._most()))
        self._waiting = deque(waiting[size:])
        return waiting[:size]

    def _most(self) -> int:
        """How many inputs a lane computes in `max_seconds`."""
        return int(min(self.max_batch, self.max_seconds / self.pace)) if self.pace else self.max_batch

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _run(self, values: Sequence[Encoded], requests: str) -> list[np.ndarray | Problem]:
        """Outputs by input; where a batch fails each of it runs alone, so that only the cause fails."""
        try:
            rows = self._forward(values)
            if len(rows) != len(values):
                raise ValueError(f"the model gave {len(rows)} outputs for {len(values)} inputs")
            return list(rows)
        except Exception:
            log.exception("the forward pass of %d inputs failed", len(values), extra={"request": requests})
        if len(values) > 1:
            return [row for value in values for row in self._run([value], requests)]
        return [Problem(500, "model-failed", "the model failed on this input")]


def _fail(waiting: _Waiting, problem: Problem) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(problem)
