"""Bytes become the text that somebody wrote, whatever encoding they are in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flambeau.core.errors import DataError, UsageError
from flambeau.fields.language.charsets import detect, read_text, read_texts, to_text

ENGLISH = "The naïve café’s façade: “déjà vu”, she said. "
GERMAN = "Die Straße führt über die Brücke; größer wäre schöner. "
CHINESE = "房间干净，服务态度很好，下次还会再来。交通方便，早餐也不错！"


UNICODE = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
CASES = [(text, encoding) for text in (ENGLISH, GERMAN, ENGLISH + CHINESE) for encoding in UNICODE]
CASES += [(CHINESE, encoding) for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32", "gb18030")]


@pytest.mark.parametrize(("text", "encoding"), CASES)
def test_an_encoding_is_found_out(text: str, encoding: str) -> None:
    assert to_text((text * 5).encode(encoding))[0] == text * 5


@pytest.mark.parametrize("text", [ENGLISH, GERMAN])
def test_a_western_code_page_is_found_out(text: str) -> None:
    assert to_text(text.encode("cp1252")) == (text, "cp1252")


def test_thai_of_the_old_code_page_is_found_out() -> None:
    text = "ร้านนี้อร่อยมาก แนะนำเลยค่ะ ราคา ๑๐๐ บาท"
    assert to_text(text.encode("cp874")) == (text, "cp874")


def test_plain_ascii_is_utf_8() -> None:
    assert detect(b"just letters") == detect(b"") == "utf-8"


def test_a_few_damaged_bytes_do_not_make_good_utf_8_another_encoding() -> None:
    assert detect((GERMAN * 20).encode() + b"caf\xe9") == "utf-8"


def test_one_foreign_byte_among_ascii_is_western() -> None:
    assert to_text(b"a caf\xe9 in town") == ("a café in town", "cp1252")


def test_what_is_asked_for_and_wrong_is_named_by_its_line(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_bytes(b"one\ntwo\ncaf\xe9\n")
    with pytest.raises(DataError, match=r"byte 0xe9 in line 3 is not utf-8.*it looks like cp1252"):
        read_text(file, "utf-8")
    with pytest.raises(UsageError, match="no encoding is called 'utf9'"):
        read_text(file, "utf9")
    with pytest.raises(DataError, match="the file is missing"):
        read_text(tmp_path / "none.txt")


@pytest.mark.parametrize("text", ["Die Größe der Schöße", "ÀÉ", "Füße"])
def test_western_letters_that_stand_together_are_no_chinese(text: str) -> None:
    assert to_text(text.encode("cp1252")) == (text, "cp1252")


def test_few_good_letters_are_enough_where_one_place_is_damaged() -> None:
    assert detect("clichés ".encode() * 3 + b"bytes \xff\xfe\x80 here") == "utf-8"


def test_short_files_are_looked_at_together(tmp_path: Path) -> None:
    texts = ["好", "差劲的东西", "这本书写得非常精彩", "naïve"]
    for i, text in enumerate(texts):
        (tmp_path / f"{i}.txt").write_bytes(text.encode("utf-8" if i == 3 else "gb18030"))
    paths = [str(tmp_path / f"{i}.txt") for i in range(4)]
    read, (finding,) = read_texts(paths)
    assert read == texts and finding.places == paths[:3] and "3 files read as gb18030" in finding.message
    with pytest.raises(DataError, match="is not utf-8"):
        read_texts(paths, "utf-8")


def test_one_file_that_cannot_be_read_does_not_lose_the_others(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")  # to read it is to wait for a writer
    (tmp_path / "endless.txt").symlink_to("/dev/zero")
    (tmp_path / "good.txt").write_text("good")
    paths = [str(tmp_path / name) for name in ("endless.txt", "good.txt", "pipe.txt", "missing.txt")]
    texts, (finding,) = read_texts(paths)
    assert texts == [None, "good", None, None]
    assert (finding.check, finding.rows) == ("unreadable", [0, 2, 3]) and "a device" in finding.message
    with pytest.raises(DataError, match=r"pipe.txt: this is a pipe; expected a regular file"):
        read_texts(paths[2:])
