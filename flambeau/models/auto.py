"""Which model to take when the user named none."""

from __future__ import annotations

from flambeau.core.errors import UsageError
from flambeau.models.spec import OWN, InputSpec, OutputSpec
from flambeau.models.vision.resnet import SMALL_PICTURE

TINY_PICTURE = 12  # below this, three halvings leave nothing to look at


def choose(
    spec: InputSpec,
    num_samples: int,
    pretrained: bool | str | object | None = None,
    kind: str | None = None,
    output: OutputSpec | None = None,
) -> tuple[str, str]:
    """The name of one of our models for this input, and one sentence on why.

    Args:
        num_samples: how many samples there are to train on.
        pretrained: whether (or from where) weights will be loaded; only ResNets have published ones.
        kind: of the field that pictures are made of, where they are not photos: `audio` for log-mel pictures.
        output: what the target wants.

    Raises:
        UsageError: there is none.
    """
    if output is not None and output.layout == "dense":
        if not (suited := OWN.suited(spec.kind, output.layout)):
            raise UsageError(f"no model takes {spec} and gives {output}", fix="name one: model=, or a plug-in's")
        return suited[0], f"{suited[0]}, because it gives {output}"
    if spec.kind == "text":
        if pretrained:
            return "bag", "bag, because it takes word vectors, and trains in seconds"
        return "ngrams", "ngrams, because which words and phrases a text has tells most of what it says"
    if spec.kind == "texts":
        return "pair", "pair, because what two texts have in common is told by neither alone"
    if spec.kind == "audio":
        return "m5", "m5, because it was made for waves"
    if spec.kind == "table":
        return "tabm", f"tabm, because it is the strongest network here for {spec}"
    if spec.kind == "history":
        return "nbeats", "nbeats, because it learns what follows from the past and from what is known ahead, and fast"
    if spec.kind == "series":
        return "inceptiontime", "inceptiontime, because it sees short and long patterns of a series side by side"
    if spec.kind == "tokens":
        if len(spec.shape) == 1:
            raise UsageError("tokens of a pretrained tokeniser need its model", fix="give model='hf:FOLDER'")
        return "lstm-tagger", "lstm-tagger, because a tag depends on the words on both sides"
    if spec.kind == "number":
        return "mlp", f"mlp, because the input is {spec.channels} numbers"
    height, width = spec.size
    side = f"{height}×{width} px"
    if pretrained:
        name = "resnet50" if num_samples >= 100_000 else "resnet18"
        return name, f"{name}, because weights published for it can be loaded"
    if kind == "audio" and min(spec.size) >= 16:
        return "melcnn", "melcnn, because it was made for log-mel pictures and keeps their bands apart"
    if min(spec.size) < 4:
        return "mlp", f"mlp, because {side} leaves a convolution nothing to slide over"
    if max(spec.size) <= TINY_PICTURE or min(spec.size) < 8:
        return "lenet", f"lenet, because pictures of {side} are too small for more than two halvings"
    if max(spec.size) <= SMALL_PICTURE:
        return "resnet9", f"resnet9, because it was made for small pictures like {side} and trains fast"
    if num_samples >= 200_000:
        return "resnet50", f"resnet50, because {num_samples:,} pictures of {side} can feed a large model"
    return "resnet18", f"resnet18, because it suits {num_samples:,} pictures of {side}"
