"""What a model is told about its input: the shape of a sample, and what inputs of its kind have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from flambeau.core.errors import UsageError
from flambeau.fields import Field, PastFuture, Ragged, Row

FUSION = "fusion"
"""The name of the model of several inputs, which `models.fuse` makes."""
EXAMPLE_TOKENS = 32  # of a text in an example: a sentence
Example = Tensor | Ragged | dict[str, Ragged] | Row | PastFuture
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Form:
    """A kind of input. This one is that of a tensor of fixed size.

    Attributes:
        letters: how its shape is told.
        axes: how many sizes that has; any number where there is none.
        takes: what a model of it is said to take.
        counted_on: the shape that a model's parameters are counted with, for the list of models.
        layout: of the output that follows its form, as in `OutputSpec`.
        pictures: whether it has a height and a width.
    """

    letters: str
    axes: tuple[int, ...]
    takes: str
    counted_on: Shape
    layout: str = "vector"
    pictures: ClassVar[bool] = False

    def fits(self, shape: Shape) -> bool:
        """Whether this is such a shape."""
        return len(shape) in self.axes and min(shape) >= 1

    def hint(self, shape: Shape) -> str | None:
        """What to do about a shape that is none."""
        return None

    def told(self, kind: str, shape: Shape) -> str:
        """A shape in words."""
        return f"{kind} " + "×".join(map(str, shape))

    def example(self, shape: Shape, batch: int, device: torch.device | str, dtype: torch.dtype) -> Example:
        """Zeros (batch, *shape)."""
        return torch.zeros(batch, *shape, device=device, dtype=dtype)

    def size(self, shape: Shape) -> tuple[int, int]:
        """(H, W), where it is a picture."""
        return 1, 1

    def at_least(self, shape: Shape, side: int) -> Shape:
        """The same, but no smaller than `side` pixels, where it is a picture."""
        return shape

    def wants_model(self, shape: Shape) -> str | None:
        """What is read by one model alone, and so has no other by default; None where that is not so."""
        return None

    def tokens(self, shape: Shape) -> int | None:
        """How many different tokens there are, where it is made of such."""
        return None

    def steps(self, shape: Shape) -> int:
        """Tokens of an example, where it is made of such."""
        return EXAMPLE_TOKENS

    def outputs(self, shape: Shape) -> int:
        """The size of the output that a model's parameters are counted with."""
        return 10

    def choices(self, shape: Shape) -> Shape:
        """How many codes each category of a sample has, where there are such."""
        return ()

    def decoded_shape(self, shape: Shape) -> Shape:
        """The shape of a sample as a decoder gives it: that of its numbers; behind them a score for each code of each
        category."""
        return shape

    def as_decoded(self, value: Any, shape: Shape) -> Tensor:
        """A prepared batch in the form that a decoder gives, float (B, …); a category has 1 at its code, else 0."""
        return value

    def from_decoded(self, decoded: Tensor, shape: Shape) -> Any:
        """What a decoder gives, float (B, …), as a prepared batch: of each category the code of the highest score."""
        return decoded


class Picture(Form):
    pictures = True

    def size(self, shape: Shape) -> tuple[int, int]:
        return shape[1], shape[2]

    def at_least(self, shape: Shape, side: int) -> Shape:
        return shape[0], max(side, shape[1]), max(side, shape[2])


class Numbers(Form):
    def hint(self, shape: Shape) -> str | None:
        if len(shape) < 2:
            return None
        return (
            "pictures are uint8 or floats in 0…1; where these are some in another range, say so: "
            "fields={'x': fb.fields.Image()}"
        )


class Written(Form):
    def told(self, kind: str, shape: Shape) -> str:
        return f"{kind} of {shape[0]:,} different tokens"

    def example(self, shape: Shape, batch: int, device: torch.device | str, dtype: torch.dtype) -> Example:
        return _unknown(shape, batch, device)

    def tokens(self, shape: Shape) -> int | None:
        return max(shape)


class TwoTexts(Written):
    def told(self, kind: str, shape: Shape) -> str:
        return f"two texts of {max(shape):,} different tokens"

    def example(self, shape: Shape, batch: int, device: torch.device | str, dtype: torch.dtype) -> Example:
        return dict.fromkeys(("first", "second"), _unknown(shape, batch, device))


