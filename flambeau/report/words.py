"""The words of the report, in each language that it speaks. Numbers are put in by `str.format`."""

from __future__ import annotations

import re
from typing import Any

from flambeau.core.errors import UsageError, nearest
from flambeau.core.findings import Finding
from flambeau.report.chinese import CHINESE
from flambeau.report.chinese_sayings import CHECKS, FIXES, SENTENCES
from flambeau.report.english import ENGLISH

LANGUAGES: dict[str, dict[str, str]] = {"en": ENGLISH, "zh-CN": CHINESE}
SAYINGS = {"zh-CN": SENTENCES}
"""Patterns of sentences that other parts of the library write, and what they are in a language."""


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

    def say(self, sentence: str) -> str:
        """A sentence of another part of the library, such as why a setting is what it is; one that the language does
        not have stays as it is."""
        for pattern, template in SAYINGS.get(self.language, ()):
            if match := re.fullmatch(pattern, sentence, re.DOTALL):
                return match.expand(template)
        return sentence

    def finding(self, finding: Finding) -> str:
        """What was found: in English as the check says it, else in the words for this check, with the names in it."""
        sentence = CHECKS.get(finding.check.removeprefix("near-"))
        if self.language == "en" or sentence is None:
            return finding.message.rstrip(" .")
        if finding.check.startswith("near-"):
            sentence = self("check.near", what=sentence)
        names = list(dict.fromkeys(re.findall(r"'([^']+)'", finding.message)))[:3]
        sentence += self("check.count", count=finding.count) if finding.count else ""
        return sentence + (self("check.names", names=self("listed").join(names)) if names else "")

    def fix(self, finding: Finding) -> str:
        """What to do about it; empty where the language has no words for that."""
        check = finding.check.removeprefix("near-")
        return finding.fix if self.language == "en" else FIXES.get(f"{check}:{finding.severity}", FIXES.get(check, ""))

    def metric(self, name: str) -> str:
        """A metric in a table or a sentence: without what its name says to explain it."""
        return re.split(": |：", self.name("metric", name))[0]

    def name(self, group: str, name: str) -> str:
        """The word for a name such as a metric's; a user's own names stay as they are."""
        return self._table.get(f"{group}.{name}", name)
