"""Which model to take when the user named none."""

from __future__ import annotations

from typing import NamedTuple

from flambeau.core.errors import UsageError
from flambeau.models.spec import ON_BACKBONE, OWN, InputSpec, OutputSpec
from flambeau.models.vision.resnet import SMALL_PICTURE


class Sizes(NamedTuple):
    """The size of a model where nothing is said of it.

    Attributes:
        usual: its name.
        of_processors: that of processors, which are some hundred times slower than accelerators.
        parts: options that say it in other words.
    """

    usual: str
    of_processors: str
    parts: tuple[str, ...]

    def on(self, device: str) -> tuple[str, str]:
        """The one for a device, and why."""
        if device.partition(":")[0] == "cpu":
            return self.of_processors, f"a processor takes some times as long for {self.usual}"
        return self.usual, "the usual one"


TINY_PICTURE = 12  # below this, three halvings leave nothing to look at
BY_KIND: dict[str, tuple[str, str]] = {
    "text": ("ngrams", "which words and phrases a text has tells most of what it says"),
    "texts": ("pair", "what two texts have in common is told by neither alone"),
    "tokens": ("lstm-tagger", "a tag depends on the words on both sides"),
    "corpus": ("gpt", "attention to what came before tells best what follows"),
    "audio": ("m5", "it was made for waves"),
    "table": ("tabm", "it is the strongest network here for {spec}"),
    "history": ("nbeats", "it learns what follows from the past and from what is known ahead, and fast"),
    "series": ("inceptiontime", "it sees short and long patterns of a series side by side"),
    "number": ("mlp", "the input is {spec.channels} numbers"),
}
"""The model of a kind of input, whatever its size, and why."""
CHEAPER = {"resnet50": "resnet18", "resnet18": "resnet9", "resnet9": "lenet"}
"""A model for the same pictures that takes a fraction of the time."""
BESIDE = {"tabm": ("resmlp",), "ngrams": ("textcnn",), "melcnn": ("resnet9",), "inceptiontime": ("resnet-1d",),
          "nbeats": ("tcn",)}  # fmt: skip
"""Networks that are tried beside the one of a kind, where there is a choice. Of small pictures there is none: LeNet is
ahead of ResNet-9 after a quarter of the epochs, and behind at their end (benchmarks/defaults.py, mnist5k and fashion).
"""
BY_LAYOUT = {"text": ("seq2seq-lstm", "it learns to write from few pairs, and shows where it looked")}
"""The model of an output that says nothing of the input's kind, and why."""
SIZES = {"gpt": Sizes("tiny", "nano", ("layers", "heads", "width"))}
"""Of the models that come in several sizes by name."""
PRETRAINED_BY_KIND = {"text": ("bag", "it takes word vectors, and trains in seconds")}
MADE_FOR = {"audio": (16, "melcnn", "it was made for log-mel pictures and keeps their bands apart")}
"""The model of pictures that are made of fields of a kind: the least pixels a side, its name, and why."""
ONLY_OF = {"mel-linear": "audio", "hog-linear": "image"}
"""Of models that are fitted to pictures, the kind of field that these must be made of."""


def by_kind(kind: str, pretrained: bool | str | object | None = None) -> tuple[str, str] | None:
    """The name of the model for a kind of input, and why; None where that depends on its size."""
    return (PRETRAINED_BY_KIND.get(kind) if pretrained else None) or BY_KIND.get(kind)


def choose(
    spec: InputSpec,
    num_samples: int,
    pretrained: bool | str | object | None = None,
    made_of: str = "",
    output: OutputSpec | None = None,
) -> tuple[str, str]:
    """The name of one of our models for this input, and one clause on why.

    Args:
        num_samples: how many samples there are to train on.
        pretrained: whether (or from where) weights will be loaded; only ResNets have published ones.
        made_of: the kind of the field that pictures are made of: `audio` of log-mel pictures.
        output: what the target wants.

    Raises:
        UsageError: there is none.
    """
    if what := spec.form.wants_model(spec.shape):
        raise UsageError(f"{what} need its model", fix="give model='hf:FOLDER'")
    if output is not None and output.layout in BY_LAYOUT and spec.kind == "text":
        return BY_LAYOUT[output.layout]
    placed = output is not None and output.layout in ("dense", "boxes", "code", "text", "span", "masked")
    if placed and pretrained and output is not None and output.layout in ON_BACKBONE:
        return "timm:resnet18", "it is the backbone that weights can be loaded into"
    if not placed and (known := by_kind(spec.kind, pretrained)) is not None:
        return known[0], known[1].format(spec=spec)
    if placed or not spec.form.pictures:
        wanted = f"takes {spec}" + (f" and gives {output}" if output else "")
        if not (suited := OWN.suited(spec.kind, output)):
            fix = "name one: model='hf:FOLDER', or a plug-in's" if spec.tokens else "name one: model=, or a plug-in's"
            raise UsageError(f"no model {wanted}", fix=fix)
        return suited[0], f"it {wanted}"
    height, width = spec.size
    side = f"{height}×{width} px"
    if pretrained:
        return "resnet50" if num_samples >= 100_000 else "resnet18", "weights published for it can be loaded"
    least, made_for, why = MADE_FOR.get(made_of, (0, "", ""))
    if made_for and min(spec.size) >= least:
        return made_for, why
    if min(spec.size) < 4:
        return "mlp", f"{side} leaves a convolution nothing to slide over"
    if max(spec.size) <= TINY_PICTURE or min(spec.size) < 8:
        return "lenet", f"pictures of {side} are too small for more than two halvings"
    if max(spec.size) <= SMALL_PICTURE:
        return "resnet9", f"it was made for small pictures like {side} and trains fast"
    if num_samples >= 200_000:
        return "resnet50", f"{num_samples:,} pictures of {side} can feed a large model"
    return "resnet18", f"it suits {num_samples:,} pictures of {side}"


def fitted(spec: InputSpec, made_of: str, output: OutputSpec) -> list[str]:
    """Names of the models that are fitted at once to such an input, the cheapest first.

    Args:
        made_of, output: as for `choose`.
    """
    suited = [name for name in OWN.kinds if name in OWN.fitted and name in OWN.suited(spec.kind, output)]
    return [name for name in suited if ONLY_OF.get(name, made_of) == made_of]
