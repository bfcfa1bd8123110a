"""How fast pictures with boxes and masks are augmented: ours on the whole batch, torchvision v2 in a DataLoader.

    python benchmarks/augment_dense.py
    python benchmarks/augment_dense.py --threads 1      # on a machine that has other work

Real cut-outs on photographs, 256×256, 1 to 5 boxes a picture and a mask of classes, all in memory as uint8: to the
normalised float32 batch, its moved boxes and its moved masks.

scale    flip, large-scale jitter of 0.5…1.5 with room about it, brightness, contrast, saturation
crop     flip, a window of a random size, brightness, contrast, saturation
affine   flip, rotation, scale, shear, brightness, contrast, saturation

Ours gathers, augments and prepares in the training process on two threads, as `flambeau train` does, boxes and masks
each of their own store; torchvision's transforms run in a DataLoader with two workers, one thread each, its pictures as
tensors already, with `SanitizeBoundingBoxes` as its documentation asks for.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from _data import cached_scenes
from _timing import compare, interleave, parser, speaker, summary, table, verdict
from PIL import Image as PILImage
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from flambeau.data.prepare import Preparer
from flambeau.data.store.store import FixedColumn, RaggedColumn
from flambeau.fields import Boxes, Image, Mask
from flambeau.fields.placement import frames_of
from flambeau.training import engine

SIDE, BATCH, WORKERS = 256, 32, 2
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
JITTER, SCALE, AREA = 0.2, (0.5, 1.5), (0.35, 1.0)
CASES = ("scale", "crop", "affine")
PROMISED = 5.0
"""Times as many pictures a second as torchvision v2 in a DataLoader with two workers."""


@dataclass
class Scenes:
    """In memory: pictures uint8 (N, H, W, 3), masks uint8 (N, H, W), and of each picture the corners, float32 (M, 4),
    and classes, int64 (M), of its boxes."""

    pictures: Tensor
    masks: Tensor
    boxes: list[Tensor]
    classes: list[Tensor]


def scenes(count: int) -> Scenes:
    folder = cached_scenes(count)
    told = json.loads((folder / "annotations.json").read_text("utf-8"))
    boxes: list[list[list[float]]] = [[] for _ in range(count)]
    classes: list[list[int]] = [[] for _ in range(count)]
    for thing in told["annotations"]:
        x, y, width, height = thing["bbox"]
        boxes[thing["image_id"] - 1].append([x, y, x + width, y + height])
        classes[thing["image_id"] - 1].append(thing["category_id"] - 1)

    def read(part: str, suffix: str) -> Tensor:
        files = [folder / part / f"{number:05d}.{suffix}" for number in range(count)]
        return torch.from_numpy(np.stack([np.asarray(PILImage.open(file)) for file in files]))

    return Scenes(
        read("images", "jpg"), read("masks", "png"), [*map(torch.tensor, boxes)], [*map(torch.tensor, classes)]
    )


def ours(case: str, data: Scenes) -> Callable[[], int]:
    """One epoch; returns how many pictures it had."""
    settings: dict[str, Any] = {"horizontal_flip": 0.5}
    settings |= dict.fromkeys(("brightness", "contrast", "saturation"), JITTER)
    settings |= {
        "scale": {"large_scale_jitter": SCALE},
        "crop": {"random_resized_crop": AREA},
        "affine": {"rotation": 15, "zoom": (0.8, 1.2), "shear": 5},
    }[case]
    image = Image((SIDE, SIDE), "rgb", augment=settings)
    image.mean, image.std = MEAN, STD
    fields = {"picture": image, "boxes": Boxes([str(k) for k in range(8)]), "mask": Mask(9)}
    count = len(data.pictures)
    rows = [
        torch.cat([corners, kinds[:, None], torch.zeros(len(kinds), 2)], 1)
        for corners, kinds in zip(data.boxes, data.classes, strict=True)
    ]
    ends = torch.tensor([0, *(len(part) for part in rows)]).cumsum(0)
    columns = {
        "picture": FixedColumn(data.pictures),
        frames_of("picture"): FixedColumn(torch.tensor([[SIDE, SIDE, 1.0, 0.0, 1.0, 0.0]]).repeat(count, 1)),
        "boxes": RaggedColumn(torch.cat(rows), ends),
        "mask": FixedColumn(data.masks),
    }
    prepare = Preparer(fields, ["picture", "mask"], "boxes", torch.device("cpu"))

    def epoch() -> int:
        generator = torch.Generator().manual_seed(0)
        for part in torch.randperm(count, generator=generator).split(BATCH):
            batch = prepare(part, {name: column.gather(part) for name, column in columns.items()}, True, generator)
            assert batch.input["picture"].shape[1:] == (3, SIDE, SIDE)
        return count

    return epoch


class Transformed(Dataset[dict[str, Any]]):
    """Pictures as tensors already, (3, H, W), as torchvision's transforms take them."""

    def __init__(self, data: Scenes, transform: Callable[[dict[str, Any]], dict[str, Any]]):
        self.data, self.transform = data, transform

    def __len__(self) -> int:
        return len(self.data.pictures)

    def __getitem__(self, row: int) -> dict[str, Any]:
        from torchvision import tv_tensors

        return self.transform(
            {
                "picture": tv_tensors.Image(self.data.pictures[row].permute(2, 0, 1)),
                "boxes": tv_tensors.BoundingBoxes(self.data.boxes[row], format="XYXY", canvas_size=(SIDE, SIDE)),
                "labels": self.data.classes[row],
                "mask": tv_tensors.Mask(self.data.masks[row]),
            }
        )


