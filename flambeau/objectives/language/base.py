"""Language modelling: each token foretold from those before it in its document (Shannon 1951; Bengio et al. 2003, "A
neural probabilistic language model").

flambeau train corpus.txt
flambeau train rows.csv --inputs text --objective language-model
flambeau evaluate runs/corpus other.txt
flambeau predict runs/corpus other.txt         # bits a byte of each document, the oddest first
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from flambeau.core.errors import UsageError
from flambeau.data.batch import Batch
from flambeau.fields import Corpus, Field, Packed
from flambeau.models import Built, OutputSpec
from flambeau.models.language import CausalLanguageModel
from flambeau.objectives.base import OBJECTIVES, Context, Objective
from flambeau.objectives.classification import Worst
from flambeau.objectives.intervals import GROUPS, Grouped, groups_of
from flambeau.objectives.language.exported import ExportedLanguageModel
from flambeau.objectives.language.portrait import portrait
from flambeau.objectives.prediction import Prediction
from flambeau.objectives.programs import BATCH, Port, Program, Runtimes
from flambeau.objectives.tasks import Foretold, Task

MEASURES = ("loss", "perplexity", "bits_per_byte", "bits_per_character")
FINISHED = 4096  # documents that are kept apart before the oddest of them are sorted out
AT_ONCE = 1 << 14  # tokens of long documents that a model reads together


class OfTexts(Objective):
    """What learns from texts alone, with no other target, and what a classifier can begin with."""

    takes: ClassVar[tuple[str, ...]] = ("model",)
    reads: ClassVar[Mapping[str, str]] = {"text": "corpus", "tokens": "corpus"}
    whole = True
    tells_oddness = True
    augments = False
    measures: ClassVar[Mapping[str, bool]]
    """Its metrics, and whether more of each is better; the first is the measure if nothing else is asked for."""
    _measured: Likelihoods

    @abstractmethod
    def __init__(self, model: Any, field: Corpus):
        self.model, self.field = model, field

    @classmethod
    def build(cls, context: Context, **options: Any) -> Objective:
        field = context.input
        if not isinstance(field, Corpus):
            raise UsageError(
                f"a language model is learned of texts, and the input is of the kind {field.kind}",
                fix="give a text file, a folder of them, or a table with --inputs COLUMN",
            )
        built = context.model(OutputSpec(field.input_shape[0], cls.layout))
        model: Any = built.model if isinstance(built, Built) else built
        return cls(model, field, **options)

    @classmethod
    def classifier(cls, model: str, options: dict[str, Any], context: int) -> tuple[str, dict[str, Any]]:
        """The classifier that begins with a language model's weights, its name and options.

        Args:
            model, options: of the language model.
            context: L, tokens that it was trained to look at.
        """
        raise NotImplementedError

    def metrics(self) -> dict[str, float]:
        return self._measured.values()

    def intervals(self) -> dict[str, Any]:
        return self._measured.intervals()

    def without_groups(self) -> dict[str, np.ndarray]:
        return self._measured.without_groups()

    def detail(self) -> dict[str, Any]:
        return {"kind": "language", "worst": self._measured.worst(), "tokens": self._measured.count,
                "cut": self.field.cut, "context": self.field.length}  # fmt: skip

    def measure_by(self, metric: str) -> None:
        if metric not in ("auto", *self.measures):
            raise UsageError(f"a language model has no metric '{metric}'", expected=", ".join(self.measures))
        self.monitor = next(iter(self.measures)) if metric == "auto" else metric
        self.higher_is_better = self.measures[self.monitor]

    def decode(
        self, output: np.ndarray, reject_below: float = 0.0, asked: Field | None = None, value: Any = None
    ) -> Prediction:
        """Bits a byte: the higher the odder."""
        return Prediction(float(output[0]))


@OBJECTIVES.register("language-model")
class LanguageModel(OfTexts):
    """The mean negative log-likelihood of tokens, in nats. A token is foretold from those before it in its window and
    its document, the first of a document from the mark that it begins with. Only tokens that count are in the mean, as
    what the assistant says in a chat.

    Perplexity is its exponential; bits a byte and a character are the bits of all tokens over the bytes and characters
    that these stand for, which models with other tokens can be compared by.
    """

    layout = "tokens"
    task: Task = Foretold()
    measures: ClassVar[Mapping[str, bool]] = dict.fromkeys(MEASURES, False)
    next_verb = 'generate {run} "prompt"'
    model: CausalLanguageModel

    def __init__(self, model: CausalLanguageModel, field: Corpus):
        self.model, self.field = model, field
        self.start_evaluation()

    @classmethod
    def classifier(cls, model: str, options: dict[str, Any], context: int) -> tuple[str, dict[str, Any]]:
        return "ulmfit", {"of": model, "context": context, "options": options}

    # -- training ---------------------------------------------------------------------------------------------

    def costs(self, packed: Packed) -> tuple[Tensor, Tensor]:
        """The negative log-likelihood of each token behind the first of a window in nats, float32 (B, T - 1), 0 where
        it does not count; and whether it counts, bool."""
        counts = packed.targets
        if not torch.is_grad_enabled() and (parts := self._parts(packed)) > 1:
            size = -(-len(packed.tokens) // parts)
            cut = zip(*(part.split(size) for part in (packed.tokens, packed.segments, counts)), strict=True)
            return torch.cat([self._costs(*part) for part in cut]), counts
        return self._costs(packed.tokens, packed.segments, counts), counts

    def _costs(self, tokens: Tensor, segments: Tensor, counts: Tensor) -> Tensor:
        scores = self.model(tokens[:, :-1], segments[:, :-1])  # (B, T - 1, V)
        targets = tokens[:, 1:].masked_fill(~counts, -100)
        costs = F.cross_entropy(scores.flatten(0, 1).float(), targets.flatten(), ignore_index=-100, reduction="none")
        return costs.view_as(targets)

    def _parts(self, packed: Packed) -> int:
        """So many that the scores of one are as large as the model may have them at once."""
        most = self.model.scores_at_once << (0 if packed.device.type == "cpu" else 4)
        size = len(self.field.sizes) * packed.tokens.shape[1] * 4
        return -(-len(packed.tokens) // max(1, most // size))

    def num_parts(self, batch: Batch) -> int:
        return self._parts(batch.input)

    def loss(self, batch: Batch, phase: str = "train") -> Tensor:
        costs, counts = self.costs(batch.input)
        mean = costs.sum() / counts.sum().clamp_min(1)
        penalty, self.model.penalty = self.model.penalty, None
        return mean if penalty is None else mean + penalty

    def weight(self, batch: Batch) -> float:
        return max(1.0, float(batch.input.targets.sum()))

    # -- evaluation -------------------------------------------------------------------------------------------

    def start_evaluation(self, detail: bool = False) -> None:
        self._measured = Likelihoods(self.field, detail)

    def evaluate(self, batch: Batch) -> None:
        packed: Packed = batch.input
        rows = batch.rows[:, None].expand_as(packed.tokens) if packed.rows is None else packed.rows
        self._measured.update(packed._replace(rows=rows), *self.costs(packed))

    def portrait(self, held_out: Iterable[Batch], train: Iterable[Batch]) -> dict[str, Any]:
        return portrait(self, held_out, train)

    # -- exports ----------------------------------------------------------------------------------------------

    def programs(self) -> dict[str, Program]:
        """`next`: of tokens (B, T) the scores of what follows each of them."""

        def scores(batch: Batch) -> dict[str, Tensor]:
            return {"scores": self.model(batch.input["tokens"]).float()}

        def begun(batch: Batch) -> dict[str, Tensor]:
            return {"tokens": batch.input.tokens[:, : self.field.length]}

        ports = (Port("tokens", "int64", (BATCH, "length")),)
        return {"next": Program(scores, ports, begun, self.field.length)}

    @classmethod
    def of_programs(cls, context: Context, runtimes: Runtimes) -> Objective:
        field = context.input
        assert isinstance(field, Corpus)
        return cls(ExportedLanguageModel(runtimes, *field.input_shape), field)

    # -- answers ----------------------------------------------------------------------------------------------

    def predict(self, batch: Batch) -> Tensor:
        """Of each document bits a byte, nats a token, and its tokens, float (B, 3)."""
        packed: Packed = batch.input
        sums = torch.zeros(len(packed.tokens), 3, dtype=torch.float64)  # nats, bytes, tokens
        sizes = self.field.sizes[:, 0]
        for part, rows in windows_of(packed, self.field.length):
            costs, counts = self.costs(part)
            targets = part.tokens[:, 1:].cpu()
            measured = (costs.double().cpu(), sizes[targets] * counts.cpu(), counts.cpu())
            sums.index_add_(0, rows, torch.stack([one.double().sum(1) for one in measured], 1))
        nats, size, tokens = sums.unbind(1)
        bits = nats / math.log(2) / size.clamp_min(1)
        return torch.stack([bits, nats / tokens.clamp_min(1), tokens], 1)

    def describe(self) -> str:
        cut = {"bpe": "pieces of words"}.get(self.field.cut or "", self.field.cut)
        return f"negative log-likelihood of each token ({cut}) from up to {self.field.length} before it"


def windows_of(packed: Packed, length: int) -> Iterator[tuple[Packed, Tensor]]:
    """Documents (B, T) cut into windows that foretell `length` tokens each, few at once, and which document each window
    is of, int64 (B): every token behind a document's first is foretold once."""
    width = packed.tokens.shape[1]
    ends = (packed.targets * torch.arange(1, width, device=packed.device)).amax(1).tolist() if width > 1 else []
    places = [(row, start) for row, end in enumerate(ends) for start in range(0, end, length)]
    at_once = max(1, AT_ONCE // length)
    for first in range(0, len(places), at_once):
        some = places[first : first + at_once]
        rows, begins = (torch.tensor(column, device=packed.device) for column in zip(*some, strict=True))
        at = begins[:, None] + torch.arange(min(length, width - 1) + 1, device=packed.device)
        inside, at = at < width, at.clamp_max(width - 1)
        part = [None if one is None else one[rows[:, None], at] for one in packed[:3]]
        tokens, segments, counts = part
        assert tokens is not None and segments is not None
        yield Packed(tokens, segments, inside if counts is None else inside & counts), rows.cpu()


class Likelihoods(Grouped):
    """The likelihood of documents: sums by group of documents, for intervals over these.

    Args:
        field: what tokens stand for.
        detail: whether documents are kept apart, to name the oddest.
    """

    columns = 4  # tokens, nats, bytes, characters

    def __init__(self, field: Corpus, detail: bool = False):
        self.sizes, self.detailed = field.sizes.double(), detail
        self.sums = torch.zeros(GROUPS, self.columns, dtype=torch.float64)
        self.documents: dict[int, Tensor] = {}
        self.oddest = Worst()

    def update(self, packed: Packed, costs: Tensor, counts: Tensor, *more: Tensor) -> None:
        """Of windows (B, T), what `LanguageModel.costs` gives, and of each token what further columns add up."""
        assert packed.rows is not None
        counts = counts.cpu()
        targets, rows = packed.tokens[:, 1:].cpu()[counts], packed.rows[:, 1:].cpu()[counts]
        nats, *added = (one.double().cpu()[counts][:, None] for one in (costs, *more))
        values = torch.cat([torch.ones_like(nats), nats, self.sizes[targets], *added], 1)
        self.sums.index_add_(0, groups_of(rows), values)
        if not self.detailed:
            return
        there, place = rows.unique(return_inverse=True)
        sums = torch.zeros(len(there), self.columns, dtype=torch.float64).index_add_(0, place, values)
        for row, one in zip(there.tolist(), sums, strict=True):
            self.documents[row] = self.documents.get(row, 0) + one
        if len(self.documents) > FINISHED:
            last = int(rows[-1])
            self._sort_out({row: one for row, one in self.documents.items() if row != last})
            self.documents = {last: self.documents[last]}

    def _sort_out(self, documents: Mapping[int, Tensor]) -> None:
        if not documents:
            return
        rows, sums = torch.tensor([*documents]), torch.stack([*documents.values()])
        bits = sums[:, 1] / math.log(2) / sums[:, 2].clamp_min(1)

        def tell(i: int) -> dict[str, Any]:
            return {"true": "", "predicted": f"{bits[i]:.2f} bits a byte"}

        self.oddest.offer(bits, rows, tell)

    def worst(self) -> list[dict[str, Any]]:
        """The oddest documents."""
        self._sort_out(self.documents)
        self.documents = {}
        return self.oddest.listed()

    @property
    def count(self) -> int:
        return int(self.sums[:, 0].sum())

    def score(self, sums: Tensor) -> dict[str, Tensor]:
        tokens, nats, size, characters = sums.unbind(1)
        bits, mean = nats / math.log(2), nats / tokens.clamp_min(1)
        found = (mean, mean.exp(), bits / size.clamp_min(1), bits / characters.clamp_min(1))
        return dict(zip(MEASURES, found, strict=True))
