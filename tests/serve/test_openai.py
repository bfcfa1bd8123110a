"""OpenAI's own client against a real server: what it asks for unchanged, and what it is told where it cannot be."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from openai import APIStatusError, BadRequestError, NotFoundError, OpenAI, RateLimitError
from webpage import asked, complaints, wait
from writers import learner

import flambeau as fb
from flambeau.serve import Limits, background_server

HELLO: Any = [{"role": "user", "content": "What is 3?"}]


def untrained(folder: Path, chats: bool = False) -> fb.Predictor:
    made = learner(False, folder, chats)
    made.build()
    with torch.no_grad():  # so that it is surer of what it says, and no rounding decides
        for weights in made.predictor.objective.model.parameters():
            weights.mul_(4)
    return made.predictor


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> fb.Predictor:
    return untrained(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="module")
def address(predictor: fb.Predictor) -> Iterator[str]:
    with background_server(predictor, title="austen", limits=Limits(max_texts=12)) as url:
        yield url


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as opened:
        yield opened


def test_completions_are_those_of_the_predictor_streamed_as_at_once(client: OpenAI, predictor: fb.Predictor) -> None:
    assert [model.id for model in client.models.list()] == ["austen"] and client.models.retrieve(
        "austen"
    ).id == "austen"
    whole = client.completions.create(model="austen", prompt=["It is", "a man"], n=2, seed=5, max_tokens=9, logprobs=0)
    by_hand = predictor.generate_text(["It is", "a man"], count=2, seed=5, max_tokens=9, temperature=1)
    assert [choice.text for choice in whole.choices] == [text.text for some in by_hand for text in some]
    assert [choice.index for choice in whole.choices] == [0, 1, 2, 3]
    logprobs = whole.choices[3].logprobs
    assert logprobs is not None and logprobs.token_logprobs == pytest.approx(by_hand[1][1].logprobs, abs=1e-4)
    assert whole.usage is not None and (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (12, 36)
    parts, usage = ["", "", "", ""], None
    for event in client.completions.create(model="austen", prompt=["It is", "a man"], n=2, seed=5, max_tokens=9,
                                           stream=True, stream_options={"include_usage": True}):  # fmt: skip
        usage = event.usage or usage
        for choice in event.choices:
            parts[choice.index] += choice.text
    assert parts == [choice.text for choice in whole.choices] and usage == whole.usage
    field = predictor.fields["text"]
    tokens = client.completions.create(model="austen", prompt=field.prompt_of("It is"), seed=5, max_tokens=9)
    assert tokens.choices[0].text == parts[0]
    stop = parts[0][4]
    cut = client.completions.create(model="austen", prompt="It is", seed=5, max_tokens=9, stop=[stop])
    assert (cut.choices[0].text, cut.choices[0].finish_reason) == (parts[0][: parts[0].index(stop)], "stop")


def test_a_request_whose_second_prompt_is_none_harms_no_other(client: OpenAI) -> None:
    stream = client.completions.create(model="austen", prompt="It is", seed=5, max_tokens=4000, stream=True)
    first = next(iter(stream))
    for _ in range(8):
        with pytest.raises(BadRequestError, match="no token 99999"):
            client.completions.create(model="austen", prompt=[[1, 2], [99999]], max_tokens=3)
    events = [first, *stream]
    assert sum(len(event.choices) for event in events) > 40 and events[-1].choices[0].finish_reason in {
        "length",
        "stop",
    }


def test_chats_are_answered(client: OpenAI) -> None:
    whole = client.chat.completions.create(model="austen", messages=HELLO, n=2, seed=1, max_completion_tokens=8,
                                           logprobs=True)  # fmt: skip
    parts = ["", ""]
    for event in client.chat.completions.create(model="austen", messages=HELLO, n=2, seed=1, max_tokens=8, stream=True):
        for part in event.choices:
            parts[part.index] += part.delta.content or ""
    assert parts == [choice.message.content for choice in whole.choices] and parts[0] != parts[1]
    assert whole.choices[0].logprobs and len(whole.choices[0].logprobs.content or []) == 8
    schema = {"type": "object", "properties": {"name": {"enum": ["Emma", "Anne"]}}, "required": ["name"],
              "additionalProperties": False}  # fmt: skip
    form: Any = {"type": "json_schema", "json_schema": {"name": "who", "schema": schema}}
    told = client.chat.completions.create(model="austen", messages=HELLO, response_format=form, max_tokens=40)
    assert json.loads(told.choices[0].message.content or "")["name"] in ("Emma", "Anne")
    parts_of_text: Any = [{"role": "user", "content": [{"type": "text", "text": "What is 3?"}]}]
    same = client.chat.completions.create(model="austen", messages=parts_of_text, seed=1, max_tokens=8)
    assert same.choices[0].message.content == parts[0]


@pytest.mark.parametrize("settings, kind, param, said", [
    ({"model": "gpt-5"}, NotFoundError, "model", "expected 'austen'"),
    ({"max_tokens": 0}, BadRequestError, "max_tokens", "greater than or equal to 1"),
    ({"n": 13}, BadRequestError, "n", "at most 12"),
    ({"prompt": "x" * 200}, BadRequestError, "prompt", "at most 96"),
    ({"prompt": []}, BadRequestError, "prompt", "no prompt"),
    ({"prompt": [300]}, BadRequestError, None, "no token 300"),
    ({"temperature": -1}, BadRequestError, "temperature", "greater than or equal to 0"),
    ({"extra_body": {"logit_bias": {"1": 2}}}, BadRequestError, "logit_bias", "not served"),
    ({"extra_body": {"regex": "a("}}, BadRequestError, None, "cannot be kept to"),
    ({"extra_body": {"regex": "a("}, "stream": True}, BadRequestError, None, "cannot be kept to"),
])  # fmt: skip
def test_what_is_not_served_is_refused_in_its_form(
    settings: dict[str, Any], kind: type[APIStatusError], param: str | None, said: str, client: OpenAI
) -> None:
    with pytest.raises(kind) as refused:
        client.completions.create(**{"model": "austen", "prompt": "x", **settings})
    assert refused.value.param == param and said in refused.value.message
    assert isinstance(refused.value.body, dict) and refused.value.body["type"].endswith("_error")


class Held(torch.nn.Module):
    """Lets a model go on a step at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.go, self.steps = threading.Semaphore(0), 0

    def before(self, *_: Any) -> None:
        assert self.go.acquire(timeout=30)
        self.steps += 1


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[str, Held]]:
    predictor, brake = untrained(tmp_path), Held()
    predictor.objective.model.embedding.register_forward_pre_hook(brake.before)
    brake.go.release()  # the warm-up of the other routes
    with background_server(predictor, title="austen", limits=Limits(max_texts=3, text_timeout=60)) as url:
        yield url, brake
        brake.go.release(100_000)


