"""The feed of a user's own torch data: Datasets or DataLoaders, without fields."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sized
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, default_collate

from flambeau.check.own import check_own
from flambeau.core.errors import FlambeauError, UsageError, shown
from flambeau.core.findings import Finding, Severity
from flambeau.core.reporter import Reporter
from flambeau.data import custom
from flambeau.data.batch import Batch
from flambeau.data.dataset import Dataset
from flambeau.data.items import length
from flambeau.data.store.encode import EncodeOptions
from flambeau.learner import preflight
from flambeau.learner.feeds import SPLITS, Feed, FieldFeed, has_batch_norm
from flambeau.learner.plan import Facts
from flambeau.objectives import Objective, Supervised, losses
from flambeau.objectives.measured import measured
from flambeau.recipe import Recipe
from flambeau.training import Settings, Source
from flambeau.training.engine import Engine

NAMED = (("train",), ("valid", "val", "validation"), ("test",))  # what splits are called in a dict of them
STREAMED = 10_000  # samples that a stream is taken to have, for the defaults only


class TorchFeed(Feed):
    """A user's own torch Datasets or DataLoaders: (train, valid) or (train, valid, test)."""

    def __init__(self, data: Any):
        if isinstance(data, Mapping):
            data = tuple(next((data[n] for n in names if n in data), None) for names in NAMED)
        several = isinstance(data, tuple) or (isinstance(data, list) and len(data) in (2, 3))
        given = tuple(data) if several else (data, None)
        if len(given) not in (2, 3) or given[0] is None or not all(d is None or _is_data(d) for d in given):
            wrong = next((d for d in given if d is not None and not _is_data(d)), data)
            raise UsageError(
                f"{shown(wrong)} is not data",
                expected="a Dataset, a torch Dataset or DataLoader, or (train, valid)",
                fix=_instead(wrong),
            )
        self.data = dict(zip(SPLITS, given, strict=False))

    def facts(self, recipe: Recipe) -> Facts:
        loader = self.data["train"]
        batch_size = loader.batch_size if isinstance(loader, DataLoader) else None
        train, sampler = _dataset_of(loader), getattr(loader, "sampler", None)
        if isinstance(train, IterableDataset):
            count = STREAMED
        else:
            count = len(sampler) if isinstance(sampler, Sized) else length(train)
        return Facts({}, rows=count, num_train=count, batch_size=batch_size)

    def open(self, recipe: Recipe, reporter: Reporter, reasons: list[str]) -> None:
        self.reporter, self.reasons = reporter, reasons

    def _note(self, text: str) -> None:
        self.reasons.append(text)
        self.reporter.say(text, style="yellow")

    def samples(self, split: str) -> int | None:
        source = self.sources.get(split)
        if not isinstance(source, custom.MapBatches):
            return None
        return sum(row not in source.reader.failed for batch in source.plan(0) for row in batch)

    def left_out(self) -> list[Finding]:
        findings = []
        for split, source in self.sources.items():
            failed = source.reader.failed if isinstance(source, custom.MapBatches) else {}
            if failed:
                places = [f"row {row} of {split}: {why}" for row, why in failed.items()]
                findings.append(Finding(
                    "unreadable", Severity.WARNING, f"{len(failed)} rows of {split} cannot be read and are left out",
                    places, fix="mend or remove them"))  # fmt: skip
        return findings

    def check(self, recipe: Recipe, reporter: Reporter, loss: Any) -> list[Finding]:
        mapped = {split: _dataset_of(data) for split, data in self.data.items() if data is not None}
        mapped = {s: data for s, data in mapped.items() if not isinstance(data, IterableDataset) and length(data)}
        called = loss if callable(loss) else losses.named("cross_entropy" if loss == "auto" else loss)
        classes = losses.expects_classes(called)
        return check_own(mapped, classes=classes, names=class_names(self.data["train"]), reporter=reporter)

    def make_batches(self, settings: Settings, objective: Objective, engine: Engine) -> None:
        if settings.sampler is not None:
            raise UsageError("training.sampler is for a Dataset with fields", fix="give a DataLoader with a sampler")
        has_norm = has_batch_norm(objective.model)
        self._check: preflight.TargetCheck | None = None
        if isinstance(objective, Supervised) and objective.class_numbers:
            ignore = getattr(objective.loss_function, "ignore_index", preflight.IGNORED)
            self._check = preflight.TargetCheck(ignore=ignore)
        sources: dict[str, Source | None] = {}
        for split, data in self.data.items():
            train = split == "train"
            source = sources[split] = None if data is None else custom.batches_of(
                data, settings.batch_size, seed=settings.seed if train else None, drop_single=has_norm and train,
                check=self._check,
            )  # fmt: skip
            if source is not None:
                source.reader.say = functools.partial(self.reporter.say, style="yellow")
                for note in source.notes if train else ():
                    self._note(note)
        self.sources = sources
        self.device = engine.device
        self.prepare = custom.CustomPreparer(self.device, self._check is not None)

    def tried(self, recipe: Recipe, objective: Objective, engine: Engine, batch: Batch, output: Any) -> None:
        if not isinstance(objective, Supervised) or not isinstance(output, Tensor):
            return
        loss = objective.loss_function
        if self._check is not None:
            self._check.num_classes = output.shape[1] if output.ndim > 1 else None
            self._check.ndim = max(output.ndim - 1, 1)
            for split, data in self.data.items():
                if data is not None and getattr(data, "collate_fn", default_collate) is default_collate:
                    with nullcontext() if split == "train" else _of(split):
                        self._check.scan(_dataset_of(data))  # a collate function may change the targets
        suits = measured(loss, output, batch.target, class_names(self.data["train"]))
        if suits is not None:
            objective.measure_as(suits)
        else:
            objective.measure_by(recipe.objective.metric)
        recipe.objective.metric = objective.monitor
        for split in ("valid", "test"):
            if self.sources.get(split) is not None:
                with _of(split):  # goes with the model as the training's does
                    preflight.try_batch(objective, engine, self.first_batch(split))


