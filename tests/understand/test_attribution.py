"""Attribution: of a model that is linear in its tokens the shares add up to its answer; what counted is marked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import flambeau as fb
from flambeau.data.realdata.texts import write_sentences
from flambeau.evaluation import evaluate_run
from flambeau.fields import Ragged, Text
from flambeau.models import InputSpec, build
from flambeau.understand.attribution import attribute_tokens

SPEC = InputSpec("text", (30,))
TEXTS = Ragged(torch.tensor([[3, 4, 5, 6], [7, 8, 0, 0]]), torch.tensor([4, 2]))


@pytest.mark.parametrize(("name", "options"), [
    ("bag", {"pooling": "mean"}), ("bag", {"pooling": "sqrt"}), ("ngrams", {"ngrams": 1}), ("ngrams", {}),
])  # fmt: skip
def test_the_shares_of_a_linear_model_add_up_to_its_answer(name: str, options: dict[str, Any]) -> None:
    model = build(name, SPEC, 3, generator=torch.Generator().manual_seed(0), **options).eval()
    torch.nn.init.normal_(model.bias if name == "ngrams" else model.head.bias)
    asked = torch.tensor([2, 0])
    shares = attribute_tokens(model, TEXTS, asked)
    answer = model(TEXTS)[torch.arange(2), asked] - (model.bias if name == "ngrams" else model.head.bias)[asked]
    assert torch.allclose(shares.sum(1), answer, atol=1e-5)
    assert not shares[1, 2:].any()


@pytest.mark.parametrize("name", ["bag", "ngrams", "textcnn", "lstm", "gru", "transformer"])
def test_every_model_of_texts_says_what_counted_and_stays_as_it_was(name: str) -> None:
    model = build(name, SPEC, 3, generator=torch.Generator().manual_seed(0)).train()
    shares = attribute_tokens(model, TEXTS, torch.tensor([1, 1]))
    assert shares.shape == (2, 4) and shares[0].abs().sum() > 0 and not shares[1, 2:].any()
    assert model.training and all(p.grad is None for p in model.parameters())
    with torch.inference_mode():
        assert torch.equal(shares, attribute_tokens(model, TEXTS, torch.tensor([1, 1])))


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
