"""EDA: what each change does to texts, what it never does, and where synonyms come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import flambeau as fb
from flambeau.core.errors import DataError, UsageError
from flambeau.fields import Ragged, Text
from flambeau.fields.language.eda import EDA
from flambeau.fields.language.synonyms import find_wordnet, read_synonyms, synonym_table

WORDS = ["<pad>", "<unk>", "good", "fine", "film", "movie", "the", "was"]
TABLE = synonym_table({"good": ["fine"], "fine": ["good"], "film": ["movie"], "movie": ["film"]}, WORDS)
LENGTHS = [6, 3, 1]


def texts(repeat: int = 50) -> Ragged:
    rows = [[6, 4, 7, 2, 5, 3], [6, 4, 7], [2]] * repeat
    values = torch.tensor([row + [0] * (6 - len(row)) for row in rows])
    return Ragged(values, torch.tensor([len(row) for row in rows]))


def changed(given: Ragged, seed: int = 0, fixed: torch.Tensor | None = None, **shares: Any) -> list[list[int]]:
    still = None if fixed is None else torch.isin(given.values, fixed)
    out = EDA(**shares)(given, torch.Generator().manual_seed(seed), TABLE, still)
    assert (out.values[torch.arange(out.values.shape[1]) >= out.lengths[:, None]] == 0).all(), "zeros behind the end"
    return [row[:n] for row, n in zip(out.values.tolist(), out.lengths.tolist(), strict=True)]


def plain(given: Ragged) -> list[list[int]]:
    return [row[:n] for row, n in zip(given.values.tolist(), given.lengths.tolist(), strict=True)]


def test_synonyms_take_the_place_of_words() -> None:
    pairs = {2: 3, 3: 2, 4: 5, 5: 4}
    replaced = total = 0
    for before, after in zip(plain(texts()), changed(texts(), synonyms=0.5), strict=True):
        assert len(before) == len(after)
        for one, other in zip(before, after, strict=True):
            assert other in (one, pairs.get(one)), "a word becomes its synonym or stays"
            total += one in pairs
            replaced += one != other
    assert 0.35 < replaced / total < 0.65


def test_deletion_leaves_the_rest_in_order_and_one_at_least() -> None:
    lengths = 0
    for before, after in zip(plain(texts()), changed(texts(), deletion=0.5), strict=True):
        rest = iter(before)
        assert after and all(word in rest for word in after), "a part of the text, in its order"
        lengths += len(after)
    assert 0.4 < lengths / sum(map(len, plain(texts()))) < 0.7


def test_a_swap_keeps_every_word() -> None:
    pairs = list(zip(plain(texts()), changed(texts(), swap=0.5), strict=True))
    assert all(sorted(before) == sorted(after) for before, after in pairs)
    assert sum(before != after for before, after in pairs) > 40


def test_insertion_puts_synonyms_between() -> None:
    longer = 0
    for before, after in zip(plain(texts()), changed(texts(), insertion=0.5), strict=True):
        rest = iter(after)
        assert all(word in rest for word in before), "the text is still there, in its order"
        assert set(after) - set(before) <= {2, 3, 4, 5}
        longer += len(after) - len(before)
    assert longer > 50


def test_tokens_that_a_tokeniser_adds_stay_where_they_are() -> None:
    shares = {"synonyms": 0.5, "insertion": 0.5, "swap": 0.5, "deletion": 0.5}
    rows = [[1, 4, 2, 5, 7], [1, 2, 7]] * 50
    given = Ragged(torch.tensor([row + [0] * (5 - len(row)) for row in rows]), torch.tensor([len(r) for r in rows]))
    for after in changed(given, fixed=torch.tensor([1, 7]), **shares):
        assert after[0] == 1 and after[-1] == 7 and len(after) > 2


def test_nothing_is_drawn_but_from_the_generator() -> None:
    shares = {"synonyms": 0.2, "insertion": 0.2, "swap": 0.2, "deletion": 0.2}
    torch.manual_seed(0)
    first = changed(texts(), 5, **shares)
    torch.manual_seed(1)
    assert first == changed(texts(), 5, **shares) != changed(texts(), 6, **shares)


def test_a_dictionary_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "synonyms.json"
    file.write_text(json.dumps({"good": ["fine", "unheard"], "rare": ["good"]}), encoding="utf-8")
    table, count = synonym_table(read_synonyms(file), WORDS)
    assert count.tolist() == [0, 0, 1, 0, 0, 0, 0, 0] and table[2, 0] == 3
    for text, told in (("{", "not JSON"), ('["good"]', "list of words"), ('{"good": "fine"}', "list of words")):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=told):
            read_synonyms(file)
    with pytest.raises(DataError, match="no such dictionary"):
        read_synonyms(tmp_path / "missing.json")
    with pytest.raises(DataError, match="none of WordNet's files"):
        read_synonyms(tmp_path)


@pytest.mark.network
def test_wordnet(realdata: Any) -> None:
    from realdata.texts import wordnet

    realdata("wordnet-base")
    synonyms = read_synonyms(wordnet())
    assert {"movie", "film"} <= {*synonyms["picture"]} and "picture" in synonyms["film"]
    assert len(synonyms) > 20_000 and not any("_" in word for word in synonyms)


def test_what_does_not_fit_is_told() -> None:
    for bad in ({"synonyms": 1.5}, {"swap": -0.1}, {"swap": "much"}):
        with pytest.raises(UsageError, match="a share of the tokens"):
            EDA(**bad)
    with pytest.raises(UsageError, match="did you mean 'deletion'"):
        Text(augment={"delete": 0.1})
    field = Text("characters", min_count=1, augment={"synonyms": 0.1, "dictionary": "missing.json"})
    field.fit(["some text", "another text"])
    with pytest.raises(DataError, match=r"missing\.json"):
        field.prepare(Ragged(torch.ones(1, 2), torch.tensor([2])), True, torch.Generator())


def test_only_training_texts_are_changed(tmp_path: Path) -> None:
    file = tmp_path / "synonyms.json"
    file.write_text(json.dumps({"good": ["fine"], "fine": ["good"]}), encoding="utf-8")
    rows = [f"a {word} film with a fine plot of {day} days" for day in range(40) for word in ("good", "poor")]
    data = fb.Dataset({"text": rows, "label": ["y", "n"] * 40}, target="label")
    augment = {"synonyms": 0.5, "deletion": 0.3, "dictionary": str(file)}
    learner = fb.Learner(data, augment=augment, epochs=1, run=False, quiet=True).build()
    field = learner.data.fields["text"]
    assert field.random and any("deletion 0.3" in why for why in learner.recipe.reasons)
    encoded = Ragged(torch.tensor([field.encode(rows[0]).tolist()] * 20), torch.full((20,), 10))
    assert field.prepare(encoded).values.equal(encoded.values)
    assert not field.prepare(encoded, True, torch.Generator().manual_seed(0)).values.equal(encoded.values)
    asked = fb.Learner(data, augment="light", epochs=1, run=False, quiet=True).build().data.fields["text"].augmentation
    assert asked.deletion == asked.swap == 0.05
    assert asked.synonyms == (0.05 if find_wordnet() else 0.0)
    assert fb.Learner(data, epochs=1, run=False, quiet=True).build().data.fields["text"].augmentation is None
