"""Archives unpack inside their folder, within the disk, or say why not."""

from __future__ import annotations

import io
import os
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from flambeau.core.errors import DataError
from flambeau.data.sources import archives
from flambeau.data.sources.archives import is_archive, unpack


@pytest.fixture
def photos(digits_folder: Path, tmp_path: Path) -> Path:
    for name in "01":
        (tmp_path / "photos" / name).mkdir(parents=True)
        for file in sorted((digits_folder / name).iterdir())[:3]:
            shutil.copyfile(file, tmp_path / "photos" / name / file.name)
    return tmp_path / "photos"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar", "xztar", "bztar"])
def test_an_archive_of_a_folder_is_that_folder(kind: str, photos: Path, tmp_path: Path) -> None:
    file = shutil.make_archive(str(tmp_path / "packed"), kind, photos.parent, "photos")
    assert is_archive(file)
    folder = unpack(file, tmp_path / "cache")
    assert folder.name == "photos" and contents(folder) == contents(photos)
    inner = next((tmp_path / "cache").iterdir()).stat().st_mtime_ns
    assert unpack(file, tmp_path / "cache") == folder
    assert next((tmp_path / "cache").iterdir()).stat().st_mtime_ns == inner, "unpacked once"


def test_class_folders_at_the_top_and_a_changed_archive(photos: Path, tmp_path: Path) -> None:
    file = shutil.make_archive(str(tmp_path / "packed"), "zip", photos)
    assert contents(unpack(file, tmp_path / "cache")) == contents(photos)
    (photos / "0" / "new.png").write_bytes(b"new")
    shutil.make_archive(str(tmp_path / "packed"), "zip", photos)
    os.utime(file, ns=(0, 12345))
    assert contents(unpack(file, tmp_path / "cache")) == contents(photos)


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, members: list[tarfile.TarInfo]) -> Path:
    with tarfile.open(path, "w") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 1) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size if kind == tarfile.REGTYPE else 0
    return info


OUTSIDE = ["../evil.txt", "a/../../evil.txt", "/tmp/evil.txt", "..\\evil.txt", "C:/evil.txt", "C:evil.txt"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_member_that_leads_out_is_refused_and_nothing_is_kept(name: str, tmp_path: Path) -> None:
    for file in (
        zipped(tmp_path / "evil.zip", {"good/a.png": b"a", name: b"evil"}),
        tarred(tmp_path / "evil.tar", [member("good/a.png"), member(name)]),
    ):
        with pytest.raises(DataError, match=r"evil\.(zip|tar): its member .* leads out of the folder.* do not trust"):
            unpack(file, tmp_path / "deep" / "er" / "cache")
        assert list((tmp_path / "deep" / "er" / "cache").iterdir()) == []
    assert not list(tmp_path.rglob("evil.txt")) and not Path("/tmp/evil.txt").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_refused(kind: bytes, tmp_path: Path) -> None:
    file = tarred(tmp_path / "links.tar", [member("a/b", kind, "/etc/passwd")])
    with pytest.raises(DataError, match="'a/b' is a link or a device"):
        unpack(file, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "links.zip", "w") as archive:
        info = zipfile.ZipInfo("a/link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="'a/link' is a link"):
        unpack(tmp_path / "links.zip", tmp_path / "cache")


def test_a_colon_in_a_name_is_just_a_colon(tmp_path: Path) -> None:
    folder = unpack(zipped(tmp_path / "a.zip", {"0/at 12:30.png": b"a", "1/b.png": b"b"}), tmp_path / "cache")
    assert (folder / "0" / "at 12:30.png").read_bytes() == b"a"


def test_more_than_half_of_the_free_disk_is_refused_before_a_byte_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda path: real._replace(free=1000))
    for file in (
        zipped(tmp_path / "bomb.zip", {"a/0": bytes(100_000), "b/0": b"b"}),
        tarred(tmp_path / "bomb.tar", [member("a", size=400), member("b", size=400)]),
    ):
        with pytest.raises(DataError, match=r"would unpack to .* expected at most"):
            unpack(file, tmp_path / "cache")
        assert list((tmp_path / "cache").iterdir()) == []


def test_damaged_archives_are_told_in_a_line(photos: Path, tmp_path: Path) -> None:
    for kind in ("zip", "tar", "gztar", "xztar", "bztar"):
        file = Path(shutil.make_archive(str(tmp_path / f"sound-{kind}"), kind, photos))
        sound = file.read_bytes()
        middle = len(sound) // 2
        for damaged in (sound[:middle], sound[:20], bytes(len(sound)), sound[:100] + b"\xff" * 60 + sound[160:]):
            file.write_bytes(damaged)
            try:
                folder = unpack(file, tmp_path / f"cache-{len(damaged)}-{damaged[100:101].hex()}-{kind}")
            except DataError as error:
                assert str(file) in str(error)
            else:
                assert folder.is_dir()  # a plain tar does not check its files' bytes


def test_a_password_is_told(photos: Path, tmp_path: Path) -> None:
    file = Path(shutil.make_archive(str(tmp_path / "secret"), "zip", photos))
    data = bytearray(file.read_bytes())
    at = -1
    while (at := data.find(b"PK\x01\x02", at + 1)) >= 0:
        data[at + 8] |= 1  # the flag of encryption, in each entry of the directory
    at = -1
    while (at := data.find(b"PK\x03\x04", at + 1)) >= 0:
        data[at + 6] |= 1
    file.write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"cannot be read .*password"):
        unpack(file, tmp_path / "cache")


def test_an_archive_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.zip: there is no such file"):
        unpack(tmp_path / "none.zip")


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "cp437"])
def test_names_in_a_zip_that_are_not_said_to_be_utf_8(encoding: str, tmp_path: Path) -> None:
    """As macOS and Windows in Chinese pack them: classes would be called ├¿."""
    names = ["Größe", "é"] if encoding == "cp437" else ["猫和狗的照片", "汽车"]
    file = tmp_path / "packed.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for i, name in enumerate(names):
            stored = b"%d/" % i + name.encode(encoding)
            archive.writestr("x" * len(stored), b"a")
    data = file.read_bytes()
    for i, name in enumerate(names):
        stored = b"%d/" % i + name.encode(encoding)
        data = data.replace(b"x" * len(stored), stored, 2)
    file.write_bytes(data)
    assert sorted(contents(unpack(file, tmp_path / "cache"))) == [f"{i}/{name}" for i, name in enumerate(names)]
