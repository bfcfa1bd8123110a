"""From text files to a language model, to texts that it writes, to a classifier that begins with it.

    python examples/language_model.py

The texts are 2,400 sentences of reviews without their labels, in four files. Of 600 of them the labels are told, and
measured is on 600 other sentences, which neither stage reads.
"""

from __future__ import annotations

from pathlib import Path

from realdata.texts import uci_sentences

import flambeau as fb
from flambeau.data.sources.opening import from_path

LABELLED, TEXTS, FILES = 600, 2400, 4


def write_files(folder: Path, texts: list[str]) -> Path:
    """Text files, a sentence a line and a blank line behind it."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(FILES):
        (folder / f"reviews-{number}.txt").write_text("\n\n".join(texts[number::FILES]), encoding="utf-8")
    return folder


def main() -> None:
    runs = Path("runs/examples")
    texts, labels = uci_sentences()
    order = sorted(range(len(texts)), key=lambda i: (i * 7919) % len(texts))  # all sources and labels mixed
    texts, labels = [texts[i] for i in order], [labels[i] for i in order]

    corpus = write_files(runs / "review-files", texts[:TEXTS])
    field = fb.fields.Corpus("bpe", context=64, max_vocabulary=1000)
    data = from_path(corpus, fields={"text": field})
    model = {"name": "gru-lm", "options": {"embedding": 64, "hidden_size": 128}}
    recipe = fb.Recipe.from_dict({"model": model, "objective": {"name": "language-model"}})
    written = fb.Run.free("language-model", runs).path
    metrics = fb.Learner(data, recipe=recipe, run=written, epochs=12, quiet=True).fit(check=False)
    print(f"{metrics['bits_per_character']:.2f} bits a character")
    predictor = fb.load(written)
    said = predictor.generate_text("The food", max_tokens=20, seed=1)
    print(f"The food{said.text}")

    rows = fb.Dataset(
        {"text": texts[:LABELLED] + texts[TEXTS:], "label": labels[:LABELLED] + labels[TEXTS:]},
        inputs=["text"], target="label",
        split=["train" if i % 6 else "valid" for i in range(LABELLED)] + ["test"] * (len(texts) - TEXTS),
    )  # fmt: skip
    classifier = fb.Learner(rows, pretrained=str(written), run=fb.Run.free("reviews", runs).path, epochs=8, quiet=True)
    classifier.fit(check=False)
    accuracy = classifier.evaluate("test")["metrics"]["accuracy"]
    print(f"{accuracy:.1%} of {len(texts) - TEXTS} sentences right")
    assert metrics["bits_per_character"] < 3 and accuracy > 0.53
    assert predictor.generate_text("The food", max_tokens=20, seed=1).text == said.text


if __name__ == "__main__":
    main()