def together(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """A batch: pictures and masks stacked, boxes and labels as lists, as torchvision's detectors take them."""
    stacked = {name: torch.stack([sample[name] for sample in samples]) for name in ("picture", "mask")}
    return {**stacked, **{name: [sample[name] for sample in samples] for name in ("boxes", "labels")}}


def torchvision(case: str, data: Scenes) -> Callable[[], int]:
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    fill = {tv_tensors.Image: 0, tv_tensors.Mask: 255, "others": 0}
    moves = {
        "scale": [v2.ScaleJitter((SIDE, SIDE), SCALE), v2.RandomCrop(SIDE, pad_if_needed=True, fill=fill)],
        "crop": [v2.RandomResizedCrop(SIDE, scale=AREA)],
        "affine": [v2.RandomAffine(15, scale=(0.8, 1.2), shear=5, interpolation=v2.InterpolationMode.BILINEAR,
                                   fill=fill)],
    }[case]  # fmt: skip
    transform = v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            *moves,
            v2.ColorJitter(JITTER, JITTER, JITTER),
            v2.SanitizeBoundingBoxes(),
            v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    loader = DataLoader(
        Transformed(data, transform), BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True,
        collate_fn=together,
    )  # fmt: skip

    def epoch() -> int:
        return sum(len(batch["picture"]) for batch in loader)

    return epoch


def rate(epoch: Callable[[], int], threads: int) -> Callable[[], float]:
    """Pictures a second of one epoch, after one that is not counted: workers are there by then."""
    warm = False

    def measure() -> float:
        nonlocal warm
        torch.set_num_threads(threads)
        if not warm:
            epoch()
            warm = True
        start = time.perf_counter()
        return epoch() / (time.perf_counter() - start)

    return measure


def main() -> int:
    command = parser(__doc__, rounds=5)
    command.add_argument("--pictures", type=int, default=512, help="in an epoch (default 512)")
    command.add_argument("--cases", default=",".join(CASES))
    command.add_argument("--threads", type=int, default=WORKERS, help="of ours (default 2)")
    asked = command.parse_args()
    engine.keep_large_blocks()  # as every training does
    data = scenes(asked.pictures)
    rows, figures = [["case", "flambeau", "torchvision  ratio"]], []
    for case in asked.cases.split(","):
        competitors = {
            "flambeau": rate(ours(case, data), asked.threads),
            "torchvision": rate(torchvision(case, data), 1),
        }
        measured = interleave(competitors, asked.rounds, speaker(asked.quiet))
        ratio = compare(measured["flambeau"], measured["torchvision"])
        medians = {name: summary(values) for name, values in measured.items()}
        rows.append([case, *(f"{medians[name]['median']:,.0f}" for name in medians)])
        rows[-1][-1] += f"  {ratio}"
        figures.append({"case": case, "ratio": ratio.of_medians, **medians})
    holds = all(figure["ratio"] >= PROMISED for figure in figures)
    if asked.json:
        print(json.dumps({"benchmark": "augment_dense", "unit": "pictures/s", "figures": figures}))
    else:
        print(table(rows))
        print(verdict(holds, f"≥ {PROMISED:g} × torchvision v2 in a DataLoader with {WORKERS} workers"))
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
