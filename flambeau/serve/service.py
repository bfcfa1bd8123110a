"""The Service: a Predictor made fit for many clients at once. Decoding in a few threads, forward passes in others."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from flambeau.core.errors import DataError, MissingExtra, UsageError
from flambeau.data.grouping import PRESENT
from flambeau.fields import Field
from flambeau.fields.decoding import upright
from flambeau.objectives import Translation
from flambeau.predictor import Predictor
from flambeau.predictor.explaining import PredictorExplaining
from flambeau.serve import tracing
from flambeau.serve.batching import Batcher, Encoded
from flambeau.serve.generated import GenerateBody, Maker, Sample
from flambeau.serve.limits import DEADLINE, Limits
from flambeau.serve.memory import MemoryGate, memory_of
from flambeau.serve.metrics import Metrics
from flambeau.serve.problems import Problem, busy
from flambeau.serve.protocol import (
    AskedColumn,
    Failed,
    InputColumn,
    ModelDescription,
    OutputColumn,
    Predicted,
    Raw,
    too_many,
)
from flambeau.serve.writing import Writer
from flambeau.version import __version__

if TYPE_CHECKING:
    from flambeau.production.log import PredictionLog

T = TypeVar("T")
log = logging.getLogger(__name__)

FARTHEST = 1e15  # standard deviations; from about 1e19 on a square is infinite in float32
MOST_CHOICES = 1000
NEWEST = 0.05
"""What the newest answer weighs in the pace."""
HEADROOM = 1.25
"""What an answer is expected to take, over what the last ones took."""
BATCH_SHARE = 0.25
"""Of the time that a request has, what a batch may take."""
DECODED_BATCHES = 2
"""How many batches' inputs are decoded, or being decoded, at one time."""


