"""Classical rivals: features that need no training of their own, and a model of scikit-learn on them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from flambeau.baselines.rows import Guess, Rival, Rows
from flambeau.data.grouping import PRESENT
from flambeau.data.store import FixedColumn, RaggedColumn
from flambeau.fields import Audio, Category, Field, Image, MultiLabel, Number, Series, Table, Text, Windows

MOST_ROWS = {"table": 400_000, "text": 60_000, "image": 12_000, "series": 5_000, "audio": 12_000}
"""Training rows up to which each takes under a minute on one processor."""
MOST_CELLS = 20_000_000  # of a table
MOST_CLASSES = 30
SMALL_PICTURE = 96  # pixels a side
POOLED = 12
MOST_CATEGORY = 255  # what scikit-learn's trees take for one column; larger ones are taken as numbers

Features = Callable[[np.ndarray], Any]
"""Rows to a matrix (n, D), dense or sparse."""


class Recipe(NamedTuple):
    """How a rival is made: the features of rows, and the model on them."""

    features: Features
    model: Any


def classical(rows: Rows) -> list[Rival]:
    """One for each input of a kind that has one, where the rows are few enough."""
    inputs = [name for name in rows.dataset.inputs if name != PRESENT]
    found = []
    for name in inputs:
        make = _recipe(rows, name, rows.dataset.fields[name])
        if make is not None:
            title, recipe = make
            alone = f" on {name} alone" if len(inputs) > 1 else ""
            found.append(Rival(title + alone, lambda recipe=recipe: _fitted(rows, recipe())))  # type: ignore[misc]
    if _comparable(rows, inputs):
        found.append(Rival("TF-IDF of both and a linear model", lambda: _fitted(rows, _compared(rows, inputs))))
    return found


def _recipe(rows: Rows, name: str, field: Field) -> tuple[str, Callable[[], Recipe]] | None:
    """What an input's rival is called, and how it is made; None where it has none, or there is too much."""
    many, column = len(rows.train), rows.store.columns[name]
    if rows.classes and len(rows.target.classes) > MOST_CLASSES:  # type: ignore[attr-defined]
        return None
    if isinstance(field, Table) or (isinstance(field, Number) and len(field.shape) <= 1):
        few = many <= MOST_ROWS["table"] and many * int(np.prod(field.encoding.shape)) <= MOST_CELLS
        return ("gradient-boosted trees", lambda: _trees(rows, field, column)) if few else None
    if isinstance(field, Text) and isinstance(column, RaggedColumn):
        few = many <= MOST_ROWS["text"]
        return ("TF-IDF and a linear model", lambda: _tf_idf(rows, name)) if few else None
    if isinstance(field, Audio):
        few = many <= MOST_ROWS["audio"]
        return ("a linear model on pooled features", lambda: _pooled_sound(rows, name, field)) if few else None
    if isinstance(field, Series) and isinstance(rows.target, Category):
        few = many <= MOST_ROWS["series"]
        return ("the nearest neighbour", lambda: _neighbour(rows, name)) if few else None
    if isinstance(field, Image) and isinstance(column, FixedColumn):
        few = many <= MOST_ROWS["image"] and max(field.encoding.shape[:2]) <= SMALL_PICTURE
        return ("a linear model on small pixels", lambda: _pixels(rows, name)) if few else None
    return None


def _fitted(rows: Rows, recipe: Recipe) -> Guess:
    """What the fitted model says; classes that no training row has get the probability 0."""
    several = isinstance(rows.target, MultiLabel)
    model = recipe.model
    if several:
        from sklearn.multiclass import OneVsRestClassifier

        model = OneVsRestClassifier(model)
    model.fit(recipe.features(rows.train), rows.y[rows.train].astype(int) if several else rows.y[rows.train])

    def guess(held_out: np.ndarray) -> np.ndarray:
        x = recipe.features(held_out)
        if not rows.classes:
            return model.predict(x).astype(np.float32)
        if several:
            return model.predict_proba(x).astype(np.float32)
        out = np.zeros((len(held_out), len(rows.target.classes)), np.float32)  # type: ignore[attr-defined]
        out[:, model.classes_] = model.predict_proba(x)
        return out

    return guess


def _linear(rows: Rows, strength: float) -> Any:
    """Logistic regression, or ridge; `strength` is the inverse of the penalty."""
    from sklearn.linear_model import LogisticRegression, Ridge

    return LogisticRegression(C=strength, max_iter=200) if rows.classes else Ridge(alpha=1 / strength)


def _trees(rows: Rows, field: Field, column: Any) -> Recipe:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    x = column.values.cpu().numpy()
    x = x.reshape(len(x), -1)
    categories: list[int] = []
    if isinstance(field, Table):
        first = field.num_numbers
        categories = [first + i for i, size in enumerate(field.input_shape[1:]) if size <= MOST_CATEGORY]
    kind = HistGradientBoostingClassifier if rows.classes else HistGradientBoostingRegressor
    return Recipe(x.__getitem__, kind(categorical_features=categories or None, random_state=0))


