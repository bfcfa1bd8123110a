"""Masks of objects that were never seen: mean IoU of a whole `flambeau train` beside segmentation-models-pytorch's
U-Net in a plain loop, with the same encoder, weights, pictures, size and wall time.

    python benchmarks/segmentation.py
    python benchmarks/segmentation.py --only ours --set training.epochs=4
    python benchmarks/segmentation.py --pictures 200 --set training.epochs=12    # minutes on one core

Scenes of real cut-outs of 8 classes on photographs (`examples/realdata/scenes.py`): 1,000 to train on, 200 to choose
the epoch by; measured on 200 of other objects over other photographs, and on 200 of the same objects over those. The
peer's loop is what a practitioner writes: AdamW, one-cycle, cross-entropy and Dice, flips and colour, its best epoch on
the same validation pictures. An object that was never seen may be found and be called by a wrong name: the IoU of what
is an object at all stands beside that of the classes.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flambeau  # noqa: F401  before torchvision, which its import mends

# isort: split
import numpy as np
import torch
from _data import cached_scenes
from _timing import table, verdict
from PIL import Image
from realdata.pictures import efficientnet_lite0
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from flambeau.predictor import Predictor

ENCODER, CLASSES, AIM = "tf_efficientnet_lite0", 9, 0.65
TESTS = ("test-unseen", "test-seen")


def write_tables(scenes: dict[str, Path], folder: Path) -> None:
    """`train.csv` with the split said, and a table for each test."""
    tables = {"train": ("train", "valid"), **{test: (test,) for test in TESTS}}
    for name, parts in tables.items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["photo", "mask", "split"])
            for part in parts:
                for photo in sorted((scenes[part] / "images").iterdir()):
                    mask = scenes[part] / "masks" / f"{photo.stem}.png"
                    rows.writerow([photo, mask, "train" if part == "train" else "valid" if part == "valid" else "test"])


def flambeau_in(folder: Path, *arguments: Any) -> str:
    command = [sys.executable, "-m", "flambeau", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout


def ours(folder: Path, size: int, settings: list[str]) -> tuple[dict[str, np.ndarray], float]:
    """The pixels of each class that are called each in each test, and the seconds of the training, all in all."""
    more = [word for one in settings for word in ("--set", one)]
    started = time.perf_counter()
    reading = ("--target", "mask", "--read", "mask=mask", "--input", "photo", "--size", size)
    weights = ("--model", f"timm:{ENCODER}", "--pretrained", efficientnet_lite0())
    flambeau_in(folder, "train", "train.csv", *reading, *weights, "--run", "run", *more)
    seconds = time.perf_counter() - started
    print(
        f"ours, validation: {json.loads((folder / 'run' / 'evaluation.json').read_text())['metrics']}", file=sys.stderr
    )
    found = {}
    for test in TESTS:
        counts = np.zeros((CLASSES, CLASSES))
        with (folder / f"{test}.csv").open() as file:
            rows = list(csv.DictReader(file))
        predictor = Predictor.load(folder / "run")
        for row, answer in zip(rows, predictor.predict([row["photo"] for row in rows]), strict=True):
            counts += confusion(answer.label, np.asarray(Image.open(row["mask"])))
        found[test] = counts
    return found, seconds


def confusion(said: np.ndarray, true: np.ndarray) -> np.ndarray:
    return np.bincount(true.ravel().astype(int) * CLASSES + said.ravel(), minlength=CLASSES**2).reshape(CLASSES, -1)


def iou(counts: np.ndarray) -> np.ndarray:
    return np.diag(counts) / (counts.sum(0) + counts.sum(1) - np.diag(counts))


def objects(counts: np.ndarray) -> float:
    """IoU of what is an object at all, whatever class it is called."""
    return float(counts[1:, 1:].sum() / (counts.sum() - counts[0, 0]))


class Scenes(Dataset[tuple[Tensor, Tensor]]):
    """Pictures and masks of one table, resized; varied for training."""

    def __init__(self, file: Path, split: str, size: int, train: bool):
        with file.open() as rows:
            self.rows = [row for row in csv.DictReader(rows) if row["split"] == split]
        self.size, self.train = (size, size), train

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, at: int) -> tuple[Tensor, Tensor]:
        from torchvision.transforms import ColorJitter

        picture = Image.open(self.rows[at]["photo"]).convert("RGB").resize(self.size, Image.Resampling.BILINEAR)
        mask = Image.open(self.rows[at]["mask"]).resize(self.size, Image.Resampling.NEAREST)
        if self.train:
            picture = ColorJitter(0.2, 0.2, 0.2)(picture)
            if torch.rand(()) < 0.5:
                picture, mask = (one.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for one in (picture, mask))
        x = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float().div(127.5).sub(1)
        return x, torch.from_numpy(np.array(mask)).long()


def peer(folder: Path, size: int, seconds: float) -> tuple[dict[str, np.ndarray], int]:
    """The same of segmentation-models-pytorch in so many seconds, and its epochs."""
    import segmentation_models_pytorch as smp

    torch.manual_seed(0)
    started = time.perf_counter()
    model = smp.Unet(f"tu-{ENCODER}", encoder_weights=None, classes=CLASSES)
    fit_weights(model.encoder)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    loader: Any = DataLoader(Scenes(folder / "train.csv", "train", size, True), 16, shuffle=True, drop_last=True,
                             num_workers=2, persistent_workers=True)  # fmt: skip
    valid = DataLoader(Scenes(folder / "train.csv", "valid", size, False), 32)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.01)
    dice = smp.losses.DiceLoss("multiclass")
    best, best_state, epochs = -1.0, {}, 0
    while (passed := (time.perf_counter() - started) / seconds) < 1:
        begun = passed
        model.train()
        for x, y in loader:
            passed = (time.perf_counter() - started) / seconds
            for group in optimizer.param_groups:  # warm-up over a tenth, then a cosine to 0
                group["lr"] = 1e-3 * min(passed / 0.1, (1 + np.cos(np.pi * min(passed, 1))) / 2)
            output = model(x.contiguous(memory_format=torch.channels_last))
            loss = nn.functional.cross_entropy(output, y) + dice(output, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if passed >= 1:
                break
        epochs += 1
        score = float(np.nanmean(iou(measured(model, valid))))
        print(f"peer, epoch {epochs}: loss {float(loss):.3f}, validation {score:.3f}", file=sys.stderr, flush=True)
        if score > best:
            best, best_state = score, {name: tensor.clone() for name, tensor in model.state_dict().items()}
        if passed + (passed - begun) / 2 > 1:
            break
    model.load_state_dict(best_state)
    return {test: measured(model, DataLoader(Scenes(folder / f"{test}.csv", "test", size, False), 1), full=True)
            for test in TESTS}, epochs  # fmt: skip


def fit_weights(encoder: nn.Module) -> None:
    """The classifier's weights into smp's encoder, by the order in which both have their tensors."""
    own, state = encoder.state_dict(), torch.load(efficientnet_lite0(), map_location="cpu", weights_only=True)
    there: Iterator[Tensor] = iter(state.values())
    encoder.load_state_dict({name: next(t for t in there if t.shape == own[name].shape) for name in own})


def figures(counts: np.ndarray) -> tuple[float, float, float]:
    """The mean IoU with the background, that of the 8 classes without it, and that of what is an object at all."""
    return float(iou(counts).mean()), float(iou(counts)[1:].mean()), objects(counts)


def row(name: str, found: dict[str, np.ndarray]) -> list[str]:
    """Of a table."""
    return [name, *(f"{value:.3f}" for test in TESTS for value in figures(found[test]))]


@torch.no_grad()
def measured(model: nn.Module, loader: Any, full: bool = False) -> np.ndarray:
    """The pixels of each class that are called each; where `full`, at the masks' own size, one by one, as ours."""
    model.eval()
    counts, at = np.zeros((CLASSES, CLASSES)), 0
    for x, y in loader:
        scores = model(x)
        truth = y.numpy()
        if full:
            truth = np.asarray(Image.open(loader.dataset.rows[at]["mask"]))[None]
            scores = nn.functional.interpolate(scores, truth.shape[1:], mode="bilinear")
        counts += confusion(scores.argmax(1).numpy(), truth)
        at += len(x)
    return counts


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--pictures", type=int, default=1_000, help="to train on; a fifth for each other part")
    arguments.add_argument("--size", type=int, default=128, help="pixels a side that models see")
    arguments.add_argument("--only", choices=["ours", "peer"], default=None)
    arguments.add_argument("--seconds", type=float, default=None, help="of the peer, in place of ours")
    arguments.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of our training")
    options = arguments.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    results, seconds = {}, options.seconds or 300.0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        others = {part: cached_scenes(max(1, options.pictures // 5), part) for part in ("valid", *TESTS)}
        write_tables({"train": cached_scenes(options.pictures), **others}, folder)
        if options.only != "peer":
            results["flambeau train"], seconds = ours(folder, options.size, options.set)
            print("  ".join(row("ours", results["flambeau train"])), f"{seconds:.0f} s", flush=True)
        if options.only != "ours":
            results["smp.Unet, plain loop"], epochs = peer(folder, options.size, options.seconds or seconds)
            print(f"the peer's epochs: {epochs}", file=sys.stderr)
    head = ["", *(f"{test}, {what}" for test in TESTS for what in ("mean IoU", "8 classes", "any object"))]
    rows = [row(name, found) for name, found in results.items()]
    print(f"{options.size} px, {seconds:.0f} s")
    print(table([head, *rows]))
    if len(results) < 2:
        return 0
    mine, theirs = (found["test-unseen"] for found in results.values())
    ahead, aimed = figures(mine)[0] > figures(theirs)[0], figures(mine)[2] >= AIM
    print(verdict(ahead, "mean IoU above the peer's on objects never seen"))
    print(verdict(aimed, f"IoU of at least {AIM} of objects never seen, whatever they are called"))
    return 0 if ahead and aimed else 1


if __name__ == "__main__":
    sys.exit(main())
