"""Texts that go on: the same alone and beside others, what settings leave to draw from, where they end."""

from __future__ import annotations

import itertools
import json
import re

import pytest
import torch
from speaking import Bytes, Speaker

from flambeau.core.errors import UsageError
from flambeau.core.reporter import Reporter
from flambeau.predictor.decoding import Decoder, complete
from flambeau.predictor.sampling import Sampling, drawn, penalised, probabilities

FIELD = Bytes()
PROMPTS = ["It was", "a truth universally acknowledged, that a man", "x", "Emma"]
SETTINGS = [
    Sampling(max_tokens=40, temperature=0), Sampling(max_tokens=31, temperature=1, seed=3),
    Sampling(max_tokens=9, temperature=0.7, top_k=20, top_p=0.9, min_p=0.01, seed=4),
    Sampling(max_tokens=36, temperature=1, repetition_penalty=1.3, seed=5),
]  # fmt: skip


def uncached(model: Speaker, prompt: list[int], size: int) -> list[int]:
    """The likeliest tokens, by reading the whole window anew for each."""
    tokens, start = [*prompt], 0
    while len(tokens) < len(prompt) + size and (len(tokens) == len(prompt) or tokens[-1] != FIELD.end):
        if model.context is not None and len(tokens) - start > model.context:
            start = len(tokens) - model.context // 2
        with torch.no_grad():
            tokens.append(int(model(torch.tensor([tokens[start:]]))[0, -1].argmax()))
    return tokens[len(prompt) :]


def test_a_text_goes_on_the_same_alone_beside_others_and_without_memory() -> None:
    model = Speaker()
    prompts = [FIELD.tokens_of(prompt) for prompt in PROMPTS]
    alone = [complete(model, FIELD, [prompt], s)[0][0] for prompt, s in zip(prompts, SETTINGS, strict=True)]
    assert alone[0].tokens == uncached(model, prompts[0], 40)
    assert len({tuple(one.tokens[:6]) for one in alone}) == 4
    decoder = Decoder(model, FIELD, max_batch=3)
    requests, most = [], 0
    for prompt, sampling in zip(prompts, SETTINGS, strict=True):  # each joins those that are under way
        requests.append(decoder.add(prompt, sampling))
        for _ in range(3):
            most = max(most, len(decoder.advance()))
    model.steps = 0
    while decoder.busy:
        decoder.advance()
    assert most == 3  # the fourth waits for the shortest
    assert [r.tokens for r in requests] == [one.tokens for one in alone]
    assert [r.text for r in requests] == [one.text for one in alone]
    assert model.steps < sum(len(one.tokens) for one in alone) / 2


def test_several_of_a_prompt_are_those_of_the_seeds_that_follow() -> None:
    prompt = FIELD.tokens_of("It was")
    three = complete(Speaker(), FIELD, [prompt], Sampling(max_tokens=8, temperature=1, seed=7), count=3)[0]
    each = [
        complete(Speaker(), FIELD, [prompt], Sampling(max_tokens=8, temperature=1, seed=7 + i))[0][0] for i in range(3)
    ]
    assert three == each and three[0].tokens != three[1].tokens


def test_a_text_longer_than_the_model_looks_back_at_slides_and_it_is_said_once() -> None:
    lines: list[str] = []

    class Heard(Reporter):
        def say(self, text: str, style: str = "") -> None:
            lines.append(text)

    model = Speaker()
    prompts = [FIELD.tokens_of(PROMPTS[1]), FIELD.tokens_of("short")]
    both = complete(model, FIELD, prompts, Sampling(max_tokens=60, temperature=0), reporter=Heard())
    assert [one[0].tokens for one in both] == [uncached(model, prompt, 60) for prompt in prompts]
    assert len(lines) == 1 and "24 tokens" in lines[0]
    assert complete(model, FIELD, [[]], Sampling(max_tokens=3, temperature=0))[0][0].tokens == uncached(model, [256], 3)


class Spelling(Speaker):
    """A model that says what it was told to, whatever it reads, and then ends."""

    def __init__(self, says: bytes):
        super().__init__(context=None)
        self.says = [*says, FIELD.end]

    def forward(self, tokens: torch.Tensor, segments: torch.Tensor | None = None) -> torch.Tensor:
        place = torch.arange(tokens.shape[1]) - 1  # behind a prompt of one
        says = torch.tensor([self.says[max(0, min(int(p) + 1, len(self.says) - 1))] for p in place])
        return 50 * torch.nn.functional.one_hot(says, 257).float()[None]


def pieces(says: str | bytes, **settings: object) -> tuple[list[str], str | None]:
    decoder = Decoder(Spelling(says.encode() if isinstance(says, str) else says), FIELD)
    request = decoder.add([0], Sampling(temperature=0, **settings))  # type: ignore[arg-type]
    texts = []
    while decoder.busy:
        texts += [piece.text for piece in decoder.advance()]
    assert "".join(texts) == request.text
    return texts, request.finished


def test_only_whole_characters_are_given_and_stop_texts_are_held_back() -> None:
    assert pieces("né€🙂") == (["n", "", "é", "", "", "€", "", "", "", "🙂", ""], "stop")
    assert pieces(b"a\xe2\x82") == (["a", "", "", "�"], "stop")
    assert pieces("the end.", max_tokens=3) == (["t", "h", "e"], "length")
    assert pieces("a enemy end", stop=("end",)) == (["a", " ", "", "", "en", "em", "y", " ", "", "", ""], "stop")
    assert "".join(pieces("the enemy ends", stop=("end", "zebra"))[0]) == "the enemy "
    assert pieces("aab", stop=("ab",))[0] == ["", "a", ""]
    assert "".join(pieces("the en", stop=("end",))[0]) == "the en"  # what was held back is given at the end
    assert "".join(pieces("the en", stop=("end",), max_tokens=5)[0]) == "the e"


