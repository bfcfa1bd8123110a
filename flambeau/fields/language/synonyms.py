"""Synonyms of words: from WordNet's files, or from a dictionary of the user's own."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from flambeau.core.errors import DataError

WORDNET = ("/usr/share/wordnet", "/usr/local/WordNet-3.0/dict", "/usr/local/share/wordnet")
"""Where its installers leave WordNet's files (https://wordnet.princeton.edu)."""
PARTS = ("noun", "verb", "adj", "adv")
MOST = 8  # synonyms of a word that are kept


def find_wordnet() -> Path | None:
    """The folder of an installed WordNet."""
    return next((Path(folder) for folder in WORDNET if (Path(folder) / "data.noun").is_file()), None)


def read_synonyms(source: str | Path) -> dict[str, list[str]]:
    """Synonyms by word.

    Args:
        source: a folder with WordNet's data.noun, data.verb, data.adj and data.adv; or a JSON file, `{"word":
            ["synonym", …], …}`.

    Raises:
        DataError: it is neither.
    """
    path = Path(source)
    if path.is_dir():
        return _from_wordnet(path)
    try:
        dictionary = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        expected = "a folder of WordNet, or a JSON file of words and their synonyms"
        raise DataError("there is no such dictionary", where=source, expected=expected, code="not-found") from None
    except ValueError as error:
        raise DataError(f"the dictionary is not JSON ({error})", where=source) from None
    if not isinstance(dictionary, Mapping) or not all(
        isinstance(words, list) and all(isinstance(word, str) for word in words) for words in dictionary.values()
    ):
        raise DataError("the dictionary does not give a list of words for each", where=source,
                        expected='{"word": ["synonym", …], …}')  # fmt: skip
    return dict(dictionary)


def _from_wordnet(folder: Path) -> dict[str, list[str]]:
    """Words that share a synset, the most frequent senses first; of single words only."""
    synonyms: dict[str, dict[str, None]] = defaultdict(dict)
    files = [file for part in PARTS if (file := folder / f"data.{part}").is_file()]
    if not files:
        raise DataError("the folder has none of WordNet's files", where=folder, expected="data.noun, data.verb, …")
    for file in files:
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            cells = line.split(" ")
            if line.startswith("  ") or len(cells) < 6:  # the licence stands above
                continue
            count = int(cells[3], 16)
            words = [word.split("(")[0].lower() for word in cells[4 : 4 + 2 * count : 2] if "_" not in word]
            for word in words:
                synonyms[word].update(dict.fromkeys(other for other in words if other != word))
    return {word: list(others) for word, others in synonyms.items() if others}


def synonym_table(synonyms: Mapping[str, Sequence[str]], vocabulary: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Numbers of the synonyms of each word of a vocabulary: int64 (V, 8), 0 where there are fewer, and how many (V)."""
    number = {word: i for i, word in enumerate(vocabulary)}
    table = torch.zeros(len(vocabulary), MOST, dtype=torch.int64)
    count = torch.zeros(len(vocabulary), dtype=torch.int64)
    for word, others in synonyms.items():
        if (row := number.get(word)) is None:
            continue
        known = [number[other] for other in others if other in number][:MOST]
        table[row, : len(known)] = torch.tensor(known, dtype=torch.int64)
        count[row] = len(known)
    return table, count
