"""Models from elsewhere: an archive of a run is downloaded, held against its digest, and unpacked once.

An address says what it should be, as pip's do: `https://models.example/photos.tar#sha256=…`. Without a digest nothing
is fetched, so that nobody who can change what lies there, or what comes over the wire, chooses what is served.
"""

from __future__ import annotations

import contextlib
import fcntl
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import IO, ClassVar
from urllib.parse import unquote, urlsplit

from flambeau.core.errors import RunError, UsageError, first_line
from flambeau.core.files import disk_full_named
from flambeau.core.reporter import QUIET, Reporter
from flambeau.data.clouds import PACKAGES, store_of
from flambeau.data.sources.archives import SUFFIXES, is_archive, unpack
from flambeau.exports.manifest import digest

FETCHED = Path(".flambeau/fetched")
CHUNK = 1 << 20
TRIES = 4
WAIT = 1.0
"""Seconds before the second try; twice as many before each further one."""
SILENCE = 30.0
"""Seconds without a byte after which a connection is given up."""


@dataclass(frozen=True)
class Address:
    """Where an archive of a run lies, and what it must be.

    Attributes:
        place: file://, http://, https://, or an address in a cloud's store (s3://, gs://, az://, abfs://), without the
            digest.
        sha256: of the archive, 64 hexadecimal digits.
    """

    place: str
    sha256: str
    SCHEMES: ClassVar[tuple[str, ...]] = ("file", "http", "https", *PACKAGES)

    @classmethod
    def of(cls, text: str) -> Address | None:
        """An address; None where a text is none, but a path.

        Raises:
            UsageError: it says no digest, has another scheme, or is that of no archive.
        """
        place, _, said = text.partition("#")
        scheme, mark, _ = place.partition("://")
        if not mark:
            return None
        if scheme not in cls.SCHEMES:
            raise UsageError(f"nothing is fetched by {scheme}://", where=_shown(place), expected=", ".join(cls.SCHEMES))
        try:
            path, _ = urlsplit(place).path, urlsplit(place).port
        except ValueError as error:
            raise UsageError(f"this is no address ({error})", where=_shown(place),
                             expected="such as https://models.example:8443/photos.tar") from None  # fmt: skip
        if not is_archive(path):
            raise UsageError(
                "this is no archive of a run", where=_shown(place), expected=f"a name in {', '.join(SUFFIXES)}"
            )
        found = re.fullmatch(r"sha256=([0-9a-fA-F]{64})", said)
        if found is None:
            raise UsageError("the address does not say what the archive must be", where=_shown(place),
                             expected="its digest behind it: ADDRESS#sha256=… (sha256sum tells it)")  # fmt: skip
        return cls(place, found[1].lower())

    @property
    def shown(self) -> str:
        """Its place as it is told of, without what may let people in: names, passwords and signatures."""
        return _shown(self.place)

    @property
    def scheme(self) -> str:
        """What it begins with."""
        return self.place.partition("://")[0]

    @property
    def file(self) -> str:
        """The archive's name."""
        return PurePosixPath(unquote(urlsplit(self.place).path)).name

    @property
    def name(self) -> str:
        """The archive's name without its ending: what a model is called that is not called otherwise."""
        return self.file[: -len(next(s for s in sorted(SUFFIXES, key=len)[::-1] if self.file.lower().endswith(s)))]

    @property
    def port(self) -> int:
        """That it is asked at."""
        return urlsplit(self.place).port or (80 if self.scheme == "http" else 443)

    def __str__(self) -> str:
        return f"{self.place}#sha256={self.sha256}"


def _shown(place: str) -> str:
    """A place without its query and user.

    >>> _shown("https://me:secret@models.example/photos.tar?X-Amz-Signature=12")
    'https://models.example/photos.tar'
    """
    return re.sub(r"://[^/]*@", "://", place.partition("?")[0])