class Service:
    """What the routes call.

    Args:
        predictor: the model.
        limits: its bounds.
        name: what the model is called.
        kept_in: the log of its predictions; None for none.

    Raises:
        UsageError: the predictor has no fields, so it cannot read raw values.
    """

    def __init__(self, predictor: Predictor, limits: Limits, name: str, kept_in: PredictionLog | None = None):
        if not predictor.inputs:
            raise UsageError(
                "this model has no fields, so it cannot be served: nothing says how to read a request",
                fix="train on a Dataset with fields",
            )
        self.predictor, self.limits, self.name = predictor, limits, name
        self.kept_in, self.metrics = kept_in, Metrics().of(name, "")
        self.fields: dict[str, Field] = {c: predictor.fields[c] for c in predictor.inputs if c != PRESENT}
        self.accepts_files = len(self.fields) == 1 and next(iter(self.fields.values())).reads_files
        self.target = predictor.fields.get(predictor.target or "")
        self.maker, self.writer = Maker.of(predictor), Writer.of(predictor, limits)
        self.translates = isinstance(predictor.objective, Translation)
        self.ready = False
        self.underway = 0  # inputs that wait or are computed
        self.pace = 0.0  # seconds that an answer takes for each input that is underway when it is asked for
        self._gate = MemoryGate(limits.max_decoding)

    async def start(self) -> None:
        """Starts the threads, and one forward pass in the background: after it the service is ready."""
        self._threads = ThreadPoolExecutor(self.limits.decode_threads, thread_name_prefix="flambeau-decode")
        lanes, each = shared_threads(self.predictor, self.limits.forward_threads)
        self._batcher = Batcher(
            self.predictor.outputs, max_batch=self.limits.max_batch, max_wait=self.limits.max_wait,
            max_seconds=BATCH_SHARE * self.limits.timeout, lanes=lanes, initializer=lambda: torch.set_num_threads(each),
            computed=self._computed,
        )  # fmt: skip
        self._room = asyncio.Semaphore(DECODED_BATCHES * self.limits.max_batch)
        self._batcher.start()
        if self.writer is not None:
            self.writer.start()
        self._warming = asyncio.create_task(self._warm_up())

    async def stop(self) -> None:
        """Stops the threads; what is being computed is waited for."""
        self.ready = False
        await self._batcher.stop()
        if self.writer is not None:
            await self.writer.stop()
        await self._warming
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    async def warmed(self) -> bool:
        """Waits for the first forward pass; whether it went well."""
        await self._warming
        return self.ready

    async def _warm_up(self) -> None:
        threads = torch.get_num_threads()
        try:
            await self._batcher.submit(self.predictor.blank())
            self._batcher.pace = 0.0  # the first pass prepares what the others find
            torch.set_num_threads(threads)  # else threads that begin later would have as few as a lane
            self.ready = True
        except Problem as problem:
            log.error("the warm-up failed: %s", problem.message)

    async def predict(
        self, inputs: Sequence[Raw], top: int, reject_below: float, explain: bool = False, reconstruct: bool = False
    ) -> list[Predicted | Failed]:
        """One entry for each input, in order; one that fails leaves the others alone.

        Raises:
            Problem: there is one input only, and it fails; or they would wait longer than whoever asks does.
        """
        with self._in_line(len(inputs), plain=not explain and not reconstruct):
            results = await asyncio.gather(
                *(self._one(raw, top, reject_below, explain, reconstruct) for raw in inputs), return_exceptions=True
            )
        entries: list[Predicted | Failed] = []
        for raw, result in zip(inputs, results, strict=True):
            if isinstance(result, Problem) and len(inputs) > 1:
                entries.append(Failed(file=raw.name, error=result.message, code=result.code))
            elif isinstance(result, BaseException):
                raise result
            else:
                entries.append(result)
        return entries

    def late(self, inputs: int = 1) -> Problem | None:
        """Why so many inputs need not be asked now: by what the last ones took they would wait too long."""
        wait = HEADROOM * self.pace * (self.underway + inputs)
        late = time.monotonic() + wait - DEADLINE.get()
        if not self.underway or late <= 0:
            return None
        return busy(f"the server is busy: an answer would take about {wait:.1f} seconds", late)

    @contextlib.contextmanager
    def _in_line(self, inputs: int, plain: bool) -> Iterator[None]:
        """Holds places for so many inputs while they are answered, and learns from plain ones how long that takes.

        Raises:
            Problem: by what the last ones took they would wait longer than whoever asks does.
        """
        began, before = time.monotonic(), self.underway
        if refusal := self.late(inputs):
            raise refusal
        self.underway += inputs
        ended = False
        try:
            yield
            ended = True
        finally:
            self.underway -= inputs
            change = (time.monotonic() - began) / (before + inputs) - self.pace
            if plain and (ended or change > 0):  # one whose time was over would have taken longer still
                self.pace += NEWEST * change

    async def _one(self, raw: Raw, top: int, reject_below: float, explain: bool, reconstruct: bool) -> Predicted:
        began = time.perf_counter()
        async with self._room:  # so that of a crowd only the next few are held decoded
            waited = time.perf_counter() - began
            with self._batcher.coming(), self._stage("decode"):
                value, encoded = await self.in_thread(self._encode, raw.value)
            with tracing.span("model"):
                row = await self._batcher.submit(encoded, waited)
        with self._stage("encode"):
            answer = await self.in_thread(self._decode, raw.name, value, row, top, reject_below)
        if self.kept_in is not None:
            told, seconds = answer.model_dump(exclude_unset=True, exclude={"file"}), time.perf_counter() - began
            answer.id = self.kept_in.note(self.name, self.predictor.version, raw.value, told, seconds)
        if explain:
            answer.explanation = await self._batcher.apart(self._explain, value, encoded)
        if reconstruct:
            answer.reconstruction = await self._batcher.apart(self._reconstruct, encoded)
        return answer

    @contextlib.contextmanager
    def _stage(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        with tracing.span(stage):
            yield
        self.metrics.stage(stage, time.perf_counter() - began)

    def _computed(self, waited: Sequence[float], seconds: float) -> None:
        if self.ready:  # the first pass is nobody's
            self.metrics.batch(waited, seconds)

    def _reconstruct(self, encoded: Encoded) -> Sample:
        """What comes back from the code of an input.

        Raises:
            Problem: the model has no codes.
        """
        maker = self._made_by()
        batch = self.predictor.prepare(torch.arange(1), self.predictor.gather([encoded]))
        return Sample(**maker.told(maker.reconstructed(batch)))

    async def generate(self, asked: GenerateBody, as_picture: bool = False) -> list[Sample] | bytes:
        """Samples made anew; as a picture the bytes of a PNG, of several side by side.

        Raises:
            Problem: they are too many, or the model makes none such.
        """
        maker = self._made_by()
        if asked.count > self.limits.max_generated:
            raise too_many(self.limits.max_generated, "samples")
        values, classes = await maker.make(asked, self._batcher.apart)
        if as_picture:
            return await self.in_thread(maker.picture, values)
        told = [await self.in_thread(maker.told, value) for value in values]
        return [Sample(**one, **({} if name is None else {"class": name}))
                for one, name in zip(told, classes, strict=True)]  # fmt: skip

    def _made_by(self) -> Maker:
        if self.maker is None:
            raise Problem(422, "not-generated", "this model makes no samples; one trained with --objective vae does")
        return self.maker

    def _explain(self, value: Mapping[str, Any], encoded: Encoded) -> str:
        """What an answer hangs on, as HTML; called where nothing else is done with the model.

        Raises:
            Problem: nothing explains answers of this model.
        """
        try:
            return PredictorExplaining(self.predictor)(value, encoded).html
        except (UsageError, MissingExtra) as error:
            raise Problem(422, "not-explained", f"answers of this model are not explained: {error.found}") from None

    def _explains(self) -> bool:
        try:
            PredictorExplaining(self.predictor)
        except (UsageError, MissingExtra):
            return False
        return True

    async def in_thread(self, function: Callable[..., T], *args: Any) -> T:
        """Runs `function(*args)` in one of the decoding threads, so that the event loop goes on."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    def _encode(self, value: Any) -> tuple[Mapping[str, Any], Encoded]:
        """One raw value by column, with the content of its files, and its encoded columns.

        Raises:
            Problem: it cannot be read, or is too large.
        """
        size = 0
        try:
            value = dict(self.predictor.by_input(value))
            for column, field in self.fields.items():
                if field.reads_files and column in value:
                    if isinstance(value[column], np.ndarray):  # pixels or samples, as a tensor
                        size += 4 * value[column].nbytes
                        continue
                    value[column] = value[column] if self.accepts_files else _file(field, value[column], column)
                    size += memory_of(field, value[column], self.limits)
            self._answer_size(value)
            with self._gate.holding(size), np.errstate(over="ignore"):  # such numbers are refused below
                encoded = self.predictor.encode(value)
        except DataError as error:
            # without its `fix`, which speaks to whoever holds the training data
            expected = f"; expected {error.expected}" if error.expected else ""
            raise Problem(422, "unreadable", error.found + expected) from None
        except (ValueError, TypeError, OverflowError, MemoryError) as error:
            # a value of another shape than any field foresees: the client's, not the server's
            raise Problem(422, "unreadable", f"the input cannot be read ({error})") from None
        for column, array in encoded.items():
            if np.issubdtype(array.dtype, np.floating) and (np.abs(array) > FARTHEST).any():
                far = f"a number of '{column}' is too large: far beyond all that the model was trained on"
                raise Problem(422, "unreadable", far)
        return value, encoded

    def _decode(
        self, name: str | None, value: Mapping[str, Any], row: np.ndarray, top: int, reject_below: float
    ) -> Predicted:
        if not np.isfinite(row).all():
            raise Problem(500, "not-finite", "the model's output for this input is not a finite number")
        with self._gate.holding(self._answer_size(value)):
            return Predicted(file=name, **self.predictor.decode(row, reject_below, value).to_dict(top))

    def _answer_size(self, value: Mapping[str, Any]) -> int:
        """How many bytes an answer of the size of its picture takes at most, told from the picture's head.

        Raises:
            Problem: too many.
        """
        each = self.target.answer_memory(1) if self.target and self.accepts_files else 0
        if not each:
            return 0
        height, width = upright(value[next(iter(self.fields))])[0]
        if (size := each * height * width) > self.limits.max_decoding:
            most = self.limits.max_decoding // each
            told = f"the picture has {width}×{height} pixels, too many for this answer; expected at most {most:,}"
            raise Problem(413, "too-many-pixels", told)
        return size

    def describe(self) -> ModelDescription:
        """The model, what it takes and what it gives."""
        target = self.target
        return ModelDescription(
            name=self.name,
            accepts="files" if self.accepts_files else "json",
            inputs=[
                InputColumn(
                    name=column, kind=field.kind, shape=list(field.encoding.shape),
                    colour=getattr(field, "colour", None), rate=getattr(field, "rate", None),
                )
                for column, field in self.fields.items()
            ],
            columns=[
                AskedColumn(**{**entry, "choices": entry["choices"][:MOST_CHOICES]})
                for column, field in self.fields.items()
                for entry in field.asks(column)
            ],
            output=OutputColumn(
                name=self.predictor.target, kind=target.kind if target else None, classes=self.predictor.classes,
                colours=target.legend if target else {},
            ),
            explains=self._explains(),
            generates=self.maker.described if self.maker else None,
            writes=self.writer is not None,
            chats=self.writer is not None and self.writer.field.chats,
            example=None if self.accepts_files else self._example(),
            examples=self._examples(),
            limits={name: float(value) for name, value in dataclasses.asdict(self.limits).items()},
            versions={"flambeau": __version__, "torch": torch.__version__},
        )  # fmt: skip

    def _examples(self) -> list[Any]:
        """Training rows as `inputs` takes them, or what stands for one."""
        examples = [self._as_input(stored) for stored in self.predictor.examples]
        return examples if examples or self.accepts_files else [self._example()]

    def _example(self) -> Any:
        """A value that `inputs` could hold: what the middle of the training rows decodes to."""
        return self._as_input({column: field.example() for column, field in self.fields.items()})

    def _as_input(self, values: Mapping[str, Any]) -> Any:
        """A row by column as `inputs` takes it: of one column its value."""
        if len(self.fields) == 1:
            return values.get(next(iter(self.fields)))
        row: dict[str, Any] = {}
        for column in self.fields:
            value = values.get(column)
            row |= value if isinstance(value, dict) else {column: value}
        return row


def shared_threads(predictor: Predictor, most: int) -> tuple[int, int]:
    """How many threads compute the model at a time, and how many cores each has: on a processor together as many as
    torch has; elsewhere one, for a device computes one thing at a time."""
    cores = torch.get_num_threads()
    lanes = min(most, cores) if predictor.engine.device.type == "cpu" else 1
    return lanes, max(1, cores // lanes)


def _file(field: Field, value: Any, column: str) -> bytes:
    """The bytes of a file within JSON, or as they are."""
    if isinstance(value, bytes):
        return value
    try:
        return field.from_portable(value)
    except DataError:
        raise Problem(422, "not-base64", f"the value of '{column}' is not base64 text") from None
