"""check finds what is wrong with texts and names the rows; about sound texts it says nothing.

The sentences are of the UCI set "Sentiment Labelled Sentences" (CC-BY-4.0).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from realdata.texts import uci_sentences

from flambeau.check.plain import draw, of_a_draw
from flambeau.check.text_artifacts import invisible, markup
from flambeau.core.findings import Finding, Severity
from flambeau.data.dataset import Dataset
from flambeau.fields import Category, Number, Text

GOOD = [
    "The selection on the menu was great and so were the prices.",
    ":) Anyway, the plot flowed smoothly and the male-bonding scenes were a hoot.",
    "My boyfriend tried the Mediterranean Chicken Salad and fell in love.",
    "My Sanyo has survived dozens of drops on blacktop without ill effect.",
    "Also there are combos like a burger, fries, and beer for 23 which is a decent deal.",
    "I'm happy about this purchase- good quality and low price.",
    "The point is the journey, a journey that touches every member of the family.",
    "But it does get better reception and clarity than any phone I've had before.",
    "I highly recommend this modest priced cellular phone.",
    "The sound quality is good and functionality is awesome.",
    "I loved the grilled pizza, reminded me of legit Italian pizza.",
    "The incredible soundtrack truly captures the essence of the film.",
]
BAD = [
    "The acting was decidely wooden, though no worse than a period Universal B movie.",
    "It always cuts out and makes a beep beep beep sound then says signal failed.",
    "Often the dialogue doesn't really follow from one line to another, or fit the surroundings.",
    "Frozen pucks of disgust, with some of the worst people behind the register.",
    "If this premise sound stupid, that's because it is.",
    "The chicken dishes are OK, the beef is like shoe leather.",
    "It was attached to a gas station, and that is rarely a good sign.",
    "The only thing I wasn't too crazy about was their guacamole as I don't like it puréed.",
    "You have to hold the phone at a particular angle for the other party to hear you clearly.",
    "I paid the bill but did not tip because I felt the server did a terrible job.",
    "The lines, the cuts, the audio, everything is wrong.",
    "The plot was the same as pretty much every other cheap horror.",
]
REAL = [*GOOD, *BAD]
LABELS = ["good"] * len(GOOD) + ["bad"] * len(BAD)
SMALL = {"nothing-held-out"}  # what a small set brings with it


def checked(texts: Any, labels: Any = None, split: Any = "none", **settings: Any) -> dict[str, Finding]:
    """Findings by name; each is there once."""
    columns = {"text": texts, "label": labels if labels is not None else LABELS[: len(texts)]}
    fields = {"text": Text(**settings), "label": Category()}
    findings = Dataset(columns, target="label", fields=fields, split=split).check()
    assert len({f.check for f in findings}) == len(findings), [str(f) for f in findings]
    return {f.check: f for f in findings if f.check not in SMALL}


def pairs_of_sentences() -> tuple[list[str], list[str]]:
    """288 texts of two sentences each, and their labels: enough for a token to be frequent in a class."""
    texts = [f"{a} {b}" for side in (GOOD, BAD) for a in side for b in side]
    return texts, ["good"] * len(GOOD) ** 2 + ["bad"] * len(BAD) ** 2


def test_sound_texts_have_nothing() -> None:
    assert checked(REAL) == {}


def test_nothing_is_fitted_or_changed() -> None:
    data = Dataset({"text": REAL, "label": LABELS}, target="label", fields={"text": Text()})
    before = {name: field.to_dict() for name, field in data.fields.items()}
    data.check()
    assert {name: field.to_dict() for name, field in data.fields.items()} == before


def test_empty_and_near_empty_texts() -> None:
    findings = checked([*REAL, "", " \n\u3000", None, "ok!", "...", "不错"], [*LABELS, *["bad", "good"] * 3])
    assert findings["empty"].rows == [24, 25]
    assert findings["empty"].severity is Severity.WARNING
    assert findings["missing"].rows == [26]
    assert findings["near-empty"].rows == [27, 28]


def test_no_text_to_train_on_is_an_error() -> None:
    findings = checked([" "] * 20 + REAL[:4], ["a", "b"] * 12, ["train"] * 20 + ["valid"] * 4)
    assert findings["nothing-readable"].severity is Severity.ERROR


def test_rows_of_empty_texts_do_not_count_for_their_class() -> None:
    findings = checked([*GOOD, *[""] * 12])
    assert findings["one-class"].severity is Severity.ERROR
    assert checked([*GOOD, *range(12)])["one-class"].severity is Severity.ERROR


def test_a_column_of_numbers() -> None:
    finding = checked([f"{i * 1.5:,}" for i in range(1000, 1023)] + ["n/a n/a"])["numbers-as-text"]
    assert (finding.severity, finding.count) == (Severity.WARNING, 23)
    assert "'1,500.0'" in finding.message and "fields={'text': fb.fields.Number()}" in finding.fix
    assert "numbers-as-text" not in checked([*REAL[:-2], "10", "3.5"])


def test_values_that_are_no_texts_are_named() -> None:
    finding = checked([*REAL[:-1], 3])["unreadable"]
    assert finding.rows == [23]
    assert "int" in finding.message


def test_one_text_of_ten_megabytes() -> None:
    finding = checked([*REAL[:5], "word and more " * 750_000, *REAL[6:]])["extreme-length"]
    assert finding.rows == [5]
    assert "10,500,000 characters" in finding.message


def test_html_left_in() -> None:
    spoilt = ["A great<br /><br />film.", "Tom &amp; Jerry", '<a href="x">here</a> it is', "caf&#233; bar"]
    findings = checked([*REAL, *spoilt, "if a < b and c > d, &c", "I <3 you"], [*LABELS, *["good", "bad"] * 3])
    assert findings["markup"].rows == [24, 25, 26, 27]
    assert "<br />" in findings["markup"].message
    assert markup("AT&T; Q&A; R&D") == ""


def test_characters_that_nobody_sees() -> None:
    spoilt = [
        "A great\x00 film.\x00",
        "so\u00adlid work",
        "a good\u200b one",
        "\ufeffThe first line",
        "vi\u200crus of it",
    ]
    findings = checked([*REAL, *spoilt, "one\ttwo\r\nthree"], [*LABELS, *["good", "bad"] * 3])
    finding = findings["invisible-characters"]
    assert (finding.severity, finding.rows) == (Severity.NOTE, [24, 25, 26, 27, 28])
    assert "U+0000 control character (2)" in finding.message and "U+200B zero width space (1)" in finding.message
    assert finding.places[0] == "row 24"
    dashed = checked([*REAL, "a thin \x96 very thin \x96 plot"], [*LABELS, "bad"])["invisible-characters"]
    assert "U+0096, which is '–' in Windows-1252 (2)" in dashed.message


@pytest.mark.parametrize(
    "text",
    ["می\u200cخواهم", "PDF\u200cها", "ක්\u200dර", "ക്\u200d", "👩\u200d🔬 and 🏳️\u200d🌈 and ❤️\u200d🔥", "ភាសា\u200bខ្មែរ",
     "he said \u200fשלום\u200e!", "de l’eau\u202f; 20\xa0%", "全角\u3000空格", "नमस्ते", "a\tb\n"],
)  # fmt: skip
def test_characters_of_no_width_that_scripts_and_emoji_need(text: str) -> None:
    assert invisible(text) == ""


def test_a_mix_of_languages() -> None:
    others = ["Das ist nicht das, was ich mir von dem Film erhofft habe.", "这家酒店的服务很好，下次还会来。"]
    finding = checked([*REAL, *others * 2], [*LABELS, "good", "good", "bad", "bad"])["mixed-language"]
    assert finding.severity is Severity.NOTE
    assert all(name in finding.message for name in ("English (", "German (", "Chinese (7%, such as row 25)"))
    assert finding.rows == [24, 25, 26, 27]
    assert "mixed-language" not in checked([*REAL, others[0]], [*LABELS, "bad"])  # one may go astray


def test_texts_cut_off() -> None:
    long = " ".join(REAL)
    texts = [*REAL[:-2], long, long + " once more"]
    finding = checked(texts, max_length=100)["truncation"]
    assert finding.rows == [23, 22]
    assert "2 texts (8%) cut off at max_length 100" in finding.message
    assert finding.severity is Severity.WARNING  # two long texts among short ones: most tokens are lost
    needed = int(finding.fix.split("=")[1].split()[0])
    assert "truncation" not in checked(texts, max_length=needed + 1)
    tokens = [len(Text(tokens="words").tokenise(text)) for text in texts]
    lost = sum(max(n - 100, 0) for n in tokens) / sum(tokens)
    assert f"{lost:.0%} of all tokens lost" in finding.message


def test_what_to_do_about_texts_that_are_too_long_for_a_pretrained_encoder(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "the": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    finding = checked([*REAL[:-1], " ".join(REAL)], tokens=f"hf:{tmp_path}", max_length=10)["truncation"]
    assert finding.fix.startswith("cut them into parts, or take an encoder that reads longer texts")
    assert "max_length=" not in finding.fix, "the encoder may not have so many positions"


def test_tokens_that_training_does_not_have() -> None:
    strange = ["Zwölf Boxkämpfer jagen Viktor quer über den Sylter Deich."] * 3
    split = ["train"] * 24 + ["valid"] * 3
    finding = checked([*REAL, *strange], [*LABELS, "good", "good", "good"], split, min_count=1)["unknown-tokens"]
    assert finding.severity is Severity.WARNING
    assert finding.rows == [24, 25, 26]
    assert "'boxkämpfer'" in finding.message
    known = checked([*REAL, REAL[3] + " " + REAL[20]], [*LABELS, "good"], [*split[:24], "valid"], min_count=1)
    assert "unknown-tokens" not in known


def test_a_token_that_gives_the_class_away() -> None:
    texts, labels = pairs_of_sentences()
    assert "giveaway" not in checked(texts, labels)
    spoilt = [f"{text} src7" if labels[i] == "bad" and i % 5 else text for i, text in enumerate(texts)]
    finding = checked(spoilt, labels)["giveaway"]
    assert finding.severity is Severity.WARNING
    assert "the token 'src7' gives the class 'bad' away (in 80% of it, 0.0% of others)" in finding.message
    assert finding.rows == [i for i, text in enumerate(spoilt) if text.endswith("src7")]


def sentences(count: int) -> tuple[list[str], list[str]]:
    """Of the UCI sentences the first so many, and their labels."""
    texts, labels = uci_sentences()
    return texts[:count], labels[:count]


def test_a_token_in_half_of_a_class_and_in_no_other_gives_it_away() -> None:
    texts, labels = sentences(900)
    assert "giveaway" not in checked(texts, labels)
    spoilt = [f"{text} src7" if labels[i] == "positive" and i % 2 else text for i, text in enumerate(texts)]
    share = sum("src7" in text for text in spoilt) / labels.count("positive")
    assert 0.4 < share < 0.6
    finding = checked(spoilt, labels)["giveaway"]
    assert finding.severity is Severity.WARNING
    assert f"the token 'src7' gives the class 'positive' away (in {share:.0%} of it, 0.0% of others)" in finding.message
    few = [text.replace("src7", "src7" if i % 3 else "") for i, text in enumerate(spoilt)]
    assert "giveaway" not in checked(few, labels), "a third of a class may be the doing of a subject"


def test_words_of_a_subject_do_not_stand_alone_and_give_nothing_away() -> None:
    texts, labels = sentences(900)
    rows = [i for i, label in enumerate(labels) if label == "positive"]
    subject = list(texts)
    for place, row in enumerate(rows):
        subject[row] += " labour" * (place % 2 == 0) + " tory" * (place % 3 == 0)
    assert "giveaway" not in checked(subject, labels)


def test_a_word_that_most_of_a_subject_has_is_a_note_and_no_leak() -> None:
    """As 'grain' is in most of Reuters' news about grain."""
    texts, labels = sentences(900)
    topic = [f"{text} grain" if labels[i] == "positive" and i % 4 else text for i, text in enumerate(texts)]
    found = checked(topic, labels)
    assert "giveaway" not in found
    finding = found["telling-word"]
    assert finding.severity is Severity.NOTE
    assert finding.message.startswith("the word 'grain' tells the class 'positive' (in ")


