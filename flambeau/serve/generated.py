"""Samples made anew: what `POST /v1/generate` takes and answers. A sample hangs on the seed, its place and its class
alone: each is computed by itself, so that whatever is asked for beside it changes no bit of it."""

from __future__ import annotations

import base64
import contextlib
import io
import math
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from pydantic import Field as Described
from torch import Tensor

from flambeau.core.errors import UsageError
from flambeau.data.batch import Batch
from flambeau.fields import Field
from flambeau.objectives.generative import Generative
from flambeau.predictor import Predictor
from flambeau.predictor.generating import restored
from flambeau.serve.problems import Problem

LARGEST_SEED = 2**53 - 1
"""The largest that JSON has exactly in every language."""
PNG = "image/png"


class GenerateBody(BaseModel):
    """What is to be made."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)
    count: int = Described(1, ge=1, description="how many samples, at most `max_generated` of the limits")
    seed: int = Described(0, ge=0, le=LARGEST_SEED, description="what they hang on: the same give the same samples")
    to_seed: int | None = Described(
        None, ge=0, le=LARGEST_SEED,
        description="then the samples are a way: from the first one of `seed` to the first one of this seed",
    )  # fmt: skip
    class_: str | None = Described(
        None, alias="class", description="which class they are of, where the model makes what is asked for; else any"
    )


class Sample(BaseModel):
    """One that was made."""

    model_config = ConfigDict(populate_by_name=True)
    class_: str | None = Described(None, alias="class", description="which class it was to be of, of a model with such")
    file: str | None = Described(None, description="a PNG file as base64, of a model of pictures")
    value: Any = Described(None, description="what it is, of a model that reads no files")


class Generates(BaseModel):
    """What can be asked for."""

    makes: bool = Described(description="whether POST /v1/generate makes samples, and not of codes of inputs alone")
    classes: list[str] = Described(description="the classes that samples may be of; empty where none can be asked for")
    reconstructs: bool = Described(description="whether /predict takes `reconstruct`")


class Maker:
    """Makes samples with the model of a Predictor. Its methods are called where nothing else is done with the model."""

    def __init__(self, predictor: Predictor, objective: Generative):
        self.predictor, self.objective = predictor, objective
        self.field: Field = predictor.fields[predictor.inputs[0]]

    @classmethod
    def of(cls, predictor: Predictor) -> Maker | None:
        """None where the model makes nothing."""
        objective = predictor.objective
        return cls(predictor, objective) if isinstance(objective, Generative) else None

    @property
    def described(self) -> Generates:
        """What can be asked for."""
        objective, comes_back = self.objective, self.field.restores
        return Generates(makes=comes_back and objective.makes_of_noise, classes=objective.classes,
                         reconstructs=comes_back and objective.encodes)  # fmt: skip

    async def make(
        self, asked: GenerateBody, apart: Callable[..., Awaitable[Any]]
    ) -> tuple[list[Any], list[str | None]]:
        """Raw values, and the classes they were to be of.

        Args:
            apart: calls a function with its arguments where nothing else is done with the model; once for each sample,
                so that who asks for few does not wait for who asks for many.

        Raises:
            Problem: there is no such class, or the model makes nothing of this kind.
        """
        codes, labels = await apart(self._codes, asked)
        names = [None if labels is None else self.objective.classes[int(labels[i])] for i in range(asked.count)]
        parts = ((codes[i : i + 1], None if labels is None else labels[i : i + 1]) for i in range(asked.count))
        return [await apart(self._made, *part) for part in parts], names

    def _codes(self, asked: GenerateBody) -> tuple[Tensor, Tensor | None]:
        """What samples are made of, (count, D), and their classes (count)."""
        objective, count = self.objective, asked.count
        with _refusing():
            if not objective.makes_of_noise:
                told = f"{type(objective).__name__} makes nothing of noise, it only gives back what it is given"
                raise UsageError(told, fix="train with --objective vae")
            label = objective.label(asked.class_, count)
            codes, labels = objective.drawn(count, torch.Generator().manual_seed(asked.seed), label)
            if asked.to_seed is not None:
                last, _ = objective.drawn(1, torch.Generator().manual_seed(asked.to_seed), label)
                codes = objective.between(codes[0], last[0], torch.linspace(0, 1, count))
                labels = labels if labels is None else labels[:1].expand(count)
        return codes, labels

    def _made(self, code: Tensor, label: Tensor | None) -> Any:
        with _refusing():
            return restored(self.predictor, self.objective.decode_code, code, label)[0]

    def reconstructed(self, batch: Batch) -> Any:
        """The raw value that comes back from the code of the only one in a batch."""
        with _refusing():
            return restored(self.predictor, self.objective.reconstruct, batch)[0]

    def told(self, value: Any) -> dict[str, Any]:
        """A raw value as an answer has it: {file} or {value}."""
        if self.field.reads_files:
            return {"file": base64.b64encode(self.file(value)).decode()}
        return {"value": value.tolist() if isinstance(value, np.ndarray) else value}

    def picture(self, values: list[Any]) -> bytes:
        """Raw values as a PNG: one as it is, several side by side, each at most 64 pixels a side.

        Raises:
            Problem: they are no pictures.
        """
        sheet = self.field.sheet(values, math.ceil(len(values) ** 0.5))
        if sheet is None:
            raise Problem(406, "no-picture", f"samples of this model are of the kind {self.field.kind}; ask for JSON")
        if len(values) == 1:
            return self.file(values[0])
        held = io.BytesIO()
        sheet.save(held, "png")
        return held.getvalue()

    def file(self, value: Any) -> bytes:
        """A raw value as a file of its kind."""
        with tempfile.TemporaryDirectory() as folder:
            return self.field.write(value, Path(folder) / "made").read_bytes()


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    """What a model cannot do is the client's mistake, in one line."""
    try:
        yield
    except UsageError as error:
        raise Problem(422, "not-generated", f"{error.found}; {error.fix}" if error.fix else error.found) from None
