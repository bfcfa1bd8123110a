"""How fast batches are augmented: ours for the whole batch, torchvision image by image, kornia for the batch.

    python benchmarks/augment.py
    python benchmarks/augment.py --threads 2 --sizes 128 --rounds 9
    python benchmarks/augment.py --threads 1 --cpu-time        # on a machine that has other work

From uint8 pictures in memory (N, H, W, C), a little larger than the output, to the normalised float32 batch:

jitter   random resized crop, flip, brightness, contrast, saturation
hue      the same with hue
affine   flip, rotation, zoom, shear, brightness, contrast: everything through one `grid_sample`
plain    conversion and normalisation only

torchvision's v2 transforms get each picture as a uint8 tensor and their results are stacked, as in a DataLoader
(whose processes and copies are left out here). kornia gets the batch as floats, conversion included; it is left out
where it is not installed. All three are left the torch threads of the row.
"""

from __future__ import annotations

import importlib.util
import json
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from _timing import compare, interleave, parser, speaker, summary, table, verdict
from torch import Tensor

from flambeau.fields.augment import Augmentation, normalise

BATCH, SECONDS = 64, 0.5
SOURCE = {128: 146, 224: 256}
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
SCALE, RATIO, JITTER, HUE = (0.35, 1.0), (3 / 4, 4 / 3), 0.2, 0.05
CASES = ("jitter", "hue", "affine", "plain")
PROMISED = 4000
"""Images a second at 128 px with two threads: what keeps later epochs three times as fast as a DataLoader's."""


def pictures(side: int) -> Tensor:
    """Smooth noise, uint8 (B, H, W, 3): neither flat nor white, so that nobody's shortcuts count."""
    coarse = torch.rand(BATCH, 3, side // 8, side // 8, generator=torch.Generator().manual_seed(0))
    fine = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)
    return (fine * 255).byte().permute(0, 2, 3, 1).contiguous()


def ours(case: str, size: int, images: Tensor) -> Callable[[], Tensor]:
    generator = torch.Generator().manual_seed(0)
    if case == "plain":
        return lambda: normalise(images, mean=MEAN, std=STD)
    jitter: dict[str, Any] = {"brightness": JITTER, "contrast": JITTER, "horizontal_flip": 0.5}
    if case == "affine":
        settings = {**jitter, "rotation": 15, "zoom": (0.8, 1.2), "shear": 5}
    else:
        settings = {**jitter, "saturation": JITTER, "random_resized_crop": SCALE}
        if case == "hue":
            settings["hue"] = HUE
    augmentation = Augmentation.from_dict(settings)
    return lambda: augmentation(images, size=(size, size), generator=generator, mean=MEAN, std=STD)


def torchvision(case: str, size: int, images: Tensor) -> Callable[[], Tensor]:
    from torchvision.transforms import v2

    jitter = [JITTER, JITTER, 0.0 if case == "affine" else JITTER, HUE if case == "hue" else 0.0]
    steps: list[Any] = []
    if case == "affine":
        steps = [
            v2.Resize([size, size]),
            v2.RandomHorizontalFlip(),
            v2.RandomAffine(15, scale=(0.8, 1.2), shear=5, interpolation=v2.InterpolationMode.BILINEAR),
            v2.ColorJitter(*jitter),
        ]
    elif case != "plain":
        steps = [
            v2.RandomResizedCrop(size, scale=SCALE, ratio=RATIO),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(*jitter),
        ]
    transform = v2.Compose([*steps, v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])
    planes = [image.permute(2, 0, 1) for image in images]
    return lambda: torch.stack([transform(image) for image in planes])


def kornia(case: str, size: int, images: Tensor) -> Callable[[], Tensor]:
    import kornia.augmentation as K

    jitter = K.ColorJitter(JITTER, JITTER, 0.0 if case == "affine" else JITTER, HUE if case == "hue" else 0.0, p=1.0)
    steps: list[Any] = []
    if case == "affine":
        steps = [K.Resize((size, size)), K.RandomHorizontalFlip(p=0.5)]
        steps += [K.RandomAffine(15, scale=(0.8, 1.2), shear=5, p=1.0), jitter]
    elif case != "plain":
        crop = K.RandomResizedCrop((size, size), scale=SCALE, ratio=RATIO, cropping_mode="resample", p=1.0)
        steps = [crop, K.RandomHorizontalFlip(p=0.5), jitter]
    steps.append(K.Normalize(torch.tensor(MEAN), torch.tensor(STD)))
    transform = K.AugmentationSequential(*steps, data_keys=["input"])
    return lambda: transform(images.permute(0, 3, 1, 2).float() / 255)


def rate(step: Callable[[], Tensor], threads: int, clock: Callable[[], float]) -> Callable[[], float]:
    """Images a second over half a second of calls, by that clock."""

    def measure() -> float:
        torch.set_num_threads(threads)
        step()
        start, calls = clock(), 0
        while clock() - start < SECONDS:
            step()
            calls += 1
        return BATCH * calls / (clock() - start)

    return measure


def main() -> int:
    command = parser(__doc__, rounds=5)
    command.add_argument("--sizes", default="128,224", help="output sides in pixels, of 128 and 224")
    command.add_argument("--threads", default="1,2", help="numbers of torch threads")
    command.add_argument("--cases", default=",".join(CASES))
    command.add_argument("--cpu-time", action="store_true", help="seconds of processor time, not of the clock")
    asked = command.parse_args()
    clock = time.process_time if asked.cpu_time else time.perf_counter
    warnings.filterwarnings("ignore", category=UserWarning, module="kornia")
    makers = {"flambeau": ours, "torchvision": torchvision}
    if importlib.util.find_spec("kornia") is not None:
        makers["kornia"] = kornia
    rows = [["case", "px", "threads", "flambeau", *(f"{n}  ratio" for n in list(makers)[1:])]]
    figures: list[dict[str, Any]] = []
    for size in map(int, asked.sizes.split(",")):
        for case in asked.cases.split(","):
            images = pictures(size if case == "plain" else SOURCE[size])
            steps = {name: make(case, size, images) for name, make in makers.items()}
            for threads in map(int, asked.threads.split(",")):
                measured = interleave(
                    {name: rate(step, threads, clock) for name, step in steps.items()},
                    asked.rounds,
                    speaker(asked.quiet),
                )
                row = [case, str(size), str(threads), f"{summary(measured['flambeau'])['median']:,.0f}"]
                for name in list(makers)[1:]:
                    ratio = compare(measured["flambeau"], measured[name])
                    row.append(f"{summary(measured[name])['median']:,.0f}  {ratio}")
                rows.append(row)
                figures.append(
                    {"case": case, "size": size, "threads": threads}
                    | {name: summary(values) for name, values in measured.items()}
                )
    reached = [f["flambeau"]["median"] for f in figures if (f["case"], f["size"], f["threads"]) == ("jitter", 128, 2)]
    if asked.json:
        print(json.dumps({"benchmark": "augment", "unit": "images/s", "figures": figures}))
    else:
        print(table(rows))
        for value in reached:
            print(verdict(value >= PROMISED, f"≥ {PROMISED:,} images/s at 128 px on 2 threads: {value:,.0f}"))
    return 0 if all(value >= PROMISED for value in reached) else 1


if __name__ == "__main__":
    raise SystemExit(main())