def test_requests_join_a_batch_leave_it_and_are_refused_where_they_are_too_many(held: tuple[str, Held]) -> None:
    url, brake = held
    body = {"prompt": "It is", "max_tokens": 4000, "stream": True, "seed": 1}
    with (
        OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
        ThreadPoolExecutor(3) as threads,
        httpx.Client(timeout=30) as other,
    ):
        with other.stream("POST", f"{url}/v1/completions", json=body) as long:
            brake.go.release(5)
            lines = long.iter_lines()
            assert next(lines).startswith("data: ")
            short = threads.submit(client.completions.create, model="austen", prompt="a man", seed=2, max_tokens=3)
            while not futures.wait([short], timeout=0.02).done:
                brake.go.release()  # a step of the long one, and of the short one once it is there
            assert short.result(30).usage.completion_tokens == 3
            with pytest.raises(RateLimitError, match="at most 3"):
                client.completions.create(model="austen", prompt="x", n=3)
        brake.go.release(100_000)  # the long one was left, or this would not be served
        assert len(client.completions.create(model="austen", prompt="x", n=3, max_tokens=2).choices) == 3


def test_what_takes_too_long_is_ended(predictor: fb.Predictor) -> None:
    limits = dataclasses.replace(Limits(), text_timeout=0.05)
    with background_server(predictor, limits=limits) as url:
        endless = {
            "prompt": "x",
            "max_tokens": 4000,
            "temperature": 0,
        }  # it goes in circles, and never comes to its end
        late = httpx.post(f"{url}/v1/completions", json=endless, timeout=30)
        assert (late.status_code, late.json()["error"]["code"]) == (504, "timeout")
        events = httpx.post(f"{url}/v1/completions", json={**endless, "stream": True}).text
        assert '"code": "timeout"' in events and events.endswith("data: [DONE]\n\n")


@pytest.mark.browser
def test_the_page_writes_a_text_as_it_comes(browser: Callable[..., Any], address: str, predictor: fb.Predictor) -> None:
    page = browser(address)
    assert page.find_element("id", "about").text == "writes texts"
    assert not page.find_element("id", "rows").is_displayed()
    page.find_element("id", "write-prompt").send_keys("It is")
    page.execute_script("arguments[0].value = 12", page.find_element("id", "write-tokens"))
    page.find_element("id", "write-seed").send_keys("5")
    page.execute_script("arguments[0].value = 1; arguments[0].dispatchEvent(new Event('input', {bubbles: true}))",
                        page.find_element("id", "write-temperature"))  # fmt: skip
    assert page.find_element("id", "write-temperature-told").text == "1"
    button = page.find_element("id", "write-go")
    button.click()
    wait(page, lambda: page.find_element("id", "status").get_attribute("textContent") == "The text is at its end.")
    shown = page.execute_script("return document.querySelector('#written span').textContent")
    told = predictor.generate_text("It is", seed=5, max_tokens=12, temperature=1).text
    assert told and shown == page.execute_script("return visibleLines(arguments[0])", told)
    assert '"temperature":1' in page.find_element("id", "curl").get_attribute("textContent")
    page.execute_script("arguments[0].value = 4000", page.find_element("id", "write-tokens"))
    button.click()
    wait(page, lambda: button.text == "Stop" and page.execute_script("return $('written').textContent.length > 5"))
    button.click()
    wait(page, lambda: button.text == "Write")
    assert not page.find_element("id", "notice").is_displayed() and complaints(page) == []
    sent = {url.removeprefix(address) for url in asked(page)}
    assert sent == {"/", "/model", "/v1/completions"}


