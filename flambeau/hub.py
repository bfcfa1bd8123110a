"""Runs on a hub that speaks as Hugging Face's does (HF_ENDPOINT names another): put there with a model card, and loaded
from there by name. Nothing that comes from there is executed: weights are safetensors, all else is JSON and YAML."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from flambeau.core.errors import RunError, UsageError, first_line, needed
from flambeau.core.printable import quoted
from flambeau.data import clouds
from flambeau.objectives.names import higher_is_better
from flambeau.recipe import Recipe
from flambeau.run import ANSWERS_BY, Run

SCHEME = "hf://"
SHOWN = ("metrics.jsonl", "environment.json", "evaluation.json", "findings.json", "examples.json", "report.html")
"""What else tells of it; some hold pictures or rows of its data."""
CARD = "README.md"


def push(run: Run, repository: str, *, private: bool = False, report: bool = False, token: str | None = None) -> str:
    """Puts a finished run on the hub, with a card; its address there.

    Args:
        repository: ORGANISATION/NAME; made if it is not there.
        private: make it for oneself alone, where it is made.
        report: the report, mistakes, findings and examples too, which show rows of the data.
        token: of the hub; as `hf auth login` or HF_TOKEN has it if not given.

    Raises:
        RunError: the run is not finished, or the hub refuses. MissingExtra: huggingface_hub is not installed.
    """
    hub = needed("huggingface_hub", "hub", "the hub")
    check_name(repository)
    if not run.finished:
        raise RunError("the run is not finished", where=run.path, fix=f"go on with: flambeau resume {quoted(run.path)}")
    if run.exported:
        raise RunError("this is an export, and a run was expected", where=run.path, fix="push the run that it is of")
    with tempfile.TemporaryDirectory() as folder:
        staged = Path(folder)
        for one in (run, *run.members):
            _stage(one, staged / one.path.relative_to(run.path), report)
        (staged / CARD).write_text(card(run, repository), encoding="utf-8")
        try:
            api = hub.HfApi(token=token)
            made = api.create_repo(repository, private=private, exist_ok=True)
            api.upload_folder(repo_id=repository, folder_path=staged, commit_message=f"Flambeau run {run.version}")
        except (OSError, ValueError) as error:  # its own errors are of these
            raise RunError(f"the hub does not take it ({first_line(error)})", where=repository,
                           fix="log in by: hf auth login") from None  # fmt: skip
        return str(made)


def fetch(address: str) -> Path:
    """The folder of the run at `hf://ORGANISATION/NAME`, or NAME@REVISION, downloaded once.

    Raises:
        RunError: the hub does not have it. UsageError: this is no such address. MissingExtra.
    """
    hub = needed("huggingface_hub", "hub", "the hub")
    name, _, revision = address.removeprefix(SCHEME).partition("@")
    check_name(name)
    wanted = [*ANSWERS_BY, *SHOWN]
    try:
        found = hub.snapshot_download(
            name, revision=revision or None, allow_patterns=[*wanted, *(f"members/*/{file}" for file in wanted)]
        )
    except (OSError, ValueError) as error:
        raise RunError(f"the hub does not have it, or does not answer ({first_line(error)})", where=address,
                       fix="look for the name; a private one needs: hf auth login") from None  # fmt: skip
    if not (Path(found) / "recipe.yaml").exists():
        raise RunError("this is not a run: it holds no recipe.yaml", where=address)
    return Path(found)


def check_name(name: str) -> None:
    """Raises UsageError for what is no name of a repository."""
    if not re.fullmatch(r"[\w][\w.-]*/[\w][\w.-]*", name):
        raise UsageError(f"'{name}' is no name on a hub", expected="ORGANISATION/NAME, as in hf://me/digits")


def _stage(run: Run, folder: Path, report: bool) -> None:
    """The files of a run as they are given on: without the place that its data lay at."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*ANSWERS_BY, *(SHOWN if report else ())):
        if (run.path / name).exists():
            shutil.copy(run.path / name, folder / name)
    recipe: Recipe = run.recipe
    path = recipe.data.get("path")
    if isinstance(path, str):
        recipe.data = {**recipe.data, "path": Path(path).name}
    recipe.save(folder / "recipe.yaml")


def card(run: Run, repository: str) -> str:
    """What a stranger should know of it, as the README of a repository: what it takes and gives, what it was measured
    at and beside what, and how it is used."""
    recipe, measured = run.recipe, run.evaluation
    fields, inputs, target = run.fields() if (run.path / "fields.json").exists() else ({}, [], None)
    kinds = ", ".join(f"{name} ({fields[name].kind})" for name in inputs if name in fields)
    gives = f"{target} ({fields[target].kind})" if target else recipe.objective.name
    lines = [
        "---", "library_name: flambeau", f"tags: [flambeau, {recipe.objective.name}]", "---", "",
        f"# {repository.partition('/')[2]}", "",
        f"{kinds or 'Tensors'} → {gives}, by {recipe.trains}, trained {recipe.training.epochs} epochs with "
        f"[Flambeau](https://pypi.org/project/flambeau) {recipe.flambeau}. Weights {run.version}.", "",
        "```python", "import flambeau as fb", "", f'predictor = fb.load("{SCHEME}{repository}")',
        "predictor.predict(...)", "```", "",
    ]  # fmt: skip
    classes = fields[target].classes if target else []
    if classes:
        lines += [f"Classes: {', '.join(map(str, classes[:50]))}{', …' if len(classes) > 50 else ''}.", ""]
    if metrics := measured.get("metrics"):
        lines += [f"Measured on {measured.get('samples')} rows ({measured.get('split')}) that it did not train on:", "",
                  "| metric | value | 95 % interval | better is |", "|---|---|---|---|"]  # fmt: skip
        for name, value in metrics.items():
            low, high = (measured.get("intervals") or {}).get(name) or (None, None)
            interval = "" if low is None or high is None else f"{low:.4g} – {high:.4g}"
            lines.append(f"| {name} | {value:.4g} | {interval} | {'more' if higher_is_better(name) else 'less'} |")
        for rival in measured.get("baselines") or []:
            told = ", ".join(f"{name} {value:.4g}" for name, value in rival["metrics"].items() if value is not None)
            lines += ["", f"Beside it {rival['name']}: {told}."]
    return "\n".join([*lines, "", "Licence: not stated; say it before the model is given on.", ""])


def fetched(run: Any) -> Any:
    """A run, or where it was fetched to: what is said as an address of a hub or of a cloud's store."""
    if clouds.is_cloud(run):
        return clouds.fetched(run)
    return fetch(run) if isinstance(run, str) and run.startswith(SCHEME) else run
