"""Any encoder of transformers, by the name of a folder or of a hub repository, found and read; see `pretrained`.

Only a configuration and safetensors are read. Code that comes with a model is never run, and weights that are
pickled are never loaded.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from flambeau.core.errors import ModelError, check_known, first_line, needed
from flambeau.fields.language.gguf import gguf_file, plain_folder
from flambeau.models.external import CONSTRUCTION, offline_at_once
from flambeau.models.spec import Built, InputSpec
from flambeau.models.text.pretrained import PretrainedPair, PretrainedTagger, PretrainedText, positions
from flambeau.models.weights import load_weights, read_weights

PREFIX = "hf:"
OPTIONS = ("config", "pooling", "dropout")
PAIR_OPTIONS = (*OPTIONS, "joint")
TAGGER_OPTIONS = ("config", "dropout", "crf")
WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")


def build_huggingface(
    source: str, spec: InputSpec, num_outputs: int, pretrained: bool | str | Path | None, options: dict[str, Any]
) -> Built:
    """The encoder of a folder or hub repository.

    Args:
        source: a folder with config.json and model.safetensors, or a name on the hub.
        pretrained: None or True for the source's weights, False for fresh ones, or a .safetensors file.
        options: `pooling` (or, of taggers, `crf`), `dropout`; of two texts `joint`; and `config`, the encoder's
            configuration as a dict: then the source is not looked at, and the weights are fresh.

    Raises:
        ModelError: the source is no such folder, has no configuration, no weights in safetensors, or ones that do
            not fit; or its vocabulary is smaller than that of `spec`.
        UsageError: there is no such option or pooling.
        MissingExtra: transformers is not installed.
    """
    where = f"{PREFIX}{source}"
    transformers = needed("transformers", "text", where)
    known = {"tokens": TAGGER_OPTIONS, "texts": PAIR_OPTIONS}.get(spec.kind, OPTIONS)
    check_known(f"the model {where} has no option", options, known)
    rest = dict(options)
    config, file, from_source = config_for(source, spec, pretrained, rest.pop("config", None))
    encoder = _encoder(transformers, source if from_source else None, config, where)
    kind = {"tokens": PretrainedTagger, "texts": PretrainedPair}.get(spec.kind, PretrainedText)
    model: Any = kind(encoder, num_outputs, **rest)
    notes: list[str] = []
    if file is not None:
        notes = load_weights(model, read_weights(file), head=("head",), where=file.name, convert=model.adopted)
    return Built(model, ("head",), notes=notes, options={"config": plain(config), **rest})


def config_for(
    source: str, spec: InputSpec, pretrained: bool | str | Path | None, stated: Any
) -> tuple[Any, Path | None, bool]:
    """The configuration of a model for some texts, the file of its weights where one was named, and whether they are
    the source's own.

    Args:
        stated: a configuration as a dict, which the source is then not asked for.

    Raises:
        ModelError: it cannot be read, or the texts have more tokens than the model knows.
    """
    where, file = f"{PREFIX}{source}", Path(pretrained) if isinstance(pretrained, (str, Path)) else None
    from_source = stated is None and file is None and pretrained is not False
    if stated is None:
        config = read_config(source, needs_weights=from_source)
    else:
        config = _config_from_dict(needed("transformers", "text", where), stated, where)
    tokens = spec.tokens or 0
    if tokens > config.vocab_size:
        raise ModelError(
            f"it knows {config.vocab_size:,} tokens, the texts have {tokens:,}",
            where=where,
            fix="use the tokenizer that belongs to it",
        )
    return config, file, from_source


def max_positions(name: str) -> int | None:
    """How many tokens a text may have for the model `name`; None where any number will do.

    Raises as `build` where the name is of a folder or hub repository that cannot be read.
    """
    if not name.startswith(PREFIX):
        return None
    return positions(read_config(name.removeprefix(PREFIX), needs_weights=False))


def is_masked(source: str) -> bool | None:
    """Whether a model learns from texts alone by hidden tokens, or else by what follows; None where transformers knows
    neither of it. Raises as `read_config`."""
    config = read_config(source)
    transformers = needed("transformers", "text", f"{PREFIX}{source}")
    if type(config) in transformers.MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False):
        return True
    return False if type(config) in transformers.MODEL_FOR_CAUSAL_LM_MAPPING else None


def check_source(source: str) -> None:
    """Raises ModelError where `source` is the path of a folder that holds no encoder that can be read."""
    file = gguf_file(source)
    if file is not None and file.is_file():
        return
    folder = folder_of(source)
    if folder is None:
        return
    where = f"{PREFIX}{source}"
    if not folder.is_dir():
        raise ModelError("there is no such folder", where=where, fix="check the path", code="not-found")
    if not (folder / "config.json").is_file():
        raise ModelError(
            "the folder has no config.json", where=where, expected="a folder as save_pretrained of transformers leaves"
        )
    if (folder / WHOLE).is_file() or (folder / INDEX).is_file():
        return
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    if pickles:
        raise ModelError(
            f"its weights are only in {pickles[0]}, which could execute code, so it is not read",
            where=where, expected=WHOLE, fix="save it anew with save_pretrained of transformers",
        )  # fmt: skip
    raise ModelError("the folder has no weights", where=where, expected=WHOLE)


def read_config(source: str, *, needs_weights: bool = True) -> Any:
    """The configuration of a folder or hub repository. Raises ModelError, MissingExtra."""
    where = f"{PREFIX}{source}"
    transformers = needed("transformers", "text", where)
    if needs_weights:
        check_source(source)
    folder = folder_of(source)
    if folder is not None and not (folder / "config.json").is_file():
        check_source(source)
    with one_line_errors(source), quiet(transformers), unreachable_at_once(folder):
        config = transformers.AutoConfig.from_pretrained(str(folder or source), trust_remote_code=False)
    return _tamed(config, where)


def _encoder(transformers: ModuleType, source: str | None, config: Any, where: str) -> nn.Module:
    """The encoder alone, in float32: with the weights of `source`, or fresh ones where it is None."""
    return bare(loaded(transformers.AutoModel, source, config, where, unneeded="pooler."))


def bare(encoder: Any) -> Any:
    """A network of transformers that reads texts, without what would write and without its own pooling."""
    if getattr(encoder.config, "is_encoder_decoder", False):
        encoder = encoder.get_encoder()
    elif "add_pooling_layer" in inspect.signature(type(encoder).__init__).parameters:
        encoder.pooler = None  # a layer that our own pooling stands in for: it would have no gradient
    return encoder


def loaded(
    auto: Any, source: str | None, config: Any, where: str, unneeded: str | None = None, fresh: list[str] | None = None
) -> Any:
    """A network of transformers in float32: with the weights of `source`, or fresh ones where it is None.

    Args:
        auto: one of transformers' classes that know the class for a configuration.
        unneeded: how names of tensors begin that may be missing.
        fresh: where what lies behind the encoder may be missing: is given the names of what was.

    Raises:
        ModelError: there is no such network, or its weights cannot be read or do not fit.
    """
    transformers = needed("transformers", "text", where)
    if auto._model_mapping.get(type(config), None) is None:
        kinds = {transformers.AutoModel: "encoder", transformers.AutoModelForMaskedLM: "masked language model",
                 transformers.AutoModelForQuestionAnswering: "model that answers questions"}  # fmt: skip
        wanted = kinds.get(auto, "language model")
        raise ModelError(f"transformers has no {wanted} for models of type '{config.model_type}'", where=where)
    with one_line_errors(where.removeprefix(PREFIX)), quiet(transformers):
        if source is None:
            return auto.from_config(config, trust_remote_code=False, dtype="float32")
        folder = folder_of(source)
        with unreachable_at_once(folder):
            network, report = auto.from_pretrained(
                str(folder or source), config=config, trust_remote_code=False, use_safetensors=True,
                output_loading_info=True, dtype="float32",
            )  # fmt: skip
        missing = sorted(name for name in report["missing_keys"] if not (unneeded and name.startswith(unneeded)))
        if fresh is not None:
            fresh += [name for name in missing if not name.startswith(f"{network.base_model_prefix}.")]
            missing = [name for name in missing if name not in fresh]
        if missing:
            raise ModelError(
                f"its weights do not fit its configuration: {len(missing)} tensors missing (first: {missing[0]})",
                where=where,
            )
    return network


def _config_from_dict(transformers: ModuleType, state: dict[str, Any], where: str) -> Any:
    model_type = state.get("model_type") if isinstance(state, dict) else None
    if model_type not in transformers.CONFIG_MAPPING:
        raise ModelError(f"transformers knows no models of type '{model_type}'", where=where, fix="install a newer one")
    return _tamed(transformers.CONFIG_MAPPING[model_type].from_dict(dict(state)), where)


def _tamed(config: Any, where: str) -> Any:
    """A configuration without what could call for code from elsewhere; refused where it is of no text encoder."""
    for name in ("vocab_size", "hidden_size"):
        if not isinstance(getattr(config, name, None), int):
            raise ModelError(f"a model of type '{config.model_type}' has no {name}: it reads no texts", where=where)
    vars(config).pop("auto_map", None)
    config._attn_implementation = None  # could name a kernel to fetch
    if getattr(config, "use_cache", False):
        config.use_cache = False  # keys and values are kept for texts that are written on, which these are not
    return config


def plain(config: Any) -> dict[str, Any]:
    """The configuration as JSON, less the path that it was read from."""
    state = json.loads(config.to_json_string(use_diff=False))
    return {name: value for name, value in state.items() if not name.startswith("_")}


def folder_of(source: str) -> Path | None:
    """The path where `source` is one: there is such a folder, or it cannot be a name of the hub. Of a file of llama.cpp
    the folder that is made of it."""
    path = Path(plain_folder(source)).expanduser()
    names = source.split("/")
    is_path = path.exists() or path.is_absolute() or len(names) > 2 or names[0] in (".", "..", "~") or not names[-1]
    return path if is_path else None


@contextmanager
def one_line_errors(source: str) -> Iterator[None]:
    """What transformers raises, as one line."""
    from safetensors import SafetensorError

    try:
        yield
    except (*CONSTRUCTION, OSError, KeyError, ImportError, SafetensorError) as error:
        if isinstance(error, ModelError):
            raise
        local = folder_of(source) is not None
        message = "it cannot be loaded" if local else "there is no such folder, and it cannot be fetched from the hub"
        fix = None if local else "give a folder that has config.json and model.safetensors"
        raise ModelError(f"{message} ({first_line(error)})", where=f"{PREFIX}{source}", fix=fix,
                         code=None if local else "not-found") from error  # fmt: skip


@contextmanager
def quiet(transformers: ModuleType) -> Iterator[None]:
    """No progress bars and warnings of transformers' own: what matters is raised or noted."""
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def unreachable_at_once(folder: Path | None = None) -> Any:
    """Where a source is no folder, no retries without a network."""
    return nullcontext() if folder is not None else offline_at_once()
