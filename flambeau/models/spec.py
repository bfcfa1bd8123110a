"""What a model is told about its input and output, what its weights want of it, and the models by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from flambeau.core.errors import UsageError
from flambeau.core.registry import Registry
from flambeau.fields import Ragged
from flambeau.models.inputs import InputSpec

LAYOUTS = {
    "vector": "a sample", "tokens": "a token", "dense": "a cell of a picture", "boxes": "a box", "code": "a code",
    "text": "a token of an answer", "span": "a place of a text", "masked": "a token that is hidden",
}  # fmt: skip
"""What an output has its numbers for."""


@dataclass(frozen=True)
class OutputSpec:
    """What a target wants of a model's output.

    Attributes:
        size: how many numbers: K classes, or C channels.
        layout: what for: `vector`, (B, size), for a sample; `tokens`, (B, T, size), for each token; `dense`,
            (B, size, H / stride, W / stride), for each cell of a picture; `boxes`, (B, N, size + 4), for each of N
            places that may each say one thing, where `size` is K + 4: K logits, then the box, and then the place
            itself, both as left, top, right, bottom in 0…1 of the input. N is the model's affair; `code`, a `Coder`,
            whose decoder takes `size` numbers, and which called gives (B, F) features of its encoder; `text`, a
            `Seq2Seq`, (B, T, size) for each token of an answer that is written; `span`, (B, size, 1 + T), for no answer
            and each token of the first text; `masked`, (B, T, size) for each token, by those on both sides.
        stride: pixels along a side of a cell, below 1 where a pixel has several cells; None where the model may choose
            it.
        model: the name of the one that is taken if none is named.

    Raises:
        UsageError: no number is asked for, or there is no such layout.
    """

    size: int
    layout: str = "vector"
    stride: int | Fraction | None = 1
    model: str = ""

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UsageError(f"a model with {self.size} outputs was asked for", expected="at least 1")
        if self.layout not in LAYOUTS:
            raise UsageError(f"no layout of an output is called '{self.layout}'", expected=", ".join(LAYOUTS))

    @property
    def scale(self) -> int:
        """Cells along a side of a pixel, where it has several; else 1."""
        return int(1 / self.stride) if self.stride else 1

    @classmethod
    def of(cls, wanted: int | OutputSpec, layout: str = "vector") -> OutputSpec:
        """The spec itself; of a number of outputs, that many in a model's own layout, with its own stride."""
        return wanted if isinstance(wanted, OutputSpec) else cls(wanted, layout, None)

    def shape(self, spec: InputSpec) -> tuple[int | None, ...]:
        """The shape of the output for one sample as `InputSpec.example` gives it; None for a size that is free."""
        if self.layout == "dense":
            return (self.size, *(None if self.stride is None else int(-(-side // self.stride)) for side in spec.size))
        if self.layout == "boxes":
            return (None, self.size + 4)
        if self.layout == "text":
            return (None, self.size)
        if self.layout == "span":
            return (self.size, None)
        if self.layout == "code":
            return (None,)
        return (self.size,) if self.layout == "vector" else (spec.form.steps(spec.shape), self.size)

    def fits(self, shape: Sequence[int], spec: InputSpec) -> bool:
        """Whether the output of a batch has this shape."""
        wanted = (None, *self.shape(spec))
        return len(shape) == len(wanted) and all(w in (None, s) for s, w in zip(shape, wanted, strict=True))

    def __str__(self) -> str:
        if self.layout == "code":  # its size is the objective's affair
            return LAYOUTS[self.layout]
        return f"{self.size:,} numbers for {LAYOUTS[self.layout]}"


@dataclass(frozen=True)
class Recommended:
    """The input that pretrained weights were trained on.

    Attributes:
        mean: per channel, in units where black is 0 and white is 1.
        std: likewise.
        size: the side in pixels that they were trained at; None where any is as good.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int | None = None

    def for_channels(self, channels: int) -> Recommended:
        """The same for another number of channels: the mean over the channels, repeated."""
        if channels == len(self.mean):
            return self
        mean, std = sum(self.mean) / len(self.mean), sum(self.std) / len(self.std)
        return Recommended((mean,) * channels, (std,) * channels, self.size)


IMAGENET = Recommended((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 224)


@dataclass
class Built:
    """A model that was made by its name, and what is known of it beside its weights.

    Attributes:
        model: in training mode, on the CPU.
        head: names of the modules of its final classifier, which a fine-tune trains faster than the rest.
        wanted: the input that its pretrained weights were trained on; None from scratch.
        notes: sentences on how its weights were loaded.
        options: plain data, with which `build` makes a model of the same shape where the files that this one came from
            are gone.
        rates: shares of the learning rate, of the parameters that have one of their own.
        from_zero: whether its head may begin at zero, as one layer may, beside pretrained weights.
    """

    model: nn.Module
    head: tuple[str, ...] = ()
    wanted: Recommended | None = None
    notes: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    rates: dict[nn.Parameter, float] = field(default_factory=dict)
    from_zero: bool = True

    def head_parameters(self) -> list[nn.Parameter]:
        """The parameters of the final classifier."""
        return [parameter for name in self.head for parameter in self.model.get_submodule(name).parameters()]


@runtime_checkable
class Ensemble(Protocol):
    """A model of several members that are trained side by side: in training its output has `ensemble_size` rows for
    each sample, one behind the other; else one."""

    ensemble_size: int


@runtime_checkable
class Undecayed(Protocol):
    """A model that has matrices which weight decay leaves alone, as it does biases and norms."""

    def undecayed(self) -> Iterable[nn.Parameter]:
        """These matrices."""


@runtime_checkable
class FromData(Protocol):
    """A model that begins with what it counts in the training rows."""

    def initialise_from_data(self, batches: Iterable[tuple[Any, Tensor]]) -> None:
        """Looks at each batch once: an input, and which classes or labels each of its samples has, float (B, K); ones
        (B, 1) where there are none."""


@runtime_checkable
class Adopts(Protocol):
    """A model that takes weights of a model that it is made of."""

    def adopted(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """These weights by the names that they have in it, and its own of what they have not."""


@runtime_checkable
class TokenTable(Protocol):
    """A model of texts that says which module gives each token its vector, as those of transformers do."""

    def get_input_embeddings(self) -> nn.Module | None:
        """The module, called with token numbers (B, T)."""


@runtime_checkable
class Attributed(Protocol):
    """A model of texts that says itself what each token added to an answer."""

    def attribute(self, texts: Any, outputs: Tensor) -> Tensor | Sequence[Tensor]:
        """Float (B, T), or that of each of several texts.

        Args:
            texts: what the model is called with.
            outputs: for each sample which output is asked about, int64 (B).
        """


@runtime_checkable
class Joint(Protocol):
    """A model that reads two texts as one."""

    def together(self, first: Ragged, second: Ragged) -> Any:
        """Both in one: `values` (B, T) and `lengths` (B), and `sources` (B, T), the place of each of its tokens in the
        first text and then the second, below 0 for marks."""

    def read(self, both: Any) -> Tensor:
        """The output for what `together` gives."""


Builder = Callable[..., nn.Module]
"""`builder(spec, num_outputs, **options)`: a model of so many numbers, in the layout that it is entered with."""


def whole(spec: InputSpec) -> tuple[Any, ...]:
    """All of what is known of the input."""
    return (spec,)


def nothing(spec: InputSpec) -> tuple[Any, ...]:
    """Nothing of it: the model fits any."""
    return ()


def vocabulary(spec: InputSpec) -> tuple[Any, ...]:
    """V, how many different tokens texts have."""
    return (spec.tokens,)


class Models(Registry[Builder]):
    """Models by name, each with the kinds of input that it takes, the layout of its output, and the options that a
    user may give."""

    def __init__(self) -> None:
        super().__init__("model")
        self.kinds: dict[str, tuple[str, ...]] = {}
        self.layouts: dict[str, str] = {}
        self.strides: dict[str, int | None] = {}
        self.options: dict[str, tuple[str, ...]] = {}
        self.rates: dict[str, Mapping[str, float]] = {}
        self.wants: dict[str, Mapping[str, Any]] = {}
        self.fitted: set[str] = set()
        """Those that fit themselves to all training rows at once."""

    def register(
        self, name: str, kinds: tuple[str, ...] = ("image",), of: Callable[[InputSpec], tuple[Any, ...]] = whole,
        rates: Mapping[str, float] = {}, layout: str = "vector", stride: int | None = 1,
        wants: Mapping[str, Any] = {}, fitted: bool = False, **fixed: Any,
    ) -> Callable[[Any], Any]:  # fmt: skip
        """A decorator that enters a class, or a function that makes a model, under `name`; its arguments behind
        `num_outputs` are its options.

        Args:
            kinds: of input that it takes.
            of: what it takes before `num_outputs`, from the spec of the input.
            rates: shares of the learning rate, by parameters' names.
            layout, stride: of its output, as in `OutputSpec`; None for a model whose option `scale` says how many cells
                a pixel has along a side.
            wants: of the fields that it is given, as in `Wanted`.
            fitted: whether it is a `FittedModel`, fitted at once in place of epochs.
            fixed: options that the name settles.
        """

        def enter(model: Any) -> Any:
            parameters = list(inspect.signature(model).parameters)
            free = parameters[parameters.index("num_outputs") + 1 :]

            def builder(spec: InputSpec, num_outputs: int, **options: Any) -> nn.Module:
                return model(*of(spec), num_outputs, **fixed, **options)

            self.kinds[name], self.layouts[name], self.strides[name] = kinds, layout, stride
            self.options[name] = tuple(option for option in free if option not in fixed)
            self.rates[name], self.wants[name] = rates, wants
            if fitted:
                self.fitted.add(name)
            super(Models, self).register(name)(builder)
            return model

        return enter

    def suited(self, kind: str, output: OutputSpec | None = None) -> list[str]:
        """Names of the models that take a kind of input and give an output, or any."""
        named = [name for name, kinds in self.kinds.items() if kind in kinds]
        if output is None:
            return named
        named = [name for name in named if self.layouts[name] == output.layout]
        if output.layout == "dense" and output.stride is not None:
            fits = {output.stride, None} if output.stride <= 1 else {output.stride}
            named = [name for name in named if self.strides[name] in fits]
        return sorted(named, key=lambda name: (name != output.model, self.strides[name] is None))


OWN = Models()
"""Our own models; the files of `models/vision/`, `text/`, `audio/` and `tabular/` enter themselves."""
ON_BACKBONE: Registry[Callable[[str, InputSpec, int, Any, dict[str, Any]], Built]] = Registry("layout on a backbone")
"""What a name of timm's stands for where another layout than a vector is wanted, by that layout: a model that has it as
its backbone. Called as `build_timm` is: name, spec, size of the output, weights, options."""
