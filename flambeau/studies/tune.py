"""Searches: which settings of a recipe are best, by validation."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Unpack

from flambeau.core.errors import MissingExtra, UsageError, nearest
from flambeau.core.files import to_json
from flambeau.core.signatures import spelled_out
from flambeau.learner import Learner, choices, records
from flambeau.learner.given import OfLearner
from flambeau.studies.base import Study
from flambeau.studies.space import Space, space_of

METHODS = ("tpe", "random", "grid", "gp")
NOT_TUNED = ("metric", "objective.metric", "seed", "training.seed")  # what trials are compared by


@spelled_out(OfLearner)
def tune(
    data: Any,
    space: Mapping[str, Any] | Iterable[str] | str | Path,
    *,
    trials: int | None = None,
    method: str = "tpe",
    name: str | None = None,
    folder: str | Path = "runs",
    storage: str | None = None,
    prune: bool = True,
    lost_after: int = 60,
    check: bool = True,
    **options: Unpack[OfLearner],
) -> Study:
    """Searches for the settings that validate best: Akiba et al. 2019, "Optuna", arXiv:1907.10902.

    Each trial is a training of its own, in a run of the study's folder; one that does worse at the end of an epoch than
    half of those before it did there is ended. The test rows are left out of all trials and measured once, by the best.
    The same call goes on where a search was stopped, and in another process, or on another machine by the same
    `storage` and `name`, helps with it.

    Args:
        data: as for a Learner; or a Learner that is not built yet.
        space: {setting: range or list}, such as `{"learning_rate": "1e-4..1e-2:log", "optimizer": ["sgd", "adamw"]}`;
            or the same as YAML, by its file. Any setting of the recipe.
        trials: how many, all workers together; 30 if not given, of a grid all.
        method: `tpe` (Bergstra et al. 2011), `gp` (a Gaussian process), `random`, or `grid` of what is listed.
        name: of the study; from the data's, with `-tune`, if not given.
        folder: that the study's is made in.
        storage: a database that several workers share, such as postgresql://user@host/name; SQLite in the study's
            folder if not given.
        prune: whether trials are ended early.
        lost_after: seconds without a sign from a worker until its trial is begun again by another one.
        check: look for mistakes in the data first.
        options: of the Learner.

    Returns:
        the study: `result` has the best trial's settings; `best.yaml` in its folder is a recipe with them.

    Raises:
        UsageError: a setting that does not exist, or a value that does not fit. RunError: the storage cannot be
        reached, or holds another search by this name. MissingExtra: Optuna is not installed. TrainingError: no trial
        came to its end.
    """
    learner = data if isinstance(data, Learner) else Learner(data, **options)
    drawn = space_of(space)
    trials = _checked(learner, drawn, trials, method, lost_after)
    try:
        from flambeau.studies.trials import Search
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error.name), "tune", "a search") from None
    if check:
        assert learner.data is not None
        findings = learner.feed.check(
            learner.recipe, learner.reporter, learner.own_loss or learner.recipe.objective.loss
        )
        records.tell(findings, learner.data.findings, learner.reporter)
    recipe = learner.recipe.model_dump(mode="json", exclude={"flambeau", "reasons"})
    asked = {"space": {key: repr(values) for key, values in drawn.items()}, "method": method, "recipe": recipe}
    asked = json.loads(to_json(asked))  # as it is read again
    if name is None:
        default = Path(str(learner.recipe.data.get("path") or "data")).stem
        study = Study.free(f"{default}-tune", "tune", asked, folder)
    else:
        study = Study(Path(folder) / name, "tune", asked)
    search = Search(study, learner, drawn, method, prune=prune, storage=storage, lost_after=lost_after)
    search.work(trials)
    return search.finish()


def _checked(learner: Learner, space: Space, trials: int | None, method: str, lost_after: int) -> int:
    """How many trials there will be, once all is looked at that can be before the first.

    Raises:
        UsageError: as `tune`.
    """
    if method not in METHODS:
        raise UsageError(f"no method of search is called '{method}'", fix=nearest(method, METHODS))
    if learner.data is None:
        raise UsageError("a search needs a Dataset", fix="make one of your data, such as with fb.Dataset.from_arrays")
    if not len(learner.data.rows("valid")):
        raise UsageError("there are no validation rows to compare trials by", fix="give --valid, such as 0.2")
    if wrong := next((key for key in space if key in NOT_TUNED), None):
        raise UsageError(f"{wrong} is what trials are compared by, and is not searched over", fix="leave it out")
    named = learner.own_model is None and learner.own_objective is None
    for key, values in space.items():
        for value in values.ends:
            recipe = learner.recipe.with_settings({key: value})
            own = {k: s for k, s in recipe.techniques.items() if k not in learner.own_techniques}
            choices.check_names(recipe.model_copy(update={"techniques": own}), model=named)
    if lost_after < 2:
        raise UsageError(f"lost_after={lost_after} does not fit", expected="2 seconds or more")
    if trials is not None and trials < 1:
        raise UsageError(f"{trials} trials are none", expected="1 or more")
    if method != "grid":
        return 30 if trials is None else trials
    if open_ := next((key for key, values in space.items() if values.listed is None), None):
        raise UsageError(f"{open_} has no end of values for a grid", fix=f"list them: {open_}=1e-4,1e-3,1e-2")
    size = math.prod(len(values.listed or ()) for values in space.values())
    return size if trials is None else min(trials, size)
