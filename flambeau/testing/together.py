"""Whether techniques go together: a small real training with them, which is stopped and gone on with.

Thousands of pairs are met by a few hundred trainings of several techniques each (`groups`). One that fails is narrowed
down to the pair that it fails for.
"""

from __future__ import annotations

import json
import signal
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch

from flambeau.core.errors import FlambeauError
from flambeau.data.dataset import Dataset
from flambeau.fields import Text
from flambeau.learner import Learner
from flambeau.objectives import Objective
from flambeau.techniques import Technique, name_of
from flambeau.testing.small import identical, weights
from flambeau.training import Interrupted

Techniques = Mapping[str, Mapping[str, Any]]
"""Settings by name."""
ROWS, BATCH_SIZE, STOPPED_AT = 32, 8, 5  # in the second epoch
TRAINING: dict[str, Any] = {
    "epochs": 2, "batch_size": BATCH_SIZE, "learning_rate": 0.01, "keep": "last", "baseline": False, "loggers": [],
    "quiet": True,
}  # fmt: skip


def pictures() -> Dataset:
    """Crops (16, 16, 3) of two real photos; the classes are the photos."""
    from sklearn.datasets import load_sample_images

    photos = load_sample_images().images
    crops = [photos[i % 2][12 * i : 12 * i + 16, 9 * i : 9 * i + 16] for i in range(ROWS)]
    return Dataset.from_arrays(np.stack(crops), ["china" if i % 2 == 0 else "flower" for i in range(ROWS)])


def table() -> Dataset:
    """Two numbers and a category of real wines; the classes are their kinds."""
    from sklearn.datasets import load_wine

    wine = load_wine()
    rows = np.linspace(0, len(wine.target) - 1, ROWS).astype(int)
    columns = {"alcohol": wine.data[rows, 0], "colour": wine.data[rows, 9],
               "strong": ["yes" if alcohol > 13 else "no" for alcohol in wine.data[rows, 0]],
               "kind": [f"kind {number}" for number in wine.target[rows]]}  # fmt: skip
    return Dataset(columns, target="kind")


