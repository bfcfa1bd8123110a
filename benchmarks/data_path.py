"""How fast pictures reach the model: the first pass, later epochs, the gather alone; ours and the peers'.

    .venv-peers/bin/python benchmarks/data_path.py
    .venv-peers/bin/python benchmarks/data_path.py --photos my-photos/ --only first
    .venv-peers/bin/python benchmarks/data_path.py --only augmented,plain --rounds 5

Four parts, each in images a second, each figure a process of its own:

first      decode and resize every photo once. Ours writes its store (to disk, synced). Beside it the same
           decode and resize in a bare loop of threads that fills an array, and that loop with Pillow alone.
augmented  the epochs after the first, with random resized crop, flip and colour jitter. torchvision and
           fastai decode each JPEG again in each epoch, in two worker processes; ours gathers from the store.
plain      the same without augmentation: decode, resize, normalise.
gather     picking random rows out of a store of 224-px pictures, on one core.

The peers crop out of the full photo, ours out of the picture as it is stored. All files are in the
page cache: each figure reads them before it times anything.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

from _data import cached_photos
from _timing import compare, interleave, parser, run_child, speaker, summary, table, verdict

SIZE, BATCH, JITTER = 128, 64, 0.4
LARGE = 224
OUR_AUGMENTATION = {  # torchvision's RandomResizedCrop, RandomHorizontalFlip and ColorJitter as they come
    "random_resized_crop": (0.08, 1.0),
    "horizontal_flip": 0.5,
    "brightness": JITTER,
    "contrast": JITTER,
    "saturation": JITTER,
}
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def photo_files(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*.jpg"))


def read_through(files: Iterable[str]) -> None:
    """Reads every file once, so that all of them come out of the page cache later."""
    for file in files:
        Path(file).read_bytes()


# ---- first pass


def first_flambeau(photos: Path, options: argparse.Namespace) -> float:
    """Encoding into a store on disk, as before a first training."""
    from flambeau.data.dataset import Dataset
    from flambeau.data.store.encode import EncodeOptions, encode
    from flambeau.fields import Image

    dataset = Dataset.from_folder(photos, fields={"image": Image(size=SIZE)})
    dataset.fit()
    with tempfile.TemporaryDirectory(dir=".") as cache:
        started = time.perf_counter()
        store = encode(dataset, EncodeOptions(cache=Path(cache), threads=options.threads))
        elapsed = time.perf_counter() - started
        assert len(store.good) == len(dataset)
    return len(dataset) / elapsed


def in_threads(files: Sequence[str], threads: int, one: Callable[[str], Any]) -> float:
    """Images a second of `one` over all files, in threads, the results into one array."""
    import numpy as np

    out = np.empty((len(files), SIZE, SIZE, 3), np.uint8)

    def work(offset: int) -> None:
        for row in range(offset, len(files), threads):
            out[row] = one(files[row])

    with ThreadPoolExecutor(threads) as pool:
        started = time.perf_counter()
        list(pool.map(work, range(threads)))
        elapsed = time.perf_counter() - started
    assert out.any(axis=(1, 2, 3)).all()
    return len(files) / elapsed


def first_bare(photos: Path, options: argparse.Namespace) -> float:
    """simplejpeg at the smallest scale not below the size, then Pillow's resize: what the store does too."""
    import numpy as np
    import simplejpeg
    from PIL import Image

    def one(file: str) -> Any:
        with open(file, "rb") as handle:  # noqa: PTH123 -- a Path costs 10 µs
            data = handle.read()
        array = simplejpeg.decode_jpeg(data, min_height=SIZE, min_width=SIZE, min_factor=1)
        return np.asarray(Image.fromarray(array).resize((SIZE, SIZE), Image.Resampling.BILINEAR, reducing_gap=3.0))

    return in_threads(photo_files(photos), options.threads, one)


def first_pillow(photos: Path, options: argparse.Namespace) -> float:
    """Pillow's decode and resize, as in most people's loaders."""
    import numpy as np
    from PIL import Image

    def one(file: str) -> Any:
        with Image.open(file) as picture:
            return np.asarray(picture.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR))

    return in_threads(photo_files(photos), options.threads, one)


def first_pillow_draft(photos: Path, options: argparse.Namespace) -> float:
    """The same by somebody who knows Pillow well: `draft` lets libjpeg decode at a smaller scale."""
    import numpy as np
    from PIL import Image

    def one(file: str) -> Any:
        with Image.open(file) as picture:
            picture.draft("RGB", (SIZE, SIZE))
            small = picture.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR, reducing_gap=3.0)
            return np.asarray(small)

    return in_threads(photo_files(photos), options.threads, one)


# ---- later epochs


