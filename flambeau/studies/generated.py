"""What a run generates, measured against rows that it did not train on.

Every figure is named by the features that it was measured on and by the number of samples, `frechet@3fa9c1d2e4b5/2000`:
both change it, so figures are compared where their names are equal alone. Beside each stands what training rows reach
against the same held-out rows: by more than chance no model is better than that.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau import report
from flambeau.core.errors import DataError, RunError, UsageError
from flambeau.core.files import write_json
from flambeau.core.printable import quoted
from flambeau.core.reporter import QUIET, Reporter
from flambeau.data.batches import Batches
from flambeau.data.dataset import Dataset
from flambeau.data.store.encode import EncodeOptions
from flambeau.evaluation import held_out
from flambeau.objectives import OBJECTIVES
from flambeau.objectives.generative import Generative, measures
from flambeau.objectives.perceptual import Features as Maps
from flambeau.objectives.restoration import in_units
from flambeau.predictor import Predictor, Reading
from flambeau.run import Run

COUNT, LEAST = 2000, 50
PROJECTED = 64  # features of values that are no pictures, at most
WEIGHTS = (".pth", ".pt", ".safetensors")  # how files of them end
DIGITS = 12  # of a hash, in a name
BATCH = 256
CONDITIONAL = "of_class_asked"


@dataclass(frozen=True)
class Features:
    """What turns raw values into rows of numbers.

    Attributes:
        name, digest: what it is, for a person; of all that its numbers hang on.
        of: raw values to float (N, D).
        classify: raw values to the names of their classes; None where it knows none.
    """

    name: str
    digest: str
    of: Callable[[Sequence[Any]], Tensor]
    classify: Callable[[Sequence[Any]], list[str]] | None = None

    @classmethod
    def asked(cls, asked: str | Path | None, made_by: Predictor, device: str = "auto") -> Features:
        """Those of a run, of a file of weights of EfficientNet-Lite0, or fixed ones where nothing is asked for.

        Raises:
            RunError: there is no such run, it is not finished, or it generates. As `models.build`.
        """
        if asked is not None and not Path(asked).is_file() and Path(asked).suffix not in WEIGHTS:
            return cls.of_run(asked, device)
        return cls.of_network(None if asked is None else Path(asked), made_by)

    @classmethod
    def of_run(cls, path: str | Path, device: str = "auto") -> Features:
        """What goes into the last layer of a run on such data, best a classifier. Raises as `asked`."""
        run = Run.open(path)
        if not run.finished:
            raise RunError("the run that features are to come from is not finished", where=path,
                           fix=f"flambeau resume {quoted(path)}")  # fmt: skip
        predictor = Predictor.load(run, device=device)
        if isinstance(predictor.objective, Generative):
            raise RunError("features come from a run that tells classes apart, and this one generates", where=path,
                           fix="flambeau train DATA, of labelled data, makes one")  # fmt: skip

        def classify(values: Sequence[Any]) -> list[str]:
            return [str(one.label) for one in predictor.predict([*values], batch_size=BATCH)]

        def of(values: Sequence[Any]) -> Tensor:
            return torch.from_numpy(predictor.embed([*values], batch_size=BATCH))

        files = [run.path / name for name in ("model.safetensors", "fields.json")]
        name = f"what the last layer of {run.path.resolve().name} gets"
        return cls(name, _digest(*(file.read_bytes() for file in files)), of, classify if predictor.classes else None)

    @classmethod
    def of_network(cls, weights: Path | None, made_by: Predictor) -> Features:
        """The last maps of EfficientNet-Lite0, their means; without weights those of fixed random filters, and of
        values that are no pictures a fixed random projection. Raises as `asked`."""
        objective: Any = made_by.objective
        field, device = objective.field, made_by.engine.device
        if field.input_bounds is not None and objective.spec.form.pictures:
            maps = Maps("" if weights is None else str(weights)).to(device)
            name = "fixed random filters" if weights is None else f"EfficientNet-Lite0 of {weights.name}"
            digest = _digest(*(value.cpu().numpy().tobytes() for value in maps.state_dict().values()))
            return cls(name, digest, _prepared(made_by, lambda x: maps.means(in_units(x, field.mean, field.std))))
        if weights is not None:
            raise UsageError(f"{weights.name} is of a network that sees pictures, and these are none",
                             fix="give a run on such data, or leave --features out")  # fmt: skip
        size = math.prod(objective.spec.form.decoded_shape(objective.spec.shape))
        projection = torch.eye(size)
        if size > PROJECTED:
            projection = torch.randn(size, PROJECTED, generator=torch.Generator().manual_seed(0)) / size**0.5
        name = f"{PROJECTED} fixed sums of each row's numbers" if size > PROJECTED else "each row's numbers"
        return cls(name, _digest(projection.numpy().tobytes()),
                   _prepared(made_by, lambda x: objective.numbers_of(x).cpu().float() @ projection))  # fmt: skip


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:DIGITS]


def _prepared(made_by: Predictor, of: Callable[[Any], Tensor]) -> Callable[[Sequence[Any]], Tensor]:
    """Features of raw values, by those of what a generative run's fields prepare of them."""

    def features(values: Sequence[Any]) -> Tensor:
        with torch.inference_mode():
            found = [
                of(made_by.prepare(torch.arange(len(rows)), made_by.gather(rows)).input).cpu()
                for _, rows in made_by.encoded([*values], True, BATCH)
            ]
        return torch.cat(found).float()

    return features