def texts() -> Dataset:
    """Real sentences of Python's documentation; the classes are their topics."""
    from pydoc_data.topics import topics

    named = ("debugger", "string-methods")
    sentences = [[s for s in " ".join(topics[topic].split()).split(". ") if len(s) > 30] for topic in named]
    columns = {"text": [sentences[i % 2][i // 2] for i in range(ROWS)], "topic": [named[i % 2] for i in range(ROWS)]}
    return Dataset(columns, target="topic", fields={"text": Text()})


@dataclass(frozen=True, eq=False)
class Data:
    """Small data that is trained on.

    Attributes:
        name: in messages.
        make: the dataset; called for each training.
        settings: of the Learner.
    """

    name: str
    make: Callable[[], Dataset]
    settings: Mapping[str, Any]


PICTURES = Data("pictures", pictures, {"model": "resnet9", "model.options.width": 4, "augment": "light"})
DATA = (PICTURES, Data("table", table, {"model": "resmlp"}), Data("texts", texts, {"model": "textcnn"}))


class Signal(Technique):
    """Sends SIGTERM to this process after a step, as a service manager does; never if None."""

    name = "signal"

    def __init__(self, step: int | None):
        self.step = step

    def on_step_end(self, objective: Objective, step: int) -> None:
        if step + 1 == self.step:
            signal.raise_signal(signal.SIGTERM)


def groups(names: Iterable[str], size: int = 6) -> list[tuple[str, ...]]:
    """Groups of at most `size` names, in their order, so that each two are together in one at least.

    >>> groups("abcd", size=3)
    [('a', 'b', 'c'), ('a', 'b', 'd'), ('c', 'd')]
    """
    order = list(names)
    left, found = dict.fromkeys(map(frozenset, combinations(order, 2))), []
    while left:
        group = set(next(iter(left)))
        while len(group) < size:
            rest = [name for name in order if name not in group]
            gains = [sum(frozenset((name, a)) in left for a in group) for name in rest]
            if not any(gains):
                break
            group.add(rest[gains.index(max(gains))])
        found.append(tuple(name for name in order if name in group))
        for pair in combinations(found[-1], 2):
            left.pop(frozenset(pair), None)
    return found


def check_group(techniques: Techniques, data: Data = PICTURES) -> str:
    """Checks that each two of some techniques train together, in this order, and resume bit-identically, or are refused
    in one line that names one of them at least. What is refused alone on such data is left out.

    Returns:
        the lines of those that are refused.

    Raises:
        AssertionError: two do not; it names them.
    """
    fitting = {name: settings for name, settings in techniques.items() if not alone(name, json.dumps(settings), data)}
    where, broken, refused = f"{' with '.join(fitting)} on {data.name}", "", ""
    try:
        refused = refusal(fitting, data) if len(fitting) > 1 else ""
    except AssertionError as error:
        broken = str(error)
    if len(fitting) > 2 and (broken or refused):
        refused = "".join(check_group(dict(pair), data) for pair in combinations(fitting.items(), 2))
        assert refused, f"{where}: fails, and each two of them do not ({broken or 'refused'})"
        return refused
    assert not broken, f"{where}: {broken}"
    named = any(name_of(name) in refused for name in fitting)
    assert not refused or named, f"{where}: refused in a line that names neither: {refused}"
    return refused


@cache
def alone(name: str, settings: str, data: Data) -> str:
    """Why a technique, its settings in JSON, is refused on some data; empty where it trains.

    Raises:
        AssertionError: it does neither.
    """
    return refusal({name: json.loads(settings)}, data)


def refusal(techniques: Techniques, data: Data, stopped: bool = True) -> str:
    """Trains with some techniques, is stopped by a signal in the second epoch, and goes on. Empty where that ends with
    the bits of a training that was left alone; else the line in which it is refused.

    Args:
        stopped: or else it is only trained.

    Raises:
        AssertionError: it does neither.
    """
    with tempfile.TemporaryDirectory() as folder:
        whole = _learner(techniques, data, Path(folder), "whole")
        broken = _learner(techniques, data, Path(folder), "run", STOPPED_AT)
        resumed = _learner(techniques, data, Path(folder), "run")
        try:
            whole.fit(check=False)
        except Exception as error:  # noqa: BLE001 -- told apart below
            return refused_in_one_line(error, whole)
        if not stopped:
            return ""
        try:
            broken.fit(check=False)
        except Interrupted:
            torch.manual_seed(4321)
            resumed.fit(check=False, resume=True)
        else:
            raise AssertionError("it ended before it was stopped")
    assert identical(weights(whole.objective), weights(resumed.objective)), "resumed, it ends with other weights"
    assert measures(whole) == measures(resumed), "resumed, it measures something else"
    return ""


def refused_in_one_line(error: Exception, learner: Learner) -> str:
    """The message of an error that says before the first step, in one line of ours, why a training cannot be.

    Raises:
        AssertionError: it is none.
    """
    told = f"{type(error).__name__}: {error}"
    if not isinstance(error, FlambeauError):
        raise AssertionError(f"it fails with {told}") from error
    assert "\n" not in str(error) and (error.fix or error.expected), f"it is no line that says what to do: {told}"
    assert learner.trainer is None or learner.trainer.state.step == 0, (
        f"it is refused in the middle of training: {told}"
    )
    return str(error)


def measures(learner: Learner) -> list[tuple[Any, Any]]:
    """The loss and the metrics of each epoch."""
    assert learner.trainer is not None
    return [(line.get("train_loss"), line.get("valid")) for line in learner.trainer.history]


def _learner(techniques: Techniques, data: Data, folder: Path, run: str, stopped_at: int | None = None) -> Learner:
    given: list[str | Technique | Mapping[str, Any]] = [{name: dict(s)} for name, s in techniques.items()]
    given.append(Signal(stopped_at))
    settings = {**TRAINING, **data.settings}
    return Learner(data.make(), techniques=given, run=folder / run, cache=folder / "cache", **settings)
