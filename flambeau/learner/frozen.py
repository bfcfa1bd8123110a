"""What is frozen is computed once: its activations are kept on the disk as encoded data is, and the rest of the model
is trained on them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from flambeau.core.errors import ModelError, RunError, first_line
from flambeau.core.files import ODD
from flambeau.core.randomness import mix
from flambeau.core.reporter import Reporter
from flambeau.data.batch import Batch
from flambeau.data.batches import Batches
from flambeau.data.prepare import Preparer
from flambeau.data.store import disk
from flambeau.data.store.store import Column, FixedColumn, RaggedColumn, Store
from flambeau.fields import Encoding, Ragged, Windows
from flambeau.learner.feeds import Feed, FieldFeed
from flambeau.models import Activations, Cut
from flambeau.models.cut import evaluating
from flambeau.objectives import Objective, Supervised
from flambeau.techniques import Technique
from flambeau.training import Settings, Source
from flambeau.training.engine import Engine

TARGET = "target"  # the column of what moves with the activations' pictures
PROBED = 4  # samples that a cut is tried on
WORTH = 100  # multiplications and additions a byte of activations: what takes fewer is as soon computed as read
CLOSE = 1e-3  # relative difference that a cut may make to what the model gives: none, but for rounding in bf16
LARGEST_HALF = 65504.0  # in float16


def computed_once(
    feed: Feed, objective: Objective, engine: Engine, techniques: Sequence[Technique], settings: Settings,
    notes: list[str], reporter: Reporter,
) -> FrozenFeed | None:  # fmt: skip
    """A feed of activations, where a part of the model is frozen and gives the same in each epoch; None where not.

    Args:
        notes: are told what is computed once; or, where something is frozen and is not, why.
    """
    objective.model.train()
    for technique in techniques:
        technique.on_freeze(objective, 0)
    if not settings.frozen_views or all(parameter.requires_grad for parameter in objective.model.parameters()):
        return None
    try:
        found = _found(feed, objective, engine, techniques, settings, reporter)
    except ModelError as error:
        notes.append(f"frozen part: computed in each epoch, for {error.found}")
        return None
    notes.append(f"frozen part: computed once, {found.describe()}")
    return found


def _found(
    feed: Feed, objective: Objective, engine: Engine, techniques: Sequence[Technique], settings: Settings,
    reporter: Reporter,
) -> FrozenFeed:  # fmt: skip
    """Raises ModelError where there is none, and why."""
    if not isinstance(feed, FieldFeed):
        raise ModelError("your own data has no store")
    if not isinstance(objective, Supervised) or objective.task.output_spec.layout == "tokens":
        raise ModelError("the objective gives no answer of one shape a sample")
    if changing := [technique.name for technique in techniques if technique.overridden("on_batch")]:
        raise ModelError(f"{changing[0]} changes the inputs at each step")
    batch, held_out = feed.largest_batch()[2](PROBED), feed.first_batch("valid" if feed.sources["valid"] else "train")
    if isinstance(held_out.input, Windows):
        raise ModelError("a sample is measured in several windows")
    try:
        cut = _cut(objective, engine, batch, held_out, whole=False)
    except ModelError:
        cut = _cut(objective, engine, batch, held_out, whole=True)
    found = FrozenFeed(feed, cut, engine, settings, reporter, batch.target)
    if cut.flops < WORTH * found.encoding.nbytes:
        raise ModelError("its activations take as long to read as to compute")
    return found


def _cut(objective: Supervised, engine: Engine, batch: Batch, held_out: Batch, whole: bool) -> Cut:
    """A cut of the model that was tried. Raises ModelError where it cannot be."""
    model = objective.model
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    try:
        with engine.autocast(), torch.random.fork_rng([engine.device] if engine.device.type == "cuda" else []):
            cut = Cut(model, batch.input, len(batch), whole)
            _compare(objective, batch, cut)
            with evaluating(model):
                _compare(objective, batch, cut)
            if [tuple(value.shape[1:]) for value in cut.activations(held_out.input)] != cut.shapes:
                raise ModelError("its activations are not of one shape")
    except (RuntimeError, TypeError, ValueError, AttributeError, LookupError) as error:
        raise ModelError(f"it cannot be cut there ({first_line(error)})") from error
    finally:
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(buffers[name])
    return cut


def _compare(objective: Supervised, batch: Batch, cut: Cut) -> None:
    """Raises ModelError where the rest, on what the frozen part gives, is not the model."""
    outputs = []
    with torch.no_grad():
        for inputs in (batch.input, Activations(cut, batch.input, cut.activations(batch.input))):
            torch.manual_seed(0)
            outputs.append(objective.forward(Batch(inputs, batch.target, batch.rows)))
    whole, rest = outputs
    if not (isinstance(whole, Tensor) and torch.allclose(whole, rest, CLOSE, CLOSE * float(whole.abs().max()))):
        raise ModelError("it does not give the same when it is cut")


class Kept(NamedTuple):
    """Gathered rows: the columns that are prepared as ever, activations (B, W), and the target where that moves."""

    columns: dict[str, Any]
    activations: Tensor
    target: Any = None


class FrozenFeed:
    """What the rest of a model is trained on, in place of a feed: the activations of the training and the validation
    rows, as long as what was frozen is; then that feed.

    Where training inputs are augmented, an epoch sees one of `settings.frozen_views` augmentations of each, in turn.
    Held-out rows are seen as they are. The order of the rows is that of the feed. A target that has a place in the
    picture is kept beside its activations, as it was moved.

    Args:
        cut: of the objective's model.
        example: a prepared target.

    Attributes:
        encoding: of one row's activations, end to end: float32, which is exact; float16 where only that is within the
            limit.
        views: augmentations of each training row that are kept.
        holds: whether what was frozen was so, and its inputs were prepared as they had been, in each epoch as yet.
    """

    def __init__(
        self, feed: FieldFeed, cut: Cut, engine: Engine, settings: Settings, reporter: Reporter, example: Any = None
    ):
        self.feed, self.cut, self.engine, self.settings, self.reporter = feed, cut, engine, settings, reporter
        data = feed.dataset
        self.frozen_inputs = cut.seen_frozen(data.inputs)
        self.varied = any(data.fields[name].random for name in self.frozen_inputs)
        self.views = settings.frozen_views if self.varied else 1
        rest = cut.seen_after(data.inputs)
        self._given = [name for name in data.inputs if name in rest]
        moves = data.target is not None and data.fields[data.target].follows
        self._target = _encoding_of(example) if moves else None
        target = None if moves else data.target
        self._preparer = Preparer(data.fields, self._given, target, feed.device)
        wanted = {*self._given, target}
        self._others = Store({n: c for n, c in feed.store.columns.items() if n in wanted}, feed.store.good)
        self._others.device = feed.store.device
        width = sum(int(np.prod(shape, dtype=np.int64)) for shape in cut.shapes)
        self.rows = len(feed.rows["train"]) * self.views + len(feed.rows["valid"])
        self.encoding = Encoding(np.dtype(np.float32), (width,))
        limit = feed.encoding.most()
        if self.nbytes > limit:
            self.encoding = Encoding(np.dtype(np.float16), (width,))
        if self.nbytes > limit:
            size = f"{self.nbytes / 2**30:,.1f} GiB"
            raise ModelError(f"{size} of activations are over the limit of {limit / 2**30:,.1f} GiB")
        self._looks = self._settings_of_fields()
        self.holds = True
        self._kept: dict[tuple[str, int], Store] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of all activations."""
        return self.rows * self.encoding.nbytes

    def describe(self) -> str:
        """What is kept, a clause."""
        told = f"{self.encoding.shape[0]:,} numbers a row in {self.encoding.dtype.name}, {self.nbytes / 2**20:,.1f} MiB"
        if not self.varied:
            return told
        return f"{told}: of each training row {self.views} augmented views, an epoch sees one of them (frozen_views)"

    def kept(self, split: str, view: int) -> Store:
        """The activations of a split's rows, (N, W); of a view of them. Computed, or taken from the disk where they are
        the same.

        Raises:
            RunError: the disk is full; nothing is left behind.
        """
        if (split, view) not in self._kept:
            self._kept[split, view] = self._encoded(split, view)
        return self._kept[split, view]

    def _encoded(self, split: str, view: int) -> Store:
        name, rows = self.fingerprint(split, view), len(self.feed.rows[split])
        columns = {split: self._column(name, self.encoding, rows, "the frozen part", self._blocks(split, view))}
        if self._target is not None:
            targets = (_as_block(target) for target in self._targets(split, view))
            columns[TARGET] = self._column(f"{name}-target", self._target, rows, "where targets move", targets)
        kept = Store(columns, torch.arange(rows))
        kept.hold_on(self.engine.device)
        return kept

    def _column(self, name: str, encoding: Encoding, rows: int, what: str, blocks: Iterator[disk.Block]) -> Column:
        """What is on the disk under a name; computed where it is not."""
        options = self.feed.encoding
        folder, whole = options.cache / name, False
        if folder.exists():
            try:
                whole = disk.is_kept(folder, encoding, rows, options.num_threads, self.reporter)
            except (RunError, OSError, *ODD) as error:
                told = error.found if isinstance(error, RunError) else "it is damaged"
                self.reporter.say(f"the frozen part's activations {folder} are made anew: {told}", style="yellow")
                shutil.rmtree(folder, ignore_errors=True)
        if not whole:
            options.cache.mkdir(parents=True, exist_ok=True)
            disk.sweep(options.cache)
            with self.reporter.bar(f"computing {what}", rows) as bar:
                disk.write(folder, encoding, blocks, rows, bar)
        flat = disk.mapped(folder / "flat.bin", encoding.dtype, encoding.shape)
        if not encoding.ragged:
            return FixedColumn(flat)
        offsets = np.frombuffer((folder / "offsets.bin").read_bytes(), np.int64)
        return RaggedColumn(flat, torch.from_numpy(offsets.copy()))

    def fingerprint(self, split: str, view: int) -> str:
        """What activations depend on: the frozen part with its weights, the rows, how their inputs are prepared, and in
        what the model computes."""
        engine, varied = self.engine, self.varied and split == "train"
        told = [self.cut.fingerprint(), self.feed.fingerprint, self._looks, str(self.encoding), str(engine.device),
                str(engine.autocast_dtype), engine.channels_last, self.feed.rows[split].tolist(), split,
                [self.settings.seed, self.settings.batch_size, view] if varied else None]  # fmt: skip
        return hashlib.sha256(json.dumps(told, default=str).encode()).hexdigest()[:32]

    def _settings_of_fields(self) -> str:
        fields = self.feed.dataset.fields
        return json.dumps({name: fields[name].to_dict() for name in sorted(self.frozen_inputs)}, default=str)

    def _batches(self, split: str, view: int) -> Iterator[Batch]:
        """A split's rows in their order, as a view shows them: the same each time."""
        parts = self.feed.rows[split].to(self.feed.store.device).split(2 * (self.settings.batch_size or 1))
        for number, (rows, gathered) in enumerate(self.feed.store.stream(parts)):
            seed = mix(self.settings.seed, "view", view, number)
            generator = torch.Generator(self.feed.device).manual_seed(seed)
            yield self.feed.prepare(rows, gathered, split == "train", generator)

    def _blocks(self, split: str, view: int) -> Iterator[disk.Block]:
        """The activations of a split's rows, in their order."""
        for batch in self._batches(split, view):
            with self.engine.autocast():
                values = self.cut.activations(batch.input)
            flat = torch.cat([_laid_out(value).reshape(len(batch), -1).float() for value in values], 1)
            if self.encoding.dtype == np.float16:
                flat = flat.clamp(-LARGEST_HALF, LARGEST_HALF)
            yield disk.Block(flat.cpu().numpy().astype(self.encoding.dtype), [1] * len(batch), {})

    def _targets(self, split: str, view: int) -> Iterator[Any]:
        """The same of targets that move. Pictures are prepared once more for it, which takes little beside a model."""
        for batch in self._batches(split, view):
            yield batch.target

    # -- what a Trainer asks of a feed --------------------------------------------------------------------------

    @property
    def training(self) -> _Kept:
        """The batches that are trained on."""
        return self._source("train")

    @property
    def sources(self) -> dict[str, Source | None]:
        """The validation's batches."""
        return {"valid": None if self.feed.sources.get("valid") is None else self._source("valid")}

    def _source(self, split: str) -> _Kept:
        batches = self.feed.sources[split]
        assert isinstance(batches, Batches)
        return _Kept(self, batches, split)

    @property
    def random(self) -> bool:
        """Whether preparing a training batch may draw random numbers."""
        return self.feed.random

    def look(self) -> None:
        """At the beginning of an epoch, when the model is set to train: whether what was frozen is so still."""
        self.holds = self.holds and self.cut.holds and self._looks == self._settings_of_fields()

    def stream(self, split: str, view: int, batches: Sequence[Tensor]) -> Iterator[tuple[Tensor, Kept]]:
        """(rows, gathered) for each of some batches of a split's rows."""
        kept = self.kept(split, view)
        places = torch.zeros(len(self.feed.dataset), dtype=torch.int64)
        places[self.feed.rows[split]] = torch.arange(len(kept.good))
        places = places.to(kept.device)
        for rows, columns in self._others.stream(batches):
            gathered = kept.gather(places[rows.to(kept.device)])
            yield rows, Kept(columns, gathered[split], gathered.get(TARGET))

    def prepare(
        self, rows: Tensor, gathered: Any, training: bool = False, generator: torch.Generator | None = None
    ) -> Batch:
        """A Batch whose input is `Activations`; as the feed's where it gathered."""
        if not isinstance(gathered, Kept):
            return self.feed.prepare(rows, gathered, training, generator)
        batch = self._preparer(rows, gathered.columns, training, generator)
        several = len(self.feed.dataset.inputs) > 1
        given = {self._given[0]: batch.input} if several and len(self._given) == 1 else batch.input
        flat = gathered.activations.to(self.feed.device, non_blocking=True)
        values, at = [], 0
        for shape, dtype in zip(self.cut.shapes, self.cut.dtypes, strict=True):
            width = int(np.prod(shape, dtype=np.int64))
            values.append(_shaped(flat[:, at : at + width], shape).to(dtype))
            at += width
        target = batch.target if self._target is None else _moved(gathered.target, self.feed.device)
        return Batch(Activations(self.cut, given, tuple(values)), target, rows)


