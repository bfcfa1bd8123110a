"""Settings as they are typed on a command line."""

from __future__ import annotations

import re
from typing import Any

from flambeau.core.errors import UsageError
from flambeau.core.files import parse_yaml


def parse_setting(text: str) -> tuple[str, Any]:
    """`key=value` from a command line; the value is read as YAML.

    >>> parse_setting("training.epochs=3"), parse_setting("precision=bf16")
    (('training.epochs', 3), ('precision', 'bf16'))

    Raises:
        UsageError: there is no equals sign.
    """
    # the first equals sign that is in no quoted name
    match = re.match(r"""((?:"[^"]*"|'[^']*'|[^="'])+)=(.*)""", text, re.DOTALL)
    if match is None:
        raise UsageError(f"'{text}' is not a setting", expected="key=value, such as batch_size=64")
    name, value = match.groups()
    number = _as_number(value)
    try:
        return name.strip(), parse_yaml(value) if number is None else number
    except ValueError as error:
        raise UsageError(
            f"the value of '{text}' is not YAML ({error})", expected="a number, a word, or a list [1, 2]"
        ) from None


def _as_number(text: str) -> float | int | None:
    # YAML 1.1 takes 1e-3 for text
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return None
