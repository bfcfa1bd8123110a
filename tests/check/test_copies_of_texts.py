"""Equal and nearly equal texts are found in a class, across classes and across the split; like subjects are not."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
from words import sentences

from flambeau.check.minhash import JACCARD, Shingling, near_duplicate_texts, shingling
from flambeau.core.findings import Finding
from flambeau.core.reporter import Bar
from flambeau.data.dataset import Dataset
from flambeau.fields import Category, Number, Text

CHINESE = [
    "样子蛮漂亮，女朋友很喜欢，对她来说性能也很好了。性价比很高。现在笔记本真是白菜价啊。",
    "很小巧漂亮，从到手开始装系统，测试，运行体验了一天电池性能还真不错！",
    "整体外观漂亮，散热性好，处理器速度也不错，改装系统也很容易，虽然个别功能会失效。",
    "总之，相同价格的酒店还有很多，其他同类酒店的设备和服务比这里好的多了，以后实在不会选择了。",
    "终于把这本书买到手了，封面很有感觉，书做得也很好，编辑们辛苦了，一定会好好收藏的。",
]


def checked(columns: dict[str, Any], split: Any = "none", **fields: Any) -> dict[str, Finding]:
    fields = fields or {"text": Text()}
    data = Dataset(columns, target="label", fields={**fields, "label": Category()}, split=split)
    return {f.check: f for f in data.check()}


def real(count: int) -> list[str]:
    """Sentences of at least 60 characters, no two of them copies."""
    distinct = {" ".join(s.lower().split()): s for s in sentences()[0] if 60 <= len(s) <= 300}
    return list(distinct.values())[:count]


def typo(text: str) -> str:
    place = len(text) // 2
    return text[:place] + "x" + text[place + 1 :]


def test_equal_but_for_capitals_spaces_and_widths() -> None:
    texts = [*real(20), "  Ｇｏｏｄ   FILM\tof the year", "good film of the Year\n"]
    findings = checked({"text": texts, "label": ["a", "b"] * 10 + ["a", "a"]})
    assert findings["duplicate"].rows == [20, 21]
    assert findings["duplicate"].places == ["row 20 = row 21"]


def test_copies_are_sorted_by_label_and_side() -> None:
    texts = real(40)
    texts[30:34] = texts[:4]
    labels = ["a", "b"] * 20
    labels[30], labels[31], labels[32] = "a", "a", "a"  # 0 = 30 (a, a), 1 = 31 (b, a), 2 = 32 (a, a)
    split = ["train"] * 32 + ["valid"] * 8
    findings = checked({"text": texts, "label": labels}, split)
    assert findings["duplicate"].rows == [0, 30]
    assert findings["label-conflict"].places == ["row 1 (b) = row 31 (a)"]
    assert findings["leakage"].rows == [2, 32, 3, 33]


def test_near_copies_are_sorted_by_label_and_side() -> None:
    texts = real(40)
    texts[30:33] = [typo(text) for text in texts[:3]]
    labels = ["a", "b"] * 20
    labels[31] = "a"
    split = ["train"] * 32 + ["valid"] * 8
    findings = checked({"text": texts, "label": labels}, split)
    assert findings["near-duplicate"].places == ["row 0 ≈ row 30"]
    assert findings["near-label-conflict"].places == ["row 1 (b) ≈ row 31 (a)"]
    assert findings["near-leakage"].places == ["row 2 (train) ≈ row 32 (valid)"]


def test_chinese_copies() -> None:
    texts = [*CHINESE, CHINESE[0].replace("。", "！"), CHINESE[4].replace("封面", "书面")]
    findings = checked({"text": texts, "label": ["a"] * 7})
    assert set(zip(findings["near-duplicate"].rows[::2], findings["near-duplicate"].rows[1::2], strict=True)) == {
        (0, 5),
        (4, 6),
    }


def test_long_texts_are_compared_by_words() -> None:
    words = " ".join(sentences()[0]).split()
    texts = [" ".join(words[start : start + 200]) for start in range(0, 4000, 200)]
    assert shingling(texts) == Shingling(True, 3)
    texts.append(texts[4].replace(" the ", " that ", 3))
    pairs = near_duplicate_texts([texts], Bar())
    assert pairs.tolist() == [[4, 20]]


def test_the_same_premise_is_no_copy_but_the_same_pair_is() -> None:
    texts = real(40)
    # long premises and short second texts: together two such pairs are alike, in the second text they are not
    first = [" ".join(texts[i // 2 * 2 : i // 2 * 2 + 2]) for i in range(20)]
    second = [text[:25] for text in texts[20:]]
    first, second = [*first, first[0], typo(first[1])], [*second, second[0], second[1]]
    columns = {"first": first, "second": second, "label": ["a"] * 22}
    findings = checked(columns, first=Text(), second=Text())
    assert findings["duplicate"].rows == [0, 20]
    assert findings["near-duplicate"].rows == [1, 21]


def test_a_number_beside_the_text_belongs_to_the_sample() -> None:
    texts = real(20)
    columns = {"text": [*texts, texts[0], texts[1]], "size": [*map(float, range(21)), 1.0], "label": ["a"] * 22}
    findings = checked(columns, text=Text(), size=Number())
    assert findings["duplicate"].rows == [1, 21]
    assert "near-duplicate" not in findings


def test_empty_texts_are_not_copies_of_each_other() -> None:
    assert "duplicate" not in checked({"text": [*real(20), "", "", " "], "label": ["a"] * 23})


def brute_force(texts: list[str]) -> set[tuple[int, int]]:
    cut = shingling(texts)
    sets = [cut.shingles(text) for text in texts]
    return {
        (i, j)
        for i, j in itertools.combinations(range(len(texts)), 2)
        if len(sets[i] & sets[j]) >= JACCARD * len(sets[i] | sets[j]) and min(len(sets[i]), len(sets[j])) >= 12
    }


def test_what_is_found_is_what_comparing_all_finds() -> None:
    generator = random.Random(0)
    texts = real(150)
    for text in texts[:150]:
        words = text.split()
        for _ in range(generator.randrange(1, 4)):
            words[generator.randrange(len(words))] = generator.choice(texts).split()[0]
        texts.append(" ".join(words))
    wanted = brute_force(texts)
    found = {(one, other) for one, other in near_duplicate_texts([texts], Bar()).tolist()}
    assert len(wanted) > 50
    assert found <= wanted
    assert len(found) >= 0.99 * len(wanted)


def test_many_of_one_mould_are_found_without_comparing_all() -> None:
    texts = [f"{CHINESE[0]} {i}" for i in range(3000)]
    pairs = near_duplicate_texts([texts], Bar())
    assert len(np.unique(pairs)) == 3000
    assert len(pairs) < 30 * 3000


def test_equal_data_have_equal_findings() -> None:
    texts = [*real(60), *map(typo, real(60))]
    pairs = near_duplicate_texts([texts], Bar())
    assert len(pairs) >= 55
    assert pairs.tolist() == near_duplicate_texts([texts], Bar()).tolist()
