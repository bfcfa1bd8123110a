"""A study: a folder of trainings on the same data, each a run like any other, which goes on where it was stopped."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flambeau.core.errors import RunError
from flambeau.core.files import read_json, write_json
from flambeau.data.dataset import Dataset
from flambeau.data.store.encode import EncodeOptions
from flambeau.learner import Learner
from flambeau.learner.feeds import FieldFeed
from flambeau.run import Run


class Study:
    """A folder with `study.json` (what is asked, and at the end what came out) and a run for each training.

    A study that was stopped goes on: trainings that are done are kept, one that was begun is resumed, bit for bit.

    Args:
        path: the folder; made if it is not there.
        kind: what is done in it, such as `folds`.
        asked: what tells this study from another one of its kind, as plain JSON.

    Raises:
        RunError: the folder holds another study, or something else.
    """

    FILE = "study.json"

    def __init__(self, path: str | Path, kind: str, asked: Mapping[str, Any]):
        self.path, self.kind, self.asked = Path(path), kind, dict(asked)
        file = self.path / self.FILE
        if file.exists():
            there = read_json(file)
            if (there.get("kind"), there.get("asked")) != (kind, self.asked):
                fix = "give another folder (--study; of a search --name), or ask for the same again"
                raise RunError("another study is in this folder", where=self.path, fix=fix)
            self.result: dict[str, Any] | None = there.get("result")
            return
        if self.path.exists() and any(not file.name.startswith(".") for file in self.path.iterdir()):
            raise RunError("the folder is not empty, and holds no study", where=self.path, fix="give another folder")
        self.path.mkdir(parents=True, exist_ok=True)
        self.result = None
        self._write()

    @classmethod
    def free(cls, name: str, kind: str, asked: Mapping[str, Any], folder: str | Path = "runs") -> Study:
        """A study called `name`; the one of that name that was asked the same and is not done, or `name-2`, … where it
        is taken."""
        path, number = Path(folder) / name, 2
        while True:
            try:
                if (study := cls(path, kind, asked)).result is None:
                    return study
            except RunError:
                pass
            path, number = Path(folder) / f"{name}-{number}", number + 1

    def run(self, name: str) -> Run:
        """The run of a training, which may not have begun."""
        return Run(self.path / name)

    def trained(self, name: str, learner: Learner, settings: Mapping[str, Any], data: Dataset | None = None) -> Run:
        """The run of a training: the one that is there, or of a variant of the learner, trained now.

        Args:
            name: of the run's folder.
            learner, settings, data: see `variant`.

        Raises:
            DataError, ModelError, UsageError, TrainingError: as `Learner.fit`.
        """
        run = self.run(name)
        if not run.measured:
            variant(learner, settings, run.path, data).fit(resume=True, check=False)
        return run

    def finish(self, result: Mapping[str, Any]) -> None:
        """Writes what came out, as plain JSON."""
        self.result = dict(result)
        self._write()

    def _write(self) -> None:
        write_json(self.path / self.FILE, {"kind": self.kind, "asked": self.asked, "result": self.result})


def variant(
    learner: Learner, settings: Mapping[str, Any], run: str | Path | bool | None, data: Dataset | None = None
) -> Learner:
    """A Learner as another one that is not built yet, with other settings of the recipe; it reads the same Store.

    Args:
        settings: by their names, such as `{"learning_rate": 1e-3}`; `techniques` are all of them, {name: settings}.
        run: its folder; False for none, None for a free one under `runs/`.
        data: in place of the learner's, such as other folds of it.
    """
    recipe = learner.recipe.with_settings(settings)
    own = copy.deepcopy((learner.own_model, learner.own_loss, learner.own_objective, learner.own_techniques))
    model, loss, objective, techniques = own
    encoding = learner.feed.encoding if isinstance(learner.feed, FieldFeed) else EncodeOptions()
    return Learner(
        learner.data if data is None else data, model, loss=loss, metrics=learner.own_metrics, objective=objective,
        techniques=[*techniques.values()] or None, recipe=recipe, run=run, cache=encoding.cache,
        cache_limit=encoding.limit, threads=encoding.threads, reporter=learner.reporter,
    )  # fmt: skip
