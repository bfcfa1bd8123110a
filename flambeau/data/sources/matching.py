"""Lists of words: as tokens where each has a tag, and every sentence must have as many of one as of the other; as texts
where a sentence has one answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau.core.errors import DataError, UsageError
from flambeau.core.findings import Finding, Severity
from flambeau.fields import MultiLabel, Tags, Text, Tokens
from flambeau.fields.language.tokenizers import HF
from flambeau.fields.strings import Strings
from flambeau.fields.text import joined_words

if TYPE_CHECKING:
    from flambeau.data.dataset import Dataset


AS_LONG = 0.9  # share of the lists of names that must be as long as their sentence, to be its tags


def match_tags(dataset: Dataset) -> None:
    """Settles by the target what lists of words are. With tags, a text column is made one of tokens, and sentences that
    do not match their tags are left out; with one answer a sentence, lists of words are made texts.

    Raises:
        UsageError: the tags have no column of tokens beside them. DataError: no sentence matches its tags.
    """
    target = dataset.target
    if target is None:
        return
    if _tags_after_all(dataset, target):
        dataset.fields[target] = Tags()
        dataset.reasons[target] = "tags: values are lists of names, one for each token"
    if not isinstance(field := dataset.fields[target], Tags):
        _join_words(dataset)
        return
    name = next((n for n in dataset.inputs if isinstance(dataset.fields[n], (Tokens, Text))), None)
    if name is None or len(dataset.inputs) > 1:
        raise UsageError(
            f"'{target}' holds tags, and the inputs are {', '.join(dataset.inputs)}",
            expected="one column of tokens",
            fix="give inputs=, the column that is tagged",
        )
    if isinstance(text := dataset.fields[name], Text):
        shared = {n: getattr(text, n) for n in ("lower", "max_length", "min_count")}
        pieces = text.tokens if text.tokens.startswith(HF) else "auto"
        dataset.fields[name] = Tokens(pieces, split="spaces", **shared)
        dataset.reasons[name] = "tokens: the target has a tag for each word between spaces"
        dataset.columns[name] = [v.split() if isinstance(v, str) else v for v in dataset.columns[name]]
    sentences = dataset.fields[name]
    assert isinstance(sentences, Tokens)
    values = list(dataset.columns[target])
    wrong: list[int] = []
    told = ""
    for row, (sentence, tags) in enumerate(zip(dataset.columns[name], values, strict=True)):
        try:
            found = len(sentences.parts(sentence)), len(field.parts(tags))
        except DataError:
            continue  # named when the store is built
        if found[0] != found[1]:
            told = told or f"{found[0]} tokens and {found[1]} tags"
            wrong.append(row)
            values[row] = None
    if not wrong:
        return
    if len(wrong) == len(values):
        raise DataError(f"no sentence has as many tags as tokens ({told})", where=dataset.place(wrong[0]),
                        fix="look whether these are the right columns")  # fmt: skip
    dataset.columns[target] = values
    places = [dataset.place(row) for row in wrong]
    dataset.findings.append(
        Finding("unequal-tags", Severity.WARNING,
                f"{len(wrong)} sentence{'s' * (len(wrong) > 1)} left out, whose tags are more or fewer than the "
                f"tokens; the first: {told}", places=places, rows=wrong, fix="mend them")
    )  # fmt: skip


def _tags_after_all(dataset: Dataset, target: str) -> bool:
    """Whether a target that was taken for several labels has a name for each token: short sentences repeat none."""
    if len(dataset.inputs) != 1 or target not in dataset.reasons or not isinstance(dataset.fields[target], MultiLabel):
        return False
    if not isinstance(dataset.fields[name := dataset.inputs[0]], Tokens):
        return False
    pairs = [
        (len(words), len(names))
        for words, names in zip(dataset.columns[name], dataset.columns[target], strict=True)
        if isinstance(words, (list, tuple)) and isinstance(names, (list, tuple))
    ]
    return sum(words == names for words, names in pairs) > AS_LONG * len(pairs)


def _join_words(dataset: Dataset) -> None:
    """Makes lists of words one text each: where no word has an answer of its own, they are only a way of writing."""
    for name in dataset.inputs:
        if isinstance(dataset.fields[name], Tokens) and name in dataset.reasons:
            dataset.fields[name] = Text()
            dataset.reasons[name] = "text: values are lists of words, and the target has one answer for them"
        values = dataset.columns[name]
        if not isinstance(dataset.fields[name], Text) or isinstance(values, Strings):
            continue
        if any(isinstance(value, (list, tuple)) for value in values):
            dataset.columns[name] = [joined_words(value) for value in values]