def _tf_idf(rows: Rows, name: str) -> Recipe:
    """Of the tokens as the field cut them, and of neighbouring pairs."""
    vectors = _vectors(rows, [name])
    return Recipe(lambda of: vectors.transform(_documents(rows, name, of)), _linear(rows, 10.0))


def _comparable(rows: Rows, inputs: list[str]) -> bool:
    """Whether the inputs are two texts, few enough, whose tokens have the same numbers."""
    fields = [rows.dataset.fields[name] for name in inputs]
    if len(fields) != 2 or not isinstance(a := fields[0], Text) or not isinstance(b := fields[1], Text):
        return False
    small = not rows.classes or len(rows.target.classes) <= MOST_CLASSES  # type: ignore[attr-defined]
    same = (a.vocabulary, a.tokenizer) == (b.vocabulary, b.tokenizer)
    return same and small and len(rows.train) <= MOST_ROWS["text"] // 2


def _compared(rows: Rows, inputs: list[str]) -> Recipe:
    """Of two texts, TF-IDF of each, how they differ, their product, and its sum, which is their cosine."""
    from scipy.sparse import hstack

    vectors = _vectors(rows, inputs)

    def features(of: np.ndarray) -> Any:
        a, b = (vectors.transform(_documents(rows, name, of)) for name in inputs)
        product = a.multiply(b)
        return hstack([a, b, abs(a - b), product, product.sum(1)]).tocsr()

    return Recipe(features, _linear(rows, 10.0))


def _vectors(rows: Rows, names: list[str]) -> Any:
    """TF-IDF of single tokens and neighbouring pairs, fitted on the training rows of some texts."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(analyzer=_single_and_pairs, min_df=2 if len(rows.train) > 200 else 1, sublinear_tf=True)
    return vectors.fit([text for name in names for text in _documents(rows, name, rows.train)])


def _documents(rows: Rows, name: str, of: np.ndarray) -> list[list[str]]:
    found = []
    for gathered in rows.gathered(name, of):
        lengths = gathered.lengths.tolist()
        found += [[str(t) for t in row[:n]] for row, n in zip(gathered.values.tolist(), lengths, strict=True)]
    return found


def _single_and_pairs(tokens: list[str]) -> list[str]:
    return [*tokens, *(f"{a} {b}" for a, b in itertools.pairwise(tokens))]


def _pixels(rows: Rows, name: str) -> Recipe:
    """Pictures shrunken to 12 pixels a side."""

    def small(of: np.ndarray) -> np.ndarray:
        parts = []
        for gathered in rows.gathered(name, of):
            pictures = gathered.float().permute(0, 3, 1, 2) / 255
            side = min(POOLED, *pictures.shape[2:])
            parts.append(torch.nn.functional.adaptive_avg_pool2d(pictures, side).flatten(1).cpu().numpy())
        return np.concatenate(parts)

    middle = small(rows.train).mean(0)
    return Recipe(lambda of: small(of) - middle, _linear(rows, 0.1))


def _pooled_sound(rows: Rows, name: str, field: Audio) -> Recipe:
    """Mean and deviation over time of each band of log-mel pictures, and of how they change from frame to frame."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    heard = field
    if field.features == "wave":  # the same samples, as pictures
        heard = Audio.from_dict({**field.to_dict(), "features": "log-mel", "mels": None})  # type: ignore[assignment]

    def pooled(of: np.ndarray) -> np.ndarray:
        parts = []
        for gathered in rows.gathered(name, of):
            prepared = heard.prepare(gathered)
            pictures, counts = prepared if isinstance(prepared, Windows) else (prepared, None)
            bands = pictures[:, 0]  # (W, mels, frames)
            change = bands.diff(dim=2) if bands.shape[2] > 1 else torch.zeros_like(bands)
            found = torch.cat([f for x in (bands, change) for f in (x.mean(2), x.std(2, correction=0))], 1)
            if counts is not None:
                owner = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
                sums = found.new_zeros(len(counts), found.shape[1]).index_add_(0, owner, found)
                found = sums / counts[:, None]
            parts.append(found.cpu().numpy())
        return np.concatenate(parts)

    return Recipe(pooled, make_pipeline(StandardScaler(), _linear(rows, 0.1)))


def _neighbour(rows: Rows, name: str) -> Recipe:
    """The class of the training series that is nearest, step by step."""
    from sklearn.neighbors import KNeighborsClassifier

    def flat(of: np.ndarray) -> np.ndarray:
        return np.concatenate([gathered.flatten(1).cpu().numpy() for gathered in rows.gathered(name, of)])

    return Recipe(flat, KNeighborsClassifier(1))
