"""For the reference of the Python names: examples of docstrings as blocks of code."""

from __future__ import annotations

from typing import Any

import griffe


def fenced(text: str) -> str:
    """A docstring whose doctests, from a prompt to the next empty line, are fenced.

    >>> fenced(">>> 1 + 1\\n2").splitlines()
    ['```pycon', '>>> 1 + 1', '2', '```']
    """
    inside, lines = False, []
    for line in text.splitlines():
        prompt = line.lstrip().startswith(">>> ")
        if prompt and not inside:
            lines.append("```pycon")
        elif inside and not line.strip():
            lines.append("```")
        inside = bool(line.strip()) and (inside or prompt)
        lines.append(line)
    return "\n".join([*lines, *["```"] * inside])


class Doctests(griffe.Extension):
    """Fences the doctests of every docstring."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)
