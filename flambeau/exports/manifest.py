"""`export.json`: what a folder of an export says of its programs, in plain JSON. Nothing here needs torch."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from flambeau.core.errors import RunError
from flambeau.core.files import read_json, values_of, write_json

NAME, SCHEMA = "export.json", 1
CHUNK = 1 << 20


@dataclass
class Manifest:
    """What is in a folder of an export. Beside it lie the run's `recipe.yaml` and `fields.json`, by which raw values
    are read.

    Attributes:
        format: a name of EXPORTERS.
        precision: of the weights and sums: `float32`, `bf16` or `int8`.
        programs: by name {file, inputs, outputs}; an input or output is {name, dtype, shape, column}, where an axis of
            any size has a name.
        target: {column, kind, labels, answers}: labels are the classes in order, `answers` the output that they
            number; empty where there is no target.
        outside: by column of the inputs, what is done to a raw value before a program gets it.
        tolerance: how far an output may be from the model's, as a share of its largest number; None where it is the
            metric that must stay, as in int8.
        verified: what was found beside the model, see `flambeau.exports.verify`.
        calibration: of the run, which is inside of the programs.
        files: SHA-256 by name.
        versions: of what wrote it.
        weights: bytes of the run's weights in float32.
        schema: of this file.
    """

    format: str
    precision: str
    programs: dict[str, dict[str, Any]]
    target: dict[str, Any]
    outside: dict[str, str]
    tolerance: float | None
    verified: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    weights: int = 0
    schema: int = SCHEMA

    def write(self, folder: Path) -> None:
        """Writes export.json, with the digests of the other files that lie there."""
        others = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != NAME)
        self.files = {str(path.relative_to(folder)): digest(path) for path in others}
        write_json(folder / NAME, self.to_dict(), sealed=True)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """That of a folder.

        Raises:
            RunError: there is none, it is damaged, or written by a newer Flambeau; or a program's file is not the one
                that was written.
        """
        path = folder / NAME
        state = read_json(path, sealed=True)
        if state.get("schema") != SCHEMA:
            raise RunError(f"the export is of the schema {state.get('schema')}", where=path, expected=str(SCHEMA),
                           fix="load it with the Flambeau that wrote it, or export the run again")  # fmt: skip
        with values_of(path):
            manifest = cls(**state)
            files = [program["file"] for program in manifest.programs.values()]
            for name in files:
                if manifest.files.get(name) != digest(folder / name):
                    raise RunError("the file is not the one that was written", where=folder / name,
                                   fix="export the run again")  # fmt: skip
        return manifest


def is_export(folder: Path) -> bool:
    """Whether a folder holds an export."""
    return (folder / NAME).is_file()


def digest(path: Path) -> str:
    """The SHA-256 of a file.

    Raises:
        RunError: it is missing or cannot be read.
    """
    total = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while part := file.read(CHUNK):
                total.update(part)
    except OSError as error:
        raise RunError(f"the file cannot be read ({error.strerror})", where=path) from None
    return total.hexdigest()
