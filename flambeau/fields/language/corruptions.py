"""What happens to texts: slips of the keyboard, case, words and spaces lost.

The kinds of slips are those of Belinkov, Bisk, "Synthetic and natural noise both break neural machine translation",
2018, https://arxiv.org/abs/1711.02173.
"""

from __future__ import annotations

import re

import numpy as np

from flambeau.robustness import Corruptions

TEXTS = Corruptions("corruption of texts")
WORDWISE = ("typos", "case")
"""Those that leave words as many as they are."""
ROWS = (("qwertyuiop", 0.0), ("asdfghjkl", 0.25), ("zxcvbnm", 0.75))
KEYS = {key: (row, at + begin) for row, (keys, begin) in enumerate(ROWS) for at, key in enumerate(keys)}
NEIGHBOURS = {
    key: "".join(k for k, (r, x) in KEYS.items() if k != key and abs(r - row) <= 1 and abs(x - at) <= 1)
    for key, (row, at) in KEYS.items()
}
"""Letters beside each letter on a QWERTY keyboard."""


@TEXTS.enter("typos", (0.02, 0.04, 0.08, 0.12, 0.2), "a slip in {level:.0%} of the letters",
           "pieces of words or n-grams of characters (--set fields.COLUMN.tokens=bpe), or texts with slips among the "
           "training rows")  # fmt: skip
def typos(text: str, level: float, rng: np.random.Generator) -> str:
    """A letter's neighbour on the keyboard in its place, the letter twice or not at all; letters of other scripts
    change places with the next."""
    hit, kind, which = rng.random((3, len(text)))
    out: list[str] = []
    held = ""
    for i, letter in enumerate(text):
        near = NEIGHBOURS.get(letter.lower(), "")
        if held or not letter.isalpha() or hit[i] >= level:
            out += [letter, held]
            held = ""
        elif not near:
            held = letter
        elif kind[i] < 0.6:
            slip = near[int(which[i] * len(near))]
            out.append(slip.upper() if letter.isupper() else slip)
        else:
            out.append(letter * 2 if kind[i] < 0.8 else "")
    return "".join([*out, held]) or text


@TEXTS.enter("case", (0.2, 0.4, 0.6, 0.8, 1), "{level:.0%} of the words in capitals", "--set fields.COLUMN.lower=true")
def case(text: str, level: float, rng: np.random.Generator) -> str:
    """Words in capitals."""
    words = re.split(r"(\s+)", text)
    return "".join(w.upper() if d < level else w for w, d in zip(words, rng.random(len(words)), strict=True))


@TEXTS.enter("dropped words", (0.05, 0.1, 0.2, 0.3, 0.5), "{level:.0%} of the words lost", "--set augment.deletion=0.2")
def dropped(text: str, level: float, rng: np.random.Generator) -> str:
    """Words lost, of texts without spaces characters; one always stays."""
    between = " " if len(text.split()) > 1 else ""
    parts = text.split() if between else list(text)
    drawn = rng.random(len(parts))
    return between.join(p for p, d in zip(parts, drawn, strict=True) if d >= level or d == drawn.max())


@TEXTS.enter("spaces", (0.05, 0.1, 0.2, 0.3, 0.5), "{level:.0%} of the spaces lost, others where none belong",
           "pieces of words (--set fields.COLUMN.tokens=bpe)")  # fmt: skip
def spaces(text: str, level: float, rng: np.random.Generator) -> str:
    """Words run together or torn apart."""
    out = []
    for letter, draw in zip(text, rng.random(len(text)), strict=True):
        if not (letter == " " and draw < level):
            out.append((letter + " ") if draw < level / 10 else letter)
    return "".join(out) if "".join(out).strip() else text