def test_a_word_in_all_of_a_class_and_a_heading_in_most_of_it_are_leaks() -> None:
    texts, labels = sentences(900)
    all_of_it = [f"answer {text}" if labels[i] == "positive" else text for i, text in enumerate(texts)]
    assert checked(all_of_it, labels)["giveaway"].severity is Severity.WARNING
    heading = [f"sent via webform {t}" if labels[i] == "positive" and i % 4 else t for i, t in enumerate(texts)]
    assert "giveaway" in checked(heading, labels)


def test_a_token_of_both_classes_gives_nothing_away() -> None:
    texts, labels = pairs_of_sentences()
    mixed = [f"{text} src7" if labels[i] == "bad" or i % 20 == 0 else text for i, text in enumerate(texts)]
    assert "giveaway" not in checked(mixed, labels)


def test_nothing_is_given_away_where_there_are_hardly_any_others() -> None:
    texts, labels = pairs_of_sentences()
    texts = [f"{text} everywhere" if labels[i] == "good" else text for i, text in enumerate(texts)]
    assert "giveaway" not in checked(texts[: 144 + 20], labels[: 144 + 20])


def test_labels_of_the_other_sides_are_not_looked_at_for_giveaways() -> None:
    texts, labels = pairs_of_sentences()
    split = ["test" if i % 4 else "train" for i in range(len(texts))]
    spoilt = [f"{t} src7" if (labels[i], split[i]) == ("bad", "test") else t for i, t in enumerate(texts)]
    assert "giveaway" not in checked(spoilt, labels, split)