class Sentences(Written):
    def told(self, kind: str, shape: Shape) -> str:
        return f"{kind} of {shape[0]:,} different words"

    def example(self, shape: Shape, batch: int, device: torch.device | str, dtype: torch.dtype) -> Example:
        text = _unknown(shape, batch, device)
        # a number and its characters, or a piece and whether a word begins with it
        width = 1 + shape[2] if len(shape) == 3 else 2
        return Ragged(text.values[:, :, None].repeat(1, 1, width), text.lengths)

    def wants_model(self, shape: Shape) -> str | None:
        return "tokens of a pretrained tokeniser" if len(shape) == 1 else None

    def tokens(self, shape: Shape) -> int | None:
        return shape[0]


class WindowsOfText(Form):
    """Windows of a corpus, whose every token a model is to foretell: as many numbers for each as there are tokens."""

    def told(self, kind: str, shape: Shape) -> str:
        return f"windows of {shape[1]:,} of {shape[0]:,} different tokens"

    def example(self, shape: Shape, batch: int, device: torch.device | str, dtype: torch.dtype) -> Example:
        return torch.zeros(batch, self.steps(shape), dtype=torch.int64, device=device)

    def tokens(self, shape: Shape) -> int | None:
        return shape[0]

    def steps(self, shape: Shape) -> int:
        return min(shape[1], EXAMPLE_TOKENS)

    def outputs(self, shape: Shape) -> int:
        return shape[0]


class Rows(Form):
    def fits(self, shape: Shape) -> bool:
        return len(shape) > 0 and min(shape[1:], default=1) >= 1 and sum(shape) > 0

    def told(self, kind: str, shape: Shape) -> str:
        return f"a table of {shape[0]} numbers and {len(shape) - 1} categories"

    def example(self, shape: Shape, batch: int, device: torch.device | str, dtype: torch.dtype) -> Example:
        codes = torch.zeros(batch, len(shape) - 1, dtype=torch.int64, device=device)
        return Row(torch.zeros(batch, shape[0], device=device, dtype=dtype), codes)

    def choices(self, shape: Shape) -> Shape:
        return shape[1:]

    def decoded_shape(self, shape: Shape) -> Shape:
        return (sum(shape),)

    def as_decoded(self, value: Row, shape: Shape) -> Tensor:
        chosen = [F.one_hot(codes, size) for codes, size in zip(value.codes.unbind(1), shape[1:], strict=True)]
        return torch.cat([value.numbers, *chosen], 1).to(value.numbers.dtype)

    def from_decoded(self, decoded: Tensor, shape: Shape) -> Row:
        numbers, *scores = decoded.split(list(shape), 1)
        codes = [each.argmax(1) for each in scores]
        return Row(numbers, torch.stack(codes, 1) if codes else decoded.new_zeros(len(decoded), 0, dtype=torch.int64))


class Histories(Form):
    def fits(self, shape: Shape) -> bool:
        return len(shape) in self.axes and min(*shape[:2], shape[2] + 1, shape[3]) >= 1

    def told(self, kind: str, shape: Shape) -> str:
        return f"a history of {shape[1]} steps of {shape[0]} channels, {shape[3]} steps ahead"

    def example(self, shape: Shape, batch: int, device: torch.device | str, dtype: torch.dtype) -> Example:
        channels, length, known, horizon = shape
        past = torch.zeros(batch, channels, length, device=device, dtype=dtype)
        return PastFuture(past, past.new_zeros(batch, known, horizon))


def _unknown(shape: Shape, batch: int, device: torch.device | str) -> Ragged:
    tokens = torch.full((batch, EXAMPLE_TOKENS), min(1, shape[0] - 1), device=device)
    return Ragged(tokens, torch.full((batch,), EXAMPLE_TOKENS, device=device))


