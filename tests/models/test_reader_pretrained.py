"""Encoders of transformers that read a text for a question: as transformers does it, a long text in windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from flambeau.core.errors import UsageError
from flambeau.fields import Ragged, Text
from flambeau.models import InputSpec, OutputSpec, build
from flambeau.models.text.reader_pretrained import PretrainedReader
from tests.support.tiny_bert import tiny_bert

TEXTS = [
    "Anna was born in Oslo in 1931.",
    "Boris was born in Rome in 1977, and Clara in Paris.",
    "Where was Anna born?",
]
LONG = " ".join(TEXTS[:2] * 6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("bert"), TEXTS, positions=32, head=False)


@pytest.fixture(scope="module")
def field(folder: Path) -> Text:
    text = Text(f"hf:{folder}", max_length=4096)
    text.fit(TEXTS)
    return text


def reader(folder: Path, field: Text, **options: Any) -> PretrainedReader:
    spec = InputSpec.of([field, field])
    built = build(f"hf:{folder}", spec, OutputSpec(2, "span"), joint=field.joint, **options)
    assert isinstance(built.model, PretrainedReader)
    return built.model.eval()


def ragged(field: Text, texts: list[str]) -> Ragged:
    rows = [torch.from_numpy(field.encode(text)).long() for text in texts]
    return Ragged(torch.nn.utils.rnn.pad_sequence(rows, True), torch.tensor([len(row) for row in rows]))


def test_what_has_learned_to_answer_answers_as_in_transformers(folder: Path, field: Text, tmp_path: Path) -> None:
    from transformers import AutoConfig, BertForQuestionAnswering

    torch.manual_seed(1)
    theirs = BertForQuestionAnswering(AutoConfig.from_pretrained(folder)).eval()
    theirs.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    built = build(f"hf:{tmp_path}", InputSpec.of([field, field]), OutputSpec(2, "span"), joint=field.joint)
    assert not built.from_zero and "has learned to answer" in built.notes[0]
    ours = built.model.eval()
    texts = {"text": ragged(field, TEXTS[:2]), "question": ragged(field, [TEXTS[2], "Where?"])}
    found = ours(texts)
    assert found.shape == (2, 2, 1 + texts["text"].values.shape[1])
    for row, (question, text) in enumerate(zip([TEXTS[2], "Where?"], TEXTS[:2], strict=True)):
        pair = field._tool.encode(question, text)
        told = theirs(torch.tensor([pair.ids]), torch.tensor([pair.attention_mask]), torch.tensor([pair.type_ids]))
        for number, logits in enumerate((told.start_logits[0], told.end_logits[0])):
            inside = torch.tensor([of == 1 for of in pair.sequence_ids])
            length = int(texts["text"].lengths[row]) - 2
            assert torch.allclose(found[row, number, 2 : 2 + length], logits[inside], atol=1e-5)
            assert torch.allclose(found[row, number, 0], logits[0], atol=1e-5)
            rest = torch.cat([found[row, number, 1:2], found[row, number, 2 + length :]])
            assert (rest < -1e30).all()  # marks and padding are no part of an answer


def test_a_long_text_is_read_in_windows(folder: Path, field: Text) -> None:
    """Each place has the score of the window whose middle is nearest, no answer the least of all windows."""
    model = reader(folder, field, window=28, overlap=6, question=8)
    assert (model.text, model.step) == (28 - 3 - 8, 11)
    texts, question = ragged(field, [TEXTS[0], LONG]), ragged(field, [TEXTS[2]] * 2)
    with torch.no_grad():
        found = model({"text": texts, "question": question})
    asked = question.values[0, 1 : int(question.lengths[0]) - 1].tolist()
    assert len(asked) <= 8
    for row in range(2):
        inner = texts.values[row, 1 : int(texts.lengths[row]) - 1].tolist()
        starts = [0]
        while starts[-1] + 17 < len(inner):
            starts.append(starts[-1] + 11)
        assert len(starts) == (1 if row == 0 else 1 + -(-(len(inner) - 17) // 11))
        scores, none = [], []
        for start in starts:
            part = inner[start : start + 17]
            ids = torch.tensor([[2, *asked, 3, *part, 3]])
            kinds = torch.tensor([[0] * (len(asked) + 2) + [1] * (len(part) + 1)])
            with torch.no_grad():
                told = model.head(model.encoder(input_ids=ids, token_type_ids=kinds).last_hidden_state)[0]
            none.append(told[0])
            scores.append(told[len(asked) + 2 : -1])
        for place in range(len(inner)):
            near = min(range(len(starts)), key=lambda w: (abs(place - (starts[w] + 8)), -w))
            assert torch.allclose(found[row, :, 2 + place], scores[near][place - starts[near]], atol=1e-5)
        assert torch.allclose(found[row, :, 0], min(none, key=lambda pair: float(pair.sum())), atol=1e-5)


def test_what_stands_beside_a_text_changes_nothing_and_all_of_it_learns(folder: Path, field: Text) -> None:
    model = reader(folder, field)
    both = model({"text": ragged(field, [TEXTS[0], LONG]), "question": ragged(field, [TEXTS[2], LONG])})
    alone = model({"text": ragged(field, TEXTS[:1]), "question": ragged(field, TEXTS[2:])})
    assert torch.allclose(both[:1, :, : alone.shape[2]], alone, atol=1e-5)
    model.train()
    both.logsumexp(2).sum().backward()
    named = dict(model.named_parameters())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in named.values())


def test_nothing_to_read_is_no_answer(folder: Path, field: Text) -> None:
    model = reader(folder, field)
    nothing = Ragged(torch.zeros(1, 0, dtype=torch.int64), torch.tensor([0]))
    told = model({"text": nothing, "question": nothing})
    assert told.shape == (1, 2, 2) and told[:, :, 0].isfinite().all() and (told[:, :, 1] < -1e30).all()


@pytest.mark.parametrize(
    ("options", "told"), [({"window": 33}, "5 to 32"), ({"overlap": 99}, "0 to"), ({"question": 0}, "1 to")]
)
def test_windows_that_do_not_fit_are_refused(folder: Path, field: Text, options: dict[str, int], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        reader(folder, field, **options)
