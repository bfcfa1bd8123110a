"""The files of a folder: each real folder once, without what systems and programs put beside people's data."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from flambeau.core.findings import Finding, Severity

HIDDEN = frozenset(
    name.lower()
    for name in ("__MACOSX", "@eaDir", "#recycle", "@Recycle", "#snapshot", "@Recently-Snapshot", "$RECYCLE.BIN",
                 "System Volume Information", "lost+found",
                 "thumbnails", "_thumbs", "__pycache__", "Thumbs.db", "ehthumbs.db", "desktop.ini", "Icon\r")
)  # fmt: skip
"""Folders of thumbnails and of rubbish, and files about folders, beside those that begin with a dot."""


class Walk(NamedTuple):
    """Paths from a folder on: its files; the folders that were passed over as hidden; links that lead to a folder that
    is there anyway; folders that may not be opened."""

    files: list[str]
    hidden: list[str]
    links: list[str]
    closed: list[str]

    def findings(self) -> list[Finding]:
        """What was passed over."""
        told = [
            ("hidden", Severity.NOTE, self.hidden, "hidden or of thumbnails"),
            ("links", Severity.NOTE, self.links, "links to folders that are there already"),
            ("closed", Severity.WARNING, self.closed, "may not be opened"),
        ]
        return [
            Finding(check, severity, f"folders passed over, {what}: {len(places)}", places=places)
            for check, severity, places, what in told
            if places
        ]


def is_hidden(name: str) -> bool:
    """Whether a file or folder is none of a person's data, by its name.

    >>> is_hidden("._cat.png"), is_hidden("@eaDir"), is_hidden("cat.png")
    (True, True, False)
    """
    return name.startswith(".") or name.lower() in HIDDEN


def walk(root: str | Path) -> Walk:
    """The files of a folder, in order. Links to folders are followed, each real folder is visited once, by its own
    path before a link's; a link that leads above the folder leads nowhere."""
    found = Walk([], [], [], [])
    real_root = os.path.realpath(root)
    seen: set[tuple[int, int]] = set()
    linked = [""]
    for start in linked:  # which grows
        path = os.path.join(root, start)  # noqa: PTH118
        target = os.path.realpath(path)
        if start and os.path.commonpath([target, real_root]) == target:
            found.links.append(start)
            continue
        for folder, folders, names in os.walk(path, onerror=lambda error: found.closed.append(str(error.filename))):
            status = os.stat(folder)  # noqa: PTH116
            identity = (status.st_dev, status.st_ino)
            inside = os.path.relpath(folder, root)
            if identity in seen:
                folders.clear()
                found.links.append(inside)
                continue
            seen.add(identity)
            prefix = "" if inside == "." else inside + os.sep
            found.hidden.extend(prefix + name for name in folders if is_hidden(name))
            kept = sorted(name for name in folders if not is_hidden(name))
            links = [name for name in kept if os.path.islink(os.path.join(folder, name))]  # noqa: PTH114, PTH118
            linked.extend(prefix + name for name in links)
            folders[:] = [name for name in kept if name not in links]
            found.files.extend(prefix + name for name in names if not is_hidden(name))
    return Walk(sorted(found.files), sorted(found.hidden), sorted(found.links), sorted(found.closed))


def composed(names: Sequence[str]) -> list[str]:
    """Names in the one form in which they are compared: é is a letter, and not e with a mark, as macOS writes it."""
    return [unicodedata.normalize("NFC", name) for name in names]
