"""Which language a text is in, told by its script and, for Latin letters, by its most common words.

It is there to notice a mix, not to name the language of every sentence: a text that shows too little, or a
language that is not listed, has none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

READ = 1000
"""Characters of a text that are looked at."""
HITS = 2.0
"""Common words that a text must have at least; one that two languages share counts half."""
SHARE = 0.15
"""Share of the words that must be common ones: they are some 40 % of running text."""
LEAD = 1.5
"""How many times as many as the second language has."""

SCRIPTS = {
    "Latin": [(0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x24F), (0x1E00, 0x1EFF)],
    "Greek": [(0x370, 0x3FF), (0x1F00, 0x1FFF)],
    "Cyrillic": [(0x400, 0x52F)],
    "Armenian": [(0x531, 0x58F)],
    "Hebrew": [(0x590, 0x5FF)],
    "Arabic": [(0x600, 0x6FF), (0x750, 0x77F), (0xFB50, 0xFDFF), (0xFE70, 0xFEFC)],
    "Devanagari": [(0x900, 0x97F)],
    "Bengali": [(0x980, 0x9FF)],
    "Tamil": [(0xB80, 0xBFF)],
    "Thai": [(0xE00, 0xE7F)],
    "Georgian": [(0x10A0, 0x10FF)],
    "Hangul": [(0x1100, 0x11FF), (0x3130, 0x318F), (0xAC00, 0xD7AF)],
    "kana": [(0x3041, 0x30FA)],
    "Han": [(0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF)],
}
NAMES = {
    "Greek": "Greek", "Hebrew": "Hebrew", "Thai": "Thai", "Tamil": "Tamil", "Bengali": "Bengali",
    "Armenian": "Armenian", "Georgian": "Georgian", "Hangul": "Korean", "kana": "Japanese", "Han": "Chinese",
    "Cyrillic": "Cyrillic script", "Arabic": "Arabic script", "Devanagari": "Devanagari script",
}  # fmt: skip
"""What is said of a script: the language where it has one, else the script."""

COMMON_WORDS = {
    "English": "the of and to in is it you that he was for on are with as his they be at this have from or had by but "
    "not what all were we when your can there use an each which she do how their if will would my me i so just very "
    "has been more than no its our them who get good like out up about don t s didn",
    "Spanish": "de la que el en y los se del las un por con no una su para es al lo como más pero sus le ya o este sí "
    "porque esta cuando muy sin sobre también me hasta hay donde quien desde todo nos mi yo eso era ser está están "
    "esto ha si dos tu antes puede",
    "Portuguese": "de que o do da em um para é com não uma os no se na por mais as dos como mas foi ao ele das tem à "
    "seu sua ou ser quando muito há nos já está eu também só pelo pela até isso ela entre era depois sem você são",
    "French": "de la le et les des en un du une que est pour qui dans a par plus pas au sur ne se ce il sont avec "
    "nous vous je mais ou si leur elle cette très été être tout fait était même aux ces ses qu",
    "German": "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden aus "
    "er hat dass sie nach wird bei einer um am sind noch wie einem über so zum war haben nur oder aber ich wir sehr",
    "Italian": "di che è e la il un a per in una sono mi ho non ma lo ha le si ti con cosa i da se come ci questo qui "
    "hai sei del bene tu sì me più al mio della alla nel gli delle dei anche perché molto suo stato dal era",
    "Dutch": "de het een en van ik te dat die in is hij niet zijn op aan met als voor had er maar om hem dan zou of "
    "wat mijn men dit zo door over ze zich bij ook tot je mij uit der daar naar heb hoe heeft hebben deze geen nog wel",
    "Polish": "i w na z do się nie to że jest o jak ale po co tak za od go już przez czy tylko być był dla mnie może "
    "ich przy są ten tego ja sobie bardzo która które który jej jego pod nad ze oraz",
    "Turkish": "ve bir bu da de için ne çok ile daha gibi o ben ama kadar sonra mi ki olarak olan değil her en "
    "şey yok ya ben sen biz bana mı oldu olduğu göre hiç diye nasıl",
    "Indonesian": "yang dan di itu dengan untuk tidak ini dari dalam akan pada juga saya ke karena tersebut bisa ada "
    "mereka lebih kata tahun sudah atau saat oleh menjadi orang kami kita telah dia banyak anda sangat",
}

_WORD = re.compile(r"[^\W\d_]+")
_SCRIPTS, _LATIN = list(SCRIPTS), list(SCRIPTS).index("Latin")
_RANGES = sorted((start, end, script) for script, name in enumerate(_SCRIPTS) for start, end in SCRIPTS[name])
_BOUNDS = np.asarray([bound for start, end, _ in _RANGES for bound in (start, end + 1)], np.uint32)
# between two bounds lies a script, or nothing; where one range follows another at once, an empty gap lies between
_BETWEEN = np.asarray([len(_SCRIPTS), *(s for _, _, script in _RANGES for s in (script, len(_SCRIPTS)))])
_SIGNS = str.maketrans("", "", "×÷")


def _common() -> tuple[dict[str, int], np.ndarray]:
    """The number of each common word, from 1, and what it counts for each language: float (words + 1, languages)."""
    lists = [set(words.split()) for words in COMMON_WORDS.values()]
    numbers = {word: i + 1 for i, word in enumerate(sorted(set().union(*lists)))}
    weights = np.zeros((len(numbers) + 1, len(lists)))
    for word, i in numbers.items():
        weights[i] = [word in words for words in lists]
    return numbers, weights / np.maximum(weights.sum(1, keepdims=True), 1)


_NUMBERS, _WEIGHTS = _common()


def languages(texts: Sequence[str]) -> list[str]:
    """The language, or the script, of each text; "" where it does not show.

    >>> languages(["This is not what I had in mind.", "Das ist nicht, was ich wollte.", "这家酒店很好", "OK!"])
    ['English', 'German', 'Chinese', '']
    """
    texts = [text[:READ] for text in texts]
    counts = _script_counts(texts)
    best, highest = counts.argmax(1), counts.max(1)
    kana, han = (counts[:, _SCRIPTS.index(script)] for script in ("kana", "Han"))
    japanese = (han == highest) & (10 * kana > han)  # most of it may be Chinese characters
    best[japanese] = _SCRIPTS.index("kana")
    best[highest == 0] = len(_SCRIPTS)
    names = [NAMES.get(script, "") for script in np.asarray([*_SCRIPTS, ""], object)[best]]
    latin = np.flatnonzero(best == _LATIN).tolist()
    for row, language in zip(latin, _latin([texts[row] for row in latin]), strict=True):
        names[row] = language
    return names


def _script_counts(texts: Sequence[str]) -> np.ndarray:
    """Letters of each script in each of N texts, int64 (N, scripts). A Han character counts as three letters."""
    width = len(_SCRIPTS) + 1
    counts = np.zeros((len(texts), width), np.int64)
    plain = np.asarray([text.isascii() for text in texts], bool)
    for row in np.flatnonzero(plain).tolist():
        counts[row, _LATIN] = any(c.isalpha() for c in texts[row])
    others = np.flatnonzero(~plain).tolist()
    if others:
        points = np.frombuffer(
            "".join(texts[row].translate(_SIGNS) for row in others).encode("utf-32-le", "surrogatepass"), np.uint32
        )
        lengths = np.asarray([len(texts[row].translate(_SIGNS)) for row in others])
        scripts = _BETWEEN[np.searchsorted(_BOUNDS, points, side="right")]
        keys = np.repeat(np.arange(len(others)), lengths) * width + scripts
        counts[others] = np.bincount(keys, minlength=len(others) * width).reshape(len(others), width)
    counts[:, _SCRIPTS.index("Han")] *= 3
    return counts[:, :-1]


def _latin(texts: Sequence[str]) -> list[str]:
    """The language of each of N texts in Latin letters."""
    number = _NUMBERS.get
    # the word 0 behind each, so that none is without words
    words = [[*(number(word, 0) for word in _WORD.findall(text.lower())), 0] for text in texts]
    if not words:
        return []
    lengths = np.asarray([len(numbers) for numbers in words])
    flat = np.asarray([word for numbers in words for word in numbers], np.int64)
    scores = np.add.reduceat(_WEIGHTS[flat], np.cumsum(lengths) - lengths)  # (N, languages)
    second, best = np.sort(scores, 1)[:, -2:].T
    clear = (best >= np.maximum(HITS, SHARE * (lengths - 1))) & (best >= LEAD * second)
    names = list(COMMON_WORDS)
    return [names[i] if sure else "" for i, sure in zip(scores.argmax(1).tolist(), clear.tolist(), strict=True)]