def test_what_is_drawn_from_is_what_transformers_draws_from() -> None:
    from transformers.generation import logits_process as theirs

    scores = torch.randn(5, 40, generator=torch.Generator().manual_seed(0)) * 3
    rows = [Sampling(temperature=0.5), Sampling(temperature=1, top_k=5), Sampling(temperature=1, top_p=0.8),
            Sampling(temperature=2, min_p=0.2), Sampling(temperature=1.5, top_k=9, top_p=0.7, min_p=0.1)]  # fmt: skip
    ours = probabilities(scores, rows)
    for row, s in enumerate(rows):
        one = theirs.TemperatureLogitsWarper(float(s.temperature))(None, scores[row : row + 1])
        one = theirs.TopKLogitsWarper(s.top_k)(None, one) if s.top_k else one
        one = theirs.TopPLogitsWarper(s.top_p)(None, one) if s.top_p < 1 else one
        one = theirs.MinPLogitsWarper(s.min_p)(None, one) if s.min_p else one
        assert torch.equal(ours[row] > 0, one[0] > -torch.inf)
        torch.testing.assert_close(ours[row], one[0].softmax(-1))
    want = theirs.RepetitionPenaltyLogitsProcessor(1.7)(torch.tensor([[3, 3, 8]]), scores[:1].clone())[0]
    torch.testing.assert_close(penalised(scores[0], [3, 3, 8], 1.7), want)


def test_draws_follow_the_chances_and_never_take_what_has_none() -> None:
    chances = torch.tensor([[0.0, 0.25, 0.0, 0.75, 0.0]])
    draws = [(i + 1) / 1000 for i in range(1000)]
    tokens = drawn(chances.expand(1000, -1), draws)
    assert torch.bincount(tokens, minlength=5).tolist() == [0, 250, 0, 750, 0]


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
def test_beams_that_hold_everything_find_the_best_of_all_texts(penalty: float) -> None:
    model = Speaker(vocabulary=4, context=None, sharpness=4.0)

    class Four(Bytes):
        end = 3

    found = complete(model, Four(), [[0, 1]], Sampling(max_tokens=4, beams=300, length_penalty=penalty), count=300)[0]
    texts = [t for size in (1, 2, 3, 4) for t in itertools.product(range(4), repeat=size)
             if 3 not in t[:-1] and (t[-1] == 3 or size == 4)]  # fmt: skip

    def score(text: tuple[int, ...]) -> float:
        with torch.no_grad():
            logprobs = model(torch.tensor([[0, 1, *text]]))[0].log_softmax(-1)
        return sum(float(logprobs[1 + i, token]) for i, token in enumerate(text)) / len(text) ** penalty

    best = sorted(texts, key=score, reverse=True)
    assert len(found) == len(texts)
    assert tuple(found[0].tokens) == best[0]
    assert [*map(score, best[:20])] == pytest.approx([score(tuple(one.tokens)) for one in found[:20]], rel=1e-4)
    assert sum(found[0].logprobs) == pytest.approx(score(best[0]) * len(best[0]) ** penalty, rel=1e-4)
    likeliest = complete(model, Four(), [[0, 1]], Sampling(max_tokens=4, temperature=0))[0][0]
    narrow = complete(model, Four(), [[0, 1]], Sampling(max_tokens=4, beams=2, length_penalty=penalty))[0][0]
    assert score(tuple(narrow.tokens)) >= score(tuple(likeliest.tokens)) - 1e-6


@pytest.mark.parametrize(("settings", "says"), [
    ({"temperature": -1}, "temperature -1"), ({"top_p": 0}, "top_p 0"), ({"max_tokens": 0}, "max_tokens 0"),
    ({"stop": ("",)}, "empty text"), ({"beams": 0}, "beams 0"), ({"repetition_penalty": 0}, "repetition_penalty 0"),
])  # fmt: skip
def test_settings_that_do_not_fit_are_named(settings: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Sampling(**settings)  # type: ignore[arg-type]


SCHEMA = {"type": "object", "required": ["name", "old"], "additionalProperties": False,
          "properties": {"name": {"type": "string", "maxLength": 6}, "old": {"enum": [1, 22, 333]}}}  # fmt: skip


def test_texts_keep_to_a_schema_or_an_expression_beside_others_that_do_not() -> None:
    free, schema, expression = (
        Sampling(max_tokens=60, temperature=1, seed=9, **form)  # type: ignore[arg-type]
        for form in ({}, {"json_schema": json.dumps(SCHEMA)}, {"regex": "[a-c]{4}-[0-9]{2}"})
    )
    decoder = Decoder(Speaker(), FIELD)
    requests = [decoder.add([1, 2], sampling) for sampling in (free, schema, expression)]
    while decoder.busy:
        decoder.advance()
    made = json.loads(requests[1].text)
    assert {*made} == {"name", "old"} and made["old"] in (1, 22, 333)
    assert re.fullmatch("[a-c]{4}-[0-9]{2}", requests[2].text)
    assert [r.finished for r in requests[1:]] == ["stop", "stop"]
    assert requests[0].tokens == complete(Speaker(), FIELD, [[1, 2]], free)[0][0].tokens
    for form, says in (({"regex": "a("}, "regular expression"), ({"json_schema": "[1]"}, "JSON schema")):
        with pytest.raises(UsageError, match=f"the {says} cannot be kept to"):
            decoder.add([1], Sampling(**form))
