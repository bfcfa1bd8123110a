"""The words of the report, in each language that it speaks. Numbers are put in by `str.format`."""

from __future__ import annotations

from typing import Any

from flambeau.core.errors import UsageError, nearest
from flambeau.report.chinese import CHINESE
from flambeau.report.english import ENGLISH

LANGUAGES: dict[str, dict[str, str]] = {"en": ENGLISH, "zh-CN": CHINESE}


class Words:
    """Looks sentences up: `words("title", name="photos")`.

    Raises:
        UsageError: the report does not speak the language.
    """

    def __init__(self, language: str = "en"):
        if language not in LANGUAGES:
            raise UsageError(f"the report does not speak '{language}'", fix=nearest(language, LANGUAGES))
        self.language = language
        self._table = LANGUAGES[language]

    def __call__(self, key: str, **values: Any) -> str:
        template = self._table[key]
        return template.format(**values) if values else template

    def name(self, group: str, name: str) -> str:
        """The word for a name such as a metric's; a user's own names stay as they are."""
        return self._table.get(f"{group}.{name}", name)
