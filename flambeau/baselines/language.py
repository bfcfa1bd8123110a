"""The rival of language models: n-grams with Kneser-Ney smoothing, of the same tokens in the same documents."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import numpy as np
import torch

from flambeau.baselines.kneser_ney import KneserNey
from flambeau.baselines.rows import Budget, Rows
from flambeau.data.store.store import RaggedColumn
from flambeau.fields import Corpus, Packed
from flambeau.objectives.language.base import Likelihoods

FEW = 1024  # different tokens, up to which they are letters or bytes
LETTERS, PIECES = 8, 5  # the longest n-grams of these, and of pieces of words
MOST = 8_000_000  # tokens to count, which takes up to 1.4 GB
AT_ONCE = 2**20  # tokens that are measured at once


def foretold(
    rows: Rows, of: Rows, held_out: np.ndarray, metric: str
) -> list[tuple[str, Callable[[Budget], Sequence[Likelihoods]], bool]]:
    """Modified Kneser-Ney, fitted on the training documents: n-grams of at most 8 letters or bytes, or of 5 pieces of
    words. Every token that a model is measured on is measured, from those of its whole document before it."""
    (name,) = rows.dataset.inputs
    field = cast(Corpus, rows.dataset.fields[name])
    vocabulary = int(field.input_shape[0])
    order = LETTERS if vocabulary <= FEW else PIECES

    def measured(budget: Budget) -> Sequence[Likelihoods]:
        order_of_rows = np.random.default_rng(0).permutation(rows.train)
        documents, count, total = [], 0, int(_lengths(rows, name)[rows.train].sum())
        for row in order_of_rows.tolist():
            tokens = _document(rows, name, row)[0][: MOST - count]
            documents.append(tokens)
            if (count := count + len(tokens)) >= MOST:
                budget.notes.append(f"fitted on {count:,} of {total:,} tokens")
                break
        more = functools.partial(budget.more, most=order, of="lengths of n-grams")
        model = KneserNey(*_flat(documents), vocabulary, order, more)
        likelihoods = Likelihoods(field)
        for part in _parts(of, name, held_out):
            _measure(model, likelihoods, [_document(of, name, row) for row in part], part)
        return [likelihoods]

    return [(f"Kneser-Ney of {order}-grams", measured, False)]


def _measure(
    model: KneserNey, metric: Likelihoods, documents: Sequence[tuple[np.ndarray, np.ndarray]], rows: Sequence[int]
) -> None:
    flat, lengths = _flat([tokens for tokens, _ in documents])
    counted = torch.from_numpy(np.concatenate([counts for _, counts in documents]))
    costs = torch.from_numpy(-model.log_probabilities(flat, lengths))
    # each is foretold, the first of a document too: what is before it is not looked at
    tokens, of = torch.from_numpy(flat), torch.from_numpy(np.repeat(rows, lengths))
    before = functools.partial(torch.nn.functional.pad, pad=(1, 0))
    packed = Packed(before(tokens)[None], torch.zeros(1, len(tokens) + 1, dtype=torch.int64), None, before(of)[None])
    metric.update(packed, costs[None], counted[None])


def _document(rows: Rows, name: str, row: int) -> tuple[np.ndarray, np.ndarray]:
    """The tokens of a document that are foretold, int64 (T), and which of them count, bool (T)."""
    column = _column(rows, name)
    start, end = column.offsets[row].item() + 1, column.offsets[row + 1].item()  # behind the mark that it begins with
    values = column.flat[start:end].cpu().numpy().astype(np.int64)
    return (values, np.ones(len(values), bool)) if values.ndim == 1 else (values[:, 0], values[:, 1] > 0)


def _lengths(rows: Rows, name: str) -> np.ndarray:
    return _column(rows, name).lengths.cpu().numpy()


def _column(rows: Rows, name: str) -> RaggedColumn:
    column = rows.store.columns[name]
    assert isinstance(column, RaggedColumn)
    return column


def _parts(rows: Rows, name: str, chosen: np.ndarray) -> Iterator[list[int]]:
    """Rows of so many tokens together that they are measured at once; one at least."""
    ends = np.cumsum(_lengths(rows, name)[chosen])
    for part in np.split(chosen, np.flatnonzero(np.diff(ends // AT_ONCE)) + 1):
        if len(part):
            yield part.tolist()


def _flat(documents: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate(documents), np.asarray([len(tokens) for tokens in documents], np.int64)