FORMS: dict[str, Form] = {
    "image": Picture("(C, H, W), each", (3,), "pictures", (3, 32, 32)),
    "number": Numbers("(D,),", (1,), "numbers", (10,)),
    "text": Written("(V,),", (1,), "texts", (10_000,)),
    "texts": TwoTexts("(V, V), each", (2,), "two texts", (10_000, 10_000)),
    "tokens": Sentences("(V, A, M) or (V,), each", (1, 3), "sentences of tokens", (10_000, 100, 20), "tokens"),
    "corpus": WindowsOfText("(V, L), each", (2,), "what texts are written of, token by token", (10_000, 256), "tokens"),
    "audio": Form("(C, T), each", (2,), "waves", (1, 16_000)),
    "table": Rows("(D, K1, …), the K", (), "tables", (10, 10, 10)),
    "series": Form("(C, T), each", (2,), "series", (1, 150)),
    "history": Histories("(C, L, K, H), all but K", (4,), "histories to forecast from", (3, 96, 2, 10)),
}
"""The kinds of input, by name; a plug-in with a new one enters it here."""
TOGETHER: dict[tuple[str, ...], str] = {("text", "text"): "texts"}
"""Kinds of several inputs that some models read together, and what they are together."""


@dataclass(frozen=True)
class InputSpec:
    """The shape of one sample.

    Attributes:
        kind: `image` for (C, H, W), `number` for (D,), `text` for (V,), `texts` for (V, V), two of them, `tokens` for
            (V, A, M) or (V,), `corpus` for (V, L), windows of what texts go on with, `audio` for (C, T), waves, `table`
            for (D, K1, K2, …), `series` for (C, T), `history` for (C, L, K, H).
        shape: the sizes, without the batch; of texts the number of different tokens, padding and unknown among them;
            of sentences of tokens how many words and characters there are, and characters to a word, or how many
            pieces a pretrained tokeniser has; of windows of a corpus how many different tokens there are and how long
            a window is; of tables how many numbers there are, from 0 on, then how many codes
            each category has, unknown among them; of histories channels, steps up to now, channels that are known
            ahead, from 0 on, and steps ahead.

    Raises:
        UsageError: the shape is not one of these, or has a size below 1.
    """

    kind: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(size) for size in self.shape))
        if self.kind not in FORMS:
            raise UsageError(f"no kind of input is called '{self.kind}'", expected=", ".join(FORMS))
        if not self.form.fits(self.shape):
            raise UsageError(
                f"an input of kind {self.kind} has the shape {self.shape}",
                expected=f"{self.form.letters} at least 1",
                fix=self.form.hint(self.shape),
            )

    @property
    def form(self) -> Form:
        """What inputs of its kind have in common."""
        return FORMS[self.kind]

    @classmethod
    def of(cls, fields: Sequence[Field]) -> InputSpec:
        """What fields look like together: one as it is, two texts as a pair.

        Raises:
            UsageError: no model takes such fields as they are.
        """
        if len(fields) == 1:
            return cls(fields[0].input_kind, fields[0].input_shape)
        together = cls.together([field.input_kind for field in fields])
        if together is None:
            raise UsageError(f"{len(fields)} inputs are no one input", fix=f"use the model {FUSION}")
        return cls(together, tuple(field.input_shape[0] for field in fields))

    @staticmethod
    def together(kinds: Iterable[str]) -> str | None:
        """The kind of several inputs together, where some models read them so."""
        return TOGETHER.get(tuple(kinds))

    @property
    def channels(self) -> int:
        """C of an image or of waves, D of numbers, V of texts."""
        return self.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of an image; (1, 1) of anything else."""
        return self.form.size(self.shape)

    @property
    def tokens(self) -> int | None:
        """V, how many different tokens texts and sentences have; None of anything else."""
        return self.form.tokens(self.shape)

    def at_least(self, side: int) -> InputSpec:
        """Of an image one with no side under so many pixels; anything else as it is."""
        return InputSpec(self.kind, self.form.at_least(self.shape, side))

    def example(
        self, batch: int = 1, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> Example:
        """Zeros (batch, *shape); of windows of a corpus int64 (batch, T); of texts, Ragged with `EXAMPLE_TOKENS`
        unknown tokens each; of two texts, a dict of them; of tables, a Row; of histories, a PastFuture."""
        return self.form.example(self.shape, batch, device, dtype)

    def __str__(self) -> str:
        return self.form.told(self.kind, self.shape)
