"""Texts that go on for many clients: one thread runs a Decoder, requests join and leave its batch between two steps."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import AsyncIterator, Callable, Sequence

from flambeau.core.errors import FlambeauError
from flambeau.fields import Corpus
from flambeau.models.language.base import CausalLanguageModel
from flambeau.objectives.language import LanguageModel
from flambeau.predictor import Predictor
from flambeau.predictor.decoding import Decoder, Piece, Request
from flambeau.predictor.sampling import Sampling
from flambeau.serve.limits import Limits
from flambeau.serve.problems import Problem, busy, overloaded

log = logging.getLogger(__name__)
FAILED = Problem(500, "model-failed", "the model failed on this text")


class Texts:
    """Some texts that one client asked for, and their pieces as they come."""

    def __init__(self, wanted: Sequence[tuple[Sequence[int], Sampling]], seconds: float):
        self.wanted, self.seconds = wanted, seconds
        self.requests: list[Request] = []  # of the decoding thread
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + seconds
        self._pieces: asyncio.Queue[tuple[int, Piece] | Exception] = asyncio.Queue()
        self.accepted: asyncio.Future[None] = self._loop.create_future()

    async def __aiter__(self) -> AsyncIterator[tuple[int, Piece]]:
        """Each piece with the number of its text, until all have ended.

        Raises:
            Problem: the model failed, the server stops, or it took too long.
        """
        going = len(self.wanted)
        while going:
            try:
                async with asyncio.timeout_at(self._deadline):
                    came = await self._pieces.get()
            except TimeoutError:
                said = f"this took longer than {self.seconds:g} seconds; ask for fewer tokens"
                raise Problem(504, "timeout", said) from None
            if isinstance(came, Exception):
                raise came
            going -= came[1].finished is not None
            yield came

    def push(self, piece: Piece) -> None:
        """From the decoding thread: what came."""
        self._call(self._pieces.put_nowait, (self.requests.index(piece.request), piece))

    def settle(self, error: Exception | None = None) -> None:
        """From the decoding thread: whether they have joined those that wait; later, that they will not go on."""
        self._call(self._settle, error)

    def _settle(self, error: Exception | None) -> None:
        if self.accepted.done():
            self._pieces.put_nowait(error or FAILED)
        elif error:
            self.accepted.set_exception(error)
        else:
            self.accepted.set_result(None)

    def _call(self, function: Callable[..., None], *args: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *args)


class Writer:
    """Makes texts go on by one model, for requests of an event loop.

    Args:
        max_batch: texts at a time; further ones wait.
        max_texts: those that go on or wait; further ones are refused.
        timeout: seconds for what is asked for at a time.
    """

    def __init__(self, model: CausalLanguageModel, field: Corpus, *, max_batch: int, max_texts: int, timeout: float):
        self._make: Callable[[], Decoder] = lambda: Decoder(model, field, max_batch=max_batch)
        self.model, self.field = model, field
        self.max_texts, self.timeout, self.underway = max_texts, timeout, 0
        self._decoder = self._make()
        self._commands: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._texts: dict[Request, Texts] = {}
        self._thread = threading.Thread(target=self._work, name="flambeau-decoding", daemon=True)
        self._stopping = False

    @classmethod
    def of(cls, predictor: Predictor, limits: Limits) -> Writer | None:
        """None where the model writes no texts."""
        objective = predictor.objective
        if not isinstance(objective, LanguageModel):
            return None
        bounds = {"max_batch": limits.max_batch, "max_texts": limits.max_texts}
        return cls(objective.model.eval(), objective.field, timeout=limits.text_timeout, **bounds)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    async def stop(self) -> None:
        """Ends it; those whose text still goes on get a Problem."""
        self._stopping = True
        self._commands.put(None)
        await asyncio.to_thread(self._thread.join)

    async def submit(self, wanted: Sequence[tuple[Sequence[int], Sampling]]) -> Texts:
        """Lets some texts go on, from their prompts; they are to be given to `leave` when nobody reads them any more.

        Raises:
            Problem: 429, so many are under way; 503, the server stops.
            UsageError: a form that a text is to keep to is none.
        """
        if self._stopping:
            raise overloaded("the server is stopping")
        if self.underway + len(wanted) > self.max_texts:
            said = f"{self.underway} texts are under way, and {len(wanted)} more are asked for; expected at most "
            raise busy(f"{said}{self.max_texts} in all")
        texts = Texts(wanted, self.timeout)
        self.underway += len(wanted)
        self._commands.put(lambda: self._add(texts))
        try:
            await texts.accepted
        except BaseException:
            self.leave(texts)
            raise
        return texts

    def leave(self, texts: Texts) -> None:
        """Nobody reads these any more: what still goes on leaves the batch."""
        self.underway -= len(texts.wanted)
        self._commands.put(lambda: self._cancel(texts))

    # -- in the thread ----------------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            try:
                while (command := self._commands.get(block=not self._decoder.busy)) is not None:
                    command()
                break
            except queue.Empty:
                self._advance()
        self._fail(overloaded("the server is stopping"))

    def _advance(self) -> None:
        try:
            for piece in self._decoder.advance():
                self._texts[piece.request].push(piece)
                if piece.finished:
                    del self._texts[piece.request]
        except Exception:
            log.exception("a step of %d texts failed", len(self._texts))
            self._fail(FAILED)
            self._decoder = self._make()

    def _fail(self, problem: Problem) -> None:
        for texts in {*self._texts.values()}:
            texts.settle(problem)
        self._texts.clear()

    def _add(self, texts: Texts) -> None:
        try:
            for prompt, sampling in texts.wanted:
                texts.requests.append(self._decoder.add(prompt, sampling))
        except Exception as error:
            self._cancel(texts)  # those before it have begun
            if not isinstance(error, FlambeauError):
                log.exception("a text could not begin")
            texts.settle(error if isinstance(error, FlambeauError) else FAILED)
        else:
            self._texts |= dict.fromkeys(texts.requests, texts)
            texts.settle()

    def _cancel(self, texts: Texts) -> None:
        for request in texts.requests:
            self._texts.pop(request, None)
            self._decoder.cancel(request)
