"""What `flambeau generate` does with a run that makes texts go on."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from flambeau.cli import common
from flambeau.core.errors import DataError, UsageError, first_line
from flambeau.core.files import read_bytes
from flambeau.core.printable import printable
from flambeau.predictor import Predictor
from flambeau.predictor.decoding import Completion, Decoder
from flambeau.predictor.sampling import Sampling
from flambeau.predictor.texts import Prompt, generate_texts, language_model, prompt_tokens

ENDINGS = (".txt", ".jsonl")


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is to be written, and where.

    Attributes:
        prompts: texts, or messages.
        count: texts for each.
        system: of chats, what is said before everything.
        stream: show the one text as it comes.
        out: a .txt file, or .jsonl with a line of JSON for each text.
    """

    prompts: Sequence[Prompt]
    sampling: Sampling
    count: int = 1
    system: str | None = None
    stream: bool = False
    out: Path | None = None
    json: bool = False

    def check(self) -> None:
        """Raises UsageError where these do not go together."""
        if self.out is not None and self.out.suffix.lower() not in ENDINGS:
            raise UsageError(f"'{self.out}' is no name of texts", expected=" or ".join(ENDINGS))
        if self.stream:
            if len(self.prompts) * self.count > 1 or self.sampling.beams > 1:
                raise UsageError("--stream shows one text as it comes", fix="leave --count, --prompts and --beams out")
            if self.json or self.out:
                raise UsageError("--stream shows a text as it comes", fix="leave --json and --out out")


def write(predictor: Predictor, wanted: Wanted, run: Path) -> None:
    """Makes texts go on, and shows or writes them."""
    wanted.check()
    chats = language_model(predictor.objective).field.chats
    if wanted.stream:
        stream(predictor, wanted)
        return
    made = generate_texts(predictor, wanted.prompts, wanted.sampling, count=wanted.count, system=wanted.system,
                          reporter=common.reporter())  # fmt: skip
    rows = [*told(wanted, made)]
    if wanted.out is not None:
        wanted.out.parent.mkdir(parents=True, exist_ok=True)
        lines = (json.dumps(row, ensure_ascii=False) for row in rows)
        plain = (f"{shown(row, chats)}\n" for row in rows)
        jsonl = wanted.out.suffix.lower() == ".jsonl"
        wanted.out.write_text("\n".join([*lines, ""] if jsonl else plain), encoding="utf-8")
    if wanted.json:
        common.emit({"run": str(run), "texts": rows, "out": None if wanted.out is None else str(wanted.out)})
    elif wanted.out is not None:
        common.echo(f"{len(rows):,} texts, {sum(row['tokens'] for row in rows):,} tokens: {wanted.out}")
    else:
        for number, row in enumerate(rows, 1):
            if len(rows) > 1:
                common.echo(f"[{number}]" if row["seed"] is None else f"[{number}] seed {row['seed']}")
            print(printable(shown(row, chats), lines=True))


def stream(predictor: Predictor, wanted: Wanted) -> None:
    """Shows the one text as it comes, behind its prompt."""
    objective, prompt = language_model(predictor.objective), wanted.prompts[0]
    decoder = Decoder(objective.model.eval(), objective.field)
    request = decoder.add(prompt_tokens(objective.field, prompt, wanted.system), wanted.sampling)
    if isinstance(prompt, str) and not objective.field.chats:
        print(printable(prompt, lines=True), end="", flush=True)
    while decoder.busy:
        for piece in decoder.advance():
            print(printable(piece.text, lines=True), end="", flush=True)
    print()
    if request.start:
        common.reporter().say(decoder.slides)


def told(wanted: Wanted, made: Sequence[Sequence[Completion]]) -> Iterator[dict[str, Any]]:
    """Each text as a row."""
    for prompt, texts in zip(wanted.prompts, made, strict=True):
        for number, text in enumerate(texts):
            seed = None if wanted.sampling.greedy or wanted.sampling.beams > 1 else wanted.sampling.seed + number
            yield {"prompt": prompt, "text": text.text, "finished": text.finished, "tokens": len(text.tokens),
                   "logprob": round(sum(text.logprobs), 3), "seed": seed}  # fmt: skip


def shown(row: dict[str, Any], chats: bool) -> str:
    """A text behind its prompt; an answer of a chat alone."""
    return row["text"] if chats else row["prompt"] + row["text"]


def prompts_of(prompt: str | None, file: Path | None) -> list[Prompt]:
    """The prompts that a command names: a text, `-` for stdin, or a file with one a line; `.jsonl` with a string,
    {"prompt": …} or {"messages": […]} a line.

    Raises:
        UsageError: both. DataError: the file holds no prompts.
    """
    if file is None:
        return [sys.stdin.read().removesuffix("\n") if prompt == "-" else prompt or ""]
    if prompt is not None:
        raise UsageError("a prompt and --prompts", fix="leave one of them out")
    try:
        lines = [line for line in read_bytes(file).decode("utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise DataError(f"the file is no UTF-8 ({error.reason})", where=file) from None
    if not lines:
        raise DataError("the file is empty", where=file, expected="a prompt a line")
    if file.suffix.lower() != ".jsonl":
        return [*lines]
    return [_prompt_of(line, f"{file}, line {number}") for number, line in enumerate(lines, 1)]


def _prompt_of(line: str, where: str) -> Prompt:
    try:
        read = json.loads(line)
    except ValueError as error:
        raise DataError(f"the line is no JSON ({first_line(error)})", where=where) from None
    found: Any = read.get("messages", read.get("prompt")) if isinstance(read, dict) else read
    messages = isinstance(found, list) and bool(found) and all(isinstance(message, dict) for message in found)
    if not isinstance(found, str) and not messages:
        expected = 'a string, {"prompt": …} or {"messages": […]}'
        raise DataError("the line holds no prompt", where=where, expected=expected)
    return found


def schema_of(file: Path) -> str:
    """The JSON schema that a file holds, as JSON. Raises DataError where it holds none."""
    try:
        return json.dumps(json.loads(read_bytes(file)))
    except ValueError as error:
        raise DataError(f"the file is no JSON ({first_line(error)})", where=file) from None