def generates(run: str | Path | Run) -> bool:
    """Whether a run makes samples of noise."""
    run = run if isinstance(run, Run) else Run.open(run)
    kind = OBJECTIVES[run.recipe.objective.name]
    return issubclass(kind, Generative) and kind.makes_of_noise


def measured(
    run: str | Path | Run, data: str | Path | Dataset | None = None, *, features: str | Path | None = None,
    count: int = COUNT, seed: int = 0, options: EncodeOptions | None = None, device: str = "auto",
    reporter: Reporter = QUIET, **source_options: Any,
) -> dict[str, Any]:  # fmt: skip
    """Measures what a run generates; beside its own held-out rows it keeps that in `evaluation.json` and the report.

    Args:
        features: a finished run that tells classes apart, a file of weights of EfficientNet-Lite0, or None for fixed
            random features, which see textures and no things.
        count: samples, and held-out and training rows beside them; fewer where there are not so many held-out rows.

    Returns:
        {features: {name, digest}, samples, seed, metrics, floor, copied, classes, of_class_asked}, plain JSON. Of
        `metrics` and of `floor`, what training rows reach, each figure carries its features and samples in its name.
        classes: [{class, generated, real}], shares, where the features know classes.

    Raises:
        RunError: there is no such run, or its features are no such. UsageError: it generates nothing. DataError: its
        data is not there, or fewer than 50 rows are held out.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    predictor = Predictor.load(run, device=device, reporter=reporter)
    objective = predictor.objective
    if not isinstance(objective, Generative):
        raise UsageError("this run generates nothing", where=run.path, fix="leave --features and --count out")
    looked_at = Features.asked(features, predictor, device)
    reading, rows, split = held_out(run, predictor, data, options, reporter, **source_options)
    train = np.intersect1d(reading.dataset.rows("train"), reading.good, assume_unique=True)
    samples = min(count, len(rows), len(train))
    if samples < LEAST:
        raise DataError(f"{samples} held-out rows are too few to measure generated samples against", where=run.path,
                        expected=f"{LEAST} or more", fix="train with more data, or a larger split")  # fmt: skip
    labels = torch.arange(samples) % len(objective.classes) if objective.classes else None
    made = _generated(predictor, samples, seed, labels)
    column = reading.dataset.columns[predictor.inputs[0]]
    real, others = ([column[row] for row in _spread(these, samples)] for these in (rows, train))
    of_real, of_train, of_made = (looked_at.of(values) for values in (real, others, made))
    if features is None:
        reporter.say(f"measured by {looked_at.name}, which were not learned; --features RUN, a classifier of such "
                     "data, sees more", style="yellow")  # fmt: skip
    name = f"@{looked_at.digest}/{samples}"
    found: dict[str, Any] = {
        "features": {"name": looked_at.name, "digest": looked_at.digest}, "samples": samples, "seed": seed,
        "split": split, "metrics": _figures(of_real, of_made, name), "floor": _figures(of_real, of_train, name),
        "diversity": measures.diversity(of_real, of_made), "duplicates": measures.duplicates(of_real, of_made),
        "copied": _copied(predictor, reading, train, real, made),
    }  # fmt: skip
    if looked_at.classify is not None:
        found |= _by_class(looked_at.classify(real), looked_at.classify(made), objective.classes, labels)
    if data is None and run.measured:
        kept = run.evaluation
        plain = {name: value for name, value in kept.get("metrics", {}).items() if "@" not in name}
        write_json(run.path / "evaluation.json", {**kept, "metrics": plain | found["metrics"], "generated": found})
        report.write(run)
    return found


def difference(first: Mapping[str, float], second: Mapping[str, float], measure: str = "frechet") -> float:
    """How much lower the second's figure is, of two `metrics` of `measured`.

    Raises:
        UsageError: they were measured on other features, or on other numbers of samples.
    """
    names = [next((name for name in one if name.startswith(f"{measure}@")), "nothing") for one in (first, second)]
    if names[0] != names[1] or "nothing" in names:
        raise UsageError(f"{names[0]} and {names[1]} are not the same measure",
                         fix="measure both with the same --features and --count")  # fmt: skip
    return first[names[0]] - second[names[0]]


def compared(runs: Sequence[str | Path]) -> dict[str, Any]:
    """What was measured of several runs that generate, side by side: {measure: {run: figure}}, the floor beside them.

    Raises:
        RunError: one was not measured. UsageError: they were measured on other features or numbers of samples.
    """
    kept = {}
    for path in runs:
        run = Run.open(path)
        if not run.measured or "generated" not in run.evaluation:
            raise RunError("what it generates was not measured", where=path,
                           fix=f"flambeau evaluate {quoted(path)} --features CLASSIFIER")  # fmt: skip
        kept[str(path)] = run.evaluation["generated"]
    first, *others = kept.values()
    for other in others:
        difference(first["metrics"], other["metrics"])
    return {measure: {**{name: one["metrics"][measure] for name, one in kept.items()},
                      "training rows": first["floor"][measure]} for measure in first["metrics"]}  # fmt: skip


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What a terminal shows of `measured`."""
    yield f"{found['samples']:,} samples beside as many held-out rows, by {found['features']['name']}:"
    width = max(map(len, found["metrics"]))
    for name, value in found["metrics"].items():
        yield f"  {name:{width}}  {value:.4g}  (training rows: {found['floor'][name]:.4g})"
    yield (f"  diversity {found['diversity']:.0%} of real rows'; {found['duplicates']:.1%} nearly the same as another, "
           f"{found['copied']:.1%} as a training row")  # fmt: skip
    for one in found.get("classes", ()):
        yield f"  {one['class']}: {one['generated']:.1%} of samples, {one['real']:.1%} of real rows"
    if (share := found.get("of_class_asked")) is not None:
        yield f"  {share:.1%} of samples are of the class that was asked for"