def fetch(address: Address, folder: Path = FETCHED, reporter: Reporter = QUIET) -> Path:
    """The run at an address: downloaded, checked and unpacked into `folder` once. What was downloaded of it before an
    interruption is not downloaded again.

    Raises:
        RunError: it cannot be had, or is not what its digest says. DataError: the archive is damaged. MissingExtra.
    """
    target = folder / f"{address.name}-{address.sha256[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of several that start at once one downloads
        if target.is_dir():
            return target
        part = folder / f".{address.sha256[:16]}-{address.file}"
        _download(address, part, reporter)
        cache = folder / f".{target.name}.unpacked"
        shutil.rmtree(cache, ignore_errors=True)
        try:
            unpack(part, cache).rename(target)
        finally:
            shutil.rmtree(cache, ignore_errors=True)
        part.unlink()
    return target


def _download(address: Address, part: Path, reporter: Reporter) -> None:
    """The archive at an address as a file, which is what its digest says."""
    if part.exists() and digest(part) == address.sha256:
        return  # whole before: only the unpacking was interrupted
    for attempt in range(TRIES):
        begun = part.stat().st_size if part.exists() else 0
        try:
            with disk_full_named(part):
                _append(address, part, begun, reporter)
        except (OSError, HTTPException) as error:
            refused = isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code not in (408, 429)
            if refused or isinstance(error, FileNotFoundError | PermissionError) or attempt == TRIES - 1:
                raise RunError(f"the model cannot be fetched ({first_line(error)})", where=address.shown,
                               fix="see that the address is right and can be reached from here") from None  # fmt: skip
            reporter.say(f"{address.shown}: {first_line(error)}; going on in {WAIT * 2**attempt:g} s", style="yellow")
            time.sleep(WAIT * 2**attempt)
            continue
        found = digest(part)
        if found == address.sha256:
            return
        part.unlink()
        # what lay here of before may have been another's beginning: then it is got anew
        if not begun or attempt == TRIES - 1:
            raise RunError(f"this is not the model that is wanted: its sha256 is {found}", where=address.shown,
                           expected=address.sha256, fix="nothing of it was kept; see who has changed it")  # fmt: skip
    raise AssertionError


def _append(address: Address, part: Path, begun: int, reporter: Reporter) -> None:
    """Downloads what is missing of a file."""
    with _opened(address, begun) as (source, start, total):
        if total is not None and total - start > (free := shutil.disk_usage(part.parent).free):
            raise RunError(f"the archive has {total / 2**20:,.0f} MiB", where=address.shown,
                           expected=f"at most {free / 2**20:,.0f} MiB, which are free in {part.parent}")  # fmt: skip
        with part.open("r+b" if start else "wb") as file, reporter.bar(f"fetching {address.file}", total) as bar:
            file.seek(start)
            done = start
            while block := source.read(CHUNK):
                file.write(block)
                done += len(block)
                bar.update(done)
            file.truncate()
    if total is not None and done < total:
        raise OSError(f"the connection ended after {done:,} of {total:,} bytes")


@contextlib.contextmanager
def _opened(address: Address, begun: int) -> Iterator[tuple[IO[bytes], int, int | None]]:
    """(what is read, the byte it begins at, how many there are): from byte `begun` on where that can be."""
    if address.scheme in ("http", "https"):
        headers = {"User-Agent": "flambeau", **({"Range": f"bytes={begun}-"} if begun else {})}
        try:
            answer = urllib.request.urlopen(urllib.request.Request(address.place, headers=headers), timeout=SILENCE)
        except urllib.error.HTTPError as error:
            if not begun or error.code != 416:
                raise
            answer, begun = urllib.request.urlopen(address.place, timeout=SILENCE), 0  # nothing is behind it
        with answer:
            start = begun if answer.status == 206 else 0
            length = answer.headers.get("Content-Length")
            yield answer, start, start + int(length) if length else None
        return
    if address.scheme == "file":
        path = Path(unquote(urlsplit(address.place).path))
        with path.open("rb") as file:
            yield file, 0, path.stat().st_size
        return
    store = store_of(address.scheme)
    try:
        total = int(store.info(address.place)["size"])
        begun = begun if begun < total else 0
        with store.open(address.place, "rb") as file:
            file.seek(begun)
            yield file, begun, total
    except (OSError, RunError):
        raise
    except Exception as error:  # noqa: BLE001 -- of the libraries of the clouds, which have families of their own
        raise OSError(f"{type(error).__name__}: {first_line(error)}") from None
