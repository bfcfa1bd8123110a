"""Feeds: what a Learner trains on, as sources of batches; here a Dataset by its fields."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.core.errors import DataError, UsageError, nearest
from flambeau.core.findings import Finding
from flambeau.core.randomness import generator
from flambeau.core.reporter import Reporter
from flambeau.data import samplers
from flambeau.data.batch import Batch
from flambeau.data.batches import Batches
from flambeau.data.custom import CustomPreparer
from flambeau.data.dataset import Dataset
from flambeau.data.grouping import grouped
from flambeau.data.packing import batches
from flambeau.data.prepare import Preparer
from flambeau.data.store.encode import EncodeOptions, encode
from flambeau.fields import FIELDS, Field
from flambeau.fields.augment.policy import LEVELS
from flambeau.fields.encoding import Sample
from flambeau.learner import preflight
from flambeau.learner.plan import Facts, Plan
from flambeau.learner.planning import plan
from flambeau.objectives import Objective
from flambeau.recipe import Recipe
from flambeau.training import Settings, Source
from flambeau.training.engine import Engine, Machine
from flambeau.training.memory import has_batch_norm

SPLITS = ("train", "valid", "test")
SAMPLED = 2000  # training rows that an augmentation is chosen by


class Feed:
    """What both kinds have in common.

    Attributes:
        sources: batches by split; None where there are none.
        prepare: from gathered rows to a Batch.
        device: where that lies.
        groups: whether numbers, categories and dates become one input; a user's own model gets them one by one.
    """

    groups = True

    dataset: Dataset | None = None
    sources: Mapping[str, Source | None]
    prepare: Preparer | CustomPreparer
    device: torch.device
    fingerprint: str | None = None

    def facts(self, recipe: Recipe) -> Facts:
        """What a plan depends on of the data, as far as it is known yet."""
        raise NotImplementedError

    def unfitted(self) -> Feed:
        """A feed of the same data, to look at the rows and leave this one as it is."""
        return self

    def plan(self, recipe: Recipe) -> Plan:
        """What a recipe leaves open, decided by what is known of the data yet."""
        return plan(recipe, self.facts(recipe), Machine.here(recipe.training.device))

    def look(self, recipe: Recipe) -> Plan:
        """Lets fields look at the training rows, and then plans."""
        self.fit(self.plan(recipe))
        return self.plan(recipe)

    def fit(self, plan: Plan) -> None:
        """Lets fields look at the training rows. Reads what it needs of them, and writes nothing."""

    def open(self, recipe: Recipe, reporter: Reporter, reasons: list[str]) -> None:
        """Gets ready to be read, as the plan's recipe says."""
        raise NotImplementedError

    def make_batches(self, settings: Settings, objective: Objective, engine: Engine) -> None:
        """Sets `sources` and `prepare`."""
        raise NotImplementedError

    def tried(self, recipe: Recipe, objective: Objective, engine: Engine, batch: Batch, output: Any) -> None:
        """Called with the output of a first batch: what only it can tell is found out here, the recipe's metric too.

        Raises:
            DataError, ModelError, UsageError: targets, or the data of another split, do not go with the model.
        """

    def check(self, recipe: Recipe, reporter: Reporter, loss: Any) -> list[Finding]:
        """What is wrong with the data.

        Args:
            loss: what it is to be learned by.
        """
        return []

    def source(self, split: str) -> Source:
        """The batches of a split, in their own order, for measuring.

        Raises:
            UsageError: there are none.
        """
        source = self.sources.get(split)
        if source is None:
            raise UsageError(f"the data has no {split} rows")
        return source

    def samples(self, split: str) -> int | None:
        """How many samples a split has, where that is known."""
        return None

    def left_out(self) -> list[Finding]:
        """What could not be read while it was trained on."""
        return []

    def first_batch(self, split: str = "train") -> Batch:
        """The first of a split, as an evaluation would see it."""
        source = self.sources[split]
        assert source is not None
        first = next(iter(source.epoch(0)), None)
        if first is None:
            raise DataError("none of the rows can be read")
        return self.prepare(*first, False, None)

    def largest_batch(self) -> tuple[int, int, Callable[[int], Batch]]:
        """The training's largest batch: its samples, the tokens of each, and what makes a batch, augmented, of so many
        of them at most."""
        rows, gathered = next(iter(self.training.epoch(0)))
        return len(rows), 1, lambda most: self._augmented(rows[:most], preflight.head(gathered, most))

    def _augmented(self, rows: Tensor, gathered: Any) -> Batch:
        return self.prepare(rows, gathered, True, torch.Generator(self.device).manual_seed(0))

    @property
    def training(self) -> Source:
        """The batches that are trained on."""
        source = self.sources["train"]
        assert source is not None
        return source

    @property
    def random(self) -> bool:
        """Whether preparing a training batch draws random numbers."""
        return self.prepare.random