def _spread(rows: np.ndarray, count: int) -> np.ndarray:
    """So many of some rows, from all over them: folders of classes come one behind another."""
    return rows[np.linspace(0, len(rows) - 1, count).round().astype(np.int64)]


def _generated(predictor: Predictor, count: int, seed: int, labels: Tensor | None) -> list[Any]:
    """Raw values, some at a time."""
    generator, made, objective = torch.Generator().manual_seed(seed), list[Any](), predictor.objective
    assert isinstance(objective, Generative)
    objective.model.eval()
    with torch.inference_mode():
        for start in range(0, count, BATCH):
            some = None if labels is None else labels[start : start + BATCH]
            prepared = objective.generate(min(BATCH, count - start), generator, some)
            made += objective.field.restore(prepared)
    return made


def _figures(real: Tensor, made: Tensor, name: str) -> dict[str, float]:
    found = {"frechet": measures.frechet(real, made), **measures.overlap(real, made)}
    return {f"{measure}{name}": value for measure, value in found.items()}


def _by_class(
    real: list[str], made: list[str], asked: Sequence[str], labels: Tensor | None
) -> dict[str, Any]:  # fmt: skip
    counts = [Counter(these) for these in (made, real)]
    names = sorted(set(real) | set(made))
    found: dict[str, Any] = {"classes": [
        {"class": name, "generated": counts[0][name] / len(made), "real": counts[1][name] / len(real)} for name in names
    ]}  # fmt: skip
    if labels is not None:
        hits = [asked[number] == name for number, name in zip(labels.tolist(), made, strict=True)]
        found["of_class_asked"] = sum(hits) / len(hits)
    return found


def _copied(
    predictor: Predictor, reading: Reading, train: np.ndarray, held_out: Sequence[Any], made: Sequence[Any]
) -> float:  # fmt: skip
    """Share of samples that are nearly a training row, of all: by the numbers that a model is given."""
    objective: Any = predictor.objective
    numbers = _prepared(predictor, objective.numbers_of)
    queries = [numbers(values) for values in (held_out, made)]
    nearest = [torch.full((len(these),), torch.inf) for these in queries]
    with torch.inference_mode():
        for chosen, gathered in Batches(reading.store, torch.from_numpy(train), BATCH).epoch(0):
            rows = objective.numbers_of(reading.prepare(chosen, gathered, False, None).input).float().cpu()
            nearest = [
                torch.minimum(best, torch.cdist(these, rows).min(1).values)
                for best, these in zip(nearest, queries, strict=True)
            ]
    return measures.copied(*nearest)
