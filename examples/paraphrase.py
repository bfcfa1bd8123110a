"""Paraphrases: training texts once more in other words, made ahead of time by any function, and kept.

    python examples/paraphrase.py

Back-translation as in Edunov et al., "Understanding back-translation at scale" (2018), arXiv:1808.09381. Here two
functions stand for the translations; `translator("opus-mt-en-de/")` is a model of transformers in a local folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flambeau.core.errors import DataError, MissingExtra, ModelError, UsageError
from flambeau.core.reporter import QUIET, Reporter
from flambeau.data.dataset import Dataset
from flambeau.data.split import TRAIN
from flambeau.fields import Text

Rewrite = Callable[[list[str]], Sequence[str]]
"""Texts to as many texts, such as their translations."""


def paraphrase(
    dataset: Dataset,
    rewrite: Rewrite,
    *,
    column: str | None = None,
    name: str | None = None,
    batch_size: int = 32,
    cache: str | Path = ".flambeau/paraphrases",
    reporter: Reporter = QUIET,
) -> Dataset:
    """The dataset with one more training row for each training text, its text rewritten, all else as it was.

    Texts that are held out are never rewritten. What `rewrite` gave is kept as it comes, so that neither a crash nor a
    second training pays for it again.

    Args:
        rewrite: texts to as many texts: `back_translation`, or any function.
        column: of texts; the only one if not given.
        name: what the kept texts are known by: another function, another name. Its own name if not given.
        batch_size: texts to a call.
        cache: the folder that they are kept in.

    Raises:
        DataError: `rewrite` gave another number of texts. UsageError: there is no such column of texts.
    """
    names = [n for n in dataset.inputs if isinstance(dataset.fields[n], Text)]
    if column is None and len(names) == 1:
        column = names[0]
    if column not in names:
        raise UsageError(
            f"the data has no one column of texts called '{column}'", expected=", ".join(names) or "a text"
        )
    rows = [r for r in dataset.rows(TRAIN).tolist() if isinstance(dataset.columns[column][r], str)]
    texts = [dataset.columns[column][row] for row in rows]
    new = _rewritten(texts, rewrite, _kept_at(cache, rewrite, name), batch_size, reporter)
    differ = [(row, text) for row, old, text in zip(rows, texts, new, strict=True) if text.strip() not in ("", old)]
    columns: dict[str, Any] = {}
    for key, values in dataset.columns.items():
        more = [text for _, text in differ] if key == column else [values[row] for row, _ in differ]
        columns[key] = np.concatenate([values, more]) if isinstance(values, np.ndarray) else [*values, *more]
    sides = [*dataset.split.tolist(), *[TRAIN] * len(differ)]
    sources = [row for row, _ in differ]

    def place(row: int) -> str:
        return dataset.place(row) if row < len(dataset) else f"{dataset.place(sources[row - len(dataset)])}, rewritten"

    return Dataset(columns, target=dataset.target, inputs=dataset.inputs, fields=dataset.fields, split=sides,
                   source={"kind": "memory", "made": "rewritten"}, places=place, findings=dataset.findings)  # fmt: skip


def back_translation(there: Rewrite, back: Rewrite) -> Rewrite:
    """A rewriting by way of another language.

    >>> shout = back_translation(lambda texts: [t.upper() for t in texts], lambda texts: [t + "!" for t in texts])
    >>> shout(["fine"])
    ['FINE!']
    """

    def rewrite(texts: list[str]) -> list[str]:
        return list(back(list(there(texts))))

    rewrite.__name__ = f"{_name(there)}-{_name(back)}"
    return rewrite


def translator(folder: str | Path, *, max_length: int = 256, beams: int = 1) -> Rewrite:
    """A translation model of transformers (such as Marian) from a local folder, with its tokeniser; safetensors only.

    Raises:
        ModelError: the folder holds no such model. MissingExtra: transformers is not installed.
    """
    try:
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
    except ImportError:
        raise MissingExtra("transformers", "text", "a translation model") from None
    if not Path(folder).is_dir():
        raise ModelError("there is no such folder", where=folder, expected="a translation model of transformers")
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
        model = AutoModelForSeq2SeqLM.from_pretrained(str(folder), trust_remote_code=False, use_safetensors=True)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelError(
            f"the translation model cannot be loaded ({str(error).splitlines()[0]})", where=folder
        ) from None
    model.eval()

    def translate(texts: list[str]) -> list[str]:
        import torch

        with torch.inference_mode():
            batch = tokenizer(texts, return_tensors="pt", padding=True, truncation=True, max_length=max_length)
            out = model.generate(**batch, max_new_tokens=max_length, num_beams=beams, do_sample=False)
        return list(tokenizer.batch_decode(out, skip_special_tokens=True))

    translate.__name__ = Path(folder).name
    return translate


def _name(rewrite: Rewrite) -> str:
    return str(getattr(rewrite, "__name__", type(rewrite).__name__))


def _kept_at(cache: str | Path, rewrite: Rewrite, name: str | None) -> Path:
    if name is None and "<lambda>" in _name(rewrite):
        raise UsageError("a lambda has no name to keep its texts by", fix="give name=, another for each function")
    digest = hashlib.sha256((name or _name(rewrite)).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return Path(cache) / f"{digest}.jsonl"


def _rewritten(texts: list[str], rewrite: Rewrite, file: Path, batch_size: int, reporter: Reporter) -> list[str]:
    """Each text rewritten; those that the file has are not asked for again."""
    kept = _read(file)
    missing = list(dict.fromkeys(text for text in texts if text not in kept))
    file.parent.mkdir(parents=True, exist_ok=True)
    with reporter.bar("rewriting texts", len(missing)) as bar, file.open("a", encoding="utf-8") as out:
        out.write("\n")  # ends a line that a crash has cut off
        for start in range(0, len(missing), batch_size):
            asked = missing[start : start + batch_size]
            given = list(rewrite(asked))
            if len(given) != len(asked) or not all(isinstance(text, str) for text in given):
                raise DataError(
                    f"the function gave {len(given)} texts for {len(asked)}", expected="a text for each text"
                )
            for old, new in zip(asked, given, strict=True):
                kept[old] = new
                out.write(json.dumps([old, new]) + "\n")
            out.flush()
            bar.update(start + len(asked))
    return [kept[text] for text in texts]


def _read(file: Path) -> dict[str, str]:
    """What was kept; a line that a crash has cut off is left out."""
    kept: dict[str, str] = {}
    if file.exists():
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                old, new = json.loads(line)
            except ValueError:
                continue
            kept[old] = new
    return kept


def main() -> None:
    """The sentences of reviews, once more by way of another language; what is held out stays as it was written."""
    from realdata.texts import write_sentences

    def there(texts: list[str]) -> list[str]:
        return [text.replace("great", "gut") for text in texts]

    def back(texts: list[str]) -> list[str]:
        return [text.replace("gut", "good") for text in texts]

    table = Path("runs/examples/sentences.csv")
    table.parent.mkdir(parents=True, exist_ok=True)
    data = Dataset.from_table(write_sentences(table), inputs=["text"])
    more = paraphrase(data, back_translation(there, back), column="text", cache="runs/examples/paraphrases")
    rewritten = [text for text in data.columns["text"] if "great" in text]
    print(f"{len(data)} texts, {len(more) - len(data)} more for training")
    assert 0 < len(more) - len(data) < len(rewritten)
    assert len(more.rows("valid")) == len(data.rows("valid"))


if __name__ == "__main__":
    main()
