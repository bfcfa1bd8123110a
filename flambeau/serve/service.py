"""The Service: a Predictor made fit for many clients at once. Decoding in a few threads, forward passes in one."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from flambeau.core.errors import DataError, MissingExtra, UsageError
from flambeau.data.grouping import PRESENT
from flambeau.fields import Field
from flambeau.predictor import Predictor
from flambeau.predictor.explaining import PredictorExplaining
from flambeau.serve.batching import Batcher, Encoded
from flambeau.serve.limits import Limits
from flambeau.serve.memory import MemoryGate, memory_of
from flambeau.serve.problems import Problem
from flambeau.serve.protocol import AskedColumn, Failed, InputColumn, ModelDescription, OutputColumn, Predicted, Raw
from flambeau.version import __version__

T = TypeVar("T")
log = logging.getLogger(__name__)

FARTHEST = 1e15  # standard deviations; from about 1e19 on a square is infinite in float32
MOST_CHOICES = 1000
DECODED_BATCHES = 2
"""How many batches' inputs are decoded, or being decoded, at one time."""


class Service:
    """What the routes call.

    Args:
        predictor: the model.
        limits: its bounds.
        name: what the model is called.

    Raises:
        UsageError: the predictor has no fields, so it cannot read raw values.
    """

    def __init__(self, predictor: Predictor, limits: Limits, name: str):
        if not predictor.inputs:
            raise UsageError(
                "this model has no fields, so it cannot be served: nothing says how to read a request",
                fix="train on a Dataset with fields",
            )
        self.predictor, self.limits, self.name = predictor, limits, name
        self.fields: dict[str, Field] = {c: predictor.fields[c] for c in predictor.inputs if c != PRESENT}
        self.accepts_files = len(self.fields) == 1 and next(iter(self.fields.values())).reads_files
        self.ready = False
        self._gate = MemoryGate(limits.max_decoding)

    async def start(self) -> None:
        """Starts the threads, and one forward pass in the background: after it the service is ready."""
        self._threads = ThreadPoolExecutor(self.limits.decode_threads, thread_name_prefix="flambeau-decode")
        self._batcher = Batcher(self.predictor.outputs, max_batch=self.limits.max_batch, max_wait=self.limits.max_wait)
        self._room = asyncio.Semaphore(DECODED_BATCHES * self.limits.max_batch)
        self._batcher.start()
        self._warming = asyncio.create_task(self._warm_up())

    async def stop(self) -> None:
        """Stops the threads; what is being computed is waited for."""
        self.ready = False
        await self._batcher.stop()
        await self._warming
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    async def _warm_up(self) -> None:
        try:
            await self._batcher.submit(self.predictor.blank())
            self.ready = True
        except Problem as problem:
            log.error("the warm-up failed: %s", problem.message)

    async def predict(
        self, inputs: Sequence[Raw], top: int, reject_below: float, explain: bool = False
    ) -> list[Predicted | Failed]:
        """One entry for each input, in order; one that fails leaves the others alone.

        Raises:
            Problem: there is one input only, and it fails.
        """
        results = await asyncio.gather(
            *(self._one(raw, top, reject_below, explain) for raw in inputs), return_exceptions=True
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

    async def _one(self, raw: Raw, top: int, reject_below: float, explain: bool) -> Predicted:
        async with self._room:  # so that of a crowd only the next few are held decoded
            with self._batcher.coming():
                value, encoded = await self.in_thread(self._encode, raw.value)
            row = await self._batcher.submit(encoded)
        answer = await self.in_thread(self._decode, raw.name, value, row, top, reject_below)
        if explain:
            answer.explanation = await self._batcher.apart(self._explain, value, encoded)
        return answer

    def _explain(self, value: Mapping[str, Any], encoded: Encoded) -> str:
        """What an answer hangs on, as HTML; called where nothing else is done with the model.

        Raises:
            Problem: nothing explains answers of this model.
        """
        try:
            return PredictorExplaining(self.predictor)(value, encoded).html
        except (UsageError, MissingExtra) as error:
            raise Problem(422, "not-explained", f"answers of this model are not explained: {error.found}") from None

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
                    value[column] = value[column] if self.accepts_files else _file(field, value[column], column)
                    size += memory_of(field, value[column], self.limits)
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
        return Predicted(file=name, **self.predictor.decode(row, reject_below, value).to_dict(top))

    def describe(self) -> ModelDescription:
        """The model, what it takes and what it gives."""
        import torch

        target = self.predictor.fields.get(self.predictor.target or "")
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
                name=self.predictor.target, kind=target.kind if target else None, classes=self.predictor.classes
            ),
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


def _file(field: Field, value: Any, column: str) -> bytes:
    """The bytes of a file within JSON."""
    try:
        return field.from_portable(value)
    except DataError:
        raise Problem(422, "not-base64", f"the value of '{column}' is not base64 text") from None
