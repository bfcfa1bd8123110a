"""Texts of a wrong encoding are found, named truly, and mended by what the finding says; sound ones are left alone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from realdata.archives import members
from realdata.texts import uci_sentences

from flambeau.check.mojibake import mojibake
from flambeau.core.findings import Finding, Severity
from flambeau.data.dataset import Dataset
from flambeau.fields import Category, Text

RUSSIAN = "Это был лучший фильм, который я видел за последние годы."
CHINESE = "这家酒店的服务很好，房间也很干净，下次还会来。"
FRENCH = "Le café était fermé, à côté de l’hôtel."
GERMAN = "Für die Straße wäre es schön, größer zu träumen."


def garbled(text: str, written: str, read: str) -> str:
    """As a browser reads it: a byte without a meaning stays as it is."""
    return "".join(bytes([byte]).decode(read, "ignore") or chr(byte) for byte in text.encode(written))


def told(*texts: str) -> list[Finding]:
    """What is said of encodings where these texts follow twenty sound ones."""
    sound = [text for text in uci_sentences().texts if text.isascii()][:20]
    columns = {"text": [*sound, *texts], "label": ["a", "b"] * 10 + ["a"] * len(texts)}
    data = Dataset(columns, target="label", fields={"text": Text(), "label": Category()}, split="none")
    findings = data.check()
    assert "invisible-characters" not in {finding.check for finding in findings}, "parts of letters are told of once"
    return [finding for finding in findings if finding.check == "mojibake"]


def repaired(text: str, finding: Finding) -> str:
    """The text after what the finding says has been done."""
    match = re.search(r"repair them: (.*?)(, twice|, 3 times over)?$", finding.fix)
    assert match, finding.fix
    for _ in range({None: 1, ", twice": 2}.get(match[2], 3)):
        text = eval(match[1], {"text": text})
    return text


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
@pytest.mark.parametrize(
    "word", ["café", "naïve", "it’s", "“quoted”", "straße", "50€", "20°C", "你好世界", "这家", "привет", "👍", "żółć"]
)
def test_utf_8_read_as_a_western_encoding(word: str, encoding: str) -> None:
    spoilt = garbled(word, "utf-8", encoding)
    found = mojibake(f"So {spoilt} it was.")
    assert found is not None and found.meant in word and encoding in found.read
    (finding,) = told(f"So {spoilt} it was.")
    assert (finding.severity, finding.rows) == (Severity.WARNING, [20])
    assert f"{found.word!r} should be {found.meant!r}" in finding.message
    assert repaired(f"So {spoilt} it was.", finding) == f"So {word} it was."


@pytest.mark.parametrize(
    ("text", "written", "read", "name"),
    [
        (CHINESE, "utf-8", "latin-1", "UTF-8 that was read as Latin-1:"),
        (CHINESE, "utf-8", "cp1252", "UTF-8 that was read as Windows-1252:"),
        (FRENCH, "utf-8", "cp1252", "UTF-8 that was read as Windows-1252:"),
        (RUSSIAN, "utf-8", "cp1251", "UTF-8 that was read as Windows-1251:"),
        ("привет", "utf-8", "cp1251", "UTF-8 that was read as Windows-1251:"),
        ("И вот — «цитата»", "utf-8", "cp1251", "UTF-8 that was read as Windows-1251:"),
        (CHINESE, "utf-8", "cp1251", "UTF-8 that was read as Windows-1251:"),
        (CHINESE, "gb18030", "cp1252", "GB 18030 that was read as Windows-1252:"),
        ("你好", "gb18030", "latin-1", "GB 18030 that was read as Windows-1252:"),
        (RUSSIAN, "cp1251", "cp1252", "Windows-1251 that was read as Windows-1252:"),
    ],
)
def test_the_encodings_are_named_truly_and_the_advice_mends_the_text(
    text: str, written: str, read: str, name: str
) -> None:
    spoilt = garbled(text, written, read)
    (finding,) = told(spoilt)
    assert name in finding.message
    assert f"read the file with encoding='{written}'" in finding.fix
    assert repaired(spoilt, finding) == text


def test_latin_1_is_named_where_a_text_could_not_come_from_windows_1252() -> None:
    (finding,) = told("è¿\x99å®¶")
    assert "'è¿\\x99å®¶' should be '这家'" in finding.message
    assert finding.fix.endswith("text.encode('latin-1').decode('utf-8')")
    (finding,) = told("cafÃ© bar", "è¿\x99å®¶")
    assert finding.rows == [20, 21], "what both explain goes with what only one explains"
    assert finding.fix.endswith("text.encode('latin-1').decode('utf-8')")


@pytest.mark.parametrize(("times", "said"), [(2, ", twice"), (3, ", 3 times over")])
@pytest.mark.parametrize(("text", "read"), [("un café", "cp1252"), (CHINESE, "latin-1"), ("привет", "cp1251")])
def test_a_text_garbled_more_than_once(text: str, read: str, times: int, said: str) -> None:
    spoilt = text
    for _ in range(times):
        spoilt = garbled(spoilt, "utf-8", read)
    (finding,) = told(spoilt)
    found = mojibake(spoilt)
    assert found is not None and found.times == times and found.meant in text
    assert said + ":" in finding.message and finding.fix.endswith(said)
    assert repaired(spoilt, finding) == text


def test_where_only_a_part_is_garbled_the_advice_says_so() -> None:
    (finding,) = told("a good cafÃ© of 你好")
    assert "repair what is garbled in them: text.encode('cp1252')" in finding.fix


@pytest.mark.parametrize(
    "text",
    [RUSSIAN, CHINESE, FRENCH, GERMAN, "un café, là\xa0», dit-il", "NÃO É", "Ångström Ärger Öl Übung", "„Ö“ »Ä«",
     "20 °C ± 3 €", "ñandú ¿qué? ¡sí! ¿Él o Ámbar?", "今天天气很好", "привет", "Ø 5 mm", "çà et là", "Ð\xa0Þ",
     "ДІЇ, дії, мрії", "Рівне, Сєвєродонецьк, «Р»", "класс «С» — 5 °C", "Њујорк, ћирилица", "ÀÁÂÃÄÅ àáâãäå", "éèêë",
     "Jäääääh!", "°°°° ××××", "Íþróttir á Íslandi", "ÞAÐ ER Ó", "²³µ¶ ½¾", "«ÉTÉ»"],
)  # fmt: skip
def test_sound_letters_are_not_a_wrong_encoding(text: str) -> None:
    assert mojibake(text) is None


def test_a_byte_order_mark_and_lost_characters() -> None:
    (finding,) = told("ï»¿The first line.", "caf\ufffd in town", "烫锟斤拷烫")
    assert finding.rows == [20]


@pytest.mark.network
def test_a_program_in_many_languages_has_nothing_garbled(realdata: Callable[[str], Path]) -> None:
    found: dict[str, object] = {}
    for name, stream in members(realdata("mediawiki")):
        language = Path(name).stem
        if "/i18n/" in name and language in ("en", "fr", "de", "ru", "uk", "sr-ec", "zh-hans", "is", "pt", "vi", "el"):
            messages = json.loads(stream.read())
            texts = [text for text in messages.values() if isinstance(text, str)]
            found |= {text: bit for text in texts if (bit := mojibake(text))}
    assert not found


@pytest.mark.parametrize(
    "text",
    [
        "สวัสดีครับ ผมชื่อสมชาย วันนี้อากาศดีมาก", "ร้านนี้อร่อยมากกก แนะนำเลยค่ะ 😍 ราคา ๑๐๐ บาท",
        "ສະບາຍດີ ຂ້ອຍຊື່ສົມ", "សួស្តី ខ្ញុំឈ្មោះសុខ",
        "שלום עולם, מה שלומך היום?", "Καλημέρα κόσμε, τι κάνεις σήμερα;", "مرحبا بالعالم، كيف حالك اليوم؟",
        "नमस्ते दुनिया, आप कैसे हैं?", "வணக்கம், எப்படி இருக்கிறீர்கள்?", "გამარჯობა, როგორ ხარ?", "Բարեւ աշխարհ",
        "မင်္ဂလာပါ", "한국어 문장입니다",
        "Việt Nam đất nước tôi", "Україна — дії",
    ],
)  # fmt: skip
def test_sound_texts_of_every_script_are_left_alone(text: str) -> None:
    assert mojibake(text) is None


THAI = ["อาหารอร่อย บริการดี พนักงานสุภาพ แต่รอนานมาก", "ร้านนี้อร่อยมาก แนะนำเลยค่ะ", "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย"]


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
@pytest.mark.parametrize("text", THAI)
def test_thai_read_as_a_western_encoding_is_no_utf_8_read_twice(text: str, encoding: str) -> None:
    spoilt = garbled(text, "cp874", encoding)
    found = mojibake(spoilt)
    assert found is not None and (found.written, found.times) == ("cp874", 1) and found.meant in text
    (finding,) = told(spoilt)
    assert "TIS-620" in finding.message and repaired(spoilt, finding) == text


@pytest.mark.parametrize("text", ["한국어 문장입니다. 정말 좋아요", "中文句子，非常好看的電影"])
def test_other_bytes_that_lie_next_to_each_other_are_not_said_to_be_utf_8(text: str) -> None:
    found = mojibake(garbled(text, "euc-kr" if text[0] > "가" else "big5", "latin-1"))
    assert found is None or found.written not in ("utf-8", "cp874")
