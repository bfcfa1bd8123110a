"""Lists of words: as parts where each has an answer, and every sentence must have as many of one as of the other; as
whole texts where a sentence has one answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau.core.errors import DataError, UsageError
from flambeau.core.findings import Finding, Severity

if TYPE_CHECKING:
    from flambeau.data.dataset import Dataset


AS_LONG = 0.9  # share of the lists of names that must be as long as their sentence, to be its tags


def match_parts(dataset: Dataset) -> None:
    """Settles by the target what lists of words are. Where it is said of parts, the input is taken in parts, and
    sentences that do not match their tags are left out; with one answer a sentence, lists of words are made texts.

    Raises:
        UsageError: tags have no column of tokens beside them. DataError: no sentence matches its tags.
    """
    target = dataset.target
    if target is None:
        return
    if _said_of_parts(dataset, target) and (tags := dataset.fields[target].as_parts()) is not None:
        dataset.fields[target] = tags
        dataset.reasons[target] = f"{tags.kind}: values are lists of names, one for each token"
    field = dataset.fields[target]
    field.settle(dataset, target)
    if not field.has_parts:
        _take_whole(dataset)
        return
    parts = {name: dataset.fields[name].as_parts() for name in dataset.inputs}
    name, sentences = next(((n, parted) for n, parted in parts.items() if parted is not None), ("", None))
    if sentences is None or len(dataset.inputs) > 1:
        raise UsageError(
            f"'{target}' holds tags, and the inputs are {', '.join(dataset.inputs)}",
            expected="one column of tokens",
            fix="give inputs=, the column that is tagged",
        )
    if sentences is not dataset.fields[name]:
        dataset.fields[name] = sentences
        dataset.reasons[name] = f"{sentences.kind}: the target has a tag for each word between spaces"
        dataset.columns[name] = [*map(sentences.rewritten, dataset.columns[name])]
    values = list(dataset.columns[target])
    wrong: list[int] = []
    told = ""
    for row, (sentence, tags_of) in enumerate(zip(dataset.columns[name], values, strict=True)):
        try:
            found = len(sentences.parts(sentence)), len(field.parts(tags_of))
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


def _said_of_parts(dataset: Dataset, target: str) -> bool:
    """Whether a target that was taken for several labels has a name for each part: short sentences repeat none."""
    if len(dataset.inputs) != 1 or target not in dataset.reasons or not dataset.fields[target].has_classes:
        return False
    if not dataset.fields[name := dataset.inputs[0]].has_parts:
        return False
    pairs = [
        (len(words), len(names))
        for words, names in zip(dataset.columns[name], dataset.columns[target], strict=True)
        if isinstance(words, (list, tuple)) and isinstance(names, (list, tuple))
    ]
    return sum(words == names for words, names in pairs) > AS_LONG * len(pairs)


def _take_whole(dataset: Dataset) -> None:
    """Makes lists of words one text each: where no word has an answer of its own, they are only a way of writing."""
    for name in dataset.inputs:
        whole = dataset.fields[name].as_whole()
        if whole is None or (whole is not dataset.fields[name] and name not in dataset.reasons):
            continue
        if whole is not dataset.fields[name]:
            dataset.fields[name] = whole
            dataset.reasons[name] = f"{whole.kind}: values are lists of words, and the target has one answer for them"
        values = dataset.columns[name]
        if isinstance(values, list) and any(isinstance(value, (list, tuple)) for value in values):
            dataset.columns[name] = [*map(whole.rewritten, values)]
