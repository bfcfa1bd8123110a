"""Reading wheels, tarballs and Debian packages as plain archives: nothing in them is ever run."""

from __future__ import annotations

import gzip
import io
import lzma
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, BinaryIO, cast

from flambeau.core.errors import DataError
from flambeau.core.files import disk_full_named
from flambeau.data.sources.archives import inside


def members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Each regular file of a .whl, .zip, .tgz, .tar.* or .deb: its path inside, and its bytes to read.

    A stream is valid until the next one is asked for. Links, devices and folders are left out.
    """
    if archive.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(archive) as bundle:
            for info in bundle.infolist():
                if not info.is_dir():
                    with bundle.open(info) as stream:
                        yield info.filename, stream
    elif archive.suffix == ".deb":
        with _debian_data(archive) as data, tarfile.open(fileobj=data, mode="r|") as tar:
            yield from _tar_members(tar)
    else:
        with tarfile.open(archive) as tar:
            yield from _tar_members(tar)


@contextmanager
def _damage_named(archive: Path) -> Iterator[None]:
    """Around the reading of members too: damage shows when bytes are read, not when a file is opened."""
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error, gzip.BadGzipFile, EOFError) as error:
        raise DataError(f"the archive cannot be read ({error})", where=archive) from error


def extract_archive(archive: Path, patterns: Sequence[str], dest: Path) -> list[Path]:
    """Writes the files whose path inside matches one of `patterns` to the same path under `dest`.

    `*` in a pattern also matches "/". Only regular files are written, each under a temporary name first.

    Returns:
        The written files, in the archive's order.

    Raises:
        DataError: a matching member's path leads out of `dest` (it is not written), nothing matches, or the
            archive is damaged.
    """
    written = []
    with _damage_named(archive):
        for name, stream in members(archive):
            inner = _plain(name)
            if any(fnmatchcase(inner, _plain(pattern)) for pattern in patterns):
                target = inside(dest, name, archive)
                _write(stream, target)
                written.append(target)
    if not written:
        raise DataError(f"no file in it matches {', '.join(patterns)}", where=archive)
    return written


def unpack_once(archive: Path, patterns: Sequence[str], dest: Path) -> Path:
    """The folder `dest` with the matching files, extracted at the first call; whole or absent."""
    if not dest.is_dir():
        dest.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=dest.parent, prefix=f".{dest.name}-") as temporary:
            fresh = Path(temporary) / "files"
            extract_archive(archive, patterns, fresh)
            rename_unless_there(fresh, dest)
    return dest


def rename_unless_there(fresh: Path, dest: Path) -> None:
    """Renames a finished folder into place; where another process was faster, its folder stays."""
    try:
        fresh.rename(dest)
    except OSError:
        if not dest.is_dir():
            raise


def read_member(archive: Path, inner_path: str) -> BinaryIO:
    """The bytes of one file of the archive, in memory.

    Raises:
        DataError: there is no such file in it, or the archive is damaged.
    """
    wanted = _plain(inner_path)
    with _damage_named(archive):
        for name, stream in members(archive):
            if _plain(name) == wanted:
                return io.BytesIO(stream.read())
    raise DataError(f"there is no file {inner_path} in it", where=archive)


def _plain(name: str) -> str:
    """A path as it is compared: Debian packages say ./usr/…, users say /usr/… or usr/…"""
    return name.removeprefix(".").removeprefix("/") if name.startswith(("./", "/")) else name


def _write(stream: IO[bytes], target: Path) -> None:
    """Copies a stream to `target`, which is whole or absent."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.part")
    with disk_full_named(target):
        try:
            with temporary.open("wb") as out:
                shutil.copyfileobj(stream, out, 1 << 20)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


def _tar_members(tar: tarfile.TarFile) -> Iterator[tuple[str, IO[bytes]]]:
    for member in tar:
        if member.isreg():
            stream = tar.extractfile(member)
            if stream is not None:
                yield member.name, stream


@contextmanager
def _debian_data(package: Path) -> Iterator[BinaryIO]:
    """The data tarball of a .deb, decompressed as it is read. A .deb is an `ar` archive (man 5 deb)."""
    with package.open("rb") as handle:
        if handle.read(8) != b"!<arch>\n":
            raise DataError("the file is not a Debian package", where=package)
        while header := handle.read(60):
            if len(header) < 60 or header[58:] != b"`\n":
                break
            name, size = header[:16].decode("ascii", "replace").strip().rstrip("/"), int(header[48:58])
            if name == "data.tar.xz":
                with lzma.open(io.BufferedReader(_Section(handle, size), 1 << 20)) as data:
                    yield cast(BinaryIO, data)
                return
            handle.seek(size + size % 2, io.SEEK_CUR)  # members start at even offsets
    raise DataError("there is no data.tar.xz in the package", where=package)


class _Section(io.RawIOBase):
    """The next `size` bytes of a file, as a file of their own."""

    def __init__(self, handle: BinaryIO, size: int):
        self._handle, self._left = handle, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        data = self._handle.read(min(self._left, len(buffer)))
        buffer[: len(data)] = data
        self._left -= len(data)
        return len(data)
