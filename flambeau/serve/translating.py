"""Texts written for texts, by OpenAI's protocol: what a translation answers a completion or a chat with. Each answer is
the likeliest, by the search that the run was trained to use: nothing is drawn, and n answers are alike."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from fastapi.responses import JSONResponse, Response, StreamingResponse

from flambeau.fields import TextTarget
from flambeau.serve.completions import Answers, Asked, ChatBody, CompletionBody, Message, Refusal, Told, refused
from flambeau.serve.limits import Limits
from flambeau.serve.problems import Problem
from flambeau.serve.protocol import Predicted, Raw, too_many
from flambeau.serve.service import Service

USUAL = {"temperature": (0.0, 1.0), "top_p": (1.0,), "top_k": (0,), "min_p": (0.0,), "repetition_penalty": (1.0,),
         "response_format": (None, {"type": "text"}), "regex": (None,), "logprobs": (None, False)}  # fmt: skip
"""What may be said of how an answer is drawn, to a model that draws none."""


def check(asked: Asked) -> None:
    """Raises Refusal where a request wants what a translation cannot do."""
    for name, usual in USUAL.items():
        value = getattr(asked, name, usual[0])
        if not any(value == one and type(value) is type(one) for one in usual):  # 0 is no False
            told = f"'{name}' has no meaning here: this model writes the likeliest text for a text, and draws nothing"
            raise refused(told, name, "unsupported_parameter")


def texts_of(asked: CompletionBody) -> list[str]:
    """The texts that are to be translated.

    Raises:
        Refusal: there is none, or tokens stand for one.
    """
    several = [asked.prompt] if isinstance(asked.prompt, str) else asked.prompt
    texts = [one for one in several if isinstance(one, str)]
    if len(texts) < len(several):
        raise refused("this model reads texts, and the prompt is tokens; give the text itself", "prompt")
    if not texts or not all(map(str.strip, texts)):
        raise refused("there is no text to translate", "prompt")
    return texts


def text_of(messages: Sequence[Message]) -> str:
    """The text of a chat that is to be translated: the last message.

    Raises:
        Refusal: it is empty.
    """
    text = messages[-1].plain()["content"]
    if not text.strip():
        raise refused("the last message, which is what this model translates, is empty", "messages")
    return text


async def translated(
    asked: Asked, texts: Sequence[str], service: Service, answers: Answers, limits: Limits
) -> Response:
    """The answers to texts, n times each; as a stream, each whole in one event.

    Raises:
        Refusal: they are too many, or the model cannot answer.
    """
    try:
        if len(texts) > limits.max_rows:
            raise too_many(limits.max_rows, "prompts")
        found = await service.predict([Raw(None, text) for text in texts], 1, 0.0)
    except Problem as problem:
        raise Refusal(problem) from None
    labels = list[str]()
    for one in found:
        if not isinstance(one, Predicted):
            raise refused(one.error, "messages" if isinstance(asked, ChatBody) else "prompt")
        labels.append(str(one.label))
    field = service.target
    assert isinstance(field, TextTarget)
    most = asked.max_completion_tokens or asked.max_tokens if isinstance(asked, ChatBody) else None
    if isinstance(asked, CompletionBody) and "max_tokens" in asked.model_fields_set:
        most = asked.max_tokens
    told, made = list[Told](), 0
    for label in labels:
        for _ in range(asked.n):
            answer = Told(len(told))
            answer.text, answer.finished, count = cut(label, asked.stop, most, field)
            made += count
            told.append(answer)
    read = sum(len(service.fields[service.predictor.inputs[0]].encode(text)) for text in texts)
    usage = {"prompt_tokens": read, "completion_tokens": made, "total_tokens": read + made}
    if asked.stream:
        wants_usage = asked.stream_options is not None and asked.stream_options.include_usage
        return StreamingResponse(_events(answers, told, usage if wants_usage else None), media_type="text/event-stream")
    return JSONResponse(answers.document([answers.choice(one) for one in told], usage))


def cut(text: str, stop: str | list[str] | None, most: int | None, field: TextTarget) -> tuple[str, str, int]:
    """A text up to what it is to stop at and of so many tokens at most; why it ends; and how many tokens it has."""
    marks = [stop] if isinstance(stop, str) else stop or []
    text = text[: min((text.index(mark) for mark in marks if mark and mark in text), default=len(text))]
    tokens = field.tokens_of(text)
    if most is not None and len(tokens) > most:
        return field.text_of(tokens[:most]), "length", most
    return text, "stop", len(tokens)


async def _events(answers: Answers, told: Sequence[Told], usage: dict[str, int] | None) -> AsyncIterator[str]:
    for choices in _choices(answers, told):
        yield answers.chunk(choices)
    if usage is not None:
        yield answers.chunk([], usage)
    yield "data: [DONE]\n\n"


def _choices(answers: Answers, told: Sequence[Told]) -> Iterator[list[dict[str, Any]]]:
    for one in told:
        if (begun := answers.begun(one.index)) is not None:
            yield [begun]
        yield [answers.whole_delta(one)]
