"""Finding things in pictures: mAP50 on unseen things, and on seen things over unseen backgrounds; beside torchvision's
Faster R-CNN and SSDLite with the same backbone, data and time; and seconds a picture beside a loop by hand.

    python benchmarks/detection.py
    python benchmarks/detection.py --pictures 100 --epochs 4 --only ours
    python benchmarks/detection.py --pictures 200 --epochs 10 --rounds 1    # minutes on one core

Stamps on photographs, 1,000 pictures of 256 px, eight classes, EfficientNet-Lite0 with ImageNet weights. Ours is
trained as `flambeau train` does where nothing is set, in `--minutes` at most; each peer has as long as that took, in
a plain loop with AdamW, a rate that falls as a cosine, and mirrored pictures. Whoever tries settings measures with
`--valid`, on the validation part and on nothing else.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _data import cached_scenes
from _timing import interleave, table, verdict
from PIL import Image
from realdata.pictures import STAMP_CATEGORIES, efficientnet_lite0
from torch import Tensor, nn

import flambeau as fb
from flambeau.evaluation import evaluate_run
from flambeau.fields import Ragged
from flambeau.models import InputSpec, OutputSpec, build
from flambeau.models.vision.encoder import encoder
from flambeau.objectives.dense.aligned import aligned
from flambeau.objectives.dense.precision import AveragePrecision, Found, Truth
from flambeau.techniques import Technique

BACKBONE, SIDE, HELD_OUT = "timm:tf_efficientnet_lite0", 224, 200
LEAST = {"test-unseen": 0.55, "test-seen": 0.68}
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
Peer = Callable[[], nn.Module]
Seconds = Callable[[], float]


def scenes(part: str, count: int) -> Path:
    """The table of a part's pictures."""
    return cached_scenes(count, part) / "boxes.csv"


def loaded(table_file: Path) -> tuple[Tensor, list[dict[str, Tensor]]]:
    """Pictures uint8 (N, 3, H, W), and boxes in pixels and labels from 1 on, as torchvision wants them."""
    pictures, targets = [], []
    with table_file.open(newline="") as file:
        for row in csv.DictReader(file):
            with Image.open(table_file.parent / row["picture"]) as picture:
                pictures.append(torch.from_numpy(np.asarray(picture.convert("RGB")).copy()).permute(2, 0, 1))
            boxes = json.loads(row["boxes"])
            corners = torch.tensor([[box[c] for c in ("x1", "y1", "x2", "y2")] for box in boxes]).float().view(-1, 4)
            labels = torch.tensor([STAMP_CATEGORIES.index(box["label"]) + 1 for box in boxes], dtype=torch.int64)
            targets.append({"boxes": corners, "labels": labels})
    return torch.stack(pictures), targets


class Features(nn.Module):
    """The backbone as torchvision's detectors want one, with more levels behind the last."""

    def __init__(self, extra: int, pyramid: int | None):
        super().__init__()
        from torchvision.ops import FeaturePyramidNetwork

        spec = InputSpec("image", (3, SIDE, SIDE))
        self.body = encoder(BACKBONE, spec, (8, 16, 32), str(efficientnet_lite0()))[0]
        channels = self.body.channels
        self.pyramid = FeaturePyramidNetwork(list(channels), pyramid) if pyramid else None
        self.out_channels = pyramid or channels[-1]
        self.extra = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels[-1] if i == 0 else 256, 256, 3, 2, 1), nn.BatchNorm2d(256), nn.ReLU())
            for i in range(extra)
        )

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        levels = self.body(x)
        for layer in self.extra:
            levels.append(layer(levels[-1]))
        named = OrderedDict((str(i), level) for i, level in enumerate(levels))
        return self.pyramid(named) if self.pyramid is not None else named


def faster_rcnn() -> nn.Module:
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.rpn import AnchorGenerator
    from torchvision.ops import MultiScaleRoIAlign

    anchors = AnchorGenerator(((32,), (64,), (128,)), ((0.5, 1.0, 2.0),) * 3)
    pooled = MultiScaleRoIAlign(["0", "1", "2"], 7, 2)
    return FasterRCNN(
        Features(0, 128), len(STAMP_CATEGORIES) + 1, min_size=SIDE, max_size=SIDE, rpn_anchor_generator=anchors,
        box_roi_pool=pooled, rpn_pre_nms_top_n_train=500, rpn_post_nms_top_n_train=200, rpn_pre_nms_top_n_test=300,
        rpn_post_nms_top_n_test=100, box_batch_size_per_image=64,
    )  # fmt: skip


