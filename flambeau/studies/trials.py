"""The trials of a search, kept by Optuna in a database: asked for, trained, and never lost."""

from __future__ import annotations

import contextlib
import copy
import fcntl
import itertools
import math
import random
import shutil
import socket
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import sqlalchemy
from optuna.samplers import BaseSampler
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.trial import FrozenTrial, TrialState

from flambeau.core.errors import FlambeauError, MissingExtra, RunError, TrainingError, first_line
from flambeau.core.files import write_atomic
from flambeau.core.randomness import mix
from flambeau.core.reporter import QUIET
from flambeau.data.split import NAMES, TEST
from flambeau.learner import Learner
from flambeau.objectives import Objective
from flambeau.report import search as page
from flambeau.run import Run
from flambeau.studies.base import Study, variant
from flambeau.studies.space import Space
from flambeau.techniques import Technique, not_kept
from flambeau.training.interrupts import Interrupted

AGAIN = 3  # times that a trial is begun again whose worker is lost: it may be the trial that kills it
JOINS = 7  # attempts to find or make the tables
LOOK = 1.0  # seconds between two looks at what other workers do
DONE = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


class _Failed(Exception):
    """A trial that cannot be trained; the search goes on."""


class Reporting(Technique):
    """Tells the search of each epoch's validation, and ends a trial that falls behind. Costs a write to the database an
    epoch."""

    name = "tune"

    def __init__(self, trial: optuna.Trial):
        self.trial = trial

    def on_fit_start(self, objective: Objective) -> None:
        self.monitor = objective.monitor

    def on_epoch_end(self, epoch: int, metrics: dict[str, float]) -> str | None:
        value = metrics.get(self.monitor, math.nan)
        if math.isfinite(value):
            self.trial.report(value, epoch)
            if self.trial.should_prune():
                raise optuna.TrialPruned(f"after epoch {epoch}")
        return None


class Seeded(BaseSampler):
    """A sampler whose draws for a trial are a function of the seed, its place and the trials before: a search that is
    gone on with draws what it would have drawn."""

    def __init__(self, make: Callable[[int], BaseSampler], seed: int):
        self.make, self.seed = make, seed
        self.inner = make(0)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self.inner = self.make(mix(self.seed, "trial", _place(study, trial)) % 2**32)
        self.inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> Any:
        return self.inner.infer_relative_search_space(study, trial)

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: Any) -> dict[str, Any]:
        return self.inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        return self.inner.sample_independent(study, trial, param_name, param_distribution)


class Grid(BaseSampler):
    """All combinations of what is listed, one after the other."""

    def __init__(self, space: Space):
        self.points = [
            dict(zip(space, point, strict=True))
            for point in itertools.product(*(v.listed or () for v in space.values()))
        ]

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> Any:
        return {}

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: Any) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        return self.points[_place(study, trial) % len(self.points)][param_name]


