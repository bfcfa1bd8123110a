from __future__ import annotations

from string import Formatter

from flambeau.report.words import LANGUAGES


def placeholders(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name}


def test_every_language_has_every_sentence_with_the_same_numbers_in_it():
    english = LANGUAGES["en"]
    for table in LANGUAGES.values():
        assert table.keys() == english.keys()
        for key, template in table.items():
            assert placeholders(template) == placeholders(english[key]), key
