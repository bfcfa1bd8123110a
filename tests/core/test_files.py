"""Files are whole or absent."""

from __future__ import annotations

import errno
import io
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from flambeau.core import files
from flambeau.core.errors import DataError, RunError
from flambeau.core.files import disk_full_named, read_bytes, read_json, write_atomic, write_json


def test_json_comes_back_with_its_chinese_readable(tmp_path: Path) -> None:
    value = {"类": ["猫", 1, 2.5, None, True], "nested": {"a": []}}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert "猫" in (tmp_path / "a.json").read_text(encoding="utf-8")


class Breaks(io.BytesIO):
    pass


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_what_fails_half_way_leaves_the_old_file(
    where: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.json"
    write_json(file, {"a": "old"})

    def fails(*args: Any, **options: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os if where == "fsync" else Path, where, fails)
    with pytest.raises(
        RunError, match=r"a.json: the disk is full \(\d+ MiB free\); what was there before is untouched"
    ):
        write_json(file, {"a": "new" * 1000})
    monkeypatch.undo()
    assert read_json(file) == {"a": "old"} and [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_other_errors_are_left_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), disk_full_named(tmp_path / "deep" / "er"):
        raise PermissionError(errno.EACCES, "no")
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "nowhere" / "a", b"")


def test_disk_full_names_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="the disk is full"), disk_full_named(tmp_path / "deep" / "er"):
        raise OSError(errno.ENOSPC, "full")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"a": 1'])
def test_what_is_no_json_is_told_with_its_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(RunError, match=r"a.json: the file is not JSON"):
        read_json(tmp_path / "a.json")
    with pytest.raises(RunError, match=r"b.json: the file is missing"):
        read_json(tmp_path / "b.json")


# -- reading ------------------------------------------------------------------------------------------------------


def unusual(folder: Path) -> dict[str, Path]:
    """Things that are no regular files, by what is said of them. Read as files they hang or fill the memory."""
    os.mkfifo(folder / "pipe.png")
    (folder / "folder.png").mkdir()
    (folder / "endless.png").symlink_to("/dev/zero")
    (folder / "broken.png").symlink_to("nowhere.png")
    (folder / "round.png").symlink_to("round.png")
    with socket.socket(socket.AF_UNIX) as opened:
        here = Path.cwd()
        os.chdir(folder)  # a socket's path is short
        opened.bind("socket.png")
        os.chdir(here)
    names = {"a pipe": "pipe", "a folder": "folder", "a device": "endless", "link to a file that is missing": "broken",
             "cannot be read": "round", "a socket": "socket"}  # fmt: skip
    return {says: folder / f"{name}.png" for says, name in names.items()} | {"missing": folder / "none.png"}


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    for says, path in unusual(tmp_path).items():
        for read in (read_bytes, files.check_regular):
            with pytest.raises(DataError, match=f"{path.name}: .*{says}"):
                read(path)
    with pytest.raises(DataError, match="not a path"):
        read_bytes("a\0b")


def test_a_file_is_read_whole_or_from_its_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    assert read_bytes(tmp_path / "a") == b"0123456789"
    assert read_bytes(str(tmp_path / "a"), 4) == b"0123"
    monkeypatch.setattr(files, "MOST_BYTES", 9)
    with pytest.raises(DataError, match="is too large"):
        read_bytes(tmp_path / "a")
    assert read_bytes(tmp_path / "a", 4) == b"0123"
