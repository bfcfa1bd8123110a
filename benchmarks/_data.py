"""The data that the benchmarks run on, made once from real pictures and kept in a cache folder."""

from __future__ import annotations

import sys
from pathlib import Path


def cache() -> Path:
    """Where made data is kept: beside the packages that it is made from, outside the repository."""
    from flambeau.data.realdata import default_cache

    return default_cache().parent / "benchmarks"


def cached_photos(count: int) -> Path:
    """A folder of class folders with `count` JPEGs of about 500×375, no two alike."""
    from flambeau.data.realdata import write_photos

    folder = cache() / f"photos-{count}"
    if not folder.exists():
        print(f"making {count} photos in {folder}", file=sys.stderr, flush=True)
        unfinished = folder.with_name(folder.name + ".part")
        write_photos(unfinished, count=count)
        unfinished.rename(folder)
    return folder
