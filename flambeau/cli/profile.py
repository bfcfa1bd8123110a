"""`flambeau profile`: where the time of a training goes."""

from __future__ import annotations

import os
import runpy
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from flambeau.cli import common, train
from flambeau.cli.common import option

NAME = "profile"
OF_TRAINING = ("run", "no_check", "no_baseline", "dry_run", "json", "data")  # which mean nothing here, or another thing


def command(
    data: Annotated[
        Path | None, typer.Argument(help="What `flambeau train` takes; or a SCRIPT.py that trains.", show_default=False)
    ] = None,
    arguments: Annotated[
        list[str] | None, typer.Argument(help="Behind `--`: the script's own arguments.", show_default=False)
    ] = None,
    steps: Annotated[int, typer.Option(help="Optimizer steps that are looked at, at most.", min=1)] = 200,
    seconds: Annotated[float, typer.Option(help="Seconds that are looked at, at most.", min=1)] = 120.0,
    out: Annotated[Path | None, option("The folder of the files; profile/ if not given.")] = None,
    json: common.Json = False,
    **asked: Any,
) -> None:
    """Say where the time of a training goes, and what to do. Decoding, transforms, loader, forward, backward,
    optimizer and logging have each their share. Leaves a flame graph (flame.svg, speedscope.json) and torch.profiler's
    trace (trace.json); no run. Takes what `flambeau train` takes, or any script that trains with a torch optimizer,
    which is ended when enough was seen.

    Example: `flambeau profile photos/ --model resnet18`

    Example: `flambeau profile train.py -- --epochs 3`
    """
    from flambeau.core.files import to_json, write_atomic
    from flambeau.diagnosis.profile import profiled
    from flambeau.techniques import Technique

    class Stepped(Technique):
        name = "stepped"

        def __init__(self, told: Callable[[], None]):
            self.told = told

        def on_step_end(self, objective: Any, step: int) -> None:
            self.told()

    script = data if data is not None and data.suffix == ".py" else None
    learner = None
    if script is None:
        learner = train.learner_of({**asked, "data": data, "run": False, "no_baseline": True})
        learner.plan()  # what is asked for wrongly is told before anything is written
    elif not script.is_file():
        raise common.UsageError("there is no such script", where=script, code="not-found")
    folder = out or Path("profile")
    folder.mkdir(parents=True, exist_ok=True)
    count = learner is None  # our own AdamW calls no hooks
    with profiled(folder / "trace.json", steps=steps, seconds=seconds, count=count) as profile:
        if learner is not None:
            learner.own_techniques["stepped"] = Stepped(profile.stepped)
            learner.fit(check=False)
        else:
            assert script is not None
            _run(script, arguments or [])
    name = str(data) if data is not None else "training"
    scope = to_json(profile.stacks.speedscope(name), indent=None)
    write_atomic(folder / "speedscope.json", scope.encode())
    write_atomic(folder / "flame.svg", profile.stacks.svg(f"{name}: {profile.seconds:.1f} s").encode())
    files = ["flame.svg", "speedscope.json", *(["trace.json"] if profile.traced else [])]
    if json:
        common.emit({**profile.to_dict(), "files": [str(folder / name) for name in files]})
        return
    common.echo(profile.sentence())
    for part, share in profile.shares().items():
        common.echo(f"  {part:10} {share:6.1%}")
    if profile.stacks.note:
        common.echo(f"sampled by a thread of its own, without worker processes, for {profile.stacks.note}")
    if not profile.traced:
        common.echo(f"no trace: it ended after {profile.steps} steps; --steps with fewer leaves some for it")
    common.echo(f"{folder}: {', '.join(files)}")
    common.echo("next: open flame.svg in a browser, speedscope.json at speedscope.app, trace.json at ui.perfetto.dev")


def _run(script: Path, arguments: list[str]) -> None:
    """Runs a script as Python does, in this process.

    Raises:
        UsageError: it fails; with the place.
    """
    kept_arguments, kept_path = sys.argv, [*sys.path]
    sys.argv = [str(script), *arguments]
    sys.path.insert(0, str(script.resolve().parent))
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as error:
        if error.code not in (None, 0):
            raise common.UsageError(f"the script ended with status {error.code}", where=script) from None
    except Exception as error:
        from flambeau.core.errors import first_line

        name = os.path.realpath(script)
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if os.path.realpath(f.filename) == name]
        where = f"{script}:{lines[-1]}" if lines else script
        found = f"the script fails: {type(error).__name__}: {first_line(error)}"
        raise common.UsageError(found, where=where, fix="mend it, or give its arguments behind --") from error
    finally:
        sys.argv, sys.path[:] = kept_arguments, kept_path


train.share_options(command, without=OF_TRAINING)
