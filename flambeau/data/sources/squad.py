"""Questions with their answers in paragraphs, as SQuAD has them: `{"data": [{"paragraphs": [{"context", "qas"}]}]}`.

Rajpurkar, Jia, Liang, "Know what you don't know: unanswerable questions for SQuAD" (2018), arXiv:1806.03822.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from flambeau.core.errors import DataError, first_line
from flambeau.core.files import ODD, read_bytes
from flambeau.data.dataset import Dataset
from flambeau.data.sources.base import SOURCES, Source, described
from flambeau.data.split import LEAST, Split
from flambeau.fields import Answer, Field, Text
from flambeau.fields.answer import READ

HEAD = 1 << 16  # bytes in which the first paragraph begins


def from_squad(
    path: str | Path, *, fields: Mapping[str, Field] | None = None, split: Split | str = "auto"
) -> Dataset:  # fmt: skip
    """A row for each question: its paragraph, the question and its answers, none where the paragraph does not say.

    Args:
        split: as for `Dataset`; by auto all questions about a paragraph are in one part, where there are ten or more.

    Raises:
        DataError: it is no such file; it names the place.
    """
    file = Path(path)
    if not file.exists():
        raise DataError("there is no such file", where=path, code="not-found")
    try:
        articles = json.loads(read_bytes(file).decode("utf-8-sig"))["data"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"this is no SQuAD ({first_line(error)})", where=path, expected='{"data": […]}') from None
    columns: dict[str, list[Any]] = {"context": [], "question": [], "answer": [], "paragraph": []}
    places: list[str] = []
    number = 0
    try:
        for article in articles:
            for paragraph in article.get("paragraphs", ()):
                number += 1
                for question in paragraph.get("qas", ()):
                    place = str(question.get("id") or f"question {len(places) + 1}")
                    if not isinstance(paragraph.get("context"), str) or not isinstance(question.get("question"), str):
                        raise DataError("a text is missing", where=f"{path}, {place}", expected="context and question")
                    answers = [] if question.get("is_impossible") else question.get("answers") or []
                    columns["context"].append(paragraph["context"])
                    columns["question"].append(question["question"])
                    gold = [{"text": one.get("text", ""), "start": one.get("answer_start")} for one in answers]
                    columns["answer"].append(gold)
                    columns["paragraph"].append(number)
                    places.append(place)
    except ODD as error:
        raise DataError(f"this is no SQuAD ({first_line(error)})", where=f"{path}, question {len(places) + 1}",
                        expected="articles with paragraphs, context and qas") from None  # fmt: skip
    if not places:
        raise DataError("there are no questions", where=path)
    how = Split.of(split)
    source = described("squad", file, fields=fields, split=how)
    if how.method == "auto" and how.by is None and how.folds is None and number >= LEAST:
        how = replace(how, method="grouped", by="paragraph")
    kinds: dict[str, Field] = {"context": Text(max_length=READ), "question": Text(max_length=READ), "answer": Answer()}
    return Dataset(columns, inputs=["context", "question"], target="answer", fields={**kinds, **(fields or {})},
                   split=how, source=source, keys=places, places=places.__getitem__)  # fmt: skip


@SOURCES.register("squad")
class SquadSource(Source):
    """Questions about paragraphs."""

    of, sign = "questions about paragraphs", "a JSON file as SQuAD has them"
    read = staticmethod(from_squad)

    @staticmethod
    def claims(path: Path, options: Mapping[str, Any]) -> float:
        if path.suffix.lower() != ".json" or not path.is_file():
            return 0.0
        try:
            with path.open("rb") as file:
                return 0.95 * (b'"paragraphs"' in file.read(HEAD))
        except OSError:
            return 0.0
