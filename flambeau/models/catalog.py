"""Which models there are, by name."""

from __future__ import annotations

import fnmatch
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

import torch

import flambeau.models.detection
import flambeau.models.fitted
import flambeau.models.generative
import flambeau.models.language
import flambeau.models.restoration
import flambeau.models.segmentation
import flambeau.models.tabular
import flambeau.models.text
import flambeau.models.vision  # noqa: F401  enters our own models
from flambeau.core.errors import MissingExtra, needed
from flambeau.models.inputs import FORMS
from flambeau.models.spec import OWN, InputSpec
from flambeau.models.text.huggingface import PREFIX
from flambeau.models.zoo import SHELVES

INTERCHANGEABLE = ("resnet18", "resnet34", "resnet50")
"""Our models that torchvision's weights fit."""
NOTES = {
    "boosted-trees": "tables and numbers: gradient-boosted trees, fitted at once",
    "ridge": "tables and numbers: a linear model, ridge or logistic regression, fitted at once",
    "nearest": "tables, numbers and whole series: the nearest training rows, fitted at once",
    "tfidf-linear": "texts: TF-IDF and linear support vector machines, fitted at once",
    "mel-linear": "log-mel pictures of sound: a linear model of each band's mean and deviation, fitted at once",
    "hog-linear": "small pictures: a linear model of histograms of directions, fitted at once",
    "rocket": "whole series: a linear model of random convolutions, fitted at once",
    "seasonal-naive": "forecasts: what was a season before, fitted at once",
    "ridge-lags": "forecasts: ridge regression on the window, fitted at once",
    "bag": "texts: the mean of the words' vectors",
    "gru": "texts, read in order, by default from both ends",
    "lstm": "texts, read in order, by default from both ends",
    "ngrams": "texts: a weight for each phrase of words and of characters; the default",
    "pair": "two texts: what each says, and the words that both have; their default",
    "textcnn": "texts: the strongest phrases of a few words; fast",
    "transformer": "texts: small, from scratch; wants much data",
    "gru-tagger": "tags of words, in order from both ends",
    "lstm-tagger": "tags of words, in order from both ends; the default",
    "transformer-tagger": "tags of words: attention from scratch",
    "m5": "waves of sound: four convolutions",
    "m11": "waves of sound: ten convolutions",
    "melcnn": "log-mel pictures of sound; the default",
    "dlinear": "forecasts: a linear map of the trend and of the rest",
    "gru-forecaster": "forecasts: a recurrent layer over the past",
    "lstm-forecaster": "forecasts: a recurrent layer over the past",
    "nbeats": "forecasts: blocks that each explain a part of the past; the default",
    "tcn": "forecasts: causal convolutions",
    "inceptiontime": "whole series: short and long patterns side by side; the default",
    "resnet-1d": "whole series: a residual network",
    "conv-coder": "encoder and decoder of pictures, for autoencoders; the default",
    "dense-coder": "encoder and decoder of anything, for autoencoders; the default of tables and series",
    "detector": "boxes in pictures, from scratch; with weights name a timm model in its place",
    "linear": "tables and numbers: a weight for each; the baseline",
    "resmlp": "tables and numbers: embeddings and residual blocks",
    "tabm": "tables and numbers: an ensemble in one network; the strongest",
    "gpt": "what follows a text: causal attention from scratch; size=nano, tiny, small, base, gpt2",
    "awd-lstm": "what follows a text: an LSTM with much left out at random, for little text",
    "gru-lm": "what follows a text: recurrent layers; tokens cost the same however far it is",
    "lstm-lm": "what follows a text: recurrent layers; tokens cost the same however far it is",
    "edsr": "pictures to pictures, of the same size or a multiple; the default",
    "rrdb": "pictures to pictures: ESRGAN's generator; dense blocks",
    "srcnn": "pictures to pictures: three convolutions; the baseline",
    "mlp": "numbers, or tiny pictures as a baseline",
    "lenet": "tiny pictures, 4 px and more",
    "resnet9": "small pictures, 8 to 64 px; fast on a CPU",
    "resnet18": "pictures; torchvision's weights fit",
    "resnet34": "pictures; torchvision's weights fit",
    "resnet50": "pictures; torchvision's weights fit",
    "unet": "masks: a U-Net from scratch; on a backbone where one of timm is named",
}


@dataclass(frozen=True)
class ModelInfo:
    """One line of `flambeau models`.

    Attributes:
        name: what `build` takes.
        family: the architecture's family, such as `resnet`.
        parameters: how many, with 1,000 outputs and 3 channels (ours: 10 outputs for a 32 px picture, except ResNets,
            or for texts of 10,000 different words, or tables of ten numbers and two
            categories); None where it is not known without building it.
        note: one clause.
    """

    name: str
    family: str
    parameters: int | None
    note: str


