"""Tags and tokens: what marks a span, how a typed sentence is cut, and what a pretrained tokeniser makes of words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import flambeau as fb
from flambeau.core.errors import DataError, UsageError
from flambeau.data.store.store import collate
from flambeau.fields import Ragged, Tags, Tokens, recognise
from flambeau.fields.tags import Span, spans
from flambeau.fields.tokens import words_seen

SENTENCES = [["The", "mayor", "'s", "jazz", "."], ["The", "well-known", "mayor"], ["Jazz", "for", "the", "mayor", "."]]
TAGS = [["at", "nn", "pos", "nn", "."], ["at", "jj", "nn"], ["nn", "in", "at", "nn", "."]]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O O", []),
        ("B-PER I-PER O B-LOC", [(0, 2, "PER"), (3, 4, "LOC")]),
        ("B-PER B-PER", [(0, 1, "PER"), (1, 2, "PER")]),
        ("I-PER I-PER O", [(0, 2, "PER")]),
        ("B-PER I-LOC", [(0, 1, "PER"), (1, 2, "LOC")]),
        ("S-PER B-LOC I-LOC E-LOC S-LOC", [(0, 1, "PER"), (1, 4, "LOC"), (4, 5, "LOC")]),
        ("U-PER B-LOC L-LOC", [(0, 1, "PER"), (1, 3, "LOC")]),
        ("B-a-b I-a-b", [(0, 2, "a-b")]),
        ("", []),
    ],
)
def test_spans(tags: str, expected: list[tuple[int, int, str]]) -> None:
    assert spans(tags.split()) == [Span(*span) for span in expected]


def test_which_tags_mark_spans() -> None:
    assert Tags(["B-PER", "I-PER", "O"]).has_spans
    assert not Tags(["B-PER", "nn", "O"]).has_spans
    assert not Tags(["O"]).has_spans and not Tags(["B-PER", "I-PER"]).has_spans


def test_a_tag_that_training_never_saw_is_marked_and_not_left_out() -> None:
    field = Tags()
    field.fit(TAGS)
    assert field.encode(["at", "unheard-of", "nn"]).tolist() == [field.classes.index("at"), -1,
                                                                 field.classes.index("nn")]  # fmt: skip


def test_behind_a_sentence_there_is_nothing_to_learn() -> None:
    import torch

    field = Tags(["a", "b"])
    prepared = field.prepare(Ragged(torch.tensor([[0, 1, 1], [0, 0, 0]]), torch.tensor([3, 1])))
    assert prepared.tolist() == [[0, 1, 1], [0, -100, -100]]


def test_a_typed_sentence_is_cut_into_words() -> None:
    field = Tokens()
    field.fit(SENTENCES)
    typed = "The well-known mayor doesn't pay 3.50 (at 10:30)!"
    assert field.parts(typed) == ["The", "well-known", "mayor", "doesn't", "pay", "3.50", "(", "at", "10:30", ")", "!"]
    assert Tokens(split="spaces").parts("a b. c") == ["a", "b.", "c"]


def test_sentences_of_characters_are_cut_into_characters() -> None:
    field = Tokens()
    field.fit([["今", "天", "好"], ["天", "气"]])
    assert field.parts("今天 天气") == ["今", "天", "天", "气"]


def test_a_word_is_known_by_its_ends_too() -> None:
    field = Tokens(min_count=1)
    field.fit([["internationalisation", "internationalising"]])
    one, other = field.encode(["internationalisation", "internationalising"])
    assert one[1:9].tolist() == other[1:9].tolist() and one[9:].tolist() != other[9:].tolist()
    assert field.encode(["unheard"])[0, 0] == 1


def test_bad_settings_are_told() -> None:
    for make in (lambda: Tokens("bpe"), lambda: Tokens("hf:"), lambda: Tokens(split="x"), lambda: Tokens(min_count=0)):
        with pytest.raises(UsageError):
            make()


def test_the_pieces_of_a_pretrained_tokeniser_know_where_words_begin(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=30, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer.train_from_iterator([" ".join(s) for s in SENTENCES], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    field = Tokens(f"hf:{tmp_path}")
    field.fit(SENTENCES)
    encoded = field.encode(SENTENCES[1])
    assert encoded.dtype == np.int32 and encoded.shape[1] == 2
    assert encoded[:, 1].sum() == 3, "each word begins once"
    assert (encoded[0] == [2, 0]).all() and (encoded[-1] == [3, 0]).all(), "what the tokeniser adds begins no word"
    assert len(encoded) > 5, "words are cut into pieces"
    there = field.encode([SENTENCES[1][0], "\u200b", SENTENCES[1][1]])
    assert there[:, 1].sum() == 3 and 1 in there[there[:, 1] == 1, 0], "a word of which nothing is left is unknown"
    first = np.flatnonzero(encoded[:, 1])[1]
    cut = Tokens(f"hf:{tmp_path}", max_length=int(first) + 1)  # and one for the end
    cut.fit(SENTENCES)
    assert cut.encode(SENTENCES[1])[:, 1].sum() == 1
    batch = cut.prepare(collate([cut.encode(SENTENCES[1]), cut.encode(SENTENCES[0][:1])], cut.encoding))
    assert words_seen(batch).tolist() == [1, 1]


def test_columns_of_tokens_and_tags_are_recognised() -> None:
    sentences, tags = SENTENCES * 20, [["O" if t == "." else "X" for t in row] for row in TAGS * 20]
    assert recognise(sentences)[0].kind == "tokens"
    assert recognise(tags, target=True)[0].kind == "tags"
    assert recognise([["red", "round"], ["red"], ["blue", "round"]] * 10, target=True)[0].kind == "multilabel"


def test_sentences_and_tags_that_do_not_match_are_left_out_and_named() -> None:
    data = fb.Dataset(
        {"tokens": SENTENCES, "tags": [TAGS[0], TAGS[1][:2], TAGS[2]]}, target="tags", fields={"tags": Tags()}
    )
    (finding,) = data.findings
    assert finding.check == "unequal-tags" and finding.rows == [1]
    assert "3 tokens and 2 tags" in finding.message
    assert data.columns["tags"][1] is None and data.columns["tags"][0] == TAGS[0]
    with pytest.raises(DataError, match="no sentence has as many tags as tokens"):
        fb.Dataset({"tokens": SENTENCES[:1], "tags": [["a"]]}, target="tags", fields={"tags": Tags()})


def test_texts_with_a_tag_for_each_word_are_tokens() -> None:
    texts = [" ".join(s) for s in SENTENCES]
    data = fb.Dataset({"text": texts, "tags": TAGS}, target="tags", fields={"tags": Tags()})
    assert data.fields["text"].kind == "tokens" and data.columns["text"] == SENTENCES and not data.findings
    with pytest.raises(UsageError, match="one column of tokens"):
        fb.Dataset({"number": [1.5, 2.5, 3.5], "tags": TAGS}, target="tags", fields={"tags": Tags()})
