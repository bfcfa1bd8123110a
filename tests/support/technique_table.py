"""The table of the page on techniques, out of their docstrings; as a script it writes the table into the page.

PYTHONPATH=. python tests/support/technique_table.py
"""

from __future__ import annotations

import re
from pathlib import Path

from flambeau.techniques.described import Description, all_described

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "techniques.md"
HEAD = "| technique | what it does | costs | paper |\n|---|---|---|---|\n"


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def options(description: Description) -> str:
    """As they are written behind the name, each with its default."""
    return "".join(f" {name}={default}" for name, default in description.options.items())


def table() -> str:
    """A row for each technique."""
    rows = [(f"`{d.name}{options(d)}`", d.what, f"{d.costs} {d.gain}".strip(), d.paper) for d in all_described()]
    return HEAD + "".join(f"| {' | '.join(map(cell, row))} |\n" for row in rows)


def with_table(page: str) -> str:
    """A page with the table in the place of the one that it has."""
    return re.sub(re.escape(HEAD) + r"(\|.*\n)*", lambda _: table(), page)


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
