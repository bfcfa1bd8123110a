"""The language of a text is told where it shows, and left open where it does not."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from words import sentences

from flambeau.check.language import SCRIPTS, languages

# the first sentence of article 1 of the Universal Declaration of Human Rights
ARTICLE = {
    "English": "All human beings are born free and equal in dignity and rights.",
    "German": "Alle Menschen sind frei und gleich an Würde und Rechten geboren.",
    "French": "Tous les êtres humains naissent libres et égaux en dignité et en droits.",
    "Spanish": "Todos los seres humanos nacen libres e iguales en dignidad y derechos.",
    "Italian": "Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti. Essi sono dotati di ragione.",
    "Portuguese": "Todos os seres humanos nascem livres e iguais em dignidade e em direitos.",
    "Dutch": "Alle mensen worden vrij en gelijk in waardigheid en rechten geboren. Zij zijn begiftigd met verstand.",
    "Polish": "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw. Są oni obdarzeni.",
    "Turkish": "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar. Akıl ve vicdana sahiptirler ve.",
    "Indonesian": "Semua orang dilahirkan merdeka dan mempunyai martabat dan hak-hak yang sama.",
    "Chinese": "人人生而自由，在尊严和权利上一律平等。",
    "Japanese": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "Korean": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "Cyrillic script": "Все люди рождаются свободными и равными в своем достоинстве и правах.",
    "Arabic script": "يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق.",
    "Greek": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα.",
    "Hebrew": "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם.",
    "Thai": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
    "Devanagari script": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।",
}


def test_one_sentence_in_each_language() -> None:
    assert languages(list(ARTICLE.values())) == list(ARTICLE)


def test_what_does_not_show_is_left_open() -> None:
    assert languages(["", "12:30 – 14:00", "OK", "Rhabarberbarbara", "😀😀", "Sanyo MM-9000", "× ÷"]) == [""] * 7


def test_english_is_not_taken_for_anything_else() -> None:
    counts = Counter(languages([s for s in sentences()[0] if len(s) > 60]))
    assert set(counts) <= {"English", ""}
    assert counts["English"] > 0.8 * counts.total()  # some are hardly more than code


def test_names_in_another_script_do_not_change_it() -> None:
    assert languages(["The capital of China, Beijing (北京), is in the north of it."]) == ["English"]
    assert languages(["我的 iPhone 已经用了三年，还是很好用。"]) == ["Chinese"]


def test_scripts_do_not_overlap() -> None:
    ranges = sorted(pair for pairs in SCRIPTS.values() for pair in pairs)
    assert all(first[1] < second[0] for first, second in itertools.pairwise(ranges))


@pytest.mark.network
def test_messages_of_a_program_in_twelve_languages(realdata: Callable[[str], Path]) -> None:
    from realdata.archives import members

    names = {
        "en": "English", "de": "German", "fr": "French", "es": "Spanish", "it": "Italian", "pt": "Portuguese",
        "nl": "Dutch", "id": "Indonesian", "ru": "Cyrillic script", "zh-hans": "Chinese", "ja": "Japanese",
        "sv": "",
    }  # fmt: skip
    messages: dict[str, list[str]] = {code: [] for code in names}
    for name, stream in members(realdata("mediawiki")):
        code = Path(name).stem
        if "/i18n/" in name and name.endswith(".json") and code in names:
            values = json.load(stream).items()
            messages[code] += [v for key, v in values if isinstance(v, str) and key[0] != "@" and len(v) > 60]
    for code, name in names.items():
        counts = Counter(languages(messages[code]))
        right, told = counts[name], counts.total() - counts[""]
        assert (counts[""] if not name else right) > 0.45 * counts.total(), (code, counts)
        if name:
            assert right > 0.97 * told, (code, counts)
