"""Archives of folders: unpacked beside the stores, never outside their folder, never more than the disk can take."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from flambeau.core.errors import DataError, needed
from flambeau.core.files import check_regular, disk_full_named
from flambeau.data.sources.walk import is_hidden
from flambeau.fields.language.charsets import detect

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")
MAX_MEMBERS = 5_000_000
UTF8 = 0x800  # the flag of a zip's member whose name is in UTF-8
COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
BOMB_BYTES, BOMB_RATIO = 1 << 30, 300
"""A single file that is larger than this, and by so many times larger than when compressed, holds no data."""


def is_archive(path: str | Path) -> bool:
    """Whether a file's name ends as an archive's does."""
    return str(path).lower().endswith(SUFFIXES)


def inner_suffix(path: str | Path) -> str:
    """The ending of a file's name, in small letters; where the file is compressed, that before it.

    >>> inner_suffix("rows.CSV.gz"), inner_suffix("rows.csv")
    ('.csv', '.csv')
    """
    file = Path(path)
    return (Path(file.stem) if file.suffix.lower() in COMPRESSED else file).suffix.lower()


def decompressed(path: str | Path) -> Path:
    """A file as it is; where its name says that it is compressed (.csv.gz, .tsv.zst, …), the file that it holds, which
    is unpacked once.

    Raises:
        DataError: it is damaged, or would fill the disk. MissingExtra.
    """
    file = Path(path)
    return unpack(file) / file.stem if file.suffix.lower() in COMPRESSED and not is_archive(file) else file


def unpack(path: str | Path, cache: Path = Path(".flambeau/archives")) -> Path:
    """The folder that an archive was unpacked into, once; a changed archive is unpacked anew.

    Raises:
        DataError: it is damaged, or a member points outside it, is a link, or would fill the disk. Nothing is kept.
    """
    file = Path(path)
    if not file.exists():
        raise DataError("there is no such file", where=path, code="not-found")
    check_regular(file)
    status = file.stat()
    key = hashlib.sha256(f"{file.resolve()}|{status.st_size}|{status.st_mtime_ns}".encode()).hexdigest()[:16]
    folder = cache / f"{file.name.split('.')[0]}-{key}"
    if folder.exists():
        return _only_folder(folder)
    cache.mkdir(parents=True, exist_ok=True)
    temporary = cache / f".{folder.name}.{os.getpid()}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        with disk_full_named(folder):
            if file.suffix.lower() == ".zip":
                _unzip(file, temporary)
            elif not is_archive(file):
                _expand(file, temporary / file.stem)
            else:
                _untar(file, temporary)
        temporary.rename(folder)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
        raise DataError(f"the archive is damaged ({error})", where=path, fix="get it again") from None
    except (RuntimeError, NotImplementedError) as error:  # zipfile on a password or a rare compression
        raise DataError(f"the archive cannot be read ({error})", where=path, fix="pack the folder again") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return _only_folder(folder)


def _only_folder(folder: Path) -> Path:
    """Where an archive holds one folder only, that is the data."""
    inside = [p for p in folder.iterdir() if not is_hidden(p.name)]
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder


def inside(root: Path, name: str, archive: Path) -> Path:
    """Where a member called `name` goes under `root`.

    Raises:
        DataError: the name leads out of `root`, by itself or through a link that someone has put there.
    """
    parts = PurePosixPath(name)
    target = root / name
    outside = parts.is_absolute() or ".." in parts.parts or "\\" in name or bool(PureWindowsPath(name).drive)
    if outside or not target.resolve().is_relative_to(root.resolve()):
        raise DataError(
            f"its member {name!r} leads out of the folder; it was not written",
            where=archive,
            fix="do not trust this archive; pack the folder again",
        )
    return target


def _check_size(total: int, members: int, root: Path, archive: Path) -> None:
    allowed = shutil.disk_usage(root).free // 2
    if total > allowed or members > MAX_MEMBERS:
        raise DataError(
            f"the archive would unpack to {total / 2**30:.1f} GiB in {members:,} files",
            where=archive,
            expected=f"at most {allowed / 2**30:.1f} GiB, half of what is free",
        )


def _unzip(file: Path, root: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        _check_size(sum(m.file_size for m in members), len(members), root, file)
        targets = [inside(root, name, file) for name in _names(members)]
        for member, target in zip(members, targets, strict=True):
            if member.is_dir():
                continue
            if stat.S_ISLNK(member.external_attr >> 16):
                raise DataError(f"the member '{member.filename}' is a link", where=file, fix="pack files only")
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, target.open("wb") as out:
                # zipfile stops at the declared size, so the sum above holds
                shutil.copyfileobj(source, out, 1 << 20)


def _names(members: list[zipfile.ZipInfo]) -> list[str]:
    """What the members of a zip are called: names that are not said to be UTF-8 are in the encoding that all of them
    look like, as Windows in Chinese and macOS pack them."""
    unsaid = {m.filename: m.filename.encode("cp437", "replace") for m in members
              if not m.flag_bits & UTF8 and not m.filename.isascii()}  # fmt: skip
    encoding = detect(b"\n".join(unsaid.values())) if unsaid else ""
    if encoding not in ("utf-8", "gb18030"):
        return [m.filename for m in members]
    known = {name: raw.decode(encoding, "replace") for name, raw in unsaid.items()}
    return [known.get(m.filename, m.filename) for m in members]


def _expand(file: Path, target: Path) -> None:
    """A compressed file; how large it will be is known only by unpacking it."""
    suffix = file.suffix.lower()
    if suffix == ".zst":
        zstandard: Any = needed("zstandard", "tables", "reading .zst files")
        opened: Any = zstandard.open(file, "rb")
        damaged: type[Exception] = zstandard.ZstdError
    else:
        openers: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
        opened, damaged = openers[suffix](file, "rb"), EOFError
    written, packed = 0, file.stat().st_size
    with opened as source, target.open("wb") as out:
        try:
            while block := source.read(1 << 20):
                written += len(block)
                _check_size(written, 1, target.parent, file)
                if written > max(BOMB_BYTES, BOMB_RATIO * packed):
                    raise DataError(f"the archive would unpack to over {BOMB_RATIO} times its size", where=file,
                                    fix="unpack it yourself if that is right")  # fmt: skip
                out.write(block)
        except damaged as error:
            raise OSError(str(error)) from None


def _untar(file: Path, root: Path) -> None:
    with tarfile.open(file) as archive:
        total = 0
        for count, member in enumerate(archive):
            target = inside(root, member.name, file)
            if member.isdir():
                continue
            if not member.isfile():
                raise DataError(f"the member '{member.name}' is a link or a device", where=file, fix="pack files only")
            total += member.size
            _check_size(total, count, root, file)
            source = archive.extractfile(member)
            assert source is not None
            target.parent.mkdir(parents=True, exist_ok=True)
            with source, target.open("wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