@pytest.mark.browser
def test_the_page_answers_a_chat_in_chinese(browser: Callable[..., Any], tmp_path: Path) -> None:
    with background_server(untrained(tmp_path, chats=True)) as url:
        page = browser(url, "zh-CN")
        page.find_element("id", "write-prompt").send_keys("What is 3?")
        page.execute_script("arguments[0].value = 8", page.find_element("id", "write-tokens"))
        page.find_element("id", "write-go").click()
        wait(page, lambda: page.find_element("id", "status").get_attribute("textContent") == "已写完。")
        assert {one.removeprefix(url) for one in asked(page)} == {"/", "/model", "/v1/chat/completions"}
        assert "chat.completions" in page.find_element("id", "python").get_attribute("textContent")


@pytest.fixture(scope="module")
def translating(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OpenAI, fb.Predictor]]:
    from flambeau.objectives import Translation

    path, names = tmp_path_factory.mktemp("pairs") / "pairs.csv", ("zero", "one", "two", "three")
    rows = [(f"{a} and {b}", f"{b} et {a}") for a in names for b in names]
    path.write_text("en,fr\n" + "\n".join(map(",".join, rows)), encoding="utf-8")
    data = fb.Dataset.from_table(path, inputs=["en"], target="fr", fields=Translation.fields_of("fr", ["en"]))
    small = {"embedding": 24, "hidden_size": 32, "dropout": 0.0}
    made = fb.Learner(data, model="seq2seq-gru", options=small, fields={"fr": {"tokens": "characters"}}, run=False,
                      quiet=True)  # fmt: skip
    made.build()
    with torch.no_grad():
        for weights in made.predictor.objective.model.parameters():
            weights.mul_(3)
    with (
        background_server(made.predictor, title="fr") as url,
        OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        yield client, made.predictor


def test_translations_are_asked_as_texts_that_go_on_are(translating: tuple[OpenAI, fb.Predictor]) -> None:
    client, predictor = translating
    texts = ["one and two", "three and zero"]
    wanted = [answer.label for answer in predictor.predict(texts)]
    assert all(wanted)
    whole = client.completions.create(model="fr", prompt=texts, n=2)
    assert [choice.text for choice in whole.choices] == [wanted[0], wanted[0], wanted[1], wanted[1]]
    assert {choice.finish_reason for choice in whole.choices} == {"stop"} and whole.usage is not None
    said: Any = [{"role": "system", "content": "Translate."}, {"role": "user", "content": texts[0]}]
    told = client.chat.completions.create(model="fr", messages=said, temperature=0)
    assert told.choices[0].message.content == wanted[0]
    stream = client.chat.completions.create(
        model="fr", messages=said, stream=True, stream_options={"include_usage": True}
    )
    events = [*stream]
    assert "".join(e.choices[0].delta.content or "" for e in events if e.choices) == wanted[0]
    assert events[-1].usage == told.usage and events[-2].choices[0].finish_reason == "stop"
    field = predictor.fields["fr"]
    short = client.completions.create(model="fr", prompt=texts[0], max_tokens=1)
    assert (short.choices[0].text, short.choices[0].finish_reason) == (
        field.text_of(field.tokens_of(wanted[0])[:1]),
        "length",
    )
    cut = client.completions.create(model="fr", prompt=texts[0], stop=[wanted[0][3]])
    assert cut.choices[0].text == wanted[0][: wanted[0].index(wanted[0][3])]


@pytest.mark.parametrize("settings, param, said", [
    ({"prompt": [1, 2]}, "prompt", "give the text itself"),
    ({"prompt": "  "}, "prompt", "no text to translate"),
    ({"prompt": ["one", ""]}, "prompt", "no text to translate"),
    ({"temperature": 0.7}, "temperature", "draws nothing"),
    ({"logprobs": 0}, "logprobs", "no meaning"),
    ({"extra_body": {"regex": "a+"}}, "regex", "no meaning"),
])  # fmt: skip
def test_what_a_translation_cannot_do_is_said(
    translating: tuple[OpenAI, fb.Predictor], settings: dict[str, Any], param: str, said: str
) -> None:
    with pytest.raises(BadRequestError, match=said) as refused:
        translating[0].completions.create(**{"model": "fr", "prompt": "one and two", **settings})
    assert refused.value.param == param
