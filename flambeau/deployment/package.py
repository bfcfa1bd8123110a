"""What a server is installed from: a wheel of the Flambeau that is here, and the versions of what it stands on."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution, distributions, version
from pathlib import Path

from flambeau.core.errors import RunError
from flambeau.version import __version__

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of each file of a wheel, so that the same package is the same wheel."""
SKIPPED = "__pycache__"
FROM_TORCH = ("torch", "torchvision")
"""What PyTorch's own index has without CUDA."""
NEVER = ("pip", "setuptools", "wheel", "flambeau", "flambeau-onnx")


def wheel() -> tuple[str, bytes]:
    """(file name, content): the package as it is imported here, installed or from a checkout, its changes included.

    Raises:
        RunError: nothing says what Flambeau needs, since it is not installed but only on the path.
    """
    metadata = re.sub(r"(?m)^Version: .*$", f"Version: {__version__}", _said(), count=1)
    scripts = b"[console_scripts]\nflambeau = flambeau.cli.main:main\n"
    return _wheel("flambeau", ("flambeau", "flambeau_onnx"), metadata, {"entry_points.txt": scripts})


def small_wheel() -> tuple[str, bytes]:
    """(file name, content): what serves an export without torch. What it needs is asked for beside it."""
    metadata = f"Metadata-Version: 2.1\nName: flambeau-onnx\nVersion: {__version__}\nLicense: Apache-2.0\n"
    return _wheel("flambeau_onnx", ("flambeau_onnx",), metadata, {})


def _wheel(name: str, rooms: Sequence[str], metadata: str, more: Mapping[str, bytes]) -> tuple[str, bytes]:
    home = Path(__file__).parents[2]
    info = f"{name}-{__version__}.dist-info"
    files = {
        str(path.relative_to(home)): path.read_bytes()
        for room in rooms
        for path in sorted((home / room).rglob("*"))
        if path.is_file() and SKIPPED not in path.parts and path.name != "pyproject.toml"
    }
    files |= {
        f"{info}/METADATA": metadata.encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: flambeau\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **{f"{info}/{file}": content for file, content in more.items()},
    }
    record = "".join(f"{file},sha256={_digest(data)},{len(data)}\n" for file, data in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, data in files.items():
            archive.writestr(zipfile.ZipInfo(file, EPOCH), data, zipfile.ZIP_DEFLATED)
    return f"{name}-{__version__}-py3-none-any.whl", stream.getvalue()


def _said() -> str:
    """What an installation says of this package. A checkout that one is in is found first, and says less."""
    for one in distributions(name="flambeau"):
        if text := one.read_text("METADATA"):
            return text
    raise RunError("flambeau is not installed but only on the path, so nothing says what it needs",
                   where=Path(__file__).parents[1], fix="pip install -e '.[serve]' in its checkout")  # fmt: skip


def pins(names: Iterable[str], extras: Sequence[str] = ()) -> dict[str, str]:
    """The version that is installed here of each of these packages and of all that they ask for, by name: what was seen
    to work together. What is not installed is left out.

    Args:
        extras: of Flambeau, where it is among the names.
    """
    found: dict[str, str] = {}
    waiting = [normal(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            one = distribution(name)
        except PackageNotFoundError:
            continue
        found[name] = one.version.partition("+")[0]  # the build of torch for CPUs has the version of the others
        wanted = extras if name == "flambeau" else ()
        asked = [line for line in one.requires or [] if "extra ==" not in line or any(f'"{e}"' in line for e in wanted)]
        waiting += [normal(_name_of(line)) for line in asked]
    return {name: found[name] for name in sorted(found) if name not in NEVER}


def optional() -> set[str]:
    """Packages that parts of Flambeau need and others do not, by name: what comes with its extras."""
    asked = [line for line in re.findall(r"(?m)^Requires-Dist: (.*)$", _said()) if "extra ==" in line]
    named = {normal(_name_of(line)) for line in asked if '"test"' not in line and '"lint"' not in line}
    return named - {"flambeau"}


def pinned(name: str) -> str:
    """A requirement of the version that is here."""
    return f"{name}=={version(name).partition('+')[0]}"


def normal(name: str) -> str:
    """A package's name as an index has it.

    >>> normal("typing_extensions")
    'typing-extensions'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def _name_of(requirement: str) -> str:
    """The package of a requirement.

    >>> _name_of('psycopg[binary]>=3.2; extra == "watch"')
    'psycopg'
    """
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0]


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
