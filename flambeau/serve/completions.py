"""What OpenAI's protocol asks for and answers, by the shapes of https://platform.openai.com/docs/api-reference."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic import Field as Described

from flambeau.fields import Corpus
from flambeau.predictor.decoding import Piece
from flambeau.serve.problems import Problem

HARMLESS = ("user", "store", "metadata", "service_tier", "safety_identifier", "prompt_cache_key", "parallel_tool_calls")
"""What may be sent and changes nothing."""


class Refusal(Problem):
    """A Problem in OpenAI's form."""

    def __init__(self, problem: Problem, param: str | None = None):
        super().__init__(problem.status, problem.code, problem.message, problem.headers)
        self.param = param

    def to_dict(self) -> dict[str, Any]:
        kind = {429: "rate_limit_error", 404: "not_found_error"}.get(
            self.status, "invalid_request_error" if self.status < 500 else "server_error"
        )
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


class StreamOptions(BaseModel):
    """What a stream tells besides."""

    model_config = ConfigDict(extra="ignore")
    include_usage: bool = False


class Asked(BaseModel):
    """What both kinds of request have."""

    model_config = ConfigDict(extra="allow")
    model: str | None = Described(None, description="the served model's name, as `/v1/models` has it")
    n: int = Described(1, ge=1, description="texts for each prompt")
    temperature: float = Described(1.0, ge=0, le=100)
    top_p: float = Described(1.0, gt=0, le=1)
    top_k: int = Described(0, ge=0, description="draw from the likeliest tokens alone; 0 from all")
    min_p: float = Described(0.0, ge=0, le=1, description="part of the likeliest's probability that others must have")
    repetition_penalty: float = Described(1.0, gt=0, le=100)
    stop: str | list[str] | None = Described(None, max_length=64, description="texts before which it ends")
    seed: int | None = Described(None, description="what the draws hang on; another each time if not given")
    stream: bool = False
    stream_options: StreamOptions | None = None
    response_format: dict[str, Any] | None = Described(None, description="text, json_object or json_schema")
    regex: str | None = Described(None, description="an expression that the whole text matches")

    def form(self) -> dict[str, str | None]:
        """The form that the text keeps to, as `Sampling` has it.

        Raises:
            Refusal: there is no such form.
        """
        asked = self.response_format or {"type": "text"}
        schema: Any = None
        if asked.get("type") == "json_object":
            schema = {"type": "object"}
        elif asked.get("type") == "json_schema":
            schema = (asked.get("json_schema") or {}).get("schema")
        if schema is None and asked.get("type") != "text":
            raise refused(
                "response_format is none of text, json_object and json_schema with a schema", "response_format"
            )
        return {"json_schema": None if schema is None else json.dumps(schema), "regex": self.regex}


class CompletionBody(Asked):
    """A text that is to go on."""

    prompt: str | list[str] | list[int] | list[list[int]] = Described("", description="texts, or their tokens")
    max_tokens: int | None = Described(16, ge=1)
    logprobs: int | None = Described(None, ge=0, le=0, description="0: of each token that came; of others none")


class Message(BaseModel):
    """What somebody said."""

    model_config = ConfigDict(extra="allow")
    role: str
    content: str | list[dict[str, Any]] | None = None

    def plain(self) -> dict[str, str]:
        """With its content as one text.

        Raises:
            Refusal: it holds more than text.
        """
        content = self.content or ""
        if not isinstance(content, str):
            if any(part.get("type") != "text" or not isinstance(part.get("text"), str) for part in content):
                raise refused("a message holds more than text", "messages")
            content = "".join(part["text"] for part in content)
        return {"role": self.role, "content": content}


class ChatBody(Asked):
    """A chat that is to be answered."""

    messages: list[Message] = Described(min_length=1)
    max_completion_tokens: int | None = Described(None, ge=1)
    max_tokens: int | None = Described(None, ge=1, description="what `max_completion_tokens` was called")
    logprobs: bool = False
    top_logprobs: int | None = Described(None, ge=0, le=0, description="0: of other tokens none are given")


def refused(message: str, param: str | None = None, code: str = "invalid_value", status: int = 400) -> Refusal:
    """A request that does not fit."""
    return Refusal(Problem(status, code, message), param)


