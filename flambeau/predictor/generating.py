"""Samples that a Predictor makes anew: by seeds, and on the way from one to another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from flambeau.core.errors import UsageError, require
from flambeau.data.batch import Batch
from flambeau.objectives import Objective
from flambeau.objectives.generative.base import Generative
from flambeau.training.engine import Engine

if TYPE_CHECKING:
    from flambeau.predictor.base import Predictor

BATCH = 64  # samples of a forward pass


def check_generates(objective: Objective) -> None:
    """Raises UsageError where an objective makes no samples."""
    if type(objective).generate is Objective.generate:
        raise UsageError(f"{type(objective).__name__} generates nothing",
                         fix="train with an objective that does, such as --objective diffusion")  # fmt: skip


def generative(objective: Objective) -> Generative:
    """An objective that has codes, or classes to be asked for.

    Raises:
        UsageError: it has not.
    """
    check_generates(objective)
    if not isinstance(objective, Generative):
        raise UsageError(f"{type(objective).__name__} has no codes and no classes", fix="derive it from Generative")
    return objective


def samples(predictor: Predictor, count: int, label: str | None, seed: int) -> Iterator[Any]:
    """New raw values, one after the other, so that memory does not grow with their number; see
    `Predictor.generate`."""
    objective, generator = predictor.objective, torch.Generator().manual_seed(seed)
    check_generates(objective)
    require(count >= 1, f"a count of {count}", "1 or more")
    of_class = None if label is None else generative(objective).label(label, BATCH)
    sizes = (min(BATCH, count - start) for start in range(0, count, BATCH))
    return (
        value
        for size in sizes
        for value in restored(
            predictor, objective.generate, size, generator, *(() if of_class is None else (of_class[:size],))
        )
    )


def between(predictor: Predictor, first: Any, second: Any, count: int, label: str | None) -> list[Any]:
    """Raw values on the way from one sample to another; see `Predictor.interpolate`."""
    objective = generative(predictor.objective)
    require(count >= 2, f"a count of {count}", "2 or more")
    one = objective.label(label, 1)
    ends = [_code(predictor, objective, end, one) for end in (first, second)]
    if objective.conditional and one is None:  # of one class all the way: the first's
        one = ends[0][1]
    codes = objective.between(ends[0][0], ends[1][0], torch.linspace(0, 1, count))
    labels = None if one is None else one.cpu().expand(count)
    made: list[Any] = []
    for some, of in zip(codes.split(BATCH), [None] * count if labels is None else labels.split(BATCH), strict=False):
        made += restored(predictor, objective.decode_code, some, of)
    return made


def reconstructed(
    predictor: Predictor, encoded: Sequence[Mapping[str, np.ndarray]], of_class: str | None = None
) -> Iterator[tuple[Any, float]]:
    """What comes back of encoded values by their codes, as raw values, and how odd each is.

    Args:
        of_class: that the codes are decoded to, of a conditional model.

    Raises:
        UsageError: nothing gives a code for a sample, nothing raw can be made of it, or it knows no such class.
    """
    objective = coded(predictor.objective)
    label = objective.label(of_class, BATCH)
    if not (field := predictor.fields[predictor.inputs[0]]).restores:
        raise UsageError(f"values of the kind {field.kind} cannot be made again", fix="use flambeau encode or predict")

    def batches() -> Iterator[tuple[Any, float]]:
        for start in range(0, len(encoded), BATCH):
            some = encoded[start : start + BATCH]
            batch = predictor.prepare(torch.arange(len(some)), predictor.gather(some))
            scores = objective.predict(batch)[:, 0].tolist()
            batch.target = label if label is None else label[: len(some)].to(objective.device)
            yield from zip(restored(predictor, objective.reconstruct, batch), scores, strict=True)

    return batches()


def coded(objective: Objective) -> Generative:
    """An objective that gives a code for a sample.

    Raises:
        UsageError: it does not.
    """
    if not isinstance(objective, Generative) or not objective.encodes:
        raise UsageError(f"{type(objective).__name__} gives no codes", fix="train with --objective autoencoder or vae")
    return objective


def codes(objective: Objective, engine: Engine, batches: Iterable[Batch]) -> np.ndarray:
    """Codes of prepared batches, float32 (B, D). Raises as `coded`."""
    objective = coded(objective)
    objective.model.eval()
    with torch.inference_mode(), engine.autocast():
        made = [objective.encode(batch).float().cpu().numpy() for batch in batches]
    return np.concatenate(made) if made else np.zeros((0, objective.code_size), np.float32)


def _code(predictor: Predictor, objective: Generative, end: Any, label: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The code (D) of a raw value, or the one that a seed's first sample is made of, and a class (1): that asked for,
    or the sample's."""
    with torch.inference_mode():
        if isinstance(end, int):
            codes, drawn = objective.drawn(1, torch.Generator().manual_seed(end), label)
            return codes[0], drawn
        objective.model.eval()
        batch = predictor.prepare(torch.arange(1), predictor.gather([predictor.encode(end)]))
        batch.target = label if label is None else label.to(objective.device)
        return objective.encode(batch)[0].float(), objective.labels_of(batch)


def restored(predictor: Predictor, make: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Raw values of the prepared samples that a function of the objective makes of its arguments."""
    predictor.objective.model.eval()
    with torch.inference_mode(), predictor.engine.autocast():
        made = make(*arguments)
    return predictor.fields[predictor.inputs[0]].restore(made)