@contextmanager
def _of(split: str) -> Iterator[None]:
    """Says in an error that it is of a split that is measured on."""
    try:
        yield
    except FlambeauError as error:
        where = f"{error.where} of {split}" if error.where else split
        raise type(error)(error.found, where=where, expected=error.expected, fix=error.fix, code=error.code) from error


def _is_data(data: Any) -> bool:
    if isinstance(data, (str, bytes, Path, Tensor, np.ndarray, Mapping)):
        return False
    return custom.is_torch_data(data) or (hasattr(data, "__getitem__") and not hasattr(data, "columns"))


def _instead(data: Any) -> str | None:
    if isinstance(data, (str, Path)):
        return "read it first: fb.Dataset.from_folder(…) or fb.Dataset.from_table(…)"
    if isinstance(data, (Tensor, np.ndarray)):
        return "give fb.Dataset.from_arrays(x, y), or torch's TensorDataset(x, y)"
    if hasattr(data, "columns"):
        return "read it first: fb.Dataset.from_frame(frame, target=…)"
    if hasattr(data, "__iter__"):
        return "give a list of (x, y), or derive from torch's IterableDataset"
    return None


def class_names(data: Any) -> list[str]:
    """What a dataset calls its classes, as torchvision's do; empty where it does not say."""
    for _ in range(9):  # a Subset of a Subset of …
        if names := getattr(data, "classes", None):
            return [str(name) for name in names] if isinstance(names, (list, tuple)) else []
        if isinstance(index := getattr(data, "class_to_idx", None), Mapping):
            return [str(name) for name in sorted(index, key=index.__getitem__)]
        data = getattr(data, "dataset", None) or next(iter(getattr(data, "datasets", None) or ()), None)
    return []


def _dataset_of(data: Any) -> Any:
    """The Dataset behind a DataLoader. (A Subset has a `dataset` too, but is not all of it.)"""
    return data.dataset if isinstance(data, DataLoader) else data


def as_feed(data: Any, encoding: EncodeOptions) -> Feed:
    """The feed of whatever a user trains on."""
    return FieldFeed(data, encoding) if isinstance(data, Dataset) else TorchFeed(data)