class Told:
    """What has come of one text."""

    def __init__(self, index: int):
        self.index, self.text = index, ""
        self.finished: str | None = None
        self.pieces: list[Piece] = []

    def take(self, piece: Piece) -> None:
        """One more piece."""
        self.pieces.append(piece)
        self.text += piece.text
        self.finished = piece.finished


class Answers:
    """How an answer is written: of completions; of chats below.

    Args:
        name: the model's.
        field: what tokens mean; None where none are told of.
        logprobs: whether the logarithm of each token's probability is told.
    """

    prefix, whole, part = "cmpl", "text_completion", "text_completion"

    def __init__(self, name: str, field: Corpus | None, logprobs: bool):
        self.field, self.logprobs = field, logprobs
        self._head = {"id": f"{self.prefix}-{secrets.token_hex(12)}", "created": int(time.time()), "model": name}

    def document(self, choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> dict[str, Any]:
        """The whole answer."""
        return {**self._head, "object": self.whole, "choices": choices, "usage": usage}

    def chunk(self, choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> str:
        """An event of a stream."""
        told = {**self._head, "object": self.part, "choices": choices, **({} if usage is None else {"usage": usage})}
        return event(told)

    def choice(self, told: Told) -> dict[str, Any]:
        """A text that ended."""
        return {"index": told.index, "text": told.text, "logprobs": self.logprobs_of(told.pieces, 0),
                "finish_reason": told.finished}  # fmt: skip

    def begun(self, index: int) -> dict[str, Any] | None:
        """What a stream tells before the first piece."""
        return None

    def delta(self, index: int, piece: Piece, offset: int) -> dict[str, Any]:
        """A piece of a stream; before it came so many characters."""
        return {"index": index, "text": piece.text, "logprobs": self.logprobs_of([piece], offset),
                "finish_reason": piece.finished}  # fmt: skip

    def whole_delta(self, told: Told) -> dict[str, Any]:
        """A text that came at once, as the only piece of a stream."""
        return self.choice(told)

    def logprobs_of(self, pieces: Sequence[Piece], offset: int) -> dict[str, Any] | None:
        """Of each token its text and the logarithm of its probability."""
        if not self.logprobs:
            return None
        names = [self.name_of(piece) for piece in pieces]
        offsets = [offset + sum(map(len, names[:i])) for i in range(len(names))]
        return {"tokens": names, "token_logprobs": [piece.logprob for piece in pieces], "top_logprobs": None,
                "text_offset": offsets}  # fmt: skip

    def name_of(self, piece: Piece) -> str:
        """A token's text."""
        return self.bytes_of(piece).decode("utf-8", "replace")

    def bytes_of(self, piece: Piece) -> bytes:
        """What a token writes."""
        assert self.field is not None
        return self.field.bytes_of([piece.token])


class ChatAnswers(Answers):
    """Of chats."""

    prefix, whole, part = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def choice(self, told: Told) -> dict[str, Any]:
        message = {"role": "assistant", "content": told.text, "refusal": None}
        return {"index": told.index, "message": message, "logprobs": self.logprobs_of(told.pieces, 0),
                "finish_reason": told.finished}  # fmt: skip

    def begun(self, index: int) -> dict[str, Any] | None:
        delta = {"role": "assistant", "content": ""}
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}

    def delta(self, index: int, piece: Piece, offset: int) -> dict[str, Any]:
        return {"index": index, "delta": {"content": piece.text} if piece.text else {},
                "logprobs": self.logprobs_of([piece], offset), "finish_reason": piece.finished}  # fmt: skip

    def whole_delta(self, told: Told) -> dict[str, Any]:
        return {"index": told.index, "delta": {"content": told.text}, "logprobs": None, "finish_reason": told.finished}

    def logprobs_of(self, pieces: Sequence[Piece], offset: int) -> dict[str, Any] | None:
        if not self.logprobs:
            return None
        return {"content": [{"token": self.name_of(piece), "logprob": piece.logprob, "top_logprobs": [],
                             "bytes": [*self.bytes_of(piece)]} for piece in pieces]}  # fmt: skip


def event(told: Mapping[str, Any]) -> str:
    """A server-sent event."""
    return f"data: {json.dumps(told, ensure_ascii=False)}\n\n"
