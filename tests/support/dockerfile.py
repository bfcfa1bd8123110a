"""Dockerfiles, carried out without Docker: each step in a folder that stands for the root, as their reference has it.

Only what this project's Dockerfiles use. Paths of the image are mapped into the folder; a stage that is left is moved
aside, so that a later one has only what it copies, at the same place.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

ROOMS = re.compile(r"(?<![\w./$}])/(?=(?:opt|srv|state|var|build)\b)")


@dataclass
class Image:
    """What a Dockerfile ends in."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: int | None = None
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)

    def mapped(self, text: str) -> str:
        """Text with paths of the image as ones of the folder."""
        return ROOMS.sub(f"{self.root}/", text)

    @property
    def place(self) -> Path:
        """The working folder."""
        return self.root / self.folder.lstrip("/")

    def start(self, command: list[str], **options: object) -> subprocess.Popen[bytes]:
        """A command in it, by its user where we may be others, with nothing of our environment."""
        other = {"user": self.user, "group": self.user, "extra_groups": []} if self.user and os.getuid() == 0 else {}
        program = shutil.which(command[0], path=self.environment["PATH"]) or command[0]
        words = [program, *(self.mapped(word) for word in command[1:])]
        return subprocess.Popen(words, cwd=self.place, env=self.environment, **other, **options)  # type: ignore


def build(context: Path, root: Path, arguments: dict[str, str]) -> Image:
    """Carries out `context/Dockerfile`.

    Args:
        root: a folder that does not exist.
        arguments: of its ARGs.
    """
    python = _python(root.with_name(f"{root.name}-python"))
    allowed = [line[1:] for line in (context / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    image, name, stages, given = Image(root), "", dict[str, Path](), dict[str, str]()
    for word, rest in _instructions((context / "Dockerfile").read_text()):
        match word:
            case "FROM":
                if name:
                    stages[name] = root.with_name(f"{root.name}.{name}")
                    root.rename(stages[name])
                assert re.match(r"python:3\.\d+-slim", rest)
                name = rest.partition(" AS ")[2] or "last"
                # where its own libpython is, which is not the system's
                own = {"PATH": f"{python}:/usr/bin:/bin", "LD_LIBRARY_PATH": str(python.resolve().parent / "lib")}
                image, given = Image(root, own), {}
                root.mkdir(mode=0o755)
            case "ARG":
                key, _, value = rest.partition("=")
                given[key] = arguments.get(key, value)
            case "ENV":
                for pair in shlex.split(rest):
                    key, _, value = pair.partition("=")
                    image.environment[key] = image.mapped(value).replace("$PATH", image.environment["PATH"])
            case "WORKDIR":
                image.folder = rest
                image.place.mkdir(parents=True, exist_ok=True)
            case "COPY":
                _copy(rest, context, image, stages, allowed)
            case "RUN":
                environment = {**os.environ, **image.environment, **given}
                for ours in ("PYTHONPATH", "VIRTUAL_ENV"):
                    environment.pop(ours, None)
                subprocess.run(["sh", "-ec", image.mapped(rest)], cwd=image.place, env=environment, check=True)
            case "USER":
                image.user = int(rest.partition(":")[0])
            case "HEALTHCHECK":
                image.health = json.loads(rest.partition("CMD ")[2])
            case "CMD":
                image.command = json.loads(rest)
            case _:
                assert word in ("LABEL", "EXPOSE"), f"{word} is not carried out here"
    return image


def _instructions(text: str) -> list[tuple[str, str]]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in whole.splitlines() if line)]


def _copy(rest: str, context: Path, image: Image, stages: dict[str, Path], allowed: list[str]) -> None:
    words = rest.split()
    options = dict(word[2:].split("=") for word in words if word.startswith("--"))
    *sources, target = (word for word in words if not word.startswith("--"))
    base = stages[options["from"]] if "from" in options else context
    place = image.place if target == "./" else Path(image.mapped(target))
    for pattern in sources:
        found = sorted(base.glob(pattern.lstrip("/")))
        assert found, f"{pattern} is not there"
        for source in found:
            assert "from" in options or any(fnmatch(source.name, one) for one in allowed), f"{source} is ignored"
            into = place / source.name if target.endswith("/") else place
            into.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                # a stage that is left is needed no more: what is large is moved
                shutil.move(source, into) if "from" in options else shutil.copytree(source, into)
            else:
                shutil.copy(source, into)
            if "chown" in options and os.getuid() == 0:
                user, group = map(int, options["chown"].split(":"))
                for path in (into, *into.rglob("*")):
                    os.chown(path, user, group)


def _python(place: Path) -> Path:
    """A folder with a Python of this version as `python`, which others may run too."""
    base = Path(sys.base_prefix)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    if not all(path.stat().st_mode & 0o005 for path in [base, *base.parents]):
        skipped = shutil.ignore_patterns("site-packages", "test", "__pycache__", "*.a", "share", "idlelib")
        shutil.copytree(base, place, symlinks=True, ignore=skipped)
        return place / "bin"
    (place / "bin").mkdir(parents=True)
    (place / "bin" / "python").symlink_to(base / "bin" / version)
    return place / "bin"