def rate_of_epochs(epoch: Callable[[], Iterable[Any]], size_of: Callable[[Any], int], epochs: int) -> float:
    """Images a second over `epochs` epochs, after one that is not counted."""
    for _ in epoch():
        pass
    seen = 0
    started = time.perf_counter()
    for _ in range(epochs):
        for batch in epoch():
            seen += size_of(batch)
    return seen / (time.perf_counter() - started)


def later_flambeau(photos: Path, options: argparse.Namespace, augmented: bool) -> float:
    from flambeau.core.randomness import generator
    from flambeau.data.batches import Batches
    from flambeau.data.dataset import Dataset
    from flambeau.data.store.encode import EncodeOptions, encode
    from flambeau.fields import Image

    field = Image(size=SIZE, augment=OUR_AUGMENTATION if augmented else None)
    dataset = Dataset.from_folder(photos, split="none", fields={"image": field})
    dataset.fit()
    store = encode(dataset, EncodeOptions(cache=Path("store")))
    batches = Batches(store, store.good, BATCH, seed=0)
    number = 0

    def epoch() -> Iterable[Any]:
        nonlocal number
        number += 1
        for step, (_, gathered) in enumerate(batches.epoch(number)):
            random = generator(0, "augment", number, step)
            yield field.prepare(gathered["image"], training=True, generator=random), gathered["label"]

    return rate_of_epochs(epoch, lambda batch: len(batch[0]), options.epochs * 5)


def torchvision_loader(photos: Path, options: argparse.Namespace, transform: Any) -> float:
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder

    loader = DataLoader(
        ImageFolder(photos, transform),
        batch_size=BATCH,
        shuffle=True,
        num_workers=options.workers,
        persistent_workers=options.workers > 0,
    )
    return rate_of_epochs(lambda: loader, lambda batch: len(batch[0]), options.epochs)


def later_torchvision(photos: Path, options: argparse.Namespace, augmented: bool) -> float:
    """ImageFolder and DataLoader with the transforms that tutorials have, on PIL images."""
    from torchvision import transforms as T

    if augmented:
        steps = [T.RandomResizedCrop(SIZE), T.RandomHorizontalFlip(), T.ColorJitter(JITTER, JITTER, JITTER)]
    else:
        steps = [T.Resize((SIZE, SIZE))]
    return torchvision_loader(photos, options, T.Compose([*steps, T.ToTensor(), T.Normalize(MEAN, STD)]))


