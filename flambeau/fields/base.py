"""What every kind of data can do: the contract of a Field, and the registry of kinds."""

from __future__ import annotations

import html
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from flambeau.core.errors import DataError, UsageError, shown
from flambeau.core.files import ODD
from flambeau.core.findings import Finding
from flambeau.core.registry import Registry
from flambeau.fields.columns import Views
from flambeau.fields.encoding import Encoding, Ragged, Sample, Windows
from flambeau.fields.heat import Heat, Site, each, listed
from flambeau.fields.raw import RawValues
from flambeau.fields.wanted import Suited

if TYPE_CHECKING:
    from PIL import Image as PILImage

    from flambeau.fields.pieces import Pieces
    from flambeau.fields.placement import Placement

__all__ = ["FIELDS", "Encoding", "Field", "Ragged", "Recognition", "Windows"]

FIELDS: Registry[type[Field]] = Registry("kind of field", "kind")


class Recognition(NamedTuple):
    """How well raw values look like a kind, from 0 to 1, and why, in a clause."""

    score: float
    why: str


class Field(RawValues, Suited, ABC):
    """One kind of column. Settings are constructor arguments; what `fit` learns is kept beside them."""

    task: ClassVar[str] = ""
    """What is learned of it where it is the target: a name of `flambeau.objectives.tasks.TASKS`."""
    alone: ClassVar[str] = ""
    """The objective by which it is learned where there is no target, and none is named."""
    persistent: ClassVar[bool] = False
    """Whether encoding is dear enough to be kept on disk between trainings."""
    target_only: ClassVar[bool] = False
    input_only: ClassVar[bool] = False
    settings: ClassVar[tuple[str, ...]] = ()
    """Names of the attributes that a user sets; `to_dict` keeps them."""
    fitted: ClassVar[tuple[str, ...]] = ()
    """Names of the attributes that `fit` sets; `to_dict` keeps them too."""
    varies: ClassVar[bool] = False
    """Whether it can be augmented; see `choose_augmentation`."""
    leads: ClassVar[bool] = False
    """Whether it is a picture that others have a place in: it has `lead` and `frame`."""
    follows: ClassVar[bool] = False
    """Whether it has a place in the picture of another column, such as boxes or a mask, and moves with it."""
    after: ClassVar[tuple[str, ...]] = ()
    """Which of both no encoded value depends on, for they come in later."""

    @classmethod
    def recognise(cls, values: Sequence[Any]) -> Recognition:
        """How well a sample of raw values looks like this kind; here not at all: it is said to be of it."""
        return Recognition(0.0, f"values are of the kind {cls.kind} where it is said so")

    @classmethod
    def suiting(cls, values: Sequence[Any]) -> Field:
        """The field of this kind, with the settings that suit a sample of raw values."""
        return cls()

    @classmethod
    def why(cls, values: Sequence[Any], of_sample: str) -> str:
        """Why all raw values of a column are taken to be of this kind, where that is known of a sample."""
        return of_sample

    @abstractmethod
    def fit(self, values: Sequence[Any]) -> None:
        """Learns statistics or a vocabulary from raw values of training rows only."""

    def look(self, values: Sequence[Any]) -> None:
        """Sees all raw values once, those of rows held out too, before `fit`: to decide how they are written, and
        nothing else."""
        return

    def choices(self) -> Mapping[str, tuple[Any, str]]:
        """What `fit` has chosen of settings that were left open, and why: {setting: (value, why)}."""
        return {}

    def samples_in_epoch(self, rows: int) -> int:
        """How many samples a model sees in an epoch of so many training rows, as far as is known."""
        return rows

    @property
    @abstractmethod
    def encoding(self) -> Encoding:
        """The form that `encode` gives, once fitted."""

    @abstractmethod
    def encode(self, value: Any) -> np.ndarray:
        """One raw value to a compact array.

        Raises:
            DataError: the value cannot be read or does not fit; the message says why.
        """

    def encode_batch(self, values: Sequence[Any]) -> list[np.ndarray | DataError]:
        """Some raw values, each to its array or to what is wrong with it. For kinds that are quicker with many."""
        encoded: list[np.ndarray | DataError] = []
        for value in values:
            try:
                if value is None:
                    raise DataError("the value is missing")
                encoded.append(self.encode(value))
            except DataError as error:
                encoded.append(error)
        return encoded

    def encode_all(self, values: Sequence[Any]) -> np.ndarray | None:
        """All values at once where that is cheap (arrays in memory), else None. Fixed fields only."""
        return None

    def holds_many(self, array: np.ndarray) -> bool:
        return array.ndim > len(self.encoding.shape) + self.encoding.ragged

    def encode_flat(self, values: Views) -> np.ndarray:
        """The array that windows lie in, encoded whole: (T, …), so that each window of it is the encoded window."""
        raise UsageError(f"a field of kind '{self.kind}' has no windows")

    def prepare(self, gathered: Any, training: bool = False, generator: torch.Generator | None = None) -> Any:
        """The gathered batch to model input, on its device. All randomness comes from `generator`."""
        return gathered

    def choose_augmentation(self, asked: str | Mapping[str, Any], sample: Callable[[], Sample]) -> list[str]:
        """Sets how prepared values are varied at random in training, where that is not set yet, from a level (`none`,
        `light`, `auto`, `strong`) or from settings. What was chosen and why, in clauses. Called where `varies`.

        Args:
            sample: gives training rows to look at, which takes a while.
        """
        return []

    def train_at(self, share: float) -> bool:
        """Prepares values for training at `share` of their side from now on, as a picture can; whether it does."""
        return False

    # -- places in a picture ------------------------------------------------------------------------------------

    def follow(self, value: Any, placement: Placement) -> Any:
        """The gathered batch, on its device, brought to where the picture lies in the model's input: same form, same
        dtype. `prepare` comes after it. In training the placement has the augmentation that was drawn for the picture;
        elsewhere its fit alone. Called where `follows`."""
        return value

    @property
    def remakes(self) -> bool:
        """Whether `remake` does anything; where it `follows`."""
        return False

    def remake(self, picture: Any, value: Any, generator: torch.Generator) -> tuple[Any, Any]:
        """In training, after `follow` and `prepare`: another prepared picture and value of a batch made of both, such
        as a part of each. All randomness comes from `generator`. Called of a target that `remakes`."""
        return picture, value

    def check_in(self, values: Sequence[Any], leader: Field, pictures: Sequence[Any]) -> list[Finding]:
        """What is wrong with raw values in the raw pictures, of the field `leader`, that they have a place in. Values
        that cannot be read are told of when they are encoded. Called where `follows`, before anything is fitted."""
        return []

    def beside(self, leader: Field) -> None:
        """Takes over what it needs of the picture that it follows, such as its size: after both are fitted, before
        anything is encoded. Called where `follows`."""
        return

    @property
    def thing_names(self) -> Sequence[str] | None:
        """Names of the kinds of things in a picture that its values are of, which may be seen larger, smaller, cut, and
        in pictures that are made of several; empty where they have none, None where it is of no things."""
        return None

    def things(self, value: Any) -> Tensor | None:
        """Boxes of raw pictures, float32 (B, N, 4), of no area where there are fewer, about what augmentation may be
        asked to keep in sight; None where it has no boxes. `value` is the gathered batch. Called where `follows`."""
        return None

    def assembled(self, value: Any, pieces: Pieces) -> Any:
        """The prepared batch for pictures that are made of pieces of several of it: same form, same dtype. Called where
        `follows`.

        Raises:
            UsageError: it cannot be of several pictures.
        """
        raise UsageError(f"values of the kind {self.kind} cannot be of several pictures at once",
                         fix="leave mosaic and copy_paste out of the augmentation")  # fmt: skip

    def cutouts(self, value: Any, size: tuple[int, int], share: float, generator: torch.Generator) -> Tensor | None:
        """Where the things are, bool (B, H, W), that are to be pasted onto other pictures: a share of those of the
        prepared batch, each drawn on its own; None where it has no things. Called where `follows`."""
        return None

    def mixed(
        self, prepared: Any, followers: Mapping[str, tuple[Field, Any]], generator: torch.Generator | None
    ) -> tuple[Any, dict[str, Any]]:
        """A prepared training batch of pictures, and of what follows them by column, mixed as the augmentation says.
        Called after `lead`."""
        return prepared, {name: value for name, (_, value) in followers.items()}

    def lead(
        self,
        gathered: Any,
        frames: Tensor,
        training: bool,
        generator: torch.Generator | None,
        things: Tensor | None = None,
    ) -> tuple[Any, Placement]:
        """What `prepare` gives, to the bit, and where the pictures lie in it; `frames` is `frame` of each, `things` are
        those of what follows. Called in its place where anything follows."""
        raise UsageError(f"nothing has a place in a column of the kind {self.kind}")

    def frame(self, value: Any) -> np.ndarray:
        """Where a raw picture lies in its encoded form; see `flambeau.fields.decoding.frame`."""
        raise UsageError(f"nothing has a place in a column of the kind {self.kind}")

    @property
    def keeps_size(self) -> bool:
        """Whether raw pictures are not made as large as the model's input, which is parts of them."""
        return False

    def encode_whole(self, value: Any, least: tuple[int, int] = (1, 1)) -> np.ndarray:
        """A raw picture encoded at its own size, (h, w, C); a smaller one is filled up to (height, width)."""
        raise UsageError(f"values of the kind {self.kind} have no size of their own")

    def placement(self, values: Sequence[Any]) -> Placement:
        """Where raw pictures lie in the model's input, as a prediction sees them: to bring an answer back to them."""
        raise UsageError(f"nothing has a place in a column of the kind {self.kind}")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one prepared value, as a model sees it (ragged axes are left out)."""
        return self.encoding.shape or (1,)

    @property
    def input_kind(self) -> str:
        """What a prepared value is to a model: the kind of its `InputSpec`."""
        return self.kind

    @property
    def num_outputs(self) -> int:
        """How many numbers a head must give, where this field is the target."""
        raise UsageError(f"a field of kind '{self.kind}' cannot be a target here")

    @property
    def restores(self) -> bool:
        """Whether `restore` can."""
        return False

    def restore(self, prepared: Any) -> list[Any]:
        """Values as `prepare` gives them, (B, …), back to raw ones: what an objective has generated."""
        raise UsageError(f"values of the kind {self.kind} cannot be generated")

    def write(self, value: Any, stem: Path) -> Path:
        """Writes a raw value as a file of this kind; its path is `stem` and an ending."""
        raise UsageError(f"values of the kind {self.kind} are not written as files")

    def decode(self, output: np.ndarray) -> Any:
        """Model output for one sample, after its activation, to what a person reads."""
        return output

    def rescaling(self, other: Field) -> Callable[[Tensor], Tensor] | None:
        """What brings answers (B, …) in the scale of another field of the same target, fitted to other rows, to the
        scale of this one, so that they have a mean; None where nothing does."""
        return (lambda answers: answers) if self.to_dict() == other.to_dict() else None

    def check(self, values: Sequence[Any]) -> list[Finding]:
        """What is wrong with raw values of this kind on their own."""
        return []

    def describe(self, values: Sequence[Any]) -> dict[str, Any]:
        """What raw values are like, for the report, as `flambeau.fields.describing` puts it; empty where there is
        nothing to count."""
        return {}

    def render(self, value: Any) -> str:
        """One raw value as a fragment of HTML, for reports and pages."""
        return f"<span>{html.escape(str(value))}</span>"

    def marked(self, value: Any, at: int | None = None, weights: Sequence[float] | None = None) -> str:
        """The same with one part that stands out, or each by what it weighed, where it has such parts."""
        return self.render(value)

    def sites(self, prepared: Any) -> list[Site]:
        """The tensors of a prepared batch that an explanation weighs, and the parts that they have: if nothing else,
        the batch itself, each number of it a part, hidden by 0.

        Raises:
            UsageError: the batch is no tensor, and the kind does not say which parts it has.
        """
        if not isinstance(prepared, Tensor):
            raise UsageError(
                f"nobody has said which parts an input of the kind {self.kind} has", fix="define its sites"
            )
        return [Site(prepared, 0.0, each(prepared))]

    def heat(self, value: Any, weights: Sequence[np.ndarray]) -> Heat:
        """One raw value with what its parts weighed.

        Args:
            weights: for each of `sites` as its values, float (B, …); B is 1, or the windows that the value was seen in.
        """
        numbers = weights[0].sum(0).reshape(-1).tolist()
        if len(numbers) == 1:
            return listed([(self.kind, self.caption(value), numbers[0])])
        return listed([(f"{self.kind} {i}", "", weight) for i, weight in enumerate(numbers, 1)])

    def render_in(self, value: Any, leader: Field, picture: Any) -> str:
        """The same drawn into the raw picture, of the field `leader`, that it has a place in."""
        return leader.render(picture)

    def compared_in(self, value: Any, truth: Any, leader: Field, picture: Any) -> str:
        """An answer beside the truth, drawn into the raw picture, as HTML: the answer alone, if nothing else."""
        return self.render_in(value, leader, picture)

    def close_up(self, box: Sequence[float], label: str, leader: Field, picture: Any) -> str:
        """The part of a raw picture about (left, top, right, bottom) in 0…1 of the model's input, as HTML."""
        return ""

    @property
    def legend(self) -> dict[str, str]:
        """What each class is drawn in, as #rrggbb; empty where classes are not drawn."""
        return {}

    def drawn_in(self, value: Any, picture: PILImage.Image) -> PILImage.Image:
        """The same drawn into a picture as large as the raw one, in RGB and upright, as a picture to keep."""
        raise UsageError(f"answers of the kind {self.kind} are not drawn into pictures")

    def caption(self, value: Any) -> str:
        """One raw value in a line; empty where it cannot be said so."""
        several = isinstance(value, (list, tuple, set, frozenset))
        return ", ".join(map(str, value)) if several else "" if value is None or np.ndim(value) else str(value)

    def told(self, answer: Any) -> str:
        """An answer in a line of a terminal."""
        return self.caption(answer)

    @property
    def summary(self) -> str:
        """What a line about a dataset calls it."""
        return self.kind

    @property
    def identity(self) -> dict[str, Any]:
        """What the encoded form depends on; a part of the store's fingerprint."""
        return {name: value for name, value in self.to_dict().items() if name not in self.after}

    def to_dict(self) -> dict[str, Any]:
        """Kind, settings and fitted state as plain JSON."""
        return {"kind": self.kind, **{name: getattr(self, name) for name in (*self.settings, *self.fitted)}}

    def chosen(self) -> dict[str, Any]:
        """Its kind and settings, without what it was fitted to: `from_dict` makes it anew."""
        return {"kind": self.kind, **{name: getattr(self, name) for name in self.settings}}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Field:
        """The field that `to_dict` wrote, of whichever kind it is."""
        if not (isinstance(state, Mapping) and isinstance(state.get("kind"), str)):
            raise UsageError(f"{shown(state)} is no field", expected="its kind and settings")
        field_class = FIELDS[state["kind"]]
        given = {name: state[name] for name in field_class.settings if name in state}
        try:
            field = field_class(**given)
        except ODD as error:
            raise UsageError(f"the settings of a {field_class.kind} do not fit ({error})") from error
        for name in field_class.fitted:
            if name in state:
                setattr(field, name, state[name])
        return field

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{n}={getattr(self, n)!r}' for n in self.settings)})"
