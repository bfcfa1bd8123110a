"""The words of the report, in each language that it speaks. Numbers are put in by `str.format`."""

from __future__ import annotations

import functools
import re
import tomllib
from importlib.resources import files
from typing import Any

from flambeau.core.errors import UsageError, nearest
from flambeau.core.findings import Finding

LOOKED_AT = r"(?: \([\d,]+ of [\d,]+ rows looked at\))?"


@functools.cache
def languages() -> dict[str, dict[str, dict[str, str]]]:
    """The tables of each language, `words` and others, as its file in `languages` has them."""
    found = (files("flambeau.report") / "languages").iterdir()
    return {
        file.name.removesuffix(".toml"): tomllib.loads(file.read_text(encoding="utf-8"))
        for file in sorted(found, key=lambda file: file.name)
    }


def _sayings(tables: dict[str, dict[str, str]]) -> dict[str, str]:
    """Sentences that other parts of the library write, by pattern, and what they are in a language."""
    found = {}
    for kind, name in tables.get("kinds", {}).items():
        for why, said in tables["reasons"].items():
            behind = said.replace(r"\2", r"\3").replace(r"\1", r"\2")  # the column comes first
            found[rf"(.+) is {kind}: {why}{LOOKED_AT}"] = rf"\g<1>：{name}，{behind}"
    return found | tables.get("sentences", {})


class Words:
    """Looks sentences up: `words("title", name="photos")`.

    Raises:
        UsageError: the report does not speak the language.
    """

    def __init__(self, language: str = "en"):
        if language not in languages():
            raise UsageError(f"the report does not speak '{language}'", fix=nearest(language, languages()))
        tables = languages()[language]
        self.language, self._table = language, tables["words"]
        self._checks, self._fixes, self._sayings = tables.get("checks", {}), tables.get("fixes"), _sayings(tables)

    def __call__(self, key: str, **values: Any) -> str:
        template = self._table[key]
        return template.format(**values) if values else template

    def __contains__(self, key: str) -> bool:
        return key in self._table

    def say(self, sentence: str) -> str:
        """A sentence of another part of the library, such as why a setting is what it is; one that the language does
        not have stays as it is."""
        for pattern, template in self._sayings.items():
            if match := re.fullmatch(pattern, sentence, re.DOTALL):
                return match.expand(template)
        return sentence

    def finding(self, finding: Finding) -> str:
        """What was found: in English as the check says it, else in the words for this check, with the names in it."""
        sentence = self._checks.get(finding.check.removeprefix("near-"))
        if sentence is None:
            return finding.message.rstrip(" .")
        if finding.check.startswith("near-"):
            sentence = self("check.near", what=sentence)
        names = list(dict.fromkeys(re.findall(r"'([^']+)'", finding.message)))[:3]
        sentence += self("check.count", count=finding.count) if finding.count else ""
        return sentence + (self("check.names", names=self("listed").join(names)) if names else "")

    def fix(self, finding: Finding) -> str:
        """What to do about it; empty where the language has no words for that."""
        if self._fixes is None:
            return finding.fix
        check = finding.check.removeprefix("near-")
        return self._fixes.get(f"{check}:{finding.severity}", self._fixes.get(check, ""))

    def metric(self, name: str) -> str:
        """A metric in a table or a sentence: without what its name says to explain it."""
        return re.split(": |：", self.name("metric", name))[0]

    def name(self, group: str, name: str) -> str:
        """The word for a name such as a metric's; a user's own names stay as they are."""
        return self._table.get(f"{group}.{name}", name)
