"""Encoders of transformers that read a text for a question: where its answer begins and ends, or that it has none.

Devlin, Chang, Lee, Toutanova, "BERT" (2018), https://arxiv.org/abs/1810.04805, section 4.2 and 4.3. A text that is too
long for the encoder is read in windows that overlap, and its places are weighed against each other across all of them:
Clark, Gardner, "Simple and effective multi-paragraph reading comprehension" (2018), https://arxiv.org/abs/1710.10723.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from flambeau.core.errors import UsageError, check_known, needed
from flambeau.core.shapes import Float
from flambeau.fields import Ragged
from flambeau.models.spec import Built, InputSpec
from flambeau.models.text.huggingface import PREFIX, bare, config_for, loaded, plain
from flambeau.models.text.pair import two
from flambeau.models.text.pretrained import Joining
from flambeau.models.weights import load_weights, read_weights

OPTIONS = ("config", "dropout", "joint", "window", "overlap", "question")
ANSWERS = "ForQuestionAnswering"
USUAL = {"window": 384, "overlap": 128, "question": 64}  # those of BERT on SQuAD; "question" is its max_query_length


def build_reader(
    source: str, spec: InputSpec, num_outputs: int, pretrained: bool | str | Path | None, options: dict[str, Any]
) -> Built:
    """The encoder of a folder or hub repository as a `PretrainedReader`; where it has learned to answer questions, with
    what it learned.

    Args:
        options: `config`, and the arguments of `PretrainedReader`; others and errors as of `build_huggingface`.
    """
    where = f"{PREFIX}{source}"
    transformers = needed("transformers", "text", where)
    check_known(f"the model {where} has no option", options, OPTIONS)
    rest = dict(options)
    config, file, from_source = config_for(source, spec, pretrained, rest.pop("config", None))
    answers = from_source and any(name.endswith(ANSWERS) for name in config.architectures or ())
    fresh: list[str] = []
    if answers:
        whole = loaded(transformers.AutoModelForQuestionAnswering, source, config, where, fresh=fresh)
        encoder = bare(whole.base_model)
    else:
        encoder = bare(loaded(transformers.AutoModel, source if from_source else None, config, where, "pooler."))
    model = PretrainedReader(encoder, num_outputs, **rest)
    learned = answers and not fresh and getattr(whole, "qa_outputs", None)
    notes: list[str] = []
    if isinstance(learned, nn.Linear) and learned.weight.shape == model.head.weight.shape:
        model.head.load_state_dict(learned.state_dict())
        notes.append(f"{where} has learned to answer questions: its last layer is taken over")
    else:
        learned = None
    if file is not None:
        notes = load_weights(model, read_weights(file), head=("head",), where=file.name, convert=model.adopted)
    return Built(model, ("head",), notes=notes, options={"config": plain(config), **rest}, from_zero=not learned)


class PretrainedReader(Joining):
    """The question and a window of the text as one, and a linear layer that scores each token. The first mark stands
    for no answer; it counts as little as in the window that finds one likeliest. A token of several windows has its
    score of the one that sees most on both its sides.

    Args:
        encoder: called with token numbers (B, T) and an attention mask; gives `last_hidden_state` (B, T, D).
        num_outputs: 2, where an answer begins and where it ends.
        dropout: probability, before the linear layer.
        joint: as for `Joining`.
        window: tokens that the encoder reads at once, question and marks among them; 384 if not given, or all that it
            can take.
        overlap: tokens of the text that two windows share; 128 if not given, half of a window at most.
        question: tokens of a question that are kept, from its beginning; 64 if not given, half of a window at most.

    Shapes: two Ragged (B, T) int64, the text first, the first two of a dict, to (B, 2, 1 + T): logits of no answer,
    then of each token.

    Raises:
        UsageError: the encoder cannot take such a window, or it leaves no room for the text.
    """

    def __init__(
        self, encoder: nn.Module, num_outputs: int, dropout: float = 0.1, joint: Mapping[str, Any] | None = None,
        window: int | None = None, overlap: int | None = None, question: int | None = None,
    ):  # fmt: skip
        super().__init__(encoder, joint)
        most = self.most or max(USUAL["window"], window or 0)
        window = min(USUAL["window"], most) if window is None else window
        room = window - self.marks
        if window > most or room < 2:
            raise UsageError(f"a window of {window} tokens does not fit", expected=f"{self.marks + 2} to {most:,}")
        self.question = min(USUAL["question"], room // 2) if question is None else question
        if not 0 < self.question < room:
            raise UsageError(f"a question of {self.question} tokens does not fit", expected=f"1 to {room - 1}")
        self.text = room - self.question
        shared = min(USUAL["overlap"], self.text // 2) if overlap is None else overlap
        if not 0 <= shared < self.text:
            raise UsageError(f"an overlap of {shared} tokens does not fit", expected=f"0 to {self.text - 1}")
        self.step = self.text - shared
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.config.hidden_size, num_outputs)

    def forward(self, texts: Mapping[str, Ragged]) -> Float[Tensor, "B K P"]:
        passage, question = two(texts)
        most = self.question + sum(self.strip)
        kept = torch.arange(torch.sym_min(question.values.shape[1], most), device=question.values.device)
        question = Ragged(question.values[:, kept], question.lengths.clamp_max(most))
        parts, rows, numbers, many = self._windows(passage)
        both = self.together(Ragged(question.values[rows], question.lengths[rows]), parts)
        states, _ = self.states_of(both)
        scores = self.head(self.dropout(states)).float()  # (W, L, 2)
        begins, size, count = question.values.shape[1], max(passage.values.shape[1], 1), passage.lengths.shape[0]
        last = self._last(passage.lengths)[rows]
        places = both.sources - begins + (numbers * self.step)[:, None]
        own = (both.sources >= begins) & (self._best(places - self.strip[0], last[:, None]) == numbers[:, None])
        least = torch.finfo(scores.dtype).min / 2
        found = scores.new_full((count, size + 1, scores.shape[2]), least)  # behind the end what is of no place
        found = found.index_put((rows[:, None].expand_as(places), torch.where(own, places, size)), scores)
        mark = (both.sources < 0).int().argmax(1) if self.marks else torch.zeros_like(rows)
        none = scores.gather(1, mark[:, None, None].expand(-1, 1, scores.shape[2]))[:, 0]  # (W, 2)
        none = none.masked_fill((numbers > last)[:, None], -least)
        nones = none.new_full((count, many + 1, scores.shape[2]), -least).index_put((rows, numbers), none)
        at = nones.mean(2).argmin(1)[:, None, None].expand(-1, 1, scores.shape[2])
        return torch.cat([nones.gather(1, at), found[:, :size]], 1).transpose(1, 2)

    def _windows(self, passage: Ragged) -> tuple[Ragged, Tensor, Tensor, int]:
        """Parts of texts (W, L), each with the marks of a whole one; which text each is of, and its number there, int64
        (W); and how many a text has at most."""
        values, lengths = passage
        values = values if values.shape[1] else values.new_zeros(lengths.shape[0], 1)
        width, ends = values.shape[1], sum(self.strip)
        many = 1 + torch.sym_max(0, (width - ends - self.text + self.step - 1) // self.step)
        if torch.compiler.is_exporting():  # a graph keeps those behind a text's end too, which are nobody's best
            every = torch.arange(lengths.shape[0] * many, device=values.device)
            rows = every // many
            numbers = every - rows * many
        else:
            of = torch.arange(many, device=values.device)
            rows, numbers = (of <= self._last(lengths)[:, None]).nonzero(as_tuple=True)
        steps = torch.arange(torch.sym_min(width, self.text + ends), device=values.device)
        begins = numbers * self.step
        parts = values[rows[:, None], (begins[:, None] + steps).clamp_max(width - 1)]
        return Ragged(parts, (lengths[rows] - begins).clamp(0, steps.shape[0])), rows, numbers, many

    def _last(self, lengths: Tensor) -> Tensor:
        """The number of each text's last window."""
        beyond = (lengths - sum(self.strip) - self.text).clamp_min(0)
        return (beyond + self.step - 1) // self.step

    def _best(self, places: Tensor, last: Tensor) -> Tensor:
        """The window whose middle is nearest to each place (W, L) of a text that has `last` and those before it."""
        nearest = (2 * places - (self.text - 1) + self.step) // (2 * self.step)
        return torch.minimum(nearest.clamp_min(0), last)
