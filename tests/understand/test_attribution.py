"""Attribution: of a model that is linear in its tokens the shares add up to its answer; what counted is marked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from made import net
from realdata.texts import write_sentences

import flambeau as fb
from flambeau.evaluation import evaluate_run
from flambeau.fields import Ragged, Text
from flambeau.models import InputSpec
from flambeau.models.text.pretrained import Joined, PretrainedPair
from flambeau.understand.attribution import attribute_pair, attribute_tokens

SPEC = InputSpec("text", (30,))
TEXTS = Ragged(torch.tensor([[3, 4, 5, 6], [7, 8, 0, 0]]), torch.tensor([4, 2]))


@pytest.mark.parametrize(
    ("name", "options"),
    [("bag", {"pooling": "mean"}), ("bag", {"pooling": "sqrt"}), ("ngrams", {"ngrams": 1}), ("ngrams", {})],
)
def test_the_shares_of_a_linear_model_add_up_to_its_answer(name: str, options: dict[str, Any]) -> None:
    model = net(name, SPEC, 3, generator=torch.Generator().manual_seed(0), **options).eval()
    torch.nn.init.normal_(model.bias if name == "ngrams" else model.head.bias)
    asked = torch.tensor([2, 0])
    shares = attribute_tokens(model, TEXTS, asked)
    answer = model(TEXTS)[torch.arange(2), asked] - (model.bias if name == "ngrams" else model.head.bias)[asked]
    assert torch.allclose(shares.sum(1), answer, atol=1e-5)
    assert not shares[1, 2:].any()


@pytest.mark.parametrize("name", ["bag", "ngrams", "textcnn", "lstm", "gru", "transformer"])
def test_every_model_of_texts_says_what_counted_and_stays_as_it_was(name: str) -> None:
    model = net(name, SPEC, 3, generator=torch.Generator().manual_seed(0)).train()
    shares = attribute_tokens(model, TEXTS, torch.tensor([1, 1]))
    assert shares.shape == (2, 4) and shares[0].abs().sum() > 0 and not shares[1, 2:].any()
    assert model.training and all(p.grad is None for p in model.parameters())
    with torch.inference_mode():
        assert torch.equal(shares, attribute_tokens(model, TEXTS, torch.tensor([1, 1])))


def test_of_two_texts_the_shared_word_spoke_for_it() -> None:
    """The shares are the change of the answer when a token is a little less there."""
    model = net("pair", InputSpec("texts", (30, 30)), 3, generator=torch.Generator().manual_seed(0)).train()
    texts = {"a": TEXTS, "b": Ragged(torch.tensor([[9, 5, 1], [10, 0, 0]]), torch.tensor([3, 1]))}
    first, second = attribute_pair(model, texts, torch.tensor([1, 0]))
    assert first.shape == (2, 4) and second.shape == (2, 3) and not first[1, 2:].any() and not second[1, 1:].any()
    assert model.training and all(p.grad is None for p in model.parameters())
    model.eval()
    little = 1e-3
    there = [torch.ones(2, 4), torch.ones(2, 3)]
    whole = model._compare(*texts.values(), *there)[0, 1].detach()
    there[0][0, 2] -= little  # the token 5, which both texts have
    less = model._compare(*texts.values(), *there)[0, 1].detach()
    assert first[0, 2] == pytest.approx(float((whole - less) / little), rel=0.02, abs=1e-4)
    assert first[0, 2].abs() > 0


def test_of_two_texts_in_one_encoder_each_token_has_its_share() -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    torch.manual_seed(0)
    body = transformers.BertModel(transformers.BertConfig(vocab_size=30, **sizes), add_pooling_layer=False)
    joint = {"order": [[1, 0], ["first", 0], [2, 0], ["second", 1], [2, 1]], "strip": [1, 1]}
    model = PretrainedPair(body, 2, joint=joint).eval()
    texts = {
        "a": Ragged(torch.tensor([[1, 5, 6, 2], [1, 7, 2, 0]]), torch.tensor([4, 3])),
        "b": Ragged(torch.tensor([[1, 8, 2], [1, 9, 2]]), torch.tensor([3, 3])),
    }
    first, second = attribute_pair(model, texts, torch.tensor([0, 1]))
    both = Ragged(torch.tensor([[1, 5, 6, 2, 8, 2], [1, 7, 2, 9, 2, 0]]), torch.tensor([6, 5]))
    kinds = torch.tensor([[0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 0]])
    read = lambda values, lengths: model.read(Joined(values, kinds, torch.zeros_like(kinds), lengths))  # noqa: E731
    whole = attribute_tokens(Reads(model, read), both, torch.tensor([0, 1]))
    assert torch.allclose(first, torch.stack([whole[0, [0, 1, 2, 3]], whole[1, [0, 1, 2, 5]]]) * MARKS, atol=1e-6)
    assert torch.allclose(second[:, 1], torch.stack([whole[0, 4], whole[1, 3]]), atol=1e-6)
    assert not second[:, [0, 2]].any() and second[:, 1].abs().min() > 0


MARKS = torch.tensor([[0, 1, 1, 0], [0, 1, 0, 0]])  # the encoder's own are of no text


class Reads(torch.nn.Module):
    """A model of one text out of one that reads two."""

    def __init__(self, model: torch.nn.Module, read: Any):
        super().__init__()
        self.model, self.read = model, read

    def forward(self, text: Ragged) -> torch.Tensor:
        return self.read(text.values, text.lengths)


def test_a_model_of_ones_own_may_give_one_number_for_each_text() -> None:
    class Own(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Embedding(30, 4)

        def forward(self, texts: Ragged) -> torch.Tensor:
            return self.table(texts.values).sum((1, 2))

    assert attribute_tokens(Own(), TEXTS, torch.tensor([0, 0])).shape == (2, 4)


def test_a_model_without_a_table_says_nothing() -> None:
    class Own(torch.nn.Module):
        def forward(self, texts: Ragged) -> torch.Tensor:
            return texts.values.float() @ torch.ones(4, 3)

    assert attribute_tokens(Own(), TEXTS, torch.tensor([0, 0])) is None


def test_the_report_marks_the_words_that_mattered(tmp_path: Path) -> None:
    data = fb.Dataset.from_table(write_sentences(tmp_path / "s.csv"), inputs=["text"])
    fb.Learner(data, epochs=3, run=tmp_path / "run", quiet=True).fit(check=False)
    worst = evaluate_run(tmp_path / "run")["detail"]["worst"]
    assert all("class=for4" in m["html"] or "class=against4" in m["html"] for m in worst)
    from flambeau import report

    page = report.write(fb.Run.open(tmp_path / "run")).read_text(encoding="utf-8")
    assert 'class="for4"' in page and "gradient × input" in page


def test_a_text_is_shown_around_its_heaviest_token() -> None:
    field = Text(min_count=1)
    long = "word " * 200 + "Terrible <b> end"
    field.fit([long])
    places = field.places(long)
    assert [long[a:b].lower() for a, b in places] == field.tokenise(long)
    weights = [0.01] * len(places)
    weights[200], weights[-1] = -1.0, 0.5
    shown = field.render(long, weights)
    assert "<span class=against4>Terrible</span>" in shown and "<span class=for2>end</span>" in shown
    assert shown.startswith("<span>…</span>") and "&lt;" in shown and "<b>" not in shown


def test_places_of_tokens_in_other_tokenisations() -> None:
    for kind, text in (("characters", "天气 很好"), ("bpe", "the weather is fine today"), ("chinese", "今天天气很好")):
        field = Text(kind, min_count=1)
        field.fit([text, text])
        found = "".join(text[a:b] for a, b in field.places(text))
        assert found.replace(" ", "") == text.replace(" ", "")
    assert Text("words").places("İstanbul") == [], "lower case makes two letters of one, and places would not fit"
