"""`hf`: a folder in the layout of the Hugging Face Hub: `config.json`, `model.safetensors`, and the model card as
`README.md`. It holds weights and no program: of a language model of transformers it is what transformers loads, of any
other model what `fb.load` loads. https://huggingface.co/docs/hub/model-cards
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from flambeau.core.errors import ModelError, RunError, needed
from flambeau.core.files import disk_full_named, write_atomic, write_json
from flambeau.core.reporter import Reporter
from flambeau.exports.card import card, in_markdown
from flambeau.exports.manifest import Manifest
from flambeau.models.text.huggingface import quiet
from flambeau.objectives.language import OfTexts
from flambeau.predictor import Predictor
from flambeau.predictor.merging import merge
from flambeau.run import Run
from flambeau.techniques import adapters
from flambeau.version import __version__

NAME, TOLERANCE = "hf", 1e-4
HEAD = "---\nlibrary_name: {library}\ntags:\n- flambeau\n---\n"
NOT_COPIED = ("exports", "report*", "tensorboard", "*.jsonl", "*.log", "last*", "checkpoint*", "snapshots")


def write(run: Run, folder: Path, reporter: Reporter) -> None:
    """Writes the layout of a finished run, and compares what is loaded from it with the run.

    Args:
        folder: with nothing in it, or none yet.

    Raises:
        RunError: something lies in the folder. ModelError: what is loaded answers otherwise. MissingExtra: transformers
            is not installed.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError("something lies there already", where=folder, fix="give another folder with --out")
    predictor = Predictor.load(run, device="cpu", reporter=reporter)
    theirs = adapters.network(predictor.objective.model) if isinstance(predictor.objective, OfTexts) else None
    target = predictor.fields.get(predictor.target or "")
    labels = [] if target is None else [*target.classes]
    versions = {"flambeau": __version__, "torch": torch.__version__}
    manifest = Manifest(NAME, "float32", {}, {"labels": labels}, {}, TOLERANCE, versions=versions)
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with disk_full_named(folder):
            if theirs is not None:
                merge(run, temporary)
                difference = _of_transformers(temporary, theirs[1])
            else:
                shutil.copytree(run.path, temporary, ignore=shutil.ignore_patterns(*NOT_COPIED))
                write_json(temporary / "config.json", _config(run, labels))
                difference = _of_ours(predictor, Predictor.load(Run(temporary), device="cpu"))
            if not difference <= TOLERANCE:
                raise ModelError(f"what is loaded parts from the model by {difference:.1e}", where=folder,
                                 expected=f"{TOLERANCE:g} at most", fix="export it otherwise")  # fmt: skip
            rows = max(1, len(predictor.examples)) if theirs is None else 1
            of = "rows that the run kept" if theirs is None else "text"
            manifest.verified = {"rows": rows, "of": of, "difference": difference}
            contents = card(run, manifest)
            write_json(temporary / "card.json", contents)
            page = HEAD.format(library="flambeau" if theirs is None else "transformers") + in_markdown(contents)
            write_atomic(temporary / "README.md", page.encode("utf-8", "backslashreplace"))
            if folder.exists():
                folder.rmdir()
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _config(run: Run, labels: list[Any]) -> dict[str, Any]:
    recipe = run.recipe
    return {
        "model_type": "flambeau", "architectures": [recipe.model.name], "options": recipe.model.options,
        "objective": recipe.objective.name, "id2label": {str(i): str(label) for i, label in enumerate(labels)},
        "flambeau_version": __version__,
    }  # fmt: skip


def _of_ours(predictor: Predictor, again: Predictor) -> float:
    """How far answers to the rows that the run kept are from the model's, as a share of the largest number."""
    rows = [predictor.encode({c: predictor.fields[c].from_portable(v) for c, v in row.items()})
            for row in predictor.examples] or [predictor.blank()]  # fmt: skip
    answers = [(predictor.outputs([row]), again.outputs([row])) for row in rows]
    return max(float(np.abs(ours - theirs).max() / (np.abs(ours).max() or 1)) for ours, theirs in answers)


def _of_transformers(folder: Path, network: Any) -> float:
    """How far the scores of some tokens are from the model's, where transformers loads it."""
    with quiet(needed("transformers", "text", "the format hf")):
        again = type(network).from_pretrained(folder).eval()
    tokens = torch.arange(24).remainder(network.config.vocab_size)[None]
    with torch.inference_mode():
        ours, theirs = (one(input_ids=tokens).logits.float() for one in (network.eval(), again))
    return float((ours - theirs).abs().max() / ours.abs().max())
