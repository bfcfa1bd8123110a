"""Chats: messages as one text, as a tokeniser's template writes it, and which of its tokens an assistant says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from flambeau.core.errors import DataError, first_line, needed
from flambeau.core.files import read_bytes

if TYPE_CHECKING:
    from flambeau.fields.corpus import Corpus

ASSISTANT = "assistant"
PROMPT, COMPLETION = "prompt", "completion"
"""Roles of a text that stands before another and of what follows it, both written as they stand."""
REJECTED = "rejected"
"""The role of an answer that another was preferred to, which stands before it."""
Messages = list[dict[str, str]]
SPEAKERS = {"human": "user", "gpt": ASSISTANT, "chatgpt": ASSISTANT, "bing": ASSISTANT, "bard": ASSISTANT,
            "function_call": ASSISTANT, "observation": "tool"}  # fmt: skip
"""Who speaks in ShareGPT's files, by the roles of messages; others keep their names."""


def is_chat(value: Any) -> bool:
    """Whether a raw value is a chat: {messages: …}, or the messages."""
    value = value.get("messages") if isinstance(value, Mapping) else value
    listed = isinstance(value, (list, tuple, np.ndarray)) and len(value) > 0
    return listed and all(isinstance(one, Mapping) and {"role", "content"} & set(one) for one in value)


def of_turns(turns: Any) -> Any:
    """A chat as ShareGPT's files have it, {from, value} each, as messages; what is none is left for `messages_of` to
    tell of.

    >>> of_turns([{"from": "human", "value": "Hello"}])
    [{'role': 'user', 'content': 'Hello'}]
    """
    if not isinstance(turns, list) or not all(isinstance(turn, Mapping) and "from" in turn for turn in turns):
        return turns
    return [{"role": SPEAKERS.get(turn["from"], turn["from"]), "content": turn.get("value")} for turn in turns]


def said(prompt: Any, answer: Any, role: str = "user") -> Messages:
    """A prompt and what is to follow it as messages: texts as they stand, or with a `role` other than PROMPT as a chat;
    what is messages already, one after the other."""
    roles = (role, COMPLETION if role == PROMPT else ASSISTANT)
    return [
        message
        for one, of in zip((prompt, answer), roles, strict=True)
        for message in (one if isinstance(one, list) else [{"role": of, "content": one}])
    ]


def stands(messages: Any) -> bool:
    """Whether these messages are a prompt and what follows it, as they stand."""
    return is_chat(messages) and not isinstance(messages, Mapping) and messages[0].get("role") == PROMPT


def preference(prompt: Any, chosen: Any, rejected: Any) -> Messages:
    """A prompt, the answer that was chosen, and behind it the one that was rejected: texts as they stand, or two chats
    that differ in their last message, with the prompt in them or not.

    Raises:
        DataError: they differ in more.
    """
    whole = isinstance(chosen, list) and len(chosen) > 1  # the prompt is in it
    pair = [said([] if whole else prompt or "", one, PROMPT) for one in (chosen, rejected)]
    if pair[0][:-1] != pair[1][:-1]:
        raise DataError("the chosen and the rejected chat differ in more than their last message")
    return [*pair[0], {**pair[1][-1], "role": REJECTED}]


def pair_of(messages: Messages) -> tuple[Messages, Messages]:
    """The chat with the answer that was chosen, and the one with the other, of what `preference` gives.

    Raises:
        DataError: no answer was rejected.
    """
    if len(messages) < 2 or messages[-1]["role"] != REJECTED:
        raise DataError("there is no rejected answer", expected="a prompt, a chosen and a rejected answer")
    *before, chosen, rejected = messages
    return [*before, chosen], [*before, {**chosen, "content": rejected["content"]}]


def messages_of(value: Any) -> Messages:
    """The messages of a raw value.

    Raises:
        DataError: they are none.
    """
    if not is_chat(value):
        raise DataError("this is no chat", expected="a list of messages, {role: …, content: …} each")
    value = value["messages"] if isinstance(value, Mapping) else value
    messages = []
    for number, one in enumerate(value, 1):
        said = {"role": one.get("role"), "content": _joined(one.get("content"), number)}
        if absent := next((name for name, what in said.items() if not isinstance(what, str)), None):
            raise DataError(f"message {number} of the chat has no {absent}", expected="role and content as strings")
        try:
            said["content"].encode()
        except UnicodeEncodeError:
            raise DataError(f"message {number} of the chat has half of a character", expected="Unicode") from None
        role = said["role"].strip().lower()
        messages.append({"role": SPEAKERS.get(role, role), "content": said["content"]})
    return messages


def _joined(content: Any, number: int) -> Any:
    """What a message says where it comes in parts, {type: text, text: …} each; as it is where it does not.

    Raises:
        DataError: a part is a picture, or something else that is no text.
    """
    if not isinstance(content, (list, tuple)) or not all(isinstance(part, Mapping) for part in content):
        return content
    for part in content:
        if not isinstance(part.get("text"), str):
            raise DataError(f"message {number} of the chat has a part of the type {part.get('type')}", expected="text")
    return "".join(part["text"] for part in content)


