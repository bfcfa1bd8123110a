"""`flambeau completion`: what a shell needs to complete the command line."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

NAME = "completion"
VARIABLE = "_FLAMBEAU_COMPLETE"


class Shell(StrEnum):
    """Shells that are known."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def command(shell: Annotated[Shell, typer.Argument(help="bash, zsh or fish.", show_default=False)]) -> None:
    """Print the script that completes verbs and options in a shell.

    Example: `flambeau completion bash > ~/.local/share/bash-completion/completions/flambeau`

    Example: `flambeau completion zsh > ~/.zfunc/_flambeau`

    Example: `flambeau completion fish > ~/.config/fish/completions/flambeau.fish`
    """
    from typer.completion import get_completion_script

    script = get_completion_script(prog_name="flambeau", complete_var=VARIABLE, shell=shell.value)
    typer.echo(script)


def listen() -> None:
    """Lets the command line answer a shell that asks, by an environment variable, what may come next."""
    from typer.completion import completion_init

    completion_init()
