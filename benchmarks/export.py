"""What each format of an export costs and brings beside its run: latency, throughput, size, metric.

    python benchmarks/export.py
    python benchmarks/export.py --only resnet18 --keep /tmp/runs     # where runs and exports stay
    python benchmarks/export.py --quick    # small data, two rounds: whether it works

resnet18  Fashion-MNIST drawn at 224 pixels
minilm    BBC News by MiniLM-L6, frozen but for its head, 128 tokens a text
tabm      prices of 53,940 diamonds
melcnn    languages by words, log-mel pictures

Each is trained for a minute or two and exported; then the run in float32 and in bf16 (convolutions with their channels
last in both), `program`, `compiled`, `onnx` and `onnx-int8` answer in turns, as `flambeau bench` has them. Milliseconds
are of one row; CPU ms are of all processors together; the ratio is of the clock's median, the run in float32 being 1.
The metric is on held-out rows, and so is the largest difference, as a share of the largest number. Ends with status 1
where a promise does not hold.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _data
import torch
from _timing import table, verdict

import flambeau as fb
from flambeau.data.sources.opening import from_path
from flambeau.exports import Manifest
from flambeau.exports.bench import bench
from flambeau.exports.verify import MEASURED, on_held_out
from flambeau.predictor import Predictor

FORMATS = ("program", "compiled", "onnx", "onnx-int8")
QUICK_WITH, QUICK_WITHOUT, LOST, NEAR = 4.0, 2.0, 0.01, 1e-4
"""How often as quick as eager ResNet-18 answers where processors multiply bytes (VNNI, AMX) and elsewhere; what that
may cost of the metric; how far a program in float32 may be."""
Built = tuple[fb.Dataset, dict[str, Any]]


def resnet18(folder: Path, quick: bool) -> Built:
    train, test = (60, 40) if quick else (1500, 600)
    data = from_path(_data.cached_fashion_mnist(train, test), fields={"image": fb.fields.Image(size=224)})
    return data, {"model": "resnet18", "epochs": 1 if quick else 3, "batch_size": 32, "augment": "none",
                  "techniques": ["progressive_resizing"]}  # fmt: skip


def minilm(folder: Path, quick: bool) -> Built:
    from realdata.texts import bbc_news, minilm

    texts = sorted(bbc_news().glob("*/*.txt"))[:: 40 if quick else 2]
    for text in texts:
        copy = folder / "news" / text.parent.name / text.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(text.read_bytes())
    data = from_path(folder / "news")
    data.fields["text"] = fb.fields.Text(f"hf:{minilm()}", max_length=128)
    return data, {"model": f"hf:{minilm()}", "techniques": ["freeze"], "epochs": 1 if quick else 5}


def tabm(folder: Path, quick: bool) -> Built:
    from realdata.tables import write_r_frame

    write_r_frame("diamonds", folder / "diamonds.csv")
    if quick:
        lines = (folder / "diamonds.csv").read_text().splitlines()
        (folder / "diamonds.csv").write_text("\n".join([lines[0], *lines[1::40]]))
    return from_path(folder / "diamonds.csv", target="price"), {"model": "tabm", "epochs": 1 if quick else 10}


def melcnn(folder: Path, quick: bool) -> Built:
    from realdata.sounds import LANGUAGES, write_stamps_speech

    root = write_stamps_speech(folder / "speech", LANGUAGES[:3] if quick else LANGUAGES, 20 if quick else 250)
    data = from_path(root, pattern="{class}-{stamp}", split=fb.Split("grouped", by="stamp"))
    return data, {"model": "melcnn", "epochs": 1 if quick else 4}


CASES: dict[str, Callable[[Path, bool], Built]] = {
    "resnet18": resnet18, "minilm": minilm, "tabm": tabm, "melcnn": melcnn,
}  # fmt: skip


def measured(name: str, folder: Path, rounds: int, quick: bool) -> dict[str, Any]:
    """What `bench` says of a case, each contender with its metric and its largest difference."""
    folder.mkdir(parents=True, exist_ok=True)
    run = folder / "run"
    if not (run / "evaluation.json").exists():
        data, settings = CASES[name](folder, quick)
        fb.Learner(data, run=run, baseline=False, quiet=True, **settings).fit(check=False)
    result = bench([run], formats=FORMATS, rounds=rounds, memory=False)
    model = Predictor.load(run, device="cpu")
    halved = Predictor.load(run, device="cpu", precision="bf16")
    seen = on_held_out(model, halved, fb.Run.open(run), float("inf"), MEASURED)
    for one in result["contenders"]:
        if one["name"] == "eager bf16":
            one["verified"] = {**seen.seen, "difference": seen.apart}
        if one["folder"] and not Manifest.read(Path(one["folder"])).verified.get("metric"):
            raise SystemExit(f"{one['folder']} was not measured on held-out rows")
    return {**result, "higher_is_better": model.objective.higher_is_better}


def lines(name: str, result: dict[str, Any]) -> str:
    """A table for a person."""
    rows = [
        [name, "p50 ms", "p99 ms", "CPU ms", "ratio", "rows/s", "at batch", "MiB", "metric", "of the run", "difference"]
    ]
    for one in result["contenders"]:
        whole = result["contenders"][1]["verified"]["model"]
        seen = one["verified"] or {"export": whole, "model": whole, "difference": 0.0}
        rows.append([
            one["name"], f"{one['p50']:.2f}", f"{one['p99']:.2f}", f"{one['processor']:.2f}", f"{one['quicker']:.2f}",
            f"{one['rate']:,.0f}", str(one["batch"]), f"{one['size'] / 2**20:.1f}", f"{seen['export']:.4f}",
            f"{seen['model']:.4f}", f"{seen['difference']:.1e}",
        ])  # fmt: skip
    left_out = [f"left out: {one['name']}: {one['why']}" for one in result["left_out"]]
    return "\n".join([table(rows), *left_out, f"recommended: {result['recommended']}: {result['why']}"])


def promises(name: str, result: dict[str, Any]) -> list[tuple[bool, str]]:
    """What must hold of a case, and whether it does."""
    by_name = {one["name"]: one for one in result["contenders"]}
    exact = {format: by_name[format]["verified"]["difference"] for format in ("program", "onnx") if format in by_name}
    kept = [(len(exact) == 2 and max(exact.values()) <= NEAR, f"program and onnx within {NEAR:g} ({exact})")]
    if name == "resnet18":
        flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
        wanted = QUICK_WITH if "vnni" in flags or "amx_int8" in flags else QUICK_WITHOUT
        near = [one for one in result["contenders"] if one["verified"] and _lost(result, one["verified"]) <= LOST]
        best = max(near, key=lambda one: one["quicker"])
        kept.append((best["quicker"] >= wanted, f"≥ {wanted:g} times as quick as eager, within a point of its metric "
                     f"({best['name']}: {best['quicker']:.2f})"))  # fmt: skip
    return kept


def _lost(result: dict[str, Any], seen: dict[str, Any]) -> float:
    lost = seen["model"] - seen["export"]
    return lost if result["higher_is_better"] else -lost / abs(seen["model"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(CASES), help="nets with commas between")
    parser.add_argument("--rounds", type=int, default=10, help="how often they take turns")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="folder where runs and exports stay")
    parser.add_argument("--quick", action="store_true", help="small data and two rounds")
    parser.add_argument("--json", action="store_true", help="a line of JSON in place of the tables")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    found, holds = {}, True
    with tempfile.TemporaryDirectory(prefix="export-") as temporary:
        for name in asked.only.split(","):
            rounds = min(2, asked.rounds) if asked.quick else asked.rounds
            found[name] = measured(name, (asked.keep or Path(temporary)) / name, rounds, asked.quick)
            if not asked.json:
                print(lines(name, found[name]))
            for kept, promise in promises(name, found[name]):
                holds = holds and kept
                print(verdict(kept, promise), file=sys.stderr if asked.json else sys.stdout, flush=True)
    if asked.json:
        print(json.dumps(found))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
