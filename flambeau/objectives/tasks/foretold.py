"""What a text goes on with: the text is its own target."""

from __future__ import annotations

from flambeau.objectives.tasks.base import Task


class Foretold(Task):
    """Tokens, each foretold from those before it."""

    rivals = "language"
