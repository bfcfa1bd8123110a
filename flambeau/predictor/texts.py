"""Texts that a run of a language model makes go on: what prompts may be, and their tokens."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flambeau.core.errors import UsageError, check_known, require
from flambeau.core.reporter import QUIET, Reporter
from flambeau.fields import Corpus
from flambeau.objectives import Objective
from flambeau.objectives.language import LanguageModel
from flambeau.predictor.decoding import Completion, complete
from flambeau.predictor.sampling import Sampling

if TYPE_CHECKING:
    from flambeau.predictor.base import Predictor

Prompt = str | Sequence[Mapping[str, str]]
"""A text, or the messages of a chat: {role, content} each."""


def language_model(objective: Objective) -> LanguageModel:
    """An objective whose model makes texts go on.

    Raises:
        UsageError: it does not.
    """
    if not isinstance(objective, LanguageModel):
        raise UsageError("this run writes no texts", fix="train one on a text file, or with --objective language-model")
    return objective


def prompt_tokens(field: Corpus, prompt: Prompt, system: str | None = None) -> list[int]:
    """What a model goes on from. A text is the user's message, where the run learned chats.

    Args:
        system: of a chat, what is said before everything.

    Raises:
        DataError: messages are none. UsageError: a system message for texts.
    """
    if isinstance(prompt, str):
        if not field.chats:
            if system is not None:
                raise UsageError("a system message is for runs of chats", fix="put it at the beginning of the prompt")
            return field.prompt_of(prompt)
        prompt = [{"role": "user", "content": prompt}]
    said = [] if system is None else [{"role": "system", "content": system}]
    return field.chat([*said, *prompt])


def generate_texts(
    predictor: Predictor, prompts: Sequence[Prompt], sampling: Sampling, *, count: int = 1, system: str | None = None,
    reporter: Reporter = QUIET,
) -> list[list[Completion]]:  # fmt: skip
    """How each prompt goes on, `count` times, all of them batched; see `complete`."""
    require(count >= 1, f"a count of {count}", "1 or more")
    objective = language_model(predictor.objective)
    tokens = [prompt_tokens(objective.field, prompt, system) for prompt in prompts]
    return complete(objective.model.eval(), objective.field, tokens, sampling, count=count, reporter=reporter)


def generate_text(
    predictor: Predictor, prompts: Any, count: int, system: str | None, settings: Mapping[str, Any]
) -> Any:
    """How prompts go on, by a run of a language model.

    Args:
        prompts: a text, or the messages of a chat ({role, content} each), or a list of these. For a run of chats a text
            is what the user says.
        count: texts for each; by seeds from `seed` on.
        system: of chats, what is said before everything.
        settings: of `Sampling`: max_tokens, temperature, top_k, top_p, min_p, repetition_penalty, stop, seed, beams,
            length_penalty, json_schema (JSON, or a dict), regex.

    Returns:
        a `Completion` for one prompt, a list for a list; of each a list where `count` is above 1.

    Raises:
        UsageError: the run writes no texts, or a setting does not fit. DataError: messages are none.
    """
    check_known("generate_text has no setting", settings, [field.name for field in dataclasses.fields(Sampling)])
    settings = dict(settings)
    if isinstance(settings.get("json_schema"), Mapping):
        settings["json_schema"] = json.dumps(settings["json_schema"])
    if "stop" in settings:
        stop = settings["stop"]
        settings["stop"] = (stop,) if isinstance(stop, str) else tuple(stop or ())
    one = isinstance(prompts, str) or (bool(prompts) and isinstance(prompts[0], Mapping))
    made = generate_texts(predictor, [prompts] if one else prompts, Sampling(**settings), count=count, system=system)
    answers = [several if count > 1 else several[0] for several in made]
    return answers[0] if one else answers
