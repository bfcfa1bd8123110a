"""The model card beside an export: what a stranger should know of the model, as JSON and as Markdown (Mitchell et al.
2019, arXiv:1810.03993)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flambeau.core.files import write_atomic, write_json
from flambeau.exports.manifest import Manifest, digest
from flambeau.run import Run

UNKNOWN_LICENCE = "not stated: say it before the model is given on"
SLICES = 8  # that the card shows, the worst first


def card(run: Run, manifest: Manifest) -> dict[str, Any]:
    """{name, model, task, data, metrics, baselines, slices, findings, limits, licence, verified, weights, versions}."""
    recipe, measured = run.recipe, run.evaluation
    told, intervals = measured.get("metrics") or {}, measured.get("intervals") or {}
    data = {name: recipe.data.get(name) for name in ("kind", "path", "target", "inputs", "split", "fingerprint")}
    data["target"] = data["target"] or manifest.target.get("column")
    data["path"] = Path(data["path"]).name if isinstance(data["path"], str) else data["path"]  # not where it lies
    slices = [
        {"slice": f"{by['name']}: {part['value']}", "rows": part["count"], "score": part["score"],
         "interval": part["interval"], "worse": part.get("worse", False)}
        for by in ((measured.get("detail") or {}).get("slices") or {}).get("by", [])
        for part in by["parts"]
        if part.get("score") is not None
    ]  # fmt: skip
    slices.sort(key=lambda one: one["score"], reverse=not measured.get("higher_is_better", True))
    weights = run.path / "model.safetensors"
    return {
        "name": run.path.resolve().name,
        "model": {"name": recipe.model.name, "pretrained": recipe.model.pretrained, "options": recipe.model.options},
        "task": manifest.target,
        "data": data,
        "measured": {"split": measured.get("split"), "rows": measured.get("samples"),
                     "metric": measured.get("metric")},
        "metrics": {name: {"value": value, "interval": intervals.get(name)} for name, value in told.items()},
        "baselines": {rival["name"]: rival["metrics"] for rival in measured.get("baselines") or []},
        "slices": slices[:SLICES],
        "findings": [str(finding) for finding in run.findings],
        "limits": limits(manifest, measured),
        "licence": UNKNOWN_LICENCE,
        "verified": manifest.verified,
        "weights": digest(weights) if weights.exists() else None,
        "versions": manifest.versions,
    }  # fmt: skip


def _split_in_words(split: Any) -> str:
    if not isinstance(split, Mapping):
        return "as the data says" if split is None else str(split)
    shares = [f"{share:.0%} {name}" for name in ("valid", "test") if (share := split.get(name)) is not None]
    return ", ".join([str(split.get("method", "auto")), *shares, *([f"by {split['by']}"] if split.get("by") else []),
                      f"seed {split.get('seed', 0)}"])  # fmt: skip


def limits(manifest: Manifest, measured: dict[str, Any]) -> list[str]:
    """What it is not known to do."""
    said = []
    if labels := manifest.target.get("labels"):
        said.append(f"It answers with one of {len(labels)} labels whatever it is given, things of no label too.")
    if measured.get("split") == "valid":
        said.append("It was measured on the rows that chose its epoch, so the figures are optimistic.")
    said.append("It was measured on rows of the data that it was trained on; other data may be otherwise.")
    return said


def write_card(folder: Path, run: Run, manifest: Manifest) -> None:
    """Writes card.json and card.md into the folder of an export."""
    told = card(run, manifest)
    write_json(folder / "card.json", told)
    write_atomic(folder / "card.md", in_markdown(told).encode("utf-8", "backslashreplace"))


def in_markdown(told: dict[str, Any]) -> str:
    """A card as a page."""
    data, seen = told["data"], told["verified"]
    labels = told["task"].get("labels") or []
    lines = [f"# {told['name']}", "", f"- Model: `{told['model']['name']}`"]
    lines += [f"- Pretrained: {told['model']['pretrained']}"] if told["model"]["pretrained"] else []
    lines += [f"- Answers with: {', '.join(map(str, labels))}"] if labels else []
    lines += [
        f"- Data: {data['kind']} `{data['path']}`, target `{data['target']}`, fingerprint `{data['fingerprint']}`",
        f"- Split: {_split_in_words(data['split'])}",
        f"- Licence: {told['licence']}",
        f"- Weights: SHA-256 `{told['weights']}`",
    ]
    measured = told["measured"]
    lines += ["", f"## Measured on {measured['rows']} rows ({measured['split']})", ""]
    lines += ["| metric | value | 95 % interval |", "|---|---|---|"]
    lines += [
        f"| {name} | {_number(one['value'])} | {_interval(one['interval'])} |" for name, one in told["metrics"].items()
    ]
    for name, metrics in told["baselines"].items():
        value = metrics.get(measured["metric"])
        lines.append(f"| {measured['metric']} of {name} | {_number(value)} | |")
    if told["slices"]:
        lines += ["", "## Where it is worst", "", f"| slice | rows | {measured['metric']} | 95 % interval |",
                  "|---|---|---|---|"]  # fmt: skip
        lines += [f"| {one['slice']} | {one['rows']} | {_number(one['score'])} | {_interval(one['interval'])} |"
                  for one in told["slices"]]  # fmt: skip
    lines += ["", "## Limits", "", *(f"- {line}" for line in told["limits"])]
    if told["findings"]:
        lines += ["", "## Findings in the data", "", *(f"- {line}" for line in told["findings"])]
    lines += ["", "## Beside the model that it came from", "",
              f"At most {seen.get('difference', 0):.1e} away on {seen.get('rows')} {seen.get('of')}, as a share of the "
              "largest number.", ""]  # fmt: skip
    return "\n".join(lines)


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.4g}"


def _interval(interval: Any) -> str:
    return f"{_number(interval[0])} to {_number(interval[1])}" if interval else ""
