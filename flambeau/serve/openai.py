"""Texts that go on, by OpenAI's protocol: `/v1/completions` and `/v1/chat/completions` (`/v1/models` lists all models),
so that its client and whatever speaks as it does work unchanged. A translation answers with the text that it writes for
the prompt, or for a chat's last message.

The protocol: https://platform.openai.com/docs/api-reference. `top_k`, `min_p`, `repetition_penalty` and `regex` are
taken beside what it has, as other open servers do; what changes the answer and is not served is refused by name.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ValidationError

from flambeau.core.errors import DataError, FlambeauError, UsageError
from flambeau.fields import Corpus
from flambeau.predictor.sampling import Sampling
from flambeau.serve import translating
from flambeau.serve.completions import (
    HARMLESS,
    Answers,
    Asked,
    ChatAnswers,
    ChatBody,
    CompletionBody,
    Refusal,
    Told,
    event,
    refused,
)
from flambeau.serve.limits import Limits
from flambeau.serve.problems import Problem
from flambeau.serve.protocol import json_body, read_json
from flambeau.serve.registry import Registry
from flambeau.serve.service import Service
from flambeau.serve.writing import Texts, Writer

Wanted = Sequence[tuple[Sequence[int], Sampling]]
UNBOUNDED = 32_768
"""Tokens that a prompt may have where the model can look back at any number."""


class RefusalBody(BaseModel):
    """The body of an answer that is not 2xx; `error` has at least `message` and `code`."""

    error: dict[str, Any]


def add_routes(app: FastAPI, registry: Registry, limits: Limits) -> None:
    """The two routes, for texts that the writers of some models make go on, and that others translate."""

    def writes(service: Service) -> bool:
        return service.writer is not None or service.translates

    def chosen(asked: Asked, request: Request, until: contextlib.ExitStack) -> tuple[str, Service]:
        """The name and the service of the model that is asked for, which stays loaded until then."""
        names = [name for name, model in registry.models.items() if writes(model.current.service)]
        name = asked.model if asked.model is not None else next(iter(names), "")
        version = registry.model(name).choose() if name in names else None
        if version is None or not writes(version.service):
            expected = " or ".join(f"'{one}'" for one in names) or "none: no model here writes texts"
            told = f"the model '{name}' is not served here; expected {expected}"
            raise refused(told, "model", "model_not_found", 404)
        version.enter()
        until.callback(version.leave)
        request.scope["answered_by"] = version
        return name, version.service

    async def parsed(request: Request, shape: type[Asked]) -> Any:
        """Raises Refusal where the body does not fit."""
        try:
            asked = shape.model_validate_json(await read_json(request))
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            said = first["msg"].lower()
            raise refused(f"{where}: {said}" if where else said, where or None) from None
        except Problem as problem:
            raise Refusal(problem) from None
        unknown = [key for key, value in (asked.model_extra or {}).items()
                   if key not in HARMLESS and value not in (None, 0, False, [], {}, "auto", "none")]  # fmt: skip
        if unknown:
            raise refused(f"'{unknown[0]}' is not served here", unknown[0], "unsupported_parameter")
        if asked.n > limits.max_texts:
            raise refused(f"n is {asked.n}; expected at most {limits.max_texts}", "n")
        return asked

    def prepared(asked: Any, writer: Writer, prompts: Sequence[list[int]], most: int | None) -> Wanted:
        """Each prompt with how it goes on, n times."""
        room = room_of(writer)
        for prompt in prompts:
            if len(prompt) > room:
                told = f"the prompt has {len(prompt):,} tokens; expected at most {room:,}"
                raise refused(told, "messages" if isinstance(asked, ChatBody) else "prompt", "context_length_exceeded")
        stop = [asked.stop] if isinstance(asked.stop, str) else asked.stop or []
        seed = secrets.randbits(53) if asked.seed is None else asked.seed
        try:
            sampling = Sampling(
                max_tokens=min(most or limits.max_tokens, limits.max_tokens), temperature=asked.temperature,
                top_p=asked.top_p, top_k=asked.top_k, min_p=asked.min_p, repetition_penalty=asked.repetition_penalty,
                stop=tuple(stop), seed=seed, **asked.form(),
            )  # fmt: skip
        except UsageError as error:
            raise refused(str(error)) from None
        return [(prompt, replace(sampling, seed=seed + i)) for prompt in prompts for i in range(asked.n)]

    async def answered(
        request: Request, asked: Any, writer: Writer, wanted: Wanted, answers: Answers, until: contextlib.ExitStack
    ) -> Response:
        try:
            texts = await writer.submit(wanted)
        except Problem as problem:
            raise Refusal(problem) from None
        except FlambeauError as error:
            raise refused(str(error)) from None
        told = [Told(index) for index in range(len(wanted))]
        if asked.stream:
            usage = asked.stream_options is not None and asked.stream_options.include_usage
            until.callback(writer.leave, texts)
            return Events(streamed(texts, told, answers, usage), until.pop_all().close)
        try:
            if not await finished(request, texts, told):
                return Response(status_code=499)  # which nobody reads
        except Problem as problem:
            raise Refusal(problem) from None
        finally:
            writer.leave(texts)
        return JSONResponse(answers.document([answers.choice(one) for one in told], used(texts, told)))

    events = {"text/event-stream": {"schema": {"type": "string"}}}
    said = {"description": "the texts; with `stream` as events", "content": events}
    statuses = (400, 401, 403, 404, 413, 415, 422, 429, 500, 503, 504)
    about: dict[int | str, dict[str, Any]] = {
        200: said,
        **{status: {"model": RefusalBody, "description": "refused, in OpenAI's form"} for status in statuses},
    }

    @app.post(
        "/v1/completions",
        summary="Let a text go on",
        responses=about,
        openapi_extra={"requestBody": json_body(CompletionBody)},
    )
    async def completions(request: Request) -> Response:
        asked: CompletionBody = await parsed(request, CompletionBody)
        with contextlib.ExitStack() as until:
            name, service = chosen(asked, request, until)
            if (writer := service.writer) is None:
                translating.check(asked)
                texts = translating.texts_of(asked)
                return await translating.translated(asked, texts, service, Answers(name, None, False), limits)
            prompts = await asyncio.to_thread(tokens_of, writer.field, asked.prompt)
            wanted = prepared(asked, writer, prompts, asked.max_tokens)
            answers = Answers(name, writer.field, asked.logprobs is not None)
            return await answered(request, asked, writer, wanted, answers, until)

    @app.post(
        "/v1/chat/completions",
        summary="Answer a chat",
        responses=about,
        openapi_extra={"requestBody": json_body(ChatBody)},
    )
    async def chat(request: Request) -> Response:
        asked: ChatBody = await parsed(request, ChatBody)
        with contextlib.ExitStack() as until:
            name, service = chosen(asked, request, until)
            if (writer := service.writer) is None:
                translating.check(asked)
                text = translating.text_of(asked.messages)
                return await translating.translated(asked, [text], service, ChatAnswers(name, None, False), limits)
            try:
                prompt = await asyncio.to_thread(writer.field.chat, [message.plain() for message in asked.messages])
            except DataError as error:
                raise refused(error.found, "messages") from None
            most = asked.max_completion_tokens or asked.max_tokens or max(1, room_of(writer) - len(prompt))
            answers = ChatAnswers(name, writer.field, asked.logprobs)
            return await answered(request, asked, writer, prepared(asked, writer, [prompt], most), answers, until)


def room_of(writer: Writer) -> int:
    """Tokens that a prompt may have."""
    return writer.model.context or UNBOUNDED


def tokens_of(field: Corpus, prompt: str | list[str] | list[int] | list[list[int]]) -> list[list[int]]:
    """Prompts as tokens.

    Raises:
        Refusal: there is none, or a token is none.
    """
    if isinstance(prompt, str):
        return [field.prompt_of(prompt)]
    if not prompt:
        raise refused("there is no prompt", "prompt")
    several = [prompt] if isinstance(prompt[0], int) else prompt
    return [field.prompt_of(one) if isinstance(one, str) else [*one] for one in several]


class Events(StreamingResponse):
    """A stream of events that tells when it is over, however it ended."""

    def __init__(self, events: AsyncIterator[str], over: Callable[[], None]):
        super().__init__(events, media_type="text/event-stream")
        self._over = over

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._over()


async def streamed(texts: Texts, told: Sequence[Told], answers: Answers, usage: bool) -> AsyncIterator[str]:
    """The events of an answer; what fails on the way is one, too."""
    try:
        for one in told:
            if (begun := answers.begun(one.index)) is not None:
                yield answers.chunk([begun])
        async for index, piece in texts:
            offset = len(told[index].text)
            told[index].take(piece)
            if piece.text or piece.finished or answers.logprobs:
                yield answers.chunk([answers.delta(index, piece, offset)])
        if usage:
            yield answers.chunk([], used(texts, told))
    except Problem as problem:
        yield event(Refusal(problem).to_dict())
    yield "data: [DONE]\n\n"


async def finished(request: Request, texts: Texts, told: Sequence[Told]) -> bool:
    """Reads texts to their end; false where the client has gone before."""

    async def read() -> None:
        async for index, piece in texts:
            told[index].take(piece)

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    reading, leaving = asyncio.ensure_future(read()), asyncio.ensure_future(gone())
    try:
        await asyncio.wait((reading, leaving), return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            reading.result()
        return reading.done()
    finally:
        reading.cancel()
        leaving.cancel()


def used(texts: Texts, told: Sequence[Told]) -> dict[str, int]:
    """Tokens read, of each prompt once, and made."""
    prompts = sum(len(prompt) for prompt in {id(prompt): prompt for prompt, _ in texts.wanted}.values())
    made = sum(len(one.pieces) for one in told)
    return {"prompt_tokens": prompts, "completion_tokens": made, "total_tokens": prompts + made}
