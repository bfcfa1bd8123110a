"""`flambeau`: the command, its exit statuses and how it tells errors."""

from __future__ import annotations

import signal
import sys
from types import FrameType

import click
import typer

from flambeau.cli import check, demo, evaluate, models, predict, report, resume, runs, serve, train
from flambeau.cli.common import emit
from flambeau.core.errors import FlambeauError
from flambeau.version import __version__

BAD_INPUT, BUG = 2, 70

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
    """Exit status: 0 good, 1 `check` found errors, 2 usage or bad input, 130 Ctrl-C, 143 SIGTERM."""


for verb in (demo, check, train, resume, evaluate, predict, report, runs, models, serve):
    app.command(verb.NAME)(verb.command)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main(arguments: list[str] | None = None) -> None:
    """Runs the command and exits with its status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    signal.signal(signal.SIGTERM, _terminate)  # outside the training loop, which saves first
    sys.exit(run(arguments))


def run(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    from flambeau.training.interrupts import Interrupted

    as_json = "--json" in arguments
    try:
        status = app(args=arguments, standalone_mode=False, prog_name="flambeau")
        return status if isinstance(status, int) else 0
    except Interrupted as error:
        _tell(error, as_json)
        return 128 + error.signal_number
    except FlambeauError as error:
        _tell(error, as_json)
        return BAD_INPUT
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        if as_json:
            emit({"error": error.format_message()})
        error.show()
        return BAD_INPUT
    except (KeyboardInterrupt, click.exceptions.Abort):
        sys.stderr.write("\nstopped\n")
        return 128 + signal.SIGINT


def _tell(error: FlambeauError, as_json: bool) -> None:
    if as_json:
        emit(
            {
                "error": str(error),
                "found": error.found,
                "where": error.where,
                "expected": error.expected,
                "fix": error.fix,
            }
        )
    sys.stderr.write(f"flambeau: {error}\n")


if __name__ == "__main__":
    main()
