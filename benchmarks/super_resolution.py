"""Twice the pixels of photos that were never seen: PSNR and SSIM of a whole `flambeau train` beside bicubic, and ESRGAN
from where it ended.

    python benchmarks/super_resolution.py
    python benchmarks/super_resolution.py --only psnr --epochs 20
    python benchmarks/super_resolution.py --photos 8 --epochs 10    # minutes on one core

Of 24 real photos that packages carry (`examples/realdata/photos.py`) every fourth is held out; of the others the
training holds some out to choose the epoch. Measured on whole photos, in tiles, as papers do: on Y, without 2 pixels at
each edge. The distance is that of EfficientNet-Lite0's features. Pictures lie in the folder that is printed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import flambeau  # noqa: F401  before torchvision, which its import mends

# isort: split
import numpy as np
import torch
from _data import cache  # noqa: F401  lets realdata be imported
from _timing import table, verdict
from PIL import Image
from realdata.photos import source_photos
from realdata.pictures import efficientnet_lite0

from flambeau.fields.picture.degradation import Degradation
from flambeau.objectives.perceptual import Features
from flambeau.objectives.restoration import cut, luma, psnr, ssim
from flambeau.predictor import Predictor

SCALE, MORE = 2, 1.0  # dB above bicubic


def write_photos(folder: Path, count: int) -> None:
    """`train/` and `test/` of sharp photos, and `small/` of those to be enlarged."""
    made = Degradation.of("super-resolution")
    for name in ("train", "test", "small", "bicubic"):
        (folder / name).mkdir()
    for i, photo in enumerate(source_photos()[:count]):
        photo = photo.crop((0, 0, photo.width // SCALE * SCALE, photo.height // SCALE * SCALE))
        photo.save(folder / ("test" if i % 4 == 3 else "train") / f"{i:02d}.png")
        if i % 4 == 3:
            planes = torch.from_numpy(np.asarray(photo).copy()).permute(2, 0, 1)[None].float() / 255
            small = (made(planes, torch.Generator())[0] * 255).round().byte().permute(1, 2, 0).numpy()
            Image.fromarray(small).save(folder / "small" / f"{i:02d}.png")
            large = Image.fromarray(small).resize(photo.size, Image.Resampling.BICUBIC)
            large.save(folder / "bicubic" / f"{i:02d}.png")


def trained(folder: Path, run: str, *arguments: Any) -> float:
    """Seconds that a training took."""
    started = time.perf_counter()
    command = ["train", "train", "--task", "super-resolution", "--run", run, "--no-check", *map(str, arguments)]
    root = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-m", "flambeau", *command], cwd=folder, check=True, env=environment)
    seconds = time.perf_counter() - started
    predictor, out = Predictor.load(folder / run), folder / f"{run}-enlarged"
    out.mkdir()
    for file in sorted((folder / "small").iterdir()):
        Image.fromarray(np.asarray(predictor.predict(file).label)).save(out / file.name)
    return seconds


def measured(folder: Path, name: str, network: Features) -> list[float]:
    """PSNR, SSIM and the distance of features, the mean over the photos held out."""
    found = []
    for file in sorted((folder / "test").iterdir()):
        pair = [
            torch.from_numpy(np.asarray(Image.open(path)).copy()).permute(2, 0, 1)[None].float() / 255
            for path in (folder / name / file.name, file)
        ]
        y = [cut(luma(planes), SCALE) for planes in pair]
        with torch.no_grad():
            found.append([float(of(*two)) for of, two in ((psnr, y), (ssim, y), (network.distance, pair))])
    return np.mean(found, 0).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=("psnr", "both"), default="both")
    parser.add_argument("--photos", type=int, default=24)
    parser.add_argument("--epochs", type=int, help="of each training; what the data suggests if not given")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="super-resolution-"))
    write_photos(folder, asked.photos)
    weights = efficientnet_lite0()
    network, found = Features(str(weights)), dict[str, list[float]]()

    def measure(name: str, pictures: str) -> None:
        found[name] = measured(folder, pictures, network)
        print(f"{name}: PSNR {found[name][0]:.2f} dB, SSIM {found[name][1]:.4f}", flush=True)

    measure("bicubic", "bicubic")
    more = () if asked.epochs is None else ("--epochs", asked.epochs)
    seconds = {"psnr": trained(folder, "psnr", *more)}
    measure("psnr", "psnr-enlarged")
    if asked.only == "both":
        begun = ("--model", "edsr", "--pretrained", folder / "psnr" / "model.safetensors")
        seconds["esrgan"] = trained(folder, "esrgan", *begun, "--objective", "esrgan", "--set",
                                    f"objective.weights={weights}", *more)  # fmt: skip
        measure("esrgan", "esrgan-enlarged")
    rows = [["", "PSNR (Y), dB", "SSIM (Y)", "feature distance", "seconds"]]
    for name, (noise, structure, distance) in found.items():
        took = f"{seconds[name]:.0f}" if name in seconds else ""
        rows.append([name, f"{noise:.2f}", f"{structure:.4f}", f"{distance:.4f}", took])
    print(table(rows))
    print(f"pictures: {folder}")
    held = [
        (found["psnr"][0] >= found["bicubic"][0] + MORE, f"PSNR is {MORE} dB above bicubic's, or more"),
        (found["psnr"][1] > found["bicubic"][1], "SSIM is above bicubic's"),
        (seconds["psnr"] <= 600, "in 10 minutes"),
    ]
    if "esrgan" in found:
        held.append((found["esrgan"][2] < found["psnr"][2], "ESRGAN's features are nearer than the PSNR model's"))
    for holds, promise in held:
        print(verdict(holds, promise))
    sys.exit(not all(holds for holds, _ in held))


if __name__ == "__main__":
    main()
