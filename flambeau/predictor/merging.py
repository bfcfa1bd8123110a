"""A language model of transformers that was fine-tuned, as a folder that transformers loads: what an adapter adds is in
its weights."""

from __future__ import annotations

import shutil
from pathlib import Path

from torch.nn.utils import parametrize

from flambeau.core.errors import RunError, UsageError, needed
from flambeau.core.files import write_atomic
from flambeau.core.printable import quoted
from flambeau.fields import Corpus
from flambeau.models.text.huggingface import PREFIX, folder_of, quiet
from flambeau.predictor.base import Predictor
from flambeau.run import Run
from flambeau.techniques import adapters

BESIDE = ("tokenizer*", "special_tokens_map.json", "vocab*", "merges.txt", "added_tokens.json", "chat_template.jinja",
          "generation_config.json")  # fmt: skip
"""Files of a tokeniser and of how texts are drawn, which do not change."""


def merge(run: str | Path | Run, out: str | Path) -> Path:
    """Writes what `save_pretrained` of transformers does, and the tokeniser beside it; returns the folder.

    Raises:
        RunError: there is no such run, it is not finished, or something lies in the folder.
        UsageError: its model is none of transformers.
    """
    run, folder = run if isinstance(run, Run) else Run.open(run), Path(out)
    if not run.finished:
        raise RunError("the run is not finished", where=run.path, fix=f"finish it: flambeau resume {quoted(run.path)}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError("something lies there already", where=folder, fix="give another folder with --out")
    predictor = Predictor.load(run, device="cpu")
    found = adapters.network(predictor.objective.model)
    if found is None:
        raise UsageError(f"{run.recipe.model.name} is no model of transformers", fix="export it: flambeau export RUN")
    network = found[1].eval()
    for module in [*network.modules()]:
        if parametrize.is_parametrized(module):
            for name in [*module.parametrizations]:
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        network.config.use_cache = True  # which it was built without, to be trained
        with quiet(needed("transformers", "text", "merge")):
            network.save_pretrained(temporary)
        source = folder_of(run.recipe.model.name.removeprefix(PREFIX))
        beside = [] if source is None or not source.is_dir() else [f for name in BESIDE for f in source.glob(name)]
        for file in beside:
            write_atomic(temporary / file.name, file.read_bytes())
        tokenizer = {field.tokenizer for field in predictor.fields.values() if isinstance(field, Corpus)} - {None}
        if tokenizer and not (temporary / "tokenizer.json").exists():
            write_atomic(temporary / "tokenizer.json", str(*tokenizer).encode())
        if folder.exists():
            folder.rmdir()
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder
