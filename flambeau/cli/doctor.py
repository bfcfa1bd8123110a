"""`flambeau doctor`: what is wrong with anybody's PyTorch program that trains."""

from __future__ import annotations

import contextlib
import os
import runpy
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from flambeau.cli import common
from flambeau.cli.common import option
from flambeau.core.errors import UsageError, first_line
from flambeau.core.findings import Finding, Severity, has_errors

NAME = "doctor"


def command(
    script: Annotated[
        Path | None, typer.Argument(help="A Python program that trains with PyTorch.", show_default=False)
    ] = None,
    arguments: Annotated[list[str] | None, typer.Argument(help="Its own arguments, behind --.")] = None,
    steps: Annotated[int | None, option("Stop it after so many steps of its optimizer.", min=1)] = None,
    environment: Annotated[
        bool, typer.Option("--environment", help="Print what a report of a bug needs instead: it holds no path.")
    ] = False,
    json: common.Json = False,
) -> None:
    """Run any PyTorch program and tell what is wrong with its model, loss and training: probes in its first
    step, monitors on every tenth. Plain loops, Lightning and the Trainer of Hugging Face alike. Exit status 1 where
    errors are found.

    Example: `flambeau doctor train.py --steps 200 -- --batch-size 32`

    Example: `flambeau doctor --environment`
    """
    if environment:
        tell_environment(json)
        return
    if script is None:
        raise UsageError("which program?", expected="a Python file, or --environment", fix="see flambeau doctor --help")
    if not script.is_file():
        raise UsageError("there is no such program", where=script, expected="a Python file", code="not-found")
    from flambeau.diagnosis.loop import in_words
    from flambeau.diagnosis.program import Enough, Program

    program, failed = Program(script.resolve().parent, steps), None
    argv, path = sys.argv, sys.path[:]
    sys.argv, sys.path[0:0] = [str(script), *(arguments or [])], [str(program.folder)]
    try:
        with contextlib.redirect_stdout(sys.stderr) if json else contextlib.nullcontext(), program.watched():
            runpy.run_path(str(script.resolve()), run_name="__main__")
    except Enough:
        pass
    except SystemExit as end:
        if end.code not in (0, None) and not program.steps:
            raise UsageError(f"the program ended with status {end.code} before its first step", where=script) from end
    except Exception as error:  # noqa: BLE001 -- whatever the user's program raises
        traceback.print_exception(error)
        failed = error
    finally:
        sys.argv, sys.path[:] = argv, path
    findings = program.close()
    if failed is not None:
        at = traceback.extract_tb(failed.__traceback__)
        own = [frame for frame in at if frame.filename.startswith(str(program.folder))] or at[-1:]
        place = f"{os.path.relpath(own[-1].filename, program.folder)}:{own[-1].lineno}"
        told = f"the program stops with {type(failed).__name__}: {first_line(failed)}"
        findings.insert(
            0, Finding("program-fails", Severity.ERROR, told, [place], fix="see the lines of its own above")
        )
    elif not program.steps:
        raise UsageError("no optimizer made a step", where=script, expected="a program that trains with torch.optim")
    if json:
        common.emit({"steps": program.steps, "findings": [finding.to_dict() for finding in findings]})
    else:
        for finding in findings:
            for line in in_words(finding).splitlines():
                common.echo(line)
        common.echo(f"{len(findings) or 'no'} findings in {program.steps} steps of {script}")
    if has_errors(findings):
        raise typer.Exit(1)


def tell_environment(as_json: bool) -> None:
    """What a report of a bug needs of this machine."""
    from flambeau.cli import machine

    found = machine.facts()
    if as_json:
        common.emit(found)
        return
    for line in machine.lines(found):
        common.echo(line)