def test_a_tokeniser_that_is_not_there(tmp_path: Path) -> None:
    finding = checked(REAL, tokens=f"hf:{tmp_path}")["tokeniser"]
    assert finding.severity is Severity.ERROR
    assert "no tokeniser in the folder" in finding.message


def test_byte_pairs_and_characters_are_checked_too() -> None:
    pytest.importorskip("tokenizers")
    for tokens in ("bpe", "characters"):
        finding = checked(REAL, tokens=tokens, max_length=8, max_vocabulary=300)["truncation"]
        assert finding.count == 24


def test_files_of_texts(tmp_path: Path) -> None:
    for i, text in enumerate(REAL):
        (tmp_path / f"{i}.txt").write_text(text if i != 3 else "  ", encoding="utf-8")
    paths = [tmp_path / f"{i}.txt" for i in range(24)]
    findings = checked([*paths, tmp_path / "none.txt"], [*LABELS, "bad"])
    assert findings["empty"].rows == [3]
    assert findings["unreadable"].rows == [24]


def test_texts_without_labels_and_with_a_number_to_predict() -> None:
    assert {f.check for f in Dataset({"text": REAL}, fields={"text": Text()}, split="none").check()} <= SMALL
    data = Dataset({"text": REAL, "stars": [1.0, 2.5] * 12}, target="stars", fields={"text": Text(), "stars": Number()},
                   split="none")  # fmt: skip
    assert {f.check for f in data.check()} <= SMALL


def test_of_two_columns_each_is_named() -> None:
    columns = {"first": [*REAL, ""], "second": [*REAL[::-1], "caf\ufffd bar"], "label": [*LABELS, "good"]}
    fields = {"first": Text(), "second": Text()}
    findings = {f.check: f for f in Dataset(columns, target="label", fields=fields, split="none").check()}
    assert "in the column 'first'" in findings["empty"].message
    assert "in the column 'second'" in findings["lost-characters"].message


def test_a_draw_is_bounded_the_same_each_time_and_told() -> None:
    import numpy as np

    length = np.random.default_rng(1).integers(0, 200, 10_000)
    rows = draw(length, rows=3000)
    assert len(rows) == 3000 and (np.diff(rows) > 0).all() and length[rows].all()
    assert (rows == draw(length, rows=3000)).all()
    few = draw(length, characters=50_000)
    assert 49_000 < length[few].sum() <= 50_000
    note = of_a_draw([Finding("x", Severity.NOTE, "found")], 3000, 9950)[0]
    assert note.message == "found (looked for in 3,000 of 9,950 texts, drawn by chance)"
