"""Checks of corpora: what is planted is told with its place, and of clean texts nothing is."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from realdata.texts import novels as books

from flambeau.core.findings import Finding
from flambeau.data.dataset import Dataset
from flambeau.fields import Corpus
from flambeau.fields.language.alphabets import train_subwords

WORDS = """
the of and to in is that it was for on are as with they at be this from have or by one had not but what all
were when we there can an your which their said if do will each about how up out them then she many some so these would
other into has more her two like him see time could no make than first been its who now people my made over did
down"""


def story(seed: int, words: int = 120) -> str:
    chosen = random.Random(seed).choices(WORDS.split(), k=words)
    return "\n".join(" ".join(chosen[i : i + 12]) for i in range(0, words, 12))


def findings_of(texts: Sequence[Any], held_out: Sequence[int] = (), **settings: Any) -> dict[str, Finding]:
    split = ["valid" if row in held_out else "train" for row in range(len(texts))]
    data = Dataset({"text": [*texts]}, inputs=["text"], split=split if held_out else "none",
                   fields={"text": Corpus(**settings)})  # fmt: skip
    return {finding.check: finding for finding in data.check() if finding.check != "nothing-held-out"}


def test_of_clean_texts_nothing_is_told() -> None:
    assert findings_of([story(seed) for seed in range(60)], held_out=[3, 30, 58]) == {}


def test_a_secret_is_named_by_its_kind_and_line_and_never_printed() -> None:
    texts = [story(seed) for seed in range(40)]
    texts[7] += "\nmail jane@chawton.org or harriet@highbury.net"
    texts[9] += "\n" + "AKIA" + "J7Q2XW9ZP4LM6N3B"
    data = Dataset({"text": texts}, inputs=["text"], split="none", fields={"text": Corpus()})
    told = [finding for finding in data.check() if finding.check == "secrets"]
    assert [str(one).partition(";")[0] for one in told] == [
        "warning: 1 API key or password in 1 text (line 11 of row 9)",
        "note: 2 e-mail addresses in 1 text (line 11 of row 7)",
    ]
    assert not any(part in str([one.to_dict() for one in told]) for part in ("jane", "harriet", "AKIA", "J7Q2"))


def test_lines_of_many_texts_and_damage_and_copies_are_told() -> None:
    texts = [story(seed) for seed in range(50)]
    for row in range(0, 50, 2):
        texts[row] += "\nCopyright of the Highbury Gazette, all rights reserved"
    texts[3], texts[5], texts[9] = "\ufffd" + texts[3], texts[5] + "\nthe cafÃ© was empty", "  \n "
    texts[11] = texts[13] + "\nand"
    found = findings_of(texts)
    assert found.keys() == {"boilerplate", "lost-characters", "mojibake", "empty", "near-duplicate"}
    assert "'Copyright of the Highbury Gazette, all rights reserved' is in 25" in found["boilerplate"].message
    assert found["boilerplate"].rows == [*range(0, 50, 2)] and found["mojibake"].rows == [5]
    assert sorted(found["near-duplicate"].rows) == [11, 13]


def test_what_of_held_out_texts_stands_in_training_texts_is_told() -> None:
    """One quotes a third of another; of one a half is another's, in lines that end elsewhere."""
    texts = [story(seed) for seed in range(40)]
    texts[2] += texts[30][:200]
    texts[4] = texts[31][:400].replace("\n", "  ") + texts[4]
    found = findings_of(texts, held_out=[2, 4, 6, 8])
    contaminated = found["contamination"]
    assert contaminated.rows == [4, 2]
    share = 600 / sum(len(texts[row]) for row in (2, 4, 6, 8))
    assert f"{share:.1%}"[:2] in contaminated.message and "what is in row 4 is in row 31" in contaminated.message
    assert contaminated.places[0].startswith("row 4 (4")


def test_a_tokeniser_of_another_language_is_told(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(train_subwords([story(seed) for seed in range(200)], 600), "utf-8")
    chinese = ["天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏" * 5 + str(seed) for seed in range(30)]
    mixed = [story(seed) for seed in range(60)] + chinese
    told = findings_of(mixed, tokens=f"hf:{tmp_path}")["tokens-per-byte"]
    assert told.rows[0] == 60 and "1.00 tokens for each of their bytes" in told.message
    assert "tokens-per-byte" not in findings_of(mixed, tokens="bpe")
    assert "tokens-per-byte" not in findings_of(chinese, tokens="bytes")


def test_a_context_that_does_not_suit_is_told() -> None:
    texts = [story(seed, 20 if seed % 10 else 200) for seed in range(60)]
    told = findings_of(texts, tokens="bytes", context=200)["longer-than-context"]
    assert told.rows == [*range(0, 60, 10)] and "(10%) longer than the context of 200 tokens" in told.message
    assert "shorter-than-context" in findings_of(texts, tokens="bytes", context=8192)
    assert not {"longer-than-context", "shorter-than-context"} & {*findings_of(texts, tokens="bytes", context=1000)}


def test_chats_are_read_as_texts() -> None:
    chats = [[{"role": "user", "content": story(seed, 12)}, {"role": "assistant", "content": story(99 - seed, 12)}]
             for seed in range(40)]  # fmt: skip
    chats[5][1]["content"] = "Call me: +44 20 7946 0958"
    found = findings_of(chats, held_out=[3])
    assert found.keys() == {"secrets"} and found["secrets"].places == ["line 3 of row 5"]


@pytest.mark.network
def test_novels_are_clean(realdata: Callable[[str], Path]) -> None:
    realdata("r-cran-janeaustenr")
    novels = [*books().values()]
    assert findings_of(novels, held_out=[0]) == {}
    chapters = [part for novel in novels for part in novel.split("\n\nCHAPTER ") if part.strip()]
    assert not {*findings_of(chapters, held_out=[3, 70])} - {"extreme-length"}


def test_tokens_are_counted_as_the_whole_text_will_be_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [story(seed, 20 if seed % 4 else 80) for seed in range(60)]  # a quarter have some 350 characters
    assert "longer-than-context" in findings_of(texts)
    monkeypatch.setattr("flambeau.fields.corpus.FEW", 5_000)  # of so much text pieces of words are taken
    assert "longer-than-context" not in findings_of(texts)
