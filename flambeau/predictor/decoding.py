"""Texts that go on, token by token: many at a time, each as if it were alone.

Continuous batching (Yu et al. 2022, Orca): requests join the running batch between two steps of the model and leave it
as soon as they end, by `State.joined` and `State.keep`; nobody waits for the longest.
"""

from __future__ import annotations

import codecs
import functools
import itertools
import math
import random
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from flambeau.core.errors import ModelError, UsageError
from flambeau.core.randomness import mix
from flambeau.core.reporter import QUIET, Reporter
from flambeau.models.language.base import CausalLanguageModel, State
from flambeau.predictor.beams import beam_search
from flambeau.predictor.sampling import Sampling, drawn, penalised, probabilities

if TYPE_CHECKING:
    from flambeau.fields import Corpus
    from flambeau.predictor.constrained import Constraint, Forms

PREFILL = 8192
"""Tokens of prompts, padding with them, that are read in a step of the model; always one prompt."""
STOP, LENGTH, CANCELLED = "stop", "length", "cancelled"
"""Why a text ended: by its end or a stop text; by `max_tokens`; nobody wants it any more."""


@dataclass(eq=False)
class Request:
    """A text that is to go on.

    Attributes:
        prompt: its tokens.
        sampling: how it goes on.
        tokens: those that came so far, the one that ended it with them.
        logprobs: of each the logarithm of its probability by the model, before any setting.
        text: what came so far, as far as it is sure.
        finished: why it ended; None while it goes on.
    """

    prompt: list[int]
    sampling: Sampling
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    text: str = ""
    finished: str | None = None
    constraint: Constraint | None = None
    start: int = 0  # of what the model sees of prompt and tokens

    def __post_init__(self) -> None:
        self.random = random.Random(mix("decoding", self.sampling.seed))
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def window(self, context: int | None) -> list[int]:
        """The tokens that the model is to have read; of more than it can look back at, its later half."""
        size = len(self.prompt) + len(self.tokens)
        if context is not None and size - self.start > context:
            self.start = size - max(1, context // 2)
        return [*itertools.islice(itertools.chain(self.prompt, self.tokens), self.start, None)]

    def told(self, more: bytes, last: bool) -> tuple[str, bool]:
        """What some bytes make sure of the text: whole characters that begin no stop text; and whether one came."""
        self._held += self._utf8.decode(more, last)
        places = [place for stop in self.sampling.stop if (place := self._held.find(stop)) >= 0]
        ends = len(self._held) if last else len(self._held) - _begun(self._held, self.sampling.stop)
        sure = self._held[: min(places, default=ends)]
        self._held = "" if places else self._held[ends:]
        self.text += sure
        return sure, bool(places)


@dataclass(frozen=True)
class Piece:
    """What a step brought to a request.

    Attributes:
        token: the token, with the logarithm of its probability by the model.
        text: what is new and sure of the text; empty while a character or a stop text may not be whole.
        finished: why the text ended with it: `stop` or `length`.
    """

    request: Request
    token: int
    logprob: float
    text: str
    finished: str | None


@dataclass(frozen=True)
class Completion:
    """How a text went on.

    Attributes:
        text: without the prompt and without what it stopped at.
        tokens, logprobs: those that came, the one that ended it with them.
        finished: `stop` or `length`.
    """

    text: str
    tokens: list[int]
    logprobs: list[float]
    finished: str


class Decoder:
    """Makes texts go on with one model. Not for several threads at a time.

    Args:
        model: in evaluation mode.
        field: what its tokens mean.
        max_batch: texts at a time; further ones wait.
        reporter: is told once where texts outgrow what the model can look back at: then it goes on by the later half.
    """

    def __init__(self, model: CausalLanguageModel, field: Corpus, *, max_batch: int = 32, reporter: Reporter = QUIET):
        self.model, self.field, self.max_batch, self.reporter = model, field, max_batch, reporter
        self.device = next(model.parameters()).device
        self._ends = {field.end, *field.stops}
        self._waiting: deque[Request] = deque()
        self._running: list[Request] = []
        self._state: State | None = None
        self._slid = False

    @property
    def busy(self) -> bool:
        """Whether there is something to do."""
        return bool(self._waiting or self._running)

    @property
    def slides(self) -> str:
        """What is told of texts that outgrow what the model can look back at."""
        return f"the model looks back at {self.model.context} tokens: of longer texts at the last ones"

    def add(self, prompt: Sequence[int], sampling: Sampling) -> Request:
        """A text that goes on from the next step on; of an empty prompt a new one, as after another's end.

        Raises:
            UsageError: beams cannot join others, see `complete`; a form is none, or a token. MissingExtra: nothing
                keeps to forms.
        """
        if wrong := [token for token in prompt if not 0 <= token < self.model.vocabulary]:
            raise UsageError(f"there is no token {wrong[0]}", expected=f"0 to {self.model.vocabulary - 1}")
        if sampling.beams > 1:
            raise UsageError("beams do not join other texts", fix="use complete()")
        request = Request([*prompt] or [self.field.end], sampling)
        if sampling.constrained:
            request.constraint = self._forms.constraint(sampling)
        self._waiting.append(request)
        return request

    @functools.cached_property
    def _forms(self) -> Forms:
        from flambeau.predictor.constrained import Forms

        return Forms(self.field, self.model.vocabulary)

    def cancel(self, request: Request) -> None:
        """Nobody wants this one any more: it leaves before the next step."""
        request.finished = request.finished or CANCELLED

    @torch.inference_mode()
    def advance(self) -> list[Piece]:
        """One more token for each request in the batch, after those that wait have joined it.

        Raises:
            ModelError: scores are no numbers.
        """
        self._leave()
        scores = self._step()
        if newcomers := self._newcomers():
            joined, state = self._read([r.window(self.model.context) for r in newcomers])
            scores = joined if scores is None else torch.cat([scores, joined])
            self._state = state if self._state is None else type(state).joined([self._state, state])
            self._running += newcomers
        if scores is None:
            return []
        tokens, logprobs = self._choose(scores.float())
        if not all(map(math.isfinite, logprobs)):
            raise ModelError("the model's scores are no finite numbers", fix="it has diverged: train it anew")
        pieces = [self._piece(*one) for one in zip(self._running, tokens, logprobs, strict=True)]
        self._leave()
        return pieces

    def _leave(self) -> None:
        """Those that ended, and those that cannot read another token: they come back with less to look back at."""
        self._waiting = deque(r for r in self._waiting if r.finished is None)
        context, stay = self.model.context, []
        for row, request in enumerate(self._running):
            if request.finished is None:
                if context is not None and len(request.prompt) + len(request.tokens) - request.start > context:
                    self._waiting.appendleft(request)
                else:
                    stay.append(row)
        if len(stay) < len(self._running):
            self._running = [self._running[row] for row in stay]
            self._state = (
                self._state.keep(torch.tensor(stay, device=self.device)) if stay and self._state is not None else None
            )

    def _step(self) -> Tensor | None:
        """Scores (B, V) after the last token of each that is in the batch."""
        if self._state is None:
            return None
        last = torch.tensor([[r.tokens[-1]] for r in self._running], device=self.device)
        scores, self._state = self.model.step(last, self._state)
        return scores

    def _newcomers(self) -> list[Request]:
        """Those that join now, as many as there is room for and are read at one go."""
        newcomers: list[Request] = []
        longest = 0
        while self._waiting and len(self._running) + len(newcomers) < self.max_batch:
            size = len(self._waiting[0].window(self.model.context))
            if newcomers and max(longest, size) * (len(newcomers) + 1) > PREFILL:
                break
            longest = max(longest, size)
            newcomers.append(self._waiting.popleft())
            if newcomers[-1].start and not self._slid:
                self._slid = True
                self.reporter.say(self.slides)
        return newcomers

    def _read(self, windows: Sequence[Sequence[int]]) -> tuple[Tensor, State]:
        """Scores (N, V) and the state behind some tokens, padded at the end."""
        counts = torch.tensor([len(window) for window in windows], device=self.device)
        tokens = torch.zeros(len(windows), int(counts.max()), dtype=torch.int64)
        for row, window in zip(tokens, windows, strict=True):
            row[: len(window)] = torch.tensor(window)
        return self.model.step(tokens.to(self.device), self.model.begin(len(windows)), counts)

    def _choose(self, scores: Tensor) -> tuple[list[int], list[float]]:
        """The next token of each, and the logarithm of its probability by the model alone."""
        settled = scores.clone()
        for row, request in enumerate(self._running):
            if request.sampling.repetition_penalty != 1:
                came = request.prompt + request.tokens
                settled[row] = penalised(settled[row], came, request.sampling.repetition_penalty)
            if request.constraint is not None:
                settled[row].masked_fill_(~request.constraint.allowed().to(self.device), -torch.inf)
        tokens = settled.argmax(-1)
        if rows := [row for row, r in enumerate(self._running) if not r.sampling.greedy]:
            drawing = [self._running[row] for row in rows]
            chances = probabilities(settled[rows], [r.sampling for r in drawing])
            tokens[rows] = drawn(chances, [1 - r.random.random() for r in drawing])
        logprobs = scores.gather(1, tokens[:, None])[:, 0] - scores.logsumexp(-1)
        return tokens.tolist(), logprobs.tolist()

    def _piece(self, request: Request, token: int, logprob: float) -> Piece:
        request.tokens.append(token)
        request.logprobs.append(logprob)
        ended = token in self._ends
        if request.constraint is not None and not ended:
            request.constraint.take(token)
            ended = request.constraint.complete
        full = len(request.tokens) >= request.sampling.max_tokens
        text = b"" if token in self._ends else self.field.bytes_of([token])
        sure, stopped = request.told(text, last=ended or full)
        request.finished = STOP if ended or stopped else LENGTH if full else None
        return Piece(request, token, logprob, sure, request.finished)


def complete(
    model: CausalLanguageModel, field: Corpus, prompts: Iterable[Sequence[int]], sampling: Sampling, *,
    count: int = 1, max_batch: int = 32, reporter: Reporter = QUIET,
) -> list[list[Completion]]:  # fmt: skip
    """How prompts go on, all of them batched.

    Args:
        prompts: tokens of each.
        count: how many each gets: the first with the seed of `sampling`, each further one with the next; by beams the
            likeliest ones.

    Returns:
        `count` of each prompt, in order.

    Raises:
        UsageError: a form is none; there are fewer beams than texts asked for.
    """
    decoder = Decoder(model, field, max_batch=max_batch, reporter=reporter)
    if sampling.beams > 1:
        if count > sampling.beams:
            raise UsageError(f"{count} texts by {sampling.beams} beams", fix="ask for as many beams as texts")
        return [_searched(decoder, prompt, sampling, count) for prompt in prompts]
    requests = [[decoder.add(prompt, replace(sampling, seed=sampling.seed + i)) for i in range(count)]
                for prompt in prompts]  # fmt: skip
    while decoder.busy:
        decoder.advance()
    return [[_completion(request) for request in some] for some in requests]


def _completion(request: Request) -> Completion:
    return Completion(request.text, request.tokens, request.logprobs, request.finished or LENGTH)


@torch.inference_mode()
def _searched(decoder: Decoder, prompt: Sequence[int], sampling: Sampling, count: int) -> list[Completion]:
    """The likeliest texts by beams, which end where the model can look back at no more."""
    model, ends = decoder.model, decoder._ends
    window = Request([*prompt] or [decoder.field.end], sampling).window(model.context)
    room = sampling.max_tokens if model.context is None else min(sampling.max_tokens, model.context + 1 - len(window))
    scores, state = decoder._read([window])
    found = beam_search(scores, state, model.step, beams=sampling.beams, max_tokens=room, ends=ends,
                        length_penalty=sampling.length_penalty)  # fmt: skip
    made = []
    for beam in found[:count]:
        request = Request([], sampling, beam.tokens, beam.logprobs)
        ended = bool(beam.tokens) and beam.tokens[-1] in ends
        _, stopped = request.told(decoder.field.bytes_of([t for t in beam.tokens if t not in ends]), last=True)
        request.finished = STOP if ended or stopped else LENGTH
        made.append(_completion(request))
    return made


def _begun(text: str, stops: Iterable[str]) -> int:
    """How many characters at the end of a text begin one of some others.

    >>> _begun("The en", ["end", "."]), _begun("The", ["end"])
    (2, 1)
    """
    return max((size for stop in stops for size in range(1, len(stop)) if text.endswith(stop[:size])), default=0)