def later_torchvision_v2(photos: Path, options: argparse.Namespace, augmented: bool) -> float:
    """The same with transforms.v2 on uint8 tensors, as torchvision's documentation advises for speed."""
    import torch
    from torchvision.transforms import v2

    if augmented:
        steps = [
            v2.RandomResizedCrop(SIZE, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(JITTER, JITTER, JITTER),
        ]
    else:
        steps = [v2.Resize((SIZE, SIZE), antialias=True)]
    transform = v2.Compose([v2.ToImage(), *steps, v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])
    return torchvision_loader(photos, options, transform)


def later_fastai(photos: Path, options: argparse.Namespace, augmented: bool) -> float:
    from fastai.vision.all import (
        ImageDataLoaders,
        Normalize,
        RandomResizedCrop,
        Resize,
        ResizeMethod,
        Saturation,
        aug_transforms,
    )

    # The flip, brightness and contrast of aug_transforms, without its rotation, zoom and warp.
    lean = aug_transforms(max_rotate=0.0, max_zoom=1.0, max_warp=0.0, max_lighting=JITTER, p_lighting=1.0)
    dls = ImageDataLoaders.from_folder(
        photos,
        valid_pct=0.02,
        seed=0,
        bs=BATCH,
        num_workers=options.workers,
        item_tfms=RandomResizedCrop(SIZE) if augmented else Resize(SIZE, method=ResizeMethod.Squish),
        batch_tfms=[*([*lean, Saturation(JITTER, p=1.0)] if augmented else []), Normalize.from_stats(MEAN, STD)],
    )
    return rate_of_epochs(lambda: dls.train, lambda batch: len(batch[0]), options.epochs)


# ---- the gather


def gather(photos: Path, options: argparse.Namespace) -> float:
    """Random batches out of a memory-mapped store of 224-px pictures, in one thread."""
    import torch

    from flambeau.data.batches import Batches
    from flambeau.data.dataset import Dataset
    from flambeau.data.store.encode import EncodeOptions, encode
    from flambeau.fields import Image

    dataset = Dataset.from_folder(photos, split="none", fields={"image": Image(size=LARGE)})
    dataset.fit()
    store = encode(dataset, EncodeOptions(cache=Path("store")))
    torch.set_num_threads(1)
    batches = Batches(store, store.good, BATCH, seed=0)
    number = 0

    def epoch() -> Iterable[Any]:
        nonlocal number
        number += 1
        return batches.epoch(number)

    return rate_of_epochs(epoch, lambda batch: len(batch[0]), options.epochs * 5)


Figure = Callable[[Path, argparse.Namespace], float]


def later(function: Callable[[Path, argparse.Namespace, bool], float], augmented: bool) -> Figure:
    return lambda photos, options: function(photos, options, augmented)


PARTS: dict[str, dict[str, Figure]] = {
    "first": {
        "flambeau": first_flambeau,
        "bare loop": first_bare,
        "Pillow": first_pillow,
        "Pillow with draft": first_pillow_draft,
    },
    **{
        name: {
            "flambeau": later(later_flambeau, augmented),
            "torchvision": later(later_torchvision, augmented),
            "torchvision v2": later(later_torchvision_v2, augmented),
            "fastai": later(later_fastai, augmented),
        }
        for name, augmented in (("augmented", True), ("plain", False))
    },
    "gather": {"flambeau": gather},
}
PROMISED: dict[str, dict[str, float]] = {
    "first": {"bare loop": 0.9, "Pillow": 1.5},
    "augmented": {"torchvision": 3.0, "torchvision v2": 3.0, "fastai": 3.0},
    "plain": {"torchvision": 8.0, "torchvision v2": 8.0, "fastai": 8.0},
}
GATHERS = 10_000  # images a second and core


def main() -> int:
    arguments = parser(__doc__, rounds=3)
    arguments.add_argument("--photos", type=Path, help="a folder of class folders of JPEGs; made if not given")
    arguments.add_argument("--count", type=int, default=2000, help="photos to make (default 2000)")
    arguments.add_argument("--epochs", type=int, default=1, help="epochs that a peer is timed for (default 1)")
    arguments.add_argument("--threads", type=int, default=2, help="decoding threads of the first pass (default 2)")
    arguments.add_argument("--workers", type=int, default=2, help="worker processes of the peers (default 2)")
    arguments.add_argument("--only", help="parts with commas between: " + ", ".join(PARTS))
    arguments.add_argument("--without", default="", help="competitors to leave out, with commas between")
    arguments.add_argument("--figure", help=argparse.SUPPRESS)
    arguments.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.figure:
        from flambeau.core.compat import mend_torchvision

        mend_torchvision()
        part, name = options.figure.split("/")
        read_through(photo_files(options.photos))
        options.out.write_text(json.dumps({"rate": PARTS[part][name](options.photos, options)}))
        return 0
    parts = options.only.split(",") if options.only else list(PARTS)
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        print(f"no part is called {unknown[0]!r}; known: {', '.join(PARTS)}", file=sys.stderr)
        return 2
    photos = options.photos.resolve() if options.photos else cached_photos(options.count)
    return 0 if all([report(part, photos, options) for part in parts]) else 1


def report(part: str, photos: Path, options: argparse.Namespace) -> bool:
    """Measures and prints one part; whether its promises hold."""
    left_out = options.without.split(",")

    def competitor(name: str) -> Callable[[], float]:
        command = [str(Path(__file__).resolve()), "--figure", f"{part}/{name}", "--photos", str(photos)]
        command += [f"--{key}={getattr(options, key)}" for key in ("epochs", "threads", "workers")]
        return lambda: float(run_child(command)["rate"])

    competitors = {name: competitor(name) for name in PARTS[part] if name not in left_out}
    figures = interleave(competitors, options.rounds, speaker(options.quiet))
    ours = figures.get("flambeau")
    if options.json:
        print(json.dumps({"part": part, "unit": "images/s", **{n: summary(v) for n, v in figures.items()}}))
    else:
        rows = [(part, "images/s", "min", "max", "ours / this (one round)")]
        for name, rates in figures.items():
            ratio = str(compare(ours, rates)) if ours and name != "flambeau" else ""
            rows.append((name, f"{median(rates):,.0f}", f"{min(rates):,.0f}", f"{max(rates):,.0f}", ratio))
        print(table(rows))
    if ours is None:
        return True
    holds = True
    if part == "gather":
        holds = median(ours) >= GATHERS
        verdicts = [verdict(holds, f"promised at least {GATHERS:,} images a second and core")]
    else:
        verdicts = []
        for name, promised in PROMISED[part].items():
            if name in figures:
                fulfilled = compare(ours, figures[name]).of_medians >= promised
                verdicts.append(verdict(fulfilled, f"promised at least {promised}× {name}"))
                holds = holds and fulfilled
    if not options.json:
        print("\n".join(verdicts) + "\n")
    return holds


if __name__ == "__main__":
    sys.exit(main())