def _first(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Those that are asked for, without those that repeat a lost one, or were one too many."""
    return [t for t in trials if "failed_trial" not in t.system_attrs and "surplus" not in t.user_attrs]


def _place(study: optuna.Study, trial: FrozenTrial) -> int:
    """Which of those that are asked for a trial is, from 0 on."""
    return sum(t.number < trial.number for t in _first(study.get_trials(deepcopy=False)))


def _sampler(method: str, seed: int, space: Space) -> BaseSampler:
    if method == "grid":
        return Grid(space)
    samplers = optuna.samplers
    kinds = {"tpe": samplers.TPESampler, "random": samplers.RandomSampler, "gp": samplers.GPSampler}
    return Seeded(lambda number: kinds[method](seed=number), seed)


class Search:
    """A search that this process takes part in.

    Args:
        study, learner, space, method, prune, storage, lost_after: see `flambeau.studies.tune.tune`.
    """

    def __init__(
        self, study: Study, learner: Learner, space: Space, method: str, *, prune: bool, storage: str | None,
        lost_after: int,
    ):  # fmt: skip
        self.study, self.learner, self.space = study, learner, space
        self.reporter = learner.reporter
        assert learner.data is not None
        self.data = copy.copy(learner.data)  # in which the test rows are of no split
        self.data.split = np.where(self.data.split == TEST, len(NAMES), self.data.split).astype(np.int8)
        first = self._variant({}, False)
        first.build()  # and encodes the data, once for all trials
        self.metric, self.higher = first.objective.monitor, first.objective.higher_is_better
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self.again = RetryHeartbeatStaleTrialCallback(max_retry=AGAIN)
        self.search = self._joined(method, prune, storage, lost_after)
        self._trials, self._number = 0, -1
        self._here = (study.path / ".lock").open("a")  # shared by the workers in this folder for as long as they live
        with contextlib.suppress(OSError):
            fcntl.flock(self._here, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if storage is None:  # the database lies here too, and nobody else is at work: what runs is lost
                for trial in self.search.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
                    self._begin_again(trial.number)
        fcntl.flock(self._here, fcntl.LOCK_SH)

    def _joined(self, method: str, prune: bool, storage: str | None, lost_after: int) -> optuna.Study:
        """The search in the database, made there if this worker is the first.

        Raises:
            RunError: the database cannot be reached, or another search is there by this name.
        """
        url = sqlalchemy.make_url(storage or f"sqlite:///{self.study.path.absolute() / 'trials.db'}")
        if url.drivername in ("postgres", "postgresql"):
            url = url.set(drivername="postgresql+psycopg")
        asked = {**self.study.asked, "metric": self.metric}
        asked["recipe"] = {key: value for key, value in asked["recipe"].items() if key != "data"}  # a path of a machine
        for attempt in range(JOINS):  # several workers may make the tables at once: one wins, the others look again
            try:
                kept = RDBStorage(
                    url.render_as_string(hide_password=False), heartbeat_interval=max(1, lost_after // 5),
                    grace_period=lost_after, heartbeat_stale_trial_callback=self.again,
                    engine_kwargs={"connect_args": {"timeout": 60}} if url.drivername == "sqlite" else None,
                )  # fmt: skip
                search = optuna.create_study(
                    storage=kept, study_name=self.study.path.name, load_if_exists=True,
                    direction="maximize" if self.higher else "minimize",
                    sampler=_sampler(method, self.learner.recipe.training.seed, self.space),
                    pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1)
                    if prune else optuna.pruners.NopPruner(),
                )  # fmt: skip
                there = search.user_attrs.get("asked")
                if there is None:
                    search.set_user_attr("asked", asked)
                elif there != asked:
                    raise RunError(
                        f"another search is called {self.study.path.name} there", where=url.render_as_string(),
                        fix="give another --name, or what that one was given",
                    )  # fmt: skip
                return search
            except ImportError as error:
                raise MissingExtra(error.name or "psycopg", "tune", f"a {url.drivername} storage") from None
            except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
                if attempt == JOINS - 1:
                    told = first_line(getattr(error, "orig", None) or error.__cause__ or error)
                    raise RunError(f"the storage cannot be used ({told})", where=url.render_as_string()) from None
                time.sleep(random.uniform(0.5, 1.5) * 0.1 * 2**attempt)
        raise AssertionError

    # -- trials -------------------------------------------------------------------------------------------------

    def work(self, trials: int) -> None:
        """Takes trials until there are so many, all workers together, and none is running any more."""
        self._trials, told = trials, 0
        while True:
            fail_stale_trials(self.search)
            there = self.search.get_trials(deepcopy=False)
            running = sum(t.state is TrialState.RUNNING for t in there)
            if len(_first(there)) < trials or any(t.state is TrialState.WAITING for t in there):
                self._take()
            elif not running:
                return
            else:
                if told != running:
                    self.reporter.say(f"waiting for {running} of other workers' trials, to take what they lose")
                told = running
                time.sleep(LOOK)

    def _take(self) -> None:
        """One trial. What ends this process in the middle of it leaves the trial to be begun again."""
        self._number = -1
        try:
            self.search.optimize(self._trial, n_trials=1, catch=(_Failed,))
        except BaseException:
            if self._number >= 0:
                self._begin_again(self._number)
            raise

    def _begin_again(self, number: int) -> None:
        """Lets a trial that has no worker any more be taken by the next one."""
        if self.search.get_trials(deepcopy=False)[number].state is TrialState.RUNNING:
            self.search.tell(number, state=TrialState.FAIL)
        self.again(self.search, self.search.get_trials(deepcopy=False)[number])

    def _trial(self, trial: optuna.Trial) -> float:
        frozen = self.search.get_trials(deepcopy=False)[trial.number]
        if "failed_trial" not in frozen.system_attrs and _place(self.search, frozen) >= self._trials:
            trial.set_user_attr("surplus", True)  # another worker asked in the same instant
            raise _Failed("one too many")
        self._number = trial.number
        settings = {name: values.draw(trial, name) for name, values in self.space.items()}
        run = self._run_of(frozen)
        trial.set_user_attr("host", socket.gethostname())
        trial.set_user_attr("run", str(run.path.absolute()))
        told = " ".join(f"{name}={_short(value)}" for name, value in settings.items())
        try:
            if not run.measured:
                learner = self._variant(settings, run.path)
                learner.own_techniques["tune"] = Reporting(trial)
                learner.fit(resume=True, check=False)
            value = float(run.evaluation["metrics"][self.metric])
        except optuna.TrialPruned as pruned:
            shutil.rmtree(run.path / "checkpoints", ignore_errors=True)
            self.reporter.say(f"trial {trial.number + 1}: {told}  ended {pruned}: others were better by then")
            raise
        except (Interrupted, RunError):
            raise
        except FlambeauError as error:
            trial.set_user_attr("error", str(error))
            self.reporter.say(f"trial {trial.number + 1}: {told}  failed: {error}", style="yellow")
            raise _Failed(str(error)) from None
        self.reporter.say(f"trial {trial.number + 1}: {told}  {self.metric} {value:.4f}")
        return value

    def _run_of(self, trial: FrozenTrial) -> Run:
        """The run of a trial; of one that is begun again that of the first, which it goes on with where it is here."""
        number = trial.system_attrs.get("failed_trial", trial.number)
        return self.study.run(f"trial-{number + 1}")

    def _variant(self, settings: dict[str, Any], run: Any) -> Learner:
        learner = variant(self.learner, {**settings, "baseline": False}, run, self.data)
        learner.reporter = QUIET
        return learner

    # -- what came out ------------------------------------------------------------------------------------------

    def finish(self) -> Study:
        """Measures the best on the test rows, writes its recipe and the page, and closes the study.

        Raises:
            TrainingError: no trial came to its end.
        """
        trials = [t for t in self.search.get_trials(deepcopy=False) if "surplus" not in t.user_attrs]
        complete = [t for t in trials if t.state is TrialState.COMPLETE]
        if not complete:
            why = next((t.user_attrs["error"] for t in reversed(trials) if "error" in t.user_attrs), "all were ended")
            raise TrainingError(f"no trial came to its end ({why})", where=self.study.path)
        best = self.search.best_trial
        settings = {name: best.params[name] for name in self.space}
        lost = {number for t in trials for number in t.system_attrs.get("retry_history", ())}
        listed = [self._told(t) for t in trials if t.number not in lost and t.state in DONE]
        result = {
            "metric": self.metric, "higher_is_better": self.higher, "trials": listed, "lost": len(lost),
            "best": {**self._told(best), "settings": settings}, "test": self._test(best, settings),
            "importance": self._importance(complete), "recipe": str(self.study.path / "best.yaml"),
            "report": str(self.study.path / "report.html"),
        }  # fmt: skip
        self.learner.recipe.with_settings(settings).save(self.study.path / "best.yaml")
        write_atomic(self.study.path / "report.html", page.build(self.study.path.name, result).encode())
        self.study.finish(result)
        return self.study

    def _told(self, trial: FrozenTrial) -> dict[str, Any]:
        seconds = (trial.duration.total_seconds()) if trial.duration else None
        return {
            "trial": trial.number + 1, "state": DONE[trial.state], "settings": trial.params, "seconds": seconds,
            "value": trial.value if trial.state is TrialState.COMPLETE else None,
            "epochs": max(trial.intermediate_values, default=0), "error": trial.user_attrs.get("error"),
            "run": trial.user_attrs.get("run"), "host": trial.user_attrs.get("host"),
        }  # fmt: skip

    def _importance(self, complete: list[FrozenTrial]) -> dict[str, float]:
        """How much of the differences between trials each setting explains: Watanabe et al. 2023, PED-ANOVA."""
        if len(complete) < 4 or len({t.value for t in complete}) < 2:
            return {}
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = optuna.importance.get_param_importances(self.search, evaluator=evaluator)
        return {name: float(share) for name, share in found.items() if math.isfinite(share)}

    def _test(self, best: FrozenTrial, settings: dict[str, Any]) -> dict[str, float]:
        """The metrics of the best trial on the test rows, which the search has not seen; measured once, whoever asks
        first. Empty where there are none, or where its run lies on another machine."""
        data, run = self.learner.data, self._run_of(best)
        kept = self.search.user_attrs.get("test", {})
        if kept.get("trial") == best.number:
            return dict(kept["metrics"])
        if data is None or not len(data.rows("test")):
            return {}
        if not run.finished:
            told = f"the best run is on {best.user_attrs.get('host')}: {best.user_attrs.get('run')}"
            self.reporter.say(f"{told}; the test rows are measured there", style="yellow")
            return {}
        learner = variant(self.learner, {**settings, "baseline": False}, False)
        learner.reporter = QUIET
        learner.build()
        run.load_model(learner.objective.model, not_kept(learner.objective.model, learner.techniques))
        for technique in learner.techniques:
            technique.on_done(learner.objective)
        learner.objective.calibration = run.calibration
        metrics = learner.evaluate("test")["metrics"]
        self.search.set_user_attr("test", {"trial": best.number, "metrics": metrics})
        return dict(metrics)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