class _Kept:
    """A source of a feed whose inputs come as activations, in the same batches."""

    def __init__(self, frozen: FrozenFeed, source: Batches, split: str):
        self.frozen, self.source, self.split = frozen, source, split

    def count(self, epoch: int = 0) -> int:
        """How many batches an epoch has."""
        return self.source.count(epoch)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Any]]:
        """(rows, gathered) of an epoch's batches, from batch `start` on."""
        if self.split == "train":
            self.frozen.look()
        if not self.frozen.holds:
            return self.source.epoch(epoch, start)
        view = epoch % self.frozen.views if self.split == "train" else 0
        return self.frozen.stream(self.split, view, self.source.plan(epoch)[start:])


def _laid_out(value: Tensor) -> Tensor:
    """Pictures with their channels last, as they lie in memory where convolutions are quick."""
    return value.movedim(1, -1) if value.ndim == 4 else value


def _shaped(flat: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Back from (B, W) to (B, *shape)."""
    if len(shape) != 3:
        return flat.reshape(len(flat), *shape)
    return flat.reshape(len(flat), *shape[1:], shape[0]).movedim(-1, 1)


def _encoding_of(target: Tensor | Ragged) -> Encoding:
    """What prepared targets are kept as: whole numbers in 32 bits."""
    values = target.values if isinstance(target, Ragged) else target
    dtype = np.dtype(np.float32 if values.is_floating_point() else np.int32)
    ragged = isinstance(target, Ragged)
    return Encoding(dtype, tuple(values.shape[2 if ragged else 1 :]), ragged=ragged)


def _as_block(target: Tensor | Ragged) -> disk.Block:
    """Prepared targets of some rows as they are kept."""
    values = (target.values if isinstance(target, Ragged) else target).cpu()
    flat = values.numpy().astype(np.float32 if values.is_floating_point() else np.int32)
    if not isinstance(target, Ragged):
        return disk.Block(flat, [1] * len(flat), {})
    lengths = target.lengths.tolist()
    return disk.Block(np.concatenate([row[:n] for row, n in zip(flat, lengths, strict=True)]), lengths, {})


def _moved(target: Any, device: torch.device) -> Any:
    """Kept targets back as they were prepared."""
    target = target.to(device, non_blocking=True)
    return target.long() if isinstance(target, Tensor) and target.dtype == torch.int32 else target
