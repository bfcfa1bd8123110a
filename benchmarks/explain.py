"""The pointing game: whether the hottest place of an explanation lies on what the answer is about; and its time.

    python benchmarks/explain.py
    python benchmarks/explain.py --methods grad_cam --no-peer

Tux Paint's stamps (eight classes), one pasted with its alpha on a crop of a real photograph at a random place, half as
wide as the picture; a linear layer on frozen features of EfficientNet-Lite0 learns the class. Of the test pictures that
it answers right, the hottest point of the heat on the picture as it came must lie in the stamp's box (Zhang et al.
2018, "Top-down neural attention by excitation backprop", without their 15 pixels of tolerance). Photographs and stamps
of the test are in no training picture. Time: Grad-CAM on the same model and batch beside pytorch-grad-cam (`pip
install grad-cam`), each scaled to the picture's size.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from _data import cache
from _timing import compare, interleave, table, verdict
from PIL import Image
from realdata.photos import source_photos
from realdata.pictures import efficientnet_lite0, write_stamps

import flambeau as fb
from flambeau.core.compat import mend_torchvision
from flambeau.fields.heat import Site, blocks
from flambeau.understand.cam import GradCAM as Ours
from flambeau.understand.explainers import Question, asking

SIDE, STAMP, TEST_PHOTOS, TEST_SHARE, COPIES = 224, 112, 8, 4, 3
POINTED, SLOWER = 0.85, 1.0


def write_pasted(dest: Path) -> Path:
    """`dest/train|test/<class>/<stamp>.png` and `dest/boxes.json`: by file (left, top, right, bottom)."""
    if (dest / "boxes.json").exists():
        return dest
    shutil.rmtree(dest, ignore_errors=True)
    photos, boxes = source_photos(), {}
    generator = np.random.default_rng(0)
    for number, file in enumerate(sorted(write_stamps(cache() / "stamps").rglob("*.png"))):
        split = "test" if number % TEST_SHARE == 0 else "train"
        known = range(TEST_PHOTOS) if split == "test" else range(TEST_PHOTOS, len(photos))
        with Image.open(file) as opened:
            stamp = opened.convert("RGBA")
        stamp = stamp.crop(stamp.getchannel("A").getbbox())
        stamp = stamp.resize([max(8, round(side * STAMP / max(stamp.size))) for side in stamp.size])
        # each on several photographs, so that what is behind it says nothing of the class
        for copy in range(1 if split == "test" else COPIES):
            photo = photos[int(generator.choice(known))]
            scale = SIDE / min(photo.size)
            photo = photo.resize([max(SIDE, round(side * scale)) for side in photo.size])
            left, top = (int(generator.integers(side - SIDE + 1)) for side in photo.size)
            picture = photo.crop((left, top, left + SIDE, top + SIDE)).convert("RGB")
            x, y = (int(generator.integers(SIDE - side + 1)) for side in stamp.size)
            picture.paste(stamp, (x, y), stamp)
            to = dest / split / file.parent.name / f"{number:04}-{copy}.png"
            to.parent.mkdir(parents=True, exist_ok=True)
            picture.save(to)
            boxes[str(to.relative_to(dest))] = [x, y, x + stamp.width, y + stamp.height]
    (dest / "boxes.json").write_text(json.dumps(boxes))
    return dest


def pointing(predictor: fb.Predictor, folder: Path, method: str, most: int) -> dict[str, Any]:
    """{method, right, pictures, pointed, box, seconds}: `pointed` of right answers, `box` what chance would have."""
    boxes = json.loads((folder / "boxes.json").read_text())
    files = sorted(file for file in boxes if file.startswith("test/"))
    files = files[:: max(1, len(files) // most)]
    right, hits, area, seconds = 0, 0, 0.0, 0.0
    for file, said in zip(files, predictor.predict([str(folder / file) for file in files]), strict=True):
        if said.label != Path(file).parent.name:
            continue
        began = time.perf_counter()
        grid = predictor.explain(str(folder / file), method=method).heat.grid
        seconds += time.perf_counter() - began
        y, x = np.unravel_index(int(grid.argmax()), grid.shape)
        left, top, to_right, bottom = boxes[file]
        right, hits = right + 1, hits + (left <= x < to_right and top <= y < bottom)
        area += (to_right - left) * (bottom - top) / SIDE**2
    return {"method": method, "right": right, "pictures": len(files), "pointed": hits / max(right, 1),
            "box": area / max(right, 1), "seconds": seconds / max(right, 1)}  # fmt: skip


def timed(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def beside_peer(model: torch.nn.Module, batch: int, rounds: int) -> tuple[Any, float]:
    """Our seconds against pytorch-grad-cam's, and how far both heats, 0 to 1, are apart at most."""
    mend_torchvision()
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    x = torch.rand(batch, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    ours = Ours()
    question = Question(model.requires_grad_(), x, [Site(x, 0.0, blocks(x))], 3)  # the peer follows weights too
    with asking(model):
        theirs = GradCAM(model, [model.get_submodule(ours.place(question).layer)])
        targets = [ClassifierOutputTarget(3)] * batch

        def mine() -> Any:
            heat = F.interpolate(ours.weigh(question)[0][:, None], (SIDE, SIDE), mode="bilinear")[:, 0]
            low, high = heat.amin((1, 2), True), heat.amax((1, 2), True)
            return ((heat - low) / (high - low + 1e-7)).numpy()

        def peer() -> Any:
            return theirs(input_tensor=x, targets=targets)

        apart = float(np.abs(mine() - peer()).max())
        seconds = interleave({"ours": lambda: timed(mine), "theirs": lambda: timed(peer)}, rounds)
    return compare(seconds["ours"], seconds["theirs"]), apart


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", default="grad_cam,cam,grad_cam_plus_plus")
    parser.add_argument("--pictures", type=int, default=1000, help="test pictures, at most")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--no-peer", action="store_true")
    given = parser.parse_args()
    folder = write_pasted(cache() / f"pasted-stamps-{COPIES}")
    with tempfile.TemporaryDirectory() as temporary:
        learner = fb.Learner(
            fb.Dataset.from_folder(folder), model="timm:tf_efficientnet_lite0", pretrained=str(efficientnet_lite0()),
            techniques=["freeze"], augment="none", epochs=12, run=Path(temporary) / "run",
        )  # fmt: skip
        print(learner.fit())
        predictor = learner.predictor
        rows = [pointing(predictor, folder, method, given.pictures) for method in given.methods.split(",")]
    head = ["method", "right", "of", "pointed", "box", "seconds"]
    print(table([head, *([str(r["method"]), str(r["right"]), str(r["pictures"]), f"{r['pointed']:.3f}",
                          f"{r['box']:.3f}", f"{r['seconds']:.3f}"] for r in rows)]))  # fmt: skip
    told = {r["method"]: r["pointed"] for r in rows}
    checks = {f"grad_cam points at the stamp in {POINTED:.0%}": told.get("grad_cam", 0.0) >= POINTED}
    for batch in () if given.no_peer else (1, 8):
        ratio, apart = beside_peer(predictor.objective.model, batch, given.rounds)
        print(f"batch of {batch}: ours / pytorch-grad-cam {ratio}; heats differ by at most {apart:.3f}")
        checks[f"batch of {batch}: at most {SLOWER:.1f}× the time of pytorch-grad-cam"] = ratio.of_medians <= SLOWER
    for promise, holds in checks.items():
        print(verdict(holds, promise))
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