class FieldFeed(Feed):
    """A Dataset: its fields fitted, its rows encoded into a Store."""

    def __init__(self, dataset: Dataset, encoding: EncodeOptions):
        # fields are fitted and changed here: the user's Dataset stays as it is, for the next Learner
        self.dataset: Dataset = copy.copy(dataset)
        self.dataset.fields = {name: copy.copy(field) for name, field in dataset.fields.items()}
        self.encoding = encoding
        self.findings: list[Finding] = []
        self._told: set[int] = set()  # rows that a check has said are not read
        self.rows: dict[str, Tensor] = {}
        self._fitted = False
        self._given: Mapping[str, Mapping[str, Any]] = {}
        self._own = {name: field.chosen() for name, field in dataset.fields.items()}

    def facts(self, recipe: Recipe) -> Facts:
        if not self._fitted:
            self.set_fields(recipe.fields)
            self._given = recipe.fields
        data = self.dataset
        num_train = len(self.rows["train"] if self.rows else data.rows("train"))
        if len(data.inputs) == 1 and self._fitted:
            num_train = data.fields[data.inputs[0]].samples_in_epoch(num_train)
        told = data.fields, data.inputs, data.target, len(data), num_train, self._fitted, data.reasons
        return Facts(*told, own=self._own)

    def fit(self, plan: Plan) -> None:
        planned = plan.recipe.fields
        self.set_fields({name: given for name, given in planned.items() if given != self._given.get(name)})
        if self.groups:
            self.dataset = grouped(self.dataset)
        self.dataset.fit(plan.alike)
        self._fitted = True

    def look(self, recipe: Recipe) -> Plan:
        """As a Feed does; fields look again where the model that was chosen by what they saw wants them otherwise."""
        first = self.plan(recipe)
        self.fit(first)
        then = self.plan(recipe)
        before, after = first.recipe.fields, then.recipe.fields
        if not (changed := {name: given for name, given in after.items() if given != before.get(name)}):
            return then
        self.set_fields(changed)
        self.dataset.fit(then.alike)
        return self.plan(recipe)

    def unfitted(self) -> FieldFeed:
        """Another feed of the same data, to look at the rows and leave this one as it is."""
        feed = FieldFeed(self.dataset, self.encoding)
        feed.groups = self.groups
        return feed

    def open(self, recipe: Recipe, reporter: Reporter, reasons: list[str]) -> None:
        data = self.dataset
        self.reasons = reasons
        self.store = encode(data, self.encoding, reporter)
        self.fingerprint = self.store.fingerprint
        self.findings = [*data.findings, *self.store.findings]
        for finding in self.store.findings:
            if not self._told.issuperset(finding.rows):
                reporter.say(str(finding), style="yellow")
        good = self.store.good.numpy()
        self.rows = {
            split: torch.from_numpy(np.intersect1d(data.rows(split), good, assume_unique=True)) for split in SPLITS
        }
        self._augment(recipe.augment, reasons)

    def check(self, recipe: Recipe, reporter: Reporter, loss: Any) -> list[Finding]:
        self.set_fields(recipe.fields)
        findings = self.dataset.check(reporter=reporter)
        self._told = {row for finding in findings if finding.check == "unreadable" for row in finding.rows}
        return findings

    def set_fields(self, given: Mapping[str, Mapping[str, Any]]) -> None:
        """Field settings of a recipe, where they are given."""
        for name, settings in given.items():
            if name not in self.dataset.fields:
                fix = nearest(name, self.dataset.fields)
                raise UsageError(f"the recipe has a field '{name}' that the data has not", fix=fix)
            field = self.dataset.fields[name]
            kind = settings.get("kind") or field.kind
            known = FIELDS[kind].settings
            for setting in settings:
                if setting != "kind" and setting not in known:
                    raise UsageError(
                        f"a field of the kind {kind} has no setting '{setting}'", fix=nearest(setting, known)
                    )
            changed = {k: v for k, v in settings.items() if k != "kind" and v is not None}
            kept = field.chosen() if kind == field.kind else {"kind": kind}
            self.dataset.fields[name] = Field.from_dict({**kept, **changed})

    def _augment(self, asked: str | Mapping[str, Any], reasons: list[str]) -> None:
        if isinstance(asked, str) and asked not in LEVELS:
            raise UsageError(f"no augmentation is called '{asked}'", fix=nearest(asked, LEVELS))
        fields = {name: self.dataset.fields[name] for name in self.dataset.inputs}
        varied = [name for name, field in fields.items() if field.varies]
        if self.groups and asked not in ("auto", "none") and not varied:
            kinds = ", ".join(sorted({field.kind for field in fields.values()}))
            expected = "pictures, sounds or texts"
            raise UsageError(
                f"inputs of the kind {kinds} are not augmented", expected=expected, fix="leave augment out"
            )
        for name in varied:
            said = fields[name].choose_augmentation(asked, partial(self._sample, name))
            reasons += [f"augmentation of {name}: {clause}" for clause in said]

    def _sample(self, name: str) -> Sample:
        """Training rows of an input, with targets where these can be spoilt by changes to it."""
        rows = self.rows["train"]
        # drawn, not every k-th: strides can line up with sorted labels
        drawn = torch.randperm(len(rows), generator=generator(0, "augmentation"))[:SAMPLED]
        gathered = self.store.gather(rows[drawn.sort().values])
        target = self.dataset.fields.get(self.dataset.target or "")
        if target is None or target.follows:
            names = None if target is None else target.thing_names
            return Sample(len(rows), gathered[name], classes=names, things=names is not None)
        targets = gathered[self.dataset.target or ""]
        numbered = target.has_classes and targets.ndim == 1
        return Sample(len(rows), gathered[name], targets, target.classes if numbered else None)

    def make_batches(self, settings: Settings, objective: Objective, engine: Engine) -> None:
        has_norm = has_batch_norm(objective.model)
        if has_norm and len(self.rows["train"]) == 1:
            raise DataError(
                "there is one training sample only, which batch normalisation cannot train on", fix="add rows"
            )
        assert settings.batch_size is not None
        self.store.hold_on(engine.device)
        train = batches(
            self.store, self.rows["train"], settings.batch_size, seed=settings.seed, tokens=settings.max_tokens,
            drop_single=has_norm, sampler=self._sampler(settings),
        )  # fmt: skip
        self._evaluation_batch = 2 * settings.batch_size  # no gradients are kept, so more samples fit
        self._evaluation_tokens = None if settings.max_tokens is None else 2 * settings.max_tokens
        held_out = {s: self.in_order(self.rows[s]) if len(self.rows[s]) else None for s in ("valid", "test")}
        self.sources = {"train": train, **held_out}
        self.device = engine.device
        self.prepare = Preparer(self.dataset.fields, self.dataset.inputs, self.dataset.target, self.device)

    def largest_batch(self) -> tuple[int, int, Callable[[int], Batch]]:
        train, lengths = self.training, self.store.lengths()
        if not isinstance(train, Batches):  # windows of one length
            return super().largest_batch()
        rows, tokens = train.plan(0)[0].cpu(), 1
        if lengths is not None:
            rows = max((rows.cpu() for rows in train.plan(0)), key=lambda rows: len(rows) * int(lengths[rows].max()))
            rows = rows[lengths[rows].argsort(descending=True)]
            tokens = int(lengths[rows[0]])
        rows = rows.to(self.store.device)
        return len(rows), tokens, lambda most: self._augmented(rows[:most], self.store.gather(rows[:most]))

    def _sampler(self, settings: Settings) -> samplers.Sampler | None:
        if settings.sampler is None:
            return None
        made, rows = samplers.sampler(settings.sampler), self.rows["train"]
        target = self.store.columns.get(self.dataset.target or "")
        made.fit(len(rows), target.gather(rows) if target is not None else None)
        if said := made.describe():
            self.reasons.append(f"sampler {samplers.name_and_options(settings.sampler)[0]}: {said}")
        return made

    def in_order(self, rows: Tensor) -> Source:
        """Batches of some rows, int64, as they are measured."""
        return batches(self.store, rows, self._evaluation_batch, tokens=self._evaluation_tokens)

    def source(self, split: str) -> Source:
        return self.in_order(self.rows["train"]) if split == "train" else super().source(split)

    def samples(self, split: str) -> int | None:
        return len(self.rows[split])


__all__ = ["SPLITS", "Feed", "FieldFeed", "has_batch_norm"]
