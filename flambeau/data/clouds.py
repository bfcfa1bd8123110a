"""Data and runs in a cloud's store (`s3://`, `gs://`, `az://`), by fsspec: copied here once, and there at the end."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from flambeau.core.errors import DataError, MissingExtra, RunError, first_line

PACKAGES = {"s3": ("s3fs", "s3"), "gs": ("gcsfs", "gs"), "az": ("adlfs", "azure"), "abfs": ("adlfs", "azure")}
"""Of each scheme the package that speaks it, and the extra that brings it."""
CACHE = Path(".flambeau/clouds")
ADDRESS = re.compile(rf"({'|'.join(PACKAGES)}):/+(?=[^/])")
STAMPS = ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "mtime", "updated")
"""What stores say of a file's contents."""


def is_cloud(path: object) -> bool:
    """Whether a path is an address in a cloud's store, of which a Path leaves one slash.

    >>> is_cloud("s3://bucket/a.csv"), is_cloud(Path("gs://bucket/a")), is_cloud("a.csv")
    (True, True, False)
    """
    return isinstance(path, (str, Path)) and ADDRESS.match(str(path)) is not None


def address_of(path: str | Path) -> str:
    """An address as it is written.

    >>> address_of(Path("s3://bucket/photos"))
    's3://bucket/photos'
    """
    return ADDRESS.sub(r"\1://", str(path), count=1)


def store_of(scheme: str) -> Any:
    """The file system of a cloud, by what the environment says of who asks. Raises MissingExtra."""
    try:
        import fsspec

        return fsspec.filesystem(scheme, skip_instance_cache=True)
    except ImportError:
        raise MissingExtra(*PACKAGES[scheme], f"what lies at {scheme}://") from None


def fetched(path: str | Path, cache: Path = CACHE) -> Path:
    """The file or folder at an address, copied into `cache` once; what has changed there is copied anew.

    Raises:
        DataError: nothing is there, it cannot be read, does not fit on the disk, or a name in it leads out of it.
        MissingExtra.
    """
    address = address_of(path)
    store = store_of(address.partition("://")[0])
    with _told(address, DataError):
        top = store._strip_protocol(address)
        whole = store.info(address)["type"] == "file"
        files = {top: store.info(address)} if whole else store.find(address, detail=True)
        if not files:
            raise DataError("nothing is there", where=address)
        stamps = sorted(
            (name, info["size"], *(str(info.get(stamp)) for stamp in STAMPS)) for name, info in files.items()
        )
        key = hashlib.sha256(repr(stamps).encode()).hexdigest()[:16]
        folder = cache / f"{PurePosixPath(top).stem}-{key}"
        target = folder / PurePosixPath(top).name
        if folder.exists():
            return target
        size, temporary = sum(info["size"] for info in files.values()), cache / f".{folder.name}.{os.getpid()}.tmp"
        temporary.mkdir(parents=True)
        try:
            if size > (free := shutil.disk_usage(cache).free):
                raise DataError(f"it has {size / 2**20:,.0f} MiB", where=address,
                                expected=f"at most {free / 2**20:,.0f} MiB, which are free in {cache}")  # fmt: skip
            for name, info in files.items():
                inside = temporary / PurePosixPath(top).name / ("" if whole else name.removeprefix(f"{top}/"))
                if ".." in PurePosixPath(name).parts or not inside.resolve().is_relative_to(temporary.resolve()):
                    raise DataError(f"the name {name} leads out of its folder", where=address)
                inside.parent.mkdir(parents=True, exist_ok=True)
                store.get_file(name, str(inside))
                changed = info.get("LastModified") or info.get("last_modified")
                if hasattr(changed, "timestamp"):  # as it is there, on every machine
                    os.utime(inside, (changed.timestamp(), changed.timestamp()))
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return target


def send(folder: Path, path: str | Path) -> None:
    """Copies a run to an address, all but hidden files; what was there of the same names is replaced.

    Raises:
        RunError: it cannot be written there. MissingExtra.
    """
    address = address_of(path)
    store = store_of(address.partition("://")[0])
    with _told(address, RunError):
        for file in sorted(folder.rglob("*")):
            inside = file.relative_to(folder)
            if file.is_file() and not any(part.startswith(".") for part in inside.parts):
                store.put_file(str(file), f"{address.rstrip('/')}/{inside.as_posix()}")


@contextlib.contextmanager
def copied_to(path: str | Path | None, folder: Path | None) -> Iterator[None]:
    """Copies a run's folder to an address when the block ends: stopped or failed too, with its checkpoints."""
    try:
        yield
    finally:
        if path is not None and folder is not None and (folder / "recipe.yaml").exists():
            send(folder, path)


@contextlib.contextmanager
def _told(address: str, kind: type[DataError] | type[RunError]) -> Iterator[None]:
    try:
        yield
    except (DataError, RunError, MissingExtra):
        raise
    except FileNotFoundError:
        raise kind("nothing is there", where=address) from None
    except Exception as error:  # noqa: BLE001 -- of the libraries of the clouds, which have families of their own
        found = f"the store does not answer as it should ({type(error).__name__}: {first_line(error)})"
        fix = "see that the address is right, and what lets you in (AWS_…, GOOGLE_…, AZURE_STORAGE_…)"
        raise kind(found, where=address, fix=fix) from None
