"""`flambeau`: the command, its exit statuses and how it tells errors."""

from __future__ import annotations

import inspect
import io
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any

import typer

from flambeau.cli import (
    ablate,
    attack,
    augment,
    bench,
    board,
    check,
    clean,
    compare,
    completion,
    convert,
    cv,
    dataset,
    demo,
    deploy,
    doctor,
    embed,
    encode,
    ensemble,
    evaluate,
    explain,
    export,
    find_lr,
    generate,
    interpolate,
    jobs,
    memory,
    merge,
    models,
    predict,
    profile,
    reconstruct,
    report,
    resume,
    runs,
    serve,
    stress,
    techniques,
    train,
    tune,
    watch,
)
from flambeau.cli.common import Ended, emit
from flambeau.core import hints, plugins
from flambeau.core.errors import UNKNOWN_NAME, FlambeauError, UsageError, first_line
from flambeau.core.printable import printable
from flambeau.version import __version__

BAD_INPUT, BUG = 2, 70
EPILOG = "`--plugin FILE`, more than once too: a Python file whose parts are known by name then."
MOST_SHOWN = 65  # characters of a verb's line in the list of them, in a terminal of 80
STOPPING = (signal.SIGINT, signal.SIGTERM)

app = typer.Typer(
    name="flambeau",
    help="Labelled data through the whole working life of a model: check, train, evaluate, predict, serve.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"flambeau {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Exit status: 0 good, 1 `check` found errors, 2 usage or bad input, 130 Ctrl-C, 143 SIGTERM.

    Every verb takes `--plugin FILE`: a Python file whose parts (techniques, models, fields, …) are known by name then.
    """


def first_sentence(command: Callable[..., None]) -> str:
    """What a command does, in a line of the list of all commands."""
    said = " ".join((inspect.getdoc(command) or "").split("\n\n")[0].split())
    said = re.split(r"(?<=\w)[.:;] ", said)[0].rstrip(".")
    while len(said) > MOST_SHOWN and ", " in said:
        said = said.rpartition(", ")[0]
    return said


for verb in (
    # from data to answers, then what improves a model, then what there is
    demo,
    check,
    train,
    convert,
    doctor,
    resume,
    evaluate,
    stress,
    compare,
    predict,
    explain,
    generate,
    interpolate,
    reconstruct,
    encode,
    report,
    board,
    export,
    bench,
    serve,
    watch,
    dataset,
    deploy,
    find_lr,
    tune,
    cv,
    clean,
    augment,
    ablate,
    attack,
    ensemble,
    merge,
    embed,
    profile,
    memory,
    runs,
    models,
    techniques,
    jobs,
    completion,
):
    app.command(verb.NAME, epilog=EPILOG, short_help=first_sentence(verb.command))(verb.command)


# the base of the command line's own errors: click's, or in newer versions of typer that of its copy of click
COMMAND_LINE_ERROR: type[Exception] = typer.BadParameter.__mro__[2]


def _stop(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main(arguments: list[str] | None = None) -> None:
    """Runs the command and exits with its status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # before torch is imported: threads that spin long while they wait for one another cost many times their gain where
    # other programs want the processors too (a step of 2.6 ms took 440); ones that never spin are a third slower alone
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    for number in STOPPING:
        signal.signal(number, _stop)  # outside the training loop, which saves first
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for file names that are not UTF-8; JSON's escape too
    status = run(arguments)
    for number in STOPPING:  # all is said: one that comes while the interpreter ends shall not raise there
        signal.signal(number, signal.SIG_DFL)
    sys.exit(status)


def run(arguments: list[str]) -> int:
    """Runs the command; returns its exit status. Whatever goes wrong is told in one line on stderr."""
    as_json = "--json" in arguments
    try:
        if completion.VARIABLE in os.environ:  # a shell asks what may come next
            completion.listen()
        arguments = _with_plugins(arguments)
        status = app(args=arguments, standalone_mode=False, prog_name="flambeau")
    except SystemExit as error:
        status = error.code
    except Ended as end:
        return end.status
    except BrokenPipeError:
        return _pipe_closed()
    except typer.Abort:
        status = 128 + signal.SIGINT
    except COMMAND_LINE_ERROR as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()  # type: ignore[attr-defined]
            return BAD_INPUT
        return _tell(_usage(error), as_json, BAD_INPUT)
    except Exception as error:  # noqa: BLE001 -- told apart, and what is not expected is shown whole
        return _failed(error, as_json)
    stopped = {128 + number: number for number in STOPPING}.get(status)
    if stopped is not None:  # typer takes Ctrl-C for an exit
        _tell(FlambeauError(f"stopped by {signal.Signals(stopped).name}", code="stopped"), as_json, status)
    return status if isinstance(status, int) else 0


def _with_plugins(arguments: list[str]) -> list[str]:
    """Loads the files of `--plugin FILE`, which every verb takes; the other arguments.

    Raises:
        UsageError: there is no such file, or it fails.
    """
    others: list[str] = []
    given = iter(arguments)
    for argument in given:
        if argument == "--":  # what follows is another command's
            others += [argument, *given]
            break
        name, there, value = argument.partition("=")
        if name != "--plugin":
            others.append(argument)
        elif file := value if there else next(given, ""):
            plugins.load([file])
        else:
            raise UsageError("--plugin names no file", expected="--plugin FILE")
    return others


def _failed(error: Exception, as_json: bool) -> int:
    """Tells of an error by what kind it is; returns the exit status."""
    from flambeau.training.interrupts import Interrupted
    from flambeau.training.memory import is_out_of_memory
    from flambeau.training.processes import tells

    if not tells(error):
        return 128 + error.signal_number if isinstance(error, Interrupted) else BAD_INPUT
    if isinstance(error, Interrupted):
        return _tell(error, as_json, 128 + error.signal_number)
    if isinstance(error, FlambeauError):
        return _tell(error, as_json, BAD_INPUT)
    if is_out_of_memory(error):
        fix = "close other programs, or take smaller inputs, a smaller batch or a smaller model"
        told = FlambeauError(f"memory ran out ({first_line(error)})", fix=fix, code="out-of-memory")
        return _tell(told, as_json, BAD_INPUT)
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        reason = error.strerror[0].lower() + error.strerror[1:]
        told = FlambeauError(reason, where=error.filename, code="file-system")
        return _tell(told, as_json, BAD_INPUT)
    traceback.print_exception(error)
    if place := plugins.at_fault(error):
        told = UsageError(
            f"the plug-in fails: {type(error).__name__}: {first_line(error)}",
            where=place,
            fix="mend it",
            code="plugin-fails",
        )
        return _tell(told, as_json, BAD_INPUT)
    told = FlambeauError(
        f"this is a bug in flambeau {__version__}: {type(error).__name__}: {first_line(error)}",
        fix="please report it with the lines above and what `flambeau doctor --environment` prints",
        code="bug",
    )
    return _tell(told, as_json, BUG)


def _usage(error: Any) -> UsageError:
    message = error.format_message().strip().rstrip(".")
    context = getattr(error, "ctx", None)
    place = context.command_path if context is not None else "flambeau"
    option = getattr(error, "option_name", None)
    code: str | None = None
    if type(error).__name__ == "NoSuchOption" and isinstance(option, str):
        message, fix, code = f"no such option: {option}", _instead(option, context), UNKNOWN_NAME
    else:
        fix, code = None, UNKNOWN_NAME if message.startswith("No such command") else None
    return UsageError(message[:1].lower() + message[1:], fix=fix or f"see {place} --help", code=code)


def _instead(option: str, context: Any) -> str | None:
    """What to say in place of an option that a command has not: one that it has, or a setting of the recipe."""
    options = {o.lstrip("-").replace("-", "_"): o for p in context.command.params for o in p.opts if o.startswith("--")}
    answer = hints.unknown(option.lstrip("-"), [*options, *hints.SETTINGS])
    name = answer.split("'")[1] if answer.startswith("did") else None
    if name is None:
        return None
    if name in options:
        return f"did you mean {options[name]}?"
    return f"say --set {name}=…" if context.command.name in (train.NAME, find_lr.NAME, cv.NAME) else None


def _pipe_closed() -> int:
    """Whoever reads our output has enough of it (`flambeau models | head`): nothing more is to be said."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the last flush would fail again
    return 128 + signal.SIGPIPE


def _tell(error: FlambeauError, as_json: bool, status: int) -> int:
    if as_json:
        emit(error.to_dict())
    sys.stderr.write(f"flambeau: {printable(error)}\n")
    return status


if __name__ == "__main__":
    main()