def ssdlite() -> nn.Module:
    from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
    from torchvision.models.detection.ssd import SSD
    from torchvision.models.detection.ssdlite import SSDLiteHead

    backbone = Features(2, None)
    anchors = DefaultBoxGenerator([[2, 3]] * 5, min_ratio=0.1, max_ratio=0.9)
    channels = [*backbone.body.channels, 256, 256]
    head = SSDLiteHead(channels, anchors.num_anchors_per_location(), len(STAMP_CATEGORIES) + 1, nn.BatchNorm2d)
    return SSD(backbone, anchors, (SIDE, SIDE), len(STAMP_CATEGORIES) + 1, head=head)


PEERS: dict[str, Peer] = {"faster-rcnn": faster_rcnn, "ssdlite": ssdlite}


def mirrored(picture: Tensor, target: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    if torch.rand(()) < 0.5:
        return picture, target
    width, boxes = picture.shape[2], target["boxes"].clone()
    boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
    return picture.flip(2), {**target, "boxes": boxes}


def train_peer(
    model: nn.Module, pictures: Tensor, targets: list[dict[str, Tensor]], seconds: float, clock: Seconds
) -> nn.Module:
    """A plain loop for so long."""
    begun, size = clock(), 16
    body = {id(parameter) for parameter in model.backbone.body.parameters()}
    groups = [
        {"params": [p for p in model.parameters() if (id(p) in body) == is_body], "lr": rate, "peak": rate}
        for is_body, rate in ((True, 2e-4), (False, 1e-3))
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
    model.train()
    while True:
        for rows in torch.randperm(len(pictures)).split(size):
            done = (clock() - begun) / seconds
            if done >= 1:
                return model.eval()
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * min(1, done / 0.05) * (1 + math.cos(math.pi * done)) / 2
            batch = [mirrored(pictures[i].float() / 255, targets[i]) for i in rows.tolist()]
            losses = model([picture for picture, _ in batch], [target for _, target in batch])
            optimiser.zero_grad()
            sum(losses.values()).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimiser.step()


def measure_peer(model: nn.Module, table_file: Path) -> float:
    pictures, targets = loaded(table_file)
    metric = AveragePrecision(len(STAMP_CATEGORIES))
    with torch.inference_mode():
        for picture, target in zip(pictures, targets, strict=True):
            (found,) = model([picture.float() / 255])
            answers = Found(found["boxes"].numpy(), found["scores"].numpy(), found["labels"].numpy() - 1)
            metric.add(answers, Truth.of(target["boxes"].numpy(), target["labels"].numpy() - 1))
    return metric.values()["map50"]


class Clock(Technique):
    """Seconds of each epoch."""

    name = "clock"

    def on_fit_start(self, objective: Any) -> None:
        self.ends = [time.perf_counter()]

    def on_epoch_end(self, epoch: int, metrics: dict[str, float]) -> None:
        self.ends.append(time.perf_counter())


def ours(train: Path, run: Path, epochs: int | None, clock: Seconds) -> float:
    """Trains as `flambeau train` does; seconds that it took."""
    begun = clock()
    learner = fb.Learner(
        fb.Dataset.from_csv(train), model=BACKBONE, pretrained=str(efficientnet_lite0()), run=run, baseline=False,
        cache=run.parent / "store", **({} if epochs is None else {"epochs": epochs}),
    )  # fmt: skip
    learner.fit()
    return clock() - begun


def our_step(train: Path, folder: Path) -> float:
    """Seconds a picture of an epoch, all layers learning; the data path is in it."""
    clock = Clock()
    data = fb.Dataset.from_csv(train, split="none")
    fb.Learner(
        data, model=BACKBONE, run=False, quiet=True, baseline=False, cache=folder / "store", techniques=[clock],
        augment={"horizontal_flip": 0.5}, epochs=2, batch_size=16, precision="float32",
    ).fit(check=False)  # fmt: skip
    return (clock.ends[-1] - clock.ends[-2]) / len(data)


def their_step(pictures: Tensor, targets: list[dict[str, Tensor]]) -> float:
    """The same net and loss in a loop by hand, over pictures that are in memory."""
    model = build(BACKBONE, InputSpec("image", (3, *pictures.shape[2:])), OutputSpec(12, "boxes")).model
    model = model.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.parameters(), 1e-3)

    def epoch() -> Iterator[None]:
        for rows in torch.randperm(len(pictures)).split(16):
            batch = [mirrored(pictures[i], targets[i]) for i in rows.tolist()]
            x = torch.stack([picture for picture, _ in batch]).float() / 255
            x = ((x - MEAN[:, None, None]) / STD[:, None, None]).contiguous(memory_format=torch.channels_last)
            lengths = torch.tensor([len(target["labels"]) for _, target in batch])
            values = torch.zeros(len(batch), int(lengths.max()), 7)
            for value, (picture, target) in zip(values, batch, strict=True):
                value[: len(target["labels"]), :4] = target["boxes"] / picture.shape[1]
                value[: len(target["labels"]), 4] = target["labels"] - 1.0
            optimiser.zero_grad()
            aligned(model(x), Ragged(values, lengths)).backward()
            optimiser.step()
            yield

    for _ in epoch():
        pass
    begun = time.perf_counter()
    for _ in epoch():
        pass
    return (time.perf_counter() - begun) / len(pictures)


def steps(train: Path, folder: Path, rounds: int) -> tuple[float, float]:
    """Medians of ours and by hand."""
    pictures, targets = loaded(train)
    small = torch.nn.functional.interpolate(pictures.float(), (128, 128), mode="area").byte()  # ours sees 128 px then
    halved = [{**target, "boxes": target["boxes"] / 2} for target in targets]
    figures = interleave(
        {"ours": lambda: our_step(train, folder), "by hand": lambda: their_step(small, halved)}, rounds
    )
    return float(np.median(figures["ours"])), float(np.median(figures["by hand"]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=1_000)
    parser.add_argument("--minutes", type=float, default=20.0, help="that our training may take; each peer, without it")
    parser.add_argument("--epochs", type=int, help="as a training decides it if not given")
    parser.add_argument("--only", default="ours;faster-rcnn;ssdlite;steps")
    parser.add_argument("--valid", action="store_true", help="measure on the validation part alone")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cpu-time", action="store_true", help="processor time of trainings: for a busy machine")
    asked = parser.parse_args()
    only, clock = asked.only.split(";"), time.process_time if asked.cpu_time else time.perf_counter
    held: list[tuple[bool, str]] = []
    train = scenes("train", asked.pictures)
    held_out = min(HELD_OUT, asked.pictures)
    parts = {part: scenes(part, held_out) for part in (["valid"] if asked.valid else LEAST)}
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory() as folder:
        seconds, best = asked.minutes * 60, dict.fromkeys(parts, math.nan)
        if "ours" in only:
            run = Path(folder) / "run"
            seconds = ours(train, run, asked.epochs, clock)
            best = {part: evaluate_run(run, data=file)["metrics"]["map50"] for part, file in parts.items()}
            held.append((seconds <= asked.minutes * 60, f"trained within {asked.minutes:g} minutes"))
            rows.append(["ours", *(f"{best[part]:.3f}" for part in parts), f"{seconds:.0f}"])
            print("  ".join(rows[-1]), flush=True)
            held += [(best[part] >= least, f"mAP50 {part} ≥ {least}") for part, least in LEAST.items() if part in best]
        for name in (name for name in PEERS if name in only):
            torch.manual_seed(0)
            model = train_peer(PEERS[name](), *loaded(train), seconds, clock)
            figures = {part: measure_peer(model, file) for part, file in parts.items()}
            rows.append([name, *(f"{figures[part]:.3f}" for part in parts), f"{seconds:.0f}"])
            print("  ".join(rows[-1]), flush=True)
            held += [(not figures[part] >= best[part], f"{part}: above {name}") for part in parts]
        if rows:
            print(table([["", *(f"mAP50 {part}" for part in parts), "seconds"], *rows]))
        if "steps" in only:
            mine, theirs = steps(scenes("train", min(asked.pictures, 128)), Path(folder), asked.rounds)
            print(f"a picture: {mine * 1e3:.1f} ms, by hand {theirs * 1e3:.1f} ms, ratio {mine / theirs:.2f}")
            held.append((mine <= theirs, "a step ≤ 1.0 × that of a loop by hand"))
    for one, promise in held:
        print(verdict(one, promise))
    return int(not all(one for one, _ in held))


if __name__ == "__main__":
    sys.exit(main())
