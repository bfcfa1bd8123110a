"""What a language model's texts show: planted faults, rules, and a training that learns by heart."""

import json
import random

import numpy as np
import pytest
import torch

import flambeau as fb
from flambeau.fields import Corpus
from flambeau.models import InputSpec, OutputSpec, build
from flambeau.objectives.language.measures import copies, distinct, documents, looped
from flambeau.objectives.language.portrait import whole
from flambeau.objectives.language.samples import continued
from flambeau.objectives.language.watched import Signs, watched
from tests.support import tiny_language  # noqa: F401  enters the model

HEALTHY = Signs(100, looped=0.0, distinct=0.9, empty=0.0, copied=0.02, usual=0.01)


def drawn(seed, size, letters=40):
    return np.random.default_rng(seed).integers(0, letters, size)


def test_a_copied_span_is_found_and_its_share():
    training, text = drawn(0, 5000), drawn(1, 400)
    text[100:180] = training[3000:3080]
    found = copies(documents([text[:50], text[50:]]), documents([training[:2000], training[2000:]]), 50)
    assert found.share == 80 / 400 and found.longest in (80, 81, 82) and abs(found.start - 100) <= 1


def test_texts_that_go_in_circles():
    text = drawn(2, 120).tolist()
    assert not looped(text) and distinct(documents([text])) > 0.95
    assert looped(text[:60] + [1, 2, 3, 4, 5] * 8) and looped([7] * 30) and looped(text[:100] + [9] * 40)
    assert not looped(text[:100] + [9] * 5), "a word said twice or an ellipsis is no circle"
    assert distinct(documents([text[:20]] * 10)) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("ill", "check"),
    [({"looped": 0.5}, "repetition"), ({"distinct": 0.1}, "repetition"), ({"empty": 0.75}, "empty-texts"),
     ({"copied": 0.4}, "memorised")],
)  # fmt: skip
def test_each_rule_speaks_of_two_epochs_in_a_row_alone(ill, check):
    sick = Signs(**{**vars(HEALTHY), **ill})
    assert [finding.check for finding in watched([HEALTHY, sick, sick])] == [check]
    assert not [*watched([sick, HEALTHY, sick])] and not [*watched([sick])] and not [*watched([HEALTHY] * 5)]
    assert not [*watched([Signs(**{**vars(sick), "step": 10})] * 2)], "it has hardly begun"


def test_texts_go_on_as_the_model_says_and_end_at_their_end():
    torch.manual_seed(0)
    model = build("tiny-lm", InputSpec("corpus", (12, 8)), OutputSpec(12, "tokens")).model.eval()
    prompts = [[3], [1, 2, 3, 4], [5, 6]]
    texts = continued(model, prompts, 2000, (), torch.Generator().manual_seed(0))
    pairs = np.zeros((12, 12, 12))
    for prompt, text in zip(prompts, texts, strict=True):
        whole_text = (prompt + text)[-2002:]
        np.add.at(pairs, (whole_text[:-2], whole_text[1:-1], whole_text[2:]), 1)
    before, here = np.unravel_index(pairs.sum(2).argmax(), (12, 12))
    told = model(torch.tensor([[before, here]]))[0, -1].softmax(0).detach().numpy()
    seen = pairs[before, here]
    assert np.abs(seen / seen.sum() - told).max() < 4 * 0.5 / seen.sum() ** 0.5
    ended = continued(model, prompts, 2000, (7,), torch.Generator().manual_seed(0))
    assert ended == [text[: text.index(7)] for text in texts]


def test_parts_of_a_character_are_shown_together():
    field = Corpus("bytes")
    field.fit(["é世"])
    ids = field.tokens_of("aé世")
    assert whole(field, ids, [1.0] * 6) == [["a", 1.0], ["é", 2.0], ["世", 3.0]]
    assert whole(field, ids[:2], [1.0] * 2) == [["a", 1.0], ["\ufffd", 1.0]]


def test_a_training_by_heart_is_told_of_and_its_texts_are_kept(tmp_path):
    """Every training text is the same circle of twelve letters, and those held out are of letters by chance."""
    letters = "abcdefghijkl"
    texts = [(letters * 100)[i : i + 900] for i in range(20)]
    texts += ["".join(random.Random(i).choices(letters, k=300)) for i in range(4)]
    data = fb.Dataset({"text": texts}, inputs=["text"], fields={"text": Corpus("characters", 64)},
                      split=["train"] * 20 + ["valid"] * 4)  # fmt: skip
    settings = {"learning_rate": 0.03, "batch_size": 8, "epochs": 4, "seed": 0, "run": tmp_path / "run"}
    learner = fb.Learner(data, model="tiny-lm", objective="language-model", quiet=True, **settings)
    learner.fit()
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    shown = [line["monitors"] for line in lines if "texts_copied" in line.get("monitors", {})]
    assert len(shown) == 4 and shown[-1]["texts_copied"] > 0.5
    assert "memorised" in {finding["check"] for line in lines for finding in line.get("findings", ())}
    kept = [json.loads(line) for line in (tmp_path / "run/samples/texts.jsonl").read_text().splitlines()]
    assert [one["epoch"] for one in kept] == [1, 2, 3, 4] and kept[0]["texts"][0]["prompt"] == ""
    portrait = json.loads((tmp_path / "run/evaluation.json").read_text())["portrait"]["language"]
    assert portrait["copied"]["tokens"] >= 20 and portrait["copied"]["text"] in letters * 100
    assert portrait["surprising"][0]["place"].startswith("row ")
    assert portrait["surprising"][0]["cost"] >= max(cost for _, cost in portrait["surprising"][-1]["tokens"])
    assert portrait["by_position"][0][0] == 1 and len(portrait["by_position"]) > 8