def answers(messages: Messages) -> bool:
    """Whether something of these messages counts in the loss.

    >>> answers([{"role": "user", "content": "Hello"}])
    False
    """
    return any(one["role"] in (ASSISTANT, COMPLETION) and one["content"] for one in messages)


def written(value: Any) -> str:
    """A raw value as one text for people."""
    if is_chat(value):
        value = value["messages"] if isinstance(value, Mapping) else value
        if stands(value):
            return "".join(str(one["content"]) for one in value)
        return "\n\n".join(f"{one.get('role')}: {one.get('content')}" for one in value)
    return "" if value is None else str(value)


class Marks:
    """What lies beside a pretrained tokeniser."""

    @staticmethod
    def beside(folder: str) -> dict[str, Any]:
        """`tokenizer_config.json`, with the template of a file of its own; nothing where there is none."""
        told: dict[str, Any] = {}
        for name in ("tokenizer_config.json", "special_tokens_map.json"):
            file = Path(folder) / name
            if file.is_file():
                try:
                    told = {**json.loads(read_bytes(file)), **told}
                except ValueError as error:
                    raise DataError(f"the file is no JSON ({first_line(error)})", where=file) from None
        template = Path(folder) / "chat_template.jinja"
        return {**told, "chat_template": template.read_text("utf-8")} if template.is_file() else told

    @staticmethod
    def of(told: Mapping[str, Any]) -> dict[str, Any]:
        """The template of chats, and the marks that it may write."""
        template = told.get("chat_template")
        if isinstance(template, list):  # several, by name
            template = next((one["template"] for one in template if one.get("name") == "default"), None)
        marks = {n: m.get("content") if isinstance(m, Mapping) else m for n, m in told.items() if n.endswith("_token")}
        return {"template": template, "special": {name: m for name, m in marks.items() if isinstance(m, str)}}


class Chat:
    """Writes messages as tokens.

    Args:
        template: of jinja; a plain one, see `Corpus`, if None.
        special: marks by name that the template may write.
    """

    def __init__(self, template: str | None, special: Mapping[str, str]):
        self.template, self.special = template, special

    def tokens(self, messages: Messages, field: Corpus, answer: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Token numbers int32 (T), and which of them the assistant says, bool (T); begin and end of the document are
        left out, but in a prompt.

        Args:
            answer: whether what an assistant says next is to follow.
        """
        if stands(messages):
            return self._as_they_stand(messages, field)
        return (self._plainly if self.template is None else self._by_template)(messages, field, answer)

    def _as_they_stand(self, messages: Messages, field: Corpus) -> tuple[np.ndarray, np.ndarray]:
        prompt, completion = (
            "".join(one["content"] for one in messages if (one["role"] == PROMPT) == asked) for asked in (True, False)
        )
        before, ids = field.tokens_of(prompt), field.tokens_of(prompt + completion)
        if ids[: len(before)] != before:  # a token would be of both, which a model that goes on never sees
            ids = [*before, *field.tokens_of(completion)]
        return np.array(ids, np.int32), np.arange(len(ids)) >= len(before)

    def _plainly(self, messages: Messages, field: Corpus, answer: bool) -> tuple[np.ndarray, np.ndarray]:
        ids, counted = list[int](), list[bool]()

        def add(tokens: Sequence[int], counts: bool) -> None:
            ids.extend(tokens)
            counted.extend([counts] * len(tokens))

        if answer:
            add([field.begin], False)
        for number, message in enumerate(messages):
            says = message["role"] == ASSISTANT
            add(field.tokens_of(f"{message['role']}:\n"), False)
            last = number == len(messages) - 1 and not answer
            add(field.tokens_of(message["content"]), says)
            if says and not last:  # the end of the document is that of the last
                add([field.end], True)
            elif not says:
                add(field.tokens_of("\n\n"), False)
        if answer:
            add(field.tokens_of(f"{ASSISTANT}:\n"), False)
        return np.array(ids, np.int32), np.array(counted, bool)

    def _by_template(self, messages: Messages, field: Corpus, answer: bool) -> tuple[np.ndarray, np.ndarray]:
        whole = self._rendered(messages, answer)
        spans = []
        for number, message in enumerate(messages):
            if message["role"] == ASSISTANT:
                before, behind = self._rendered(messages[:number], True), self._rendered(messages[: number + 1], False)
                if whole.startswith(before) and whole.startswith(behind):
                    spans.append((len(before), len(behind)))
        ids, begins = field.tokens_with_marks(whole)
        counted = np.zeros(len(ids), bool)
        for begin, end in spans:
            counted |= (begins >= begin) & (begins < end)
        return ids, counted

    def _rendered(self, messages: Messages, answer: bool) -> str:
        assert self.template is not None
        sandbox = needed("jinja2.sandbox", "text", "templates of chats")

        def refuse(message: str) -> NoReturn:
            raise DataError(f"the template refuses the chat: {message}")

        environment = sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = refuse
        try:
            return str(environment.from_string(self.template).render(
                messages=messages, add_generation_prompt=answer, **self.special))  # fmt: skip
        except DataError:
            raise
        except Exception as error:  # noqa: BLE001 -- whatever a template does
            raise DataError(f"the template cannot write the chat ({first_line(error)})") from None
