"""From a text file to a language model, to texts that it writes, to a classifier that begins with it.

    python examples/language_model.py

The text is a diary in a made-up language, of days at sea and days at the market: each has its own words. Which words go
together is learned without a label; the labels of a few days are then enough, where the same network from scratch has
seen hardly half of the words with one. (Of real text that takes far more than a minute's training: see
`benchmarks/ulmfit.py`.)
"""

from __future__ import annotations

import random
from pathlib import Path

import flambeau as fb
from flambeau.data.sources.opening import from_path

DAYS, LABELLED, TESTED, THEMES = 2000, 16, 400, ("sea", "market")
SYLLABLES = [first + second for first in "bdfgklmnprst" for second in "aeiou"]
SIZES = {"embedding": 64, "hidden_size": 64}


def diary(count: int) -> tuple[list[str], list[str]]:
    """So many days, six words each, and what each is about."""
    draw = random.Random(0)
    words = ["".join(draw.choices(SYLLABLES, k=draw.choice((2, 3)))) for _ in range(10 + 40 * len(THEMES))]
    common, own = words[:10], {theme: words[10 + 40 * i : 50 + 40 * i] for i, theme in enumerate(THEMES)}
    themes = [draw.choice(THEMES) for _ in range(count)]
    days = [[draw.choice(common if draw.random() < 0.3 else own[theme]) for _ in range(6)] for theme in themes]
    return [f"{' '.join(day)}." for day in days], themes


def main() -> None:
    runs = Path("runs/examples")
    texts, themes = diary(DAYS + LABELLED + TESTED)
    runs.mkdir(parents=True, exist_ok=True)
    file = runs / "diary.txt"
    file.write_text("\n\n".join(texts[:DAYS]), encoding="utf-8")  # a blank line behind each day
    data = from_path(file, fields={"text": fb.fields.Corpus(max_vocabulary=400)})
    recipe = fb.Recipe.from_dict({"model": {"name": "gru-lm", "options": SIZES}})
    written = fb.Run.free("diary", runs).path
    settings = {"quiet": True, "baseline": False}
    metrics = fb.Learner(data, recipe=recipe, tokens="bpe", run=written, epochs=20, batch_size=16, **settings).fit()
    predictor = fb.load(written)
    said = predictor.generate_text(texts[0][:12], max_tokens=20, seed=1)
    print(f"{metrics['bits_per_character']:.2f} bits a character; {texts[0][:12]}{said.text}")

    rows = fb.Dataset(
        {"text": texts[DAYS:], "theme": themes[DAYS:]}, inputs=["text"], target="theme",
        split=["train" if i % 4 else "valid" for i in range(LABELLED)] + ["test"] * TESTED,
    )  # fmt: skip
    same = {"of": "gru-lm", "context": 64, "options": SIZES}
    ways = {
        "begun with it": {"pretrained": str(written)},
        "from scratch": {"recipe": fb.Recipe.from_dict({"model": {"name": "ulmfit", "options": same}})},
    }
    right = {}
    for way, begins in ways.items():
        classifier = fb.Learner(rows, run=fb.Run.free("theme", runs).path, epochs=12, **begins, **settings)
        right[way] = classifier.fit(check=False)["accuracy"]
        print(f"{way}: {right[way]:.1%} of {TESTED} days right, by the labels of {LABELLED}")
    assert predictor.generate_text(texts[0][:12], max_tokens=20, seed=1).text == said.text
    assert right["begun with it"] > max(0.85, right["from scratch"] + 0.05)


if __name__ == "__main__":
    main()
