"""Settings as they are typed on a command line."""

from __future__ import annotations

import math
import re
from typing import Any

from flambeau.core.errors import UsageError
from flambeau.core.files import parse_yaml


def parse_part(text: str, what: str = "part") -> tuple[str, dict[str, Any]]:
    """A part by its name and its settings: `step every=0.25`.

    Args:
        what: it is, as an error names it.

    >>> parse_part("mixup alpha=0.4"), parse_part("clip")
    (('mixup', {'alpha': 0.4}), ('clip', {}))

    Raises:
        UsageError: there is no name, or a setting without a value.
    """
    name, *settings = re.split(r"\s+(?=\S+=)", text.strip())  # a value may hold spaces, as a list does
    if not re.fullmatch(r"\S+", name) or "=" in name:
        raise UsageError(f"'{text}' is no {what}", expected="a name, then its settings, such as 'mixup alpha=0.4'")
    return name, dict(parse_setting(setting) for setting in settings)


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
    if number is not None and not math.isfinite(number):  # which no recipe can hold
        raise UsageError(f"'{text}' is no setting: {value.strip()} is not finite", expected="a number that is")
    try:
        return name.strip(), parse_yaml(value) if number is None else number
    except ValueError as error:
        raise UsageError(
            f"the value of '{text}' is not YAML ({error})", expected="a number, a word, or a list [1, 2]"
        ) from None


def fraction(value: float | str) -> float:
    """A number that may be written as a fraction.

    >>> fraction("8/255") == 8 / 255, fraction("0.1"), fraction(2)
    (True, 0.1, 2.0)

    Raises:
        UsageError: it is none.
    """
    try:
        above, _, below = str(value).partition("/")
        return float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"'{value}' is no number", expected="such as 0.03 or 8/255") from None


def _as_number(text: str) -> float | int | None:
    # YAML 1.1 takes 1e-3 for text
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return None