def list_models(pattern: str = "*") -> list[ModelInfo]:
    """The models whose name matches: ours, then timm's, then torchvision's, each sorted by name; and one entry that
    stands for all encoders of transformers.

    Args:
        pattern: a part of the name, or a glob over the whole of it; upper and lower case are the same.

    A source that is not installed gives one entry in place of its models (`timm:*`), whose note says what to install.

    >>> [model.name for model in list_models("resnet9")]
    ['resnet9']
    """
    found = [
        ModelInfo(name, name.rstrip("0123456789"), _own_parameters(name), NOTES.get(name, ""))
        for name in sorted(known_names(""))
        if _matches(name, pattern)
    ]
    for source, describe in (("timm", _timm_infos), ("torchvision", _torchvision_infos)):
        try:
            found += describe([name for name in _names_elsewhere(source) if _matches(name, pattern)])
        except MissingExtra as missing:
            found.append(ModelInfo(f"{source}:*", source, None, f"not installed: {missing.fix}"))
    for shelf in SHELVES:
        with suppress(MissingExtra):  # which its classifiers have said
            named = [f"{shelf.source}:{name}" for name in shelf.names()]
            found += [ModelInfo(name, shelf.layout, None, shelf.note) for name in named if _matches(name, pattern)]
    if _matches(ANY_ENCODER.name, pattern):
        found.append(ANY_ENCODER)
    return found


ANY_ENCODER = ModelInfo(
    f"{PREFIX}FOLDER",
    "transformers",
    None,
    "texts: any encoder of transformers, or language model, by its folder, its name on the hub or a .gguf file; "
    "pictures: its detectors (RT-DETR v2, D-FINE, DETR) and segmenters (SegFormer, Mask2Former)",
)


def known_names(source: str) -> list[str]:
    """Every name of a source (`""` for ours, `timm`, `torchvision`), with its prefix. Raises MissingExtra."""
    placed = [f"{source}:{name}" for shelf in SHELVES if shelf.source == source for name in shelf.names()]
    elsewhere = _names_elsewhere(source) if source in ("timm", "torchvision") else []
    return [*elsewhere, *placed] if source else list(OWN)


@cache
def _names_elsewhere(source: str) -> list[str]:
    if source == "timm":
        return [f"timm:{name}" for name in needed("timm", "vision", "listing timm's models").list_models()]
    models = needed("torchvision.models", "vision", "listing torchvision's models")
    return [f"torchvision:{name}" for name in models.list_models(module=models)]


def _matches(name: str, pattern: str) -> bool:
    name, pattern = name.lower(), pattern.lower()
    if any(wildcard in pattern for wildcard in "*?["):
        return fnmatch.fnmatchcase(name, pattern)
    return pattern in name


@cache
def _own_parameters(name: str) -> int:
    """Counted on a model without memory."""
    kind = OWN.kinds[name][0]
    counted = FORMS[kind].counted_on
    shape, outputs = ((3, 224, 224), 1000) if name in INTERCHANGEABLE else (counted, FORMS[kind].outputs(counted))
    with torch.device("meta"):
        model = OWN[name](InputSpec(kind, shape), outputs)
    return sum(parameter.numel() for parameter in model.parameters())


def _timm_infos(names: list[str]) -> list[ModelInfo]:
    timm = needed("timm", "vision", "listing timm's models")
    pretrained = set(timm.list_models(pretrained=True))  # with tags: resnet18.a1_in1k
    architectures = {name.partition(".")[0] for name in pretrained}
    infos = []
    for name in names:
        bare = name.removeprefix("timm:")
        family = timm.model_entrypoint(bare).__module__.rpartition(".")[2]
        infos.append(ModelInfo(name, family, None, "pretrained weights" if bare in architectures else ""))
    return infos


def _torchvision_infos(names: list[str]) -> list[ModelInfo]:
    models = needed("torchvision.models", "vision", "listing torchvision's models")
    infos = []
    for name in names:
        bare = name.removeprefix("torchvision:")
        weights = models.get_model_weights(bare).DEFAULT
        accuracy = weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
        note = f"pretrained weights, ImageNet top 1 {accuracy:.1f} %"
        family = models.get_model_builder(bare).__module__.rpartition(".")[2]
        infos.append(ModelInfo(name, family, weights.meta["num_params"], note))
    return infos
