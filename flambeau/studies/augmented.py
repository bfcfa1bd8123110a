"""More training texts by other runs: said in other words by two translations, or written by a language model and kept
where a classifier agrees. Nothing that is held out is rewritten or begun from."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flambeau.check.plain import squeezed
from flambeau.core.arrays import missing
from flambeau.core.errors import DataError, UsageError, require, shown
from flambeau.core.files import write_atomic
from flambeau.core.reporter import QUIET, Reporter
from flambeau.data.dataset import Dataset
from flambeau.data.made import BY, FROM, ORIGINAL
from flambeau.data.sources.opening import from_source
from flambeau.data.split import TRAIN
from flambeau.fields import Text
from flambeau.objectives.language.translation import Translation
from flambeau.predictor import Predictor
from flambeau.predictor.decoding import Decoder
from flambeau.predictor.sampling import Sampling
from flambeau.predictor.texts import language_model, prompt_tokens
from flambeau.run import Run

BATCH = 64
MOST_ROUNDS = 12  # of prompts for each text that is wanted of a class, before it is told that there are no more


class New(NamedTuple):
    """A new training row: its text, its label, what made it, and the row that it was made of (None for none)."""

    text: str
    label: Any
    by: str
    source: int | None


class Known:
    """Texts that are there, whatever their capitals and spaces: a new one that is among them brings nothing, and could
    be one that is held out."""

    def __init__(self, texts: Sequence[Any]):
        self._seen = {squeezed(text) for text in texts if isinstance(text, str)}

    def new(self, text: str) -> bool:
        """Whether a text is not empty and not among them; it is from then on."""
        plain = squeezed(text)
        fresh = plain != "" and plain not in self._seen
        self._seen.add(plain)
        return fresh


def column_of(data: Dataset) -> str:
    """The one column of texts of a Dataset.

    Raises:
        UsageError: there are none, or several; or the data has made rows already, or no target that a text has whole.
    """
    names = [name for name in data.inputs if isinstance(data.fields[name], Text)]
    if len(names) != 1:
        raise UsageError(f"the data has {len(names) or 'no'} columns of texts", expected="one",
                         fix="choose it with inputs= (--input)")  # fmt: skip
    if data.target is None:
        raise UsageError("the data has no target, so a new text would have none", fix="give target= (--target)")
    if data.made is not None:
        raise UsageError("rows that were made are not made anew", fix="leave --also out")
    return names[0]


def back_translated(data: Dataset, forth: Path, back: Path, *, reporter: Reporter = QUIET) -> list[New]:
    """Each training text in other words, by way of another language; those that come back as they were are left out.

    Sennrich, Haddow, Birch, "Improving neural machine translation models with monolingual data" (2016),
    https://arxiv.org/abs/1511.06709.

    Args:
        forth, back: runs of translation, of which the second reads what the first writes.

    Raises:
        UsageError: a run is none of translation; as `column_of`.
    """
    column = column_of(data)
    runs = [_translator(path) for path in (forth, back)]
    rows = [row for row in data.rows(TRAIN).tolist() if isinstance(data.columns[column][row], str)]
    rows = [row for row in rows if not missing(data.columns[data.target or ""][row])]
    texts, by = [data.columns[column][row] for row in rows], f"back-translation {forth.name} {back.name}"
    with reporter.bar("translating", 2 * len(texts)) as bar:
        for number, run in enumerate(runs):
            said: list[str] = []
            for start in range(0, len(texts), BATCH):
                said += [answer.label for answer in run.predict(texts[start : start + BATCH])]
                bar.update(number * len(texts) + len(said))
            texts = said
    known = Known(data.columns[column])
    labels = data.columns[data.target or ""]
    return [New(text, labels[row], by, row) for row, text in zip(rows, texts, strict=True) if known.new(text)]


def generated(
    data: Dataset, run: Path, judge: Path, per_class: int, *, prompt: str = "{start}", words: int = 2,
    sure: float = 0.5, sampling: Sampling | None = None, reporter: Reporter = QUIET,
) -> list[New]:  # fmt: skip
    """New texts of each class that a language model writes and a classifier takes for this class.

    Kumar, Choudhary, Cho, "Data augmentation using pre-trained transformer models" (2020),
    https://arxiv.org/abs/2003.02245; kept as in Anaby-Tavor et al., "Do not have enough data? Deep learning to the
    rescue!" (2020), https://arxiv.org/abs/1911.03118.

    Args:
        run: of a language model.
        judge: a run that tells the classes apart.
        per_class: texts of each class.
        prompt: what the model goes on from: `{label}` is the class, and `{start}` the first words of a training text of
            it, with which the new text begins.
        words: how many of them.
        sure: the confidence that the classifier must have.
        sampling: how texts go on.

    Raises:
        UsageError: a run is another; the classes are others; as `column_of`. DataError: a run learned from rows that
            are held out here.
    """
    column = column_of(data)
    require(per_class >= 1, f"{per_class} texts of a class", "1 or more")
    require(words >= 1, f"{words} words", "1 or more")
    require("{label}" in prompt or "{start}" in prompt, f"the prompt {shown(prompt)}", "one with {label} or {start}")
    target = data.target or ""
    if len(data.inputs) > 1:
        raise UsageError(
            "a model of language writes texts, and the rows have other inputs too", fix=f"--input {column}"
        )
    if not data.fields[target].one_class:
        raise UsageError(f"the target '{target}' is no class of a text", expected="one class for each row")
    writer, classifier = Predictor.load(run), Predictor.load(judge)
    language_model(writer.objective)
    labels, texts = data.columns[target], data.columns[column]
    rows = [r for r in data.rows(TRAIN).tolist() if not missing(labels[r]) and isinstance(texts[r], str)]
    classes = sorted({str(labels[row]) for row in rows})
    if lacking := [name for name in classes if name not in classifier.classes]:
        raise UsageError(f"the run that judges knows no class '{lacking[0]}'", where=judge,
                         expected=", ".join(classifier.classes) or "a run of classes")  # fmt: skip
    for path in (run, judge):
        _check_held_out(data, column, path)
    sampling = sampling or Sampling(max_tokens=60, temperature=0.9, top_p=0.95)
    known, by, found = Known(texts), f"language-model {run.name}", list[New]()
    with reporter.bar("writing texts", per_class * len(classes)) as bar:
        for name in classes:
            of_class = [row for row in rows if str(labels[row]) == name]
            kept = 0
            for part in _rounds(of_class, per_class, sampling.seed):
                starts = [" ".join(texts[row].split()[:words]) if "{start}" in prompt else "" for row, _ in part]
                prompts = [prompt.replace("{label}", name).replace("{start}", start) for start in starts]
                said = _said(writer, prompts, [replace(sampling, seed=seed) for _, seed in part])
                whole = [(start + text).strip() for start, text in zip(starts, said, strict=True)]
                fresh = [(text, row) for text, (row, _) in zip(whole, part, strict=True) if known.new(text)]
                answers = classifier.predict([text for text, _ in fresh]) if fresh else []
                agreed = [
                    New(text, labels[row], by, row if "{start}" in prompt else None)
                    for (text, row), answer in zip(fresh, answers, strict=True)
                    if str(answer.label) == name and (answer.confidence or 0) >= sure
                ][: per_class - kept]
                found, kept = found + agreed, kept + len(agreed)
                bar.update(len(found))
                if kept == per_class:
                    break
    return found


def write(found: Sequence[New], data: Dataset, path: Path) -> None:
    """Writes new rows as a table that `train --also` takes: the columns of the data, by what each row was made, and the
    row that it was made of with its text. Raises DataError where there are none."""
    if not found:
        raise DataError("no new text came of it: all are as they were, or of another class", where=path)
    column, target = column_of(data), data.target or ""
    others = [name for name in data.inputs if name != column]
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow([column, *others, target, BY, FROM, ORIGINAL])
    for new in found:
        source = new.source
        beside = ["" if source is None else data.columns[name][source] for name in others]
        origin = ["", ""] if source is None else [source + 1, data.columns[column][source]]
        table.writerow([new.text, *beside, new.label, new.by, *origin])
    write_atomic(path, out.getvalue().encode("utf-8"))


def counts(found: Sequence[New]) -> dict[str, int]:
    """How many new rows each label has."""
    return dict(sorted(Counter(str(new.label) for new in found).items()))


def _said(writer: Predictor, prompts: Sequence[str], samplings: Sequence[Sampling]) -> list[str]:
    """How prompts go on, each by its own draws, all of them batched."""
    objective = language_model(writer.objective)
    decoder = Decoder(objective.model.eval(), objective.field)
    requests = [
        decoder.add(prompt_tokens(objective.field, prompt), sampling)
        for prompt, sampling in zip(prompts, samplings, strict=True)
    ]
    while decoder.busy:
        decoder.advance()
    return [request.text for request in requests]


def _translator(path: Path) -> Predictor:
    predictor = Predictor.load(path)
    if not isinstance(predictor.objective, Translation):
        raise UsageError("this run translates nothing", where=path, expected="a run of --objective translation")
    return predictor


def _rounds(rows: Sequence[int], count: int, seed: int) -> Iterator[list[tuple[int, int]]]:
    """Training rows to begin from, drawn, and a seed for each, some at a time."""
    draw = np.random.default_rng(seed)
    for number in range(MOST_ROUNDS):
        drawn = draw.choice(rows, count).tolist()
        yield [(row, seed + number * count + i) for i, row in enumerate(drawn)]


def _check_held_out(data: Dataset, column: str, path: Path) -> None:
    """Raises DataError where a run learned from texts of the same file that are held out here."""
    recipe = Run.open(path).recipe
    if data.source.get("path") is None or recipe.data.get("path") != data.source["path"]:
        return
    learned = from_source({name: value for name, value in recipe.data.items() if name != "fingerprint"})
    if column not in learned.columns:
        return
    seen = {learned.columns[column][row] for row in learned.rows(TRAIN).tolist()}
    held_out = [row for row in range(len(data)) if data.split[row] != TRAIN]
    leaked = [row for row in held_out if data.columns[column][row] in seen]
    if leaked:
        raise DataError(
            f"the run learned from {len(leaked):,} of the {len(held_out):,} rows that are held out here",
            where=path, fix="give the table a column 'split' with train, valid and test, which every training goes by",
        )  # fmt: skip
