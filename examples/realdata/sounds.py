"""Sounds of the catalogue: spoken names in eight languages, spoken digits, drums and other samples."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from realdata import unpacked
from realdata.pictures import write_once

LANGUAGES = ("be", "bg", "ca", "el", "es", "fr", "ro", "ru")
"""The eight languages in which most of Tux Paint's stamps are spoken."""
SAMPLES = "usr/share/sonic-pi/samples"
STAMPS = "usr/share/tuxpaint/stamps"


def write_stamps_speech(
    dest: Path | str, languages: Sequence[str] = LANGUAGES, each: int = 250, *, cache: Path | None = None
) -> Path:
    """Names of Tux Paint's stamps, spoken in eight languages, as `dest/<language>-<stamp>.ogg`, `each` of each.

    Of each language the first different recordings by the stamps' names. One stamp is spoken in all languages: split
    by it, so that what is said does not tell the language. Read with `pattern="{class}-{stamp}"`. Raises as `fetch`.
    """

    def write(folder: Path) -> None:
        root = unpacked("tuxpaint-stamps-default", [f"{STAMPS}/*.ogg"], label="ogg", cache=cache) / STAMPS
        for language in languages:
            seen: set[bytes] = set()
            for file in sorted(root.rglob(f"*_desc_{language}.ogg")):
                content = hashlib.sha256(file.read_bytes()).digest()
                if content in seen or len(seen) == each:
                    continue  # several stamps, such as a frog from two sides, share one recording
                seen.add(content)
                stamp = ".".join(file.relative_to(root).parts).removesuffix(f"_desc_{language}.ogg")
                stamp = stamp.replace("-", "_")  # a hyphen parts the names of the pattern
                shutil.copyfile(file, folder / f"{language}-{stamp}.ogg")

    return write_once(Path(dest), {"set": "stamps speech", "languages": list(languages), "each": each}, write)


def write_spoken_digits(dest: Path | str, *, cache: Path | None = None) -> Path:
    """Digits spoken in 21 languages, about ten of each, as `dest/<digit>-<language>.ogg`.

    Read with `pattern="{class}-{language}"`. Raises as `fetch`.
    """

    def write(folder: Path) -> None:
        root = unpacked("tuxpaint-stamps-default", [f"{STAMPS}/*.ogg"], label="ogg", cache=cache) / STAMPS
        for file in sorted((root / "symbols" / "math").glob("*.ogg")):
            if match := re.fullmatch(r"([0-9])_((?!desc_)\w+)\.ogg", file.name):
                shutil.copyfile(file, folder / f"{match[1]}-{match[2]}.ogg")

    return write_once(Path(dest), {"set": "spoken digits"}, write)


def write_sonic_pi(dest: Path | str, least: int = 10, *, cache: Path | None = None) -> Path:
    """Sonic Pi's samples (CC0), as `dest/<class>/<name>.flac`; classes of at least so many. Raises as `fetch`."""

    def write(folder: Path) -> None:
        root = unpacked("sonic-pi-samples", [f"{SAMPLES}/*.flac"], cache=cache) / SAMPLES
        files = sorted(root.glob("*.flac"))
        counts = Counter(file.name.partition("_")[0] for file in files)
        for file in files:
            name = file.name.partition("_")[0]
            if counts[name] >= least:
                (folder / name).mkdir(exist_ok=True)
                shutil.copyfile(file, folder / name / file.name)

    return write_once(Path(dest), {"set": "sonic-pi", "least": least}, write)
