"""Packages that run exports elsewhere: fetched once, verified, kept with the real data."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from realdata import Unreachable, fetch
from realdata.catalogue import Package

WEB = Package(
    "npm", "onnxruntime-web", "1.30.0", "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71", 33_106_585,
    "MIT", "ONNX Runtime for browsers", "package/dist",
)  # fmt: skip
HEADERS = Package(
    "npm", "com.github.asus4.onnxruntime", "0.4.9",
    "e59788788818fdde1b2e522e766a21ba0f7d8391de55737abf81e32cc801785d", 149_786_233, "MIT",
    "ONNX Runtime for Unity, which has its headers for C++",
    "package/Plugins/iOS~/onnxruntime.xcframework/ios-arm64_x86_64-simulator/onnxruntime.framework/Headers",
)  # fmt: skip


def unpacked(package: Package, endings: str | tuple[str, ...], folder: Path) -> Path:
    """The files of a package's `inner` folder that end so, in a folder; skips the test where there is no network."""
    try:
        archive = fetch(package)
    except Unreachable as error:
        pytest.skip(f"left out, {package.name} is not here: {error}")
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as files:
        for member in files:
            name = Path(member.name)
            if member.isfile() and str(name.parent) == package.inner and name.name.endswith(endings):
                stream = files.extractfile(member)
                assert stream is not None
                (folder / name.name).write_bytes(stream.read())
    return folder
