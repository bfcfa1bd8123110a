"""What a Learner tells of its data and writes into its run before the first step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flambeau.core.errors import DataError, RunError, UsageError
from flambeau.core.files import write_json
from flambeau.core.findings import TELLS_LEFT_OUT, Finding, Severity, worst_first
from flambeau.core.printable import quoted
from flambeau.core.reporter import Reporter
from flambeau.data.dataset import Dataset
from flambeau.data.examples import examples
from flambeau.evaluation import look, render
from flambeau.learner import environment
from flambeau.learner.feeds import Feed, FieldFeed
from flambeau.recipe import Recipe
from flambeau.run import Run
from flambeau.training.engine import Engine
from flambeau.training.processes import restarted
from flambeau.version import RUN_FORMAT, __version__

TELLS_WHAT_IS_LEFT_OUT = (
    *TELLS_LEFT_OUT, "too-large", "missing", "not-finite", "not-a-number", "not-a-date",
    "unseen-class",
)  # fmt: skip


def with_left_out(findings: Sequence[Finding], feed: FieldFeed) -> list[Finding]:
    """Findings, and what encoding the data has found since that they do not tell of."""
    before = [*findings, *feed.dataset.findings]
    told = {row for f in before for row in f.rows if f.check in TELLS_WHAT_IS_LEFT_OUT}
    again = [f for f in feed.findings if f.check == "left-out" and told.issuperset(f.rows)]
    return worst_first([*findings, *(f for f in feed.findings if f not in findings and f not in again)])


def tell(findings: Sequence[Finding], also: Sequence[Finding], reporter: Reporter) -> None:
    """Says what a check has found, and what the source of the data had found before.

    Raises:
        DataError: the check found errors.
    """
    styles = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: None}
    for finding in worst_first([*findings, *also]):
        reporter.say(str(finding), style=styles[finding.severity])
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if errors:
        raise DataError(
            f"the check found {len(errors)} error{'s' * (len(errors) > 1)}: {errors[0].message}",
            fix=f"{errors[0].fix or 'mend the data'}, or train anyway with --no-check",
        )


def write_down(run: Run, recipe: Recipe, feed: Feed, engine: Engine, resume: bool, reporter: Reporter) -> None:
    """The recipe as it was decided, and the fields.

    Raises:
        RunError: the data is not what the training began with.
    """
    kept = run.recipe.data.get("fingerprint") if resume else None
    if kept is not None and kept != feed.fingerprint:
        before = resume and run.recipe.format < RUN_FORMAT
        if not (before and feed.dataset and any(field.gathers for field in feed.dataset.fields.values())):
            raise RunError(
                "the data has changed since this training began",
                where=run.path,
                fix="put the data back as it was, or start a new training",
            )
        told = f"flambeau {run.recipe.flambeau} began this and told tables apart otherwise"
        reporter.say(f"{told}: that the data is as it was is not known", style="yellow")
    recipe.format, recipe.flambeau = RUN_FORMAT, __version__
    if (data := feed.dataset) is not None:
        recipe.data = {**recipe.data, "fingerprint": feed.fingerprint}
        run.save_fields(data.fields, data.inputs, data.target)
        write_json(run.path / "examples.json", {"examples": examples(data)})
    reasons = run.recipe.reasons if resume else []
    if reasons:  # decided when the training began: what is decided now only repeats it
        environment.compare_engines(reasons, engine.reasons, reporter)
        recipe.reasons = reasons
    recipe.save(run.path / "recipe.yaml")


def check_free(run: Run, resume: bool) -> None:
    """Whether a training can begin, or go on, in a run's folder.

    Raises:
        RunError: it is finished; or it was begun, and is not to go on.
    """
    if run.measured or (run.finished and not resume):
        raise RunError("the run is finished", where=run.path, fix="for a new training give another run folder")
    if run.started and not resume:
        fix = f"go on with: flambeau resume {quoted(run.path)}; or give another run folder"
        raise RunError("a training was begun here already", where=run.path, fix=fix)


def choose_run(asked: str | Path | bool | None, recipe: Recipe, resume: bool) -> Run:
    """The run that is asked for, or a free one named by the data.

    Raises:
        UsageError: which one is to be resumed is not said.
    """
    if isinstance(asked, (str, Path)):
        return Run(asked)
    name = Path(str(recipe.data.get("path") or "run")).stem
    if restarted():
        return Run.newest(name)
    if resume:
        raise UsageError("which run is to be resumed?", fix="give run=, its folder")
    return Run.free(name)


def write_findings(run: Run, findings: Sequence[Finding], checked: bool, data: Dataset | None, encoded: bool) -> None:
    """What was found in the data, with thumbnails; and what the data is, once it is encoded."""
    thumbnails = [[render(data, row) for row in finding.rows[:8]] if data else [] for finding in findings]
    document = {"checked": checked, "findings": [finding.to_dict() for finding in findings], "thumbnails": thumbnails}
    if data is not None and encoded:
        document["overview"] = look(data)
    write_json(run.path / "findings.json", document)
