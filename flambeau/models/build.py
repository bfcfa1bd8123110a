"""`build`: a model by its name, made to fit the data, with or without pretrained weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import flambeau.models.audio
import flambeau.models.detection
import flambeau.models.fitted
import flambeau.models.generative
import flambeau.models.language
import flambeau.models.restoration
import flambeau.models.segmentation
import flambeau.models.series
import flambeau.models.tabular
import flambeau.models.text
import flambeau.models.vision  # noqa: F401  enters our own models
from flambeau.core.errors import MissingExtra, ModelError, UsageError, check_known, first_line, nearest, needed
from flambeau.fields import Wanted
from flambeau.models.catalog import INTERCHANGEABLE, known_names
from flambeau.models.external import CONSTRUCTION, LOCAL_HINT, build_timm, build_torchvision, torchvision_weights
from flambeau.models.inputs import FORMS, FUSION
from flambeau.models.language.huggingface import build_causal
from flambeau.models.language.masked import build_masked
from flambeau.models.language.seq2seq_pretrained import build_seq2seq
from flambeau.models.own_loss import LossAndAnswers
from flambeau.models.spec import IMAGENET, LAYOUTS, ON_BACKBONE, OWN, Adopts, Built, InputSpec, OutputSpec
from flambeau.models.text.crf import Chain
from flambeau.models.text.huggingface import PREFIX, build_huggingface, check_source, max_positions
from flambeau.models.text.reader_pretrained import build_reader
from flambeau.models.text.vectors import RESERVED, is_vectors, load_embeddings, put_vectors
from flambeau.models.weights import find_head, load_weights, read_weights
from flambeau.models.zoo import SHELVES, shelf_of

__all__ = [
    "InputSpec",
    "build",
    "check_name",
    "compares",
    "max_positions",
    "skeleton",
    "starts_pretrained",
    "takes_several",
    "wanted",
]

MAKERS, TEXT_SOURCE = {"timm": build_timm, "torchvision": build_torchvision}, PREFIX.rstrip(":")
OF_TRANSFORMERS = {
    ("corpus", "tokens"): build_causal, ("corpus", "masked"): build_masked, ("text", "text"): build_seq2seq,
    ("texts", "span"): build_reader,
}  # fmt: skip
"""What makes a model of transformers that is no encoder, by the kind of the input and the layout of the output."""
WORDY = ("text", "texts", "tokens")  # kinds of input that are made of tokens
FEWEST_PIECES, ROWS_A_PIECE = 1_500, 4  # of words, for a model that compares texts
FEWEST_WRITTEN, ROWS_A_WRITTEN_PIECE = 500, 2  # of texts, for a model that writes others for them
# Sides tried, smallest first, when a model cannot take the pictures that it is given.
SIDES = (8, 16, 24, 32, 48, 64, 75, 96, 128, 160, 192, 224, 256, 299, 384)


def build(
    name: str,
    spec: InputSpec,
    num_outputs: int | OutputSpec,
    *,
    pretrained: bool | str | Path | None = None,
    generator: torch.Generator | None = None,
    vocabulary: Sequence[str] = (),
    **options: Any,
) -> Built:
    """The model `name` for inputs of `spec`: (B, *spec.shape) float, or Ragged (B, T) int64 of texts, or a dict of two
    of them, or Ragged (B, T, …) of sentences of tokens, to an output as `num_outputs` wants it.

    Any number of channels fits, with pretrained weights too. One sample is sent through, so that a size that the
    model cannot take is told here.

    Args:
        name: one of ours, for pictures (`mlp`, `lenet`, `resnet9`, `resnet18`, `resnet34`, `resnet50`), numbers
            (`mlp`), tables (`tabm`, `resmlp`, `linear`), texts (`ngrams`, `bag`, `textcnn`, `lstm`, `gru`,
            `transformer`), two texts (`pair`) or sentences that are tagged (`lstm-tagger`, `gru-tagger`,
            `transformer-tagger`), or texts that go on (`gpt`); `timm:NAME` or `torchvision:NAME`; `smp:NAME`; or
            `hf:NAME`, an encoder, language model, detector or segmenter of transformers by its folder or its name on
            the hub.
        num_outputs: what the target wants: how many numbers for what; or K classes, in the layout that the model has.
        pretrained: True for the name's published weights; a .safetensors or .pth file, or a folder with one; the name
            of other published weights (timm's tag or `hf-hub:…`, torchvision's `IMAGENET1K_V2`). A classifier of
            another size in them is left out. Of our models for texts and sentences also a file of word vectors, as
            `load_embeddings` takes it. `hf:` models load the weights beside their configuration unless this is False.
        generator: where the fresh weights' randomness comes from; the global one where it is None.
        vocabulary: V tokens, by number; only word vectors need it.
        options: arguments of the model's constructor, such as `width=64`, `stem="large"`, or timm's `drop_rate=0.2`;
            of `hf:` models `pooling`, `dropout` and `config`, a configuration that the source is then not asked for.

    Raises:
        UsageError: no such model, option or weights.
        ModelError: the weights cannot be fetched, read or do not fit, or the model cannot take inputs of `spec`.
        MissingExtra: timm or torchvision is not installed.

    >>> model = build("resnet9", InputSpec("image", (1, 28, 28)), num_outputs=10).model
    >>> model(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    if "config" not in options:
        check_name(name)
    if name == FUSION:
        raise UsageError(f"{FUSION} is for several inputs, and there is one", fix="leave the choice to auto")
    source, rest = _source(name)
    shelf = shelf_of(source, rest, options)
    takes = ("image",) if shelf else _kinds(source, name)
    layout = shelf.layout if shelf else _layout(source, name, spec, num_outputs)
    output, fits = OutputSpec.of(num_outputs, layout), spec.kind in takes
    if not fits or output.layout != layout:
        suited = OWN.suited(spec.kind, OutputSpec.of(num_outputs)) or OWN.suited(spec.kind)
        fix = f"use the model {suited[0]}" if len(suited) == 1 else f"use one of: {', '.join(suited)}"
        found = f"{name} takes {' or '.join(FORMS[kind].takes for kind in takes)}, the input is {spec}"
        if fits:
            found = f"{name} gives numbers for {LAYOUTS[layout]}, the target wants {output}"
            fix = fix if suited else f"give a plug-in with a model of the layout '{output.layout}'"
        raise UsageError(found, fix=fix + (f", {PREFIX}FOLDER" if spec.tokens else ""))
    if output.stride is not None and not source and OWN.strides[name] is None:
        options = {"scale": output.scale, **options}
    with _seeded(generator):
        if is_vectors(pretrained):
            built = _build_with_vectors(name, spec, output.size, str(pretrained), vocabulary, options)
        elif shelf:
            built = shelf.make(rest, spec, output.size, pretrained, options)
        elif source == TEXT_SOURCE:
            of_text = OF_TRANSFORMERS.get((spec.kind, layout), build_huggingface)
            built = of_text(rest, spec, output.size, pretrained, options)
        elif source:
            make = MAKERS[source] if layout == "vector" else ON_BACKBONE[layout]
            built = make(rest, spec, output.size, pretrained or None, options)
        else:
            built = _build_own(name, spec, output.size, pretrained or None, options)
    _probe(built.model, name, spec, output)
    return built


def check_name(name: str) -> None:
    """Raises UsageError, with the nearest name, where `build` knows no such model; MissingExtra without timm,
    torchvision or transformers where it is one of theirs; ModelError where it is a folder that holds none."""
    source, rest = _source(name)
    if name == FUSION:
        return
    if source == TEXT_SOURCE:
        if not rest:
            raise UsageError(f"'{PREFIX}' names no model", fix=f"give a folder or a name on the hub: {PREFIX}FOLDER")
        needed("transformers", "text", name)
        check_source(rest)
    elif source not in ("", *MAKERS, *(shelf.source for shelf in SHELVES)) or not _known(source, name):
        raise UsageError(f"no model is called '{name}'", fix=_suggestion(name))


def skeleton(name: str) -> Built:
    """The model `name` for a usual input of its kind and ten outputs, on no device: its layers, without memory.

    Raises as `build`.
    """
    check_name(name)
    source, rest = _source(name)
    if name == FUSION:
        raise UsageError(f"{FUSION} is made of the models of several inputs", fix="name one of them")
    shelf = shelf_of(source, rest)
    kind = "image" if shelf else _kinds(source, name)[0]
    spec = InputSpec(kind, (3, 224, 224) if kind == "image" and source else FORMS[kind].counted_on)
    with torch.device("meta"):
        if shelf:
            return shelf.make(rest, spec, 10, None, {})
        if source == TEXT_SOURCE:
            return build_huggingface(rest, InputSpec("text", (1,)), 10, False, {})
        if source:
            return MAKERS[source](rest, spec, 10, None, {})
        return _build_own(name, spec, spec.form.outputs(spec.shape), None, {})


def starts_pretrained(name: str, pretrained: bool | str | Path | None) -> bool:
    """Whether `build` gives a model whose body was trained before, so that it wants small steps; word vectors alone do
    not make it one."""
    if name.startswith(PREFIX):
        return pretrained is not False
    return bool(pretrained) and not (is_vectors(pretrained) and set(WORDY) & set(OWN.kinds.get(name, ())))


def compares(name: str) -> bool:
    """Whether a model of ours takes two texts."""
    return "texts" in OWN.kinds.get(name, ())


def takes_several(name: str) -> bool:
    """Whether a model takes several inputs of one kind together: two texts."""
    return compares(name) or name.startswith(PREFIX)


def wanted(
    name: str, pretrained: bool | str | Path | None, rows: int = 0, num_inputs: int = 1, layout: str = ""
) -> Wanted:
    """What a model by its name, with its weights, wants of the fields that it is given.

    Args:
        rows: how many the data has.
        num_inputs: how many inputs it has.
        layout: of the output, where that is known: a text whose places are asked about is read in windows.

    Raises as `build` where it is of a folder or hub repository that cannot be read.
    """
    source, rest = _source(name)
    shelf = shelf_of(source, rest)
    own, tokenizer = OWN.wants.get(name, {}), name if source == TEXT_SOURCE and not shelf else None
    pieces = own.get("pieces") if num_inputs > 1 and not pretrained else None
    if pieces is not None:
        pieces = max(FEWEST_PIECES, min(pieces, rows // ROWS_A_PIECE)) if find_spec("tokenizers") else None
    written = own.get("written") if find_spec("tokenizers") else None
    if written is not None:
        written = max(FEWEST_WRITTEN, min(written, rows // ROWS_A_WRITTEN_PIECE))
    return Wanted(
        name,
        size=_recommended_size(name, pretrained),
        waves=OWN.kinds.get(name) == ("audio",),
        tokenizer=tokenizer,
        positions=None if shelf or layout == "span" else max_positions(name),
        window=own.get("window"),
        words=tokenizer is None and is_vectors(pretrained),
        characters=own.get("characters") if num_inputs == 1 else None,
        pieces=pieces,
        written=written,
        masks=shelf.masks(rest) if shelf else own.get("masks"),
    )


def _recommended_size(name: str, pretrained: bool | str | Path | None) -> int | None:
    """The side in pixels that a model's pretrained weights were trained at; None without weights, or if any is good."""
    if not pretrained:
        return None
    if name.startswith("timm:"):
        config = needed("timm", "vision", name).get_pretrained_cfg(name.removeprefix("timm:"))
        return int(config.input_size[-1]) if config is not None else IMAGENET.size
    if name.startswith("torchvision:"):
        return 299 if "inception" in name else IMAGENET.size
    return IMAGENET.size if name.startswith("resnet") and name != "resnet9" else None


def _build_own(
    name: str, spec: InputSpec, num_outputs: int, pretrained: bool | str | Path | None, options: dict[str, Any]
) -> Built:
    builder = OWN[name]
    check_known(f"the model {name} has no option", options, OWN.options[name])
    if name not in INTERCHANGEABLE:
        if pretrained is True:
            raise ModelError("there are no published weights of it", where=name, fix=LOCAL_HINT)
        model = builder(spec, num_outputs, **options)
        head = find_head(model, num_outputs)
        file = Path(pretrained) if pretrained else None
        convert = model.adopted if isinstance(model, Adopts) else None
        notes = load_weights(model, read_weights(file), head=head, where=file.name, convert=convert) if file else []
        rates = {model.get_parameter(parameter): rate for parameter, rate in OWN.rates[name].items()}
        return Built(model, head, notes=notes, options=dict(options), rates=rates)
    if not pretrained:
        return Built(builder(spec, num_outputs, **options), ("fc",), options=dict(options))
    # Published weights have the large stem; one asked for outright is kept, and told where it does not fit.
    model = builder(spec, num_outputs, **{"stem": "large", **options})
    file, wanted = torchvision_weights(name, pretrained)
    notes = load_weights(model, read_weights(file), head=("fc",), where=file.name)
    return Built(model, ("fc",), wanted.for_channels(spec.channels), notes, dict(options))


def _build_with_vectors(
    name: str, spec: InputSpec, num_outputs: int, file: str, vocabulary: Sequence[str], options: dict[str, Any]
) -> Built:
    """One of our models for texts or sentences, its table of tokens filled from a file of word vectors."""
    if name not in OWN.kinds or spec.tokens is None:
        raise ModelError("a file of word vectors is of no use here", where=file, fix="give weights of the whole model")
    if len(vocabulary) != spec.shape[0]:
        raise UsageError(
            f"word vectors for {spec.shape[0]:,} tokens were asked for, and a vocabulary of {len(vocabulary):,} given",
            fix="cut the texts into words, and give vocabulary=",
        )
    if "embedding" not in OWN.options[name]:
        raise ModelError(
            "it has no word vectors", where=name, fix="use the model bag, textcnn, lstm, gru or transformer"
        )
    embeddings = load_embeddings(file, vocabulary)
    width = embeddings.matrix.shape[1]
    if options.get("embedding", width) != width:
        raise UsageError(f"vectors of {options['embedding']} numbers were asked for", expected=f"{width}, as in {file}")
    built = _build_own(name, spec, num_outputs, None, {**options, "embedding": width})
    put_vectors(built.model, embeddings)
    note = f"{Path(file).name}: vectors of {embeddings.found:.1%} of the {spec.shape[0] - RESERVED:,} words"
    built.notes.append(note)
    return built


def _source(name: str) -> tuple[str, str]:
    """Where a model comes from (`""` for ours), and its name there. A folder's path may hold colons."""
    if name.startswith(PREFIX):
        return TEXT_SOURCE, name.removeprefix(PREFIX)
    source, _, rest = name.rpartition(":")
    return source, rest


def _kinds(source: str, name: str) -> tuple[str, ...]:
    """The kinds of input that a model takes."""
    if source == TEXT_SOURCE:
        return tuple(dict.fromkeys((*WORDY, *(kind for kind, _ in OF_TRANSFORMERS))))
    return ("image",) if source else OWN.kinds[name]


def _layout(source: str, name: str, spec: InputSpec, wanted: int | OutputSpec) -> str:
    """The layout of a model's output."""
    if source == "timm" and isinstance(wanted, OutputSpec) and wanted.layout in ON_BACKBONE:
        return wanted.layout
    if source == TEXT_SOURCE:
        written = isinstance(wanted, OutputSpec) and (spec.kind, wanted.layout) in OF_TRANSFORMERS
        return wanted.layout if isinstance(wanted, OutputSpec) and written else spec.form.layout
    return "vector" if source else OWN.layouts[name]


def _known(source: str, name: str) -> bool:
    """Whether a source has a model of that name; a timm name may carry a tag. Raises MissingExtra."""
    names = known_names(source)
    return name in names or (source == "timm" and name.partition(".")[0] in names)


def _suggestion(name: str) -> str:
    """The nearest name; the same name of another source before a similar one."""
    names: list[str] = []
    for source in dict.fromkeys(("", *MAKERS, *(shelf.source for shelf in SHELVES))):
        with suppress(MissingExtra):
            names += known_names(source)
    bare = name.rpartition(":")[2]
    same = [known for known in names if known.rpartition(":")[2] == bare]
    return f"did you mean '{same[0]}'?" if same else nearest(name, names)


@contextmanager
def _seeded(generator: torch.Generator | None) -> Iterator[None]:
    """PyTorch's layers draw from the global generator; inside, it is seeded from ours and put back after."""
    if generator is None:
        yield
        return
    seed = torch.randint(2**62, (), generator=generator, device=generator.device).item()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(seed))
        yield


def _probe(model: nn.Module, name: str, spec: InputSpec, wanted: OutputSpec) -> None:
    """Sends one sample through, and raises ModelError unless what is wanted comes out."""
    output = _output_or_error(model, spec)
    output = output.scores if isinstance(output, Chain) else output
    if isinstance(output, LossAndAnswers):
        output = output.answers
        if wanted.layout == "boxes" and isinstance(output, Tensor) and output.ndim == 3:
            return
    if isinstance(output, Tensor) and wanted.fits(output.shape, spec):
        return
    if not isinstance(output, Exception):
        got = tuple(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"
        shape = ", ".join("any" if size is None else str(size) for size in (1, *wanted.shape(spec)))
        raise ModelError(f"its output is {got}", where=name, expected=f"a tensor ({shape})")
    fix = "use another size or another model"
    for side in SIDES:
        larger = spec.at_least(side)
        if larger != spec and isinstance(_output_or_error(model, larger), Tensor):
            fix = f"it takes {side} px: use a larger size, or another model"
            break
    raise ModelError(f"it cannot take {spec} ({first_line(output)})", where=name, fix=fix) from output


def _output_or_error(model: nn.Module, spec: InputSpec) -> object:
    """The output for one sample, or the exception; in evaluation mode: nothing in the model changes."""
    model.eval()
    try:
        with torch.no_grad():
            return model(spec.example())
    except CONSTRUCTION as error:
        return error
    finally:
        model.train()
