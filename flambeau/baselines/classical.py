"""Classical rivals: features that need no training of their own, and a model of scikit-learn on them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from flambeau.baselines.rows import Budget, Features, Guess, Rival, Rows
from flambeau.data.grouping import PRESENT
from flambeau.fields import Encoding, Field, Windows

MOST_TEXTS = 60_000
MOST_CELLS = 20_000_000  # of a table
MOST_CLASSES = 30
MOST_PROBED = 2_000  # rows that go through a pretrained network once more: less than an epoch
SMALL_PICTURE = 96  # pixels a side
POOLED = 12
MOST_CATEGORY = 255  # what scikit-learn's trees take for one column; larger ones are taken as numbers

PASSES = 20  # over texts, of stochastic gradient descent
ITERATIONS = {"trees": 100, "linear": 200}
LONGEST = 5.0  # seconds between two looks at the clock


class Recipe(NamedTuple):
    """How a rival is made: the features of rows, and how the model on them is fitted within some time."""

    features: Features
    fit: Callable[[Any, np.ndarray, Budget], Any]


class OfInput(NamedTuple):
    """A rival on one input.

    Attributes:
        title: what it is, in a few words.
        most: training rows that it is fitted on at most, drawn from more, so that it takes about a minute on one
            processor.
        suits: whether it is for an input of such a field, and such a target.
        make: makes it, given the input's name.
    """

    title: str
    most: int
    suits: Callable[[Rows, Field], bool]
    make: Callable[..., Recipe]


def classical(rows: Rows) -> list[Rival]:
    """For each input the first of RIVALS that suits it, and one on two texts that are compared."""
    if rows.classes and rows.target.num_outputs > MOST_CLASSES:
        return []
    fields = {name: rows.dataset.fields[name] for name in rows.dataset.inputs if name != PRESENT}
    found = []
    for name, field in fields.items():
        if (rival := next((rival for rival in RIVALS if rival.suits(rows, field)), None)) is not None:
            most, form = rival.most, field.encoding
            if form.is_row:
                most = min(most, max(1, MOST_CELLS // max(1, int(np.prod(form.shape)))))
            alone = f" on {name} alone" if len(fields) > 1 else ""
            found.append(_rival(rival.title + alone, rows, most, functools.partial(rival.make, name=name)))
    if rows.pretrained is not None:
        found.append(_rival("a linear model on the pretrained network", rows, MOST_PROBED, _probe))
    keys = [field.token_key for field in fields.values()]
    if len(keys) == 2 and None not in keys and keys[0] == keys[1]:
        make = functools.partial(_compared, inputs=[*fields])
        found.append(_rival("TF-IDF of both and a linear model", rows, MOST_TEXTS // 2, make))
    return found


def _rival(name: str, rows: Rows, most: int, make: Callable[[Rows], Recipe]) -> Rival:
    """A rival that is fitted on `most` of the training rows."""

    def fit(budget: Budget) -> Guess:
        few = rows
        if len(rows.train) > most:
            drawn = np.random.default_rng(0).choice(rows.train, most, replace=False)
            few = replace(rows, train=np.sort(drawn))
            budget.notes.append(f"fitted on {most:,} of {len(rows.train):,} rows")
        return _fitted(few, make(few), budget)

    return Rival(name, fit)


def _fitted(rows: Rows, recipe: Recipe, budget: Budget) -> Guess:
    """What the fitted model says; classes that no training row has get the probability 0."""
    x, y = recipe.features(rows, rows.train), rows.y[rows.train]
    if rows.classes and y.ndim > 1:
        return _by_label(recipe, x, y > 0.5, budget)
    model = recipe.fit(x, y, budget)

    def guess(of: Rows, held_out: np.ndarray) -> np.ndarray:
        x = recipe.features(of, held_out)
        if not rows.classes:
            return model.predict(x).astype(np.float32)
        out = np.zeros((len(held_out), rows.target.num_outputs), np.float32)
        out[:, model.classes_] = model.predict_proba(x)
        return out

    return guess


def _by_label(recipe: Recipe, x: Any, y: np.ndarray, budget: Budget) -> Guess:
    """A model for each label; those that there is no time for are said to be as frequent as they are."""
    shares = y.mean(0, dtype=np.float32)
    models: dict[int, Any] = {}
    labels = np.flatnonzero((shares > 0) & (shares < 1)).tolist()
    while budget.more(len(models), len(labels), "labels"):
        label = labels[len(models)]
        models[label] = recipe.fit(x, y[:, label], Budget(budget.seconds / len(labels)))

    def guess(of: Rows, held_out: np.ndarray) -> np.ndarray:
        x = recipe.features(of, held_out)
        out = np.repeat(shares[None], len(held_out), 0)
        for label, model in models.items():
            out[:, label] = model.predict_proba(x)[:, 1]
        return out

    return guess


def _grown(model: Any, most: int, *, whole: bool) -> Callable[[Any, np.ndarray, Budget], Any]:
    """Fits a model that goes on from where it stopped, a few iterations at a time.

    Args:
        whole: its `max_iter` counts the iterations of before too, as of boosted trees.
    """

    def fit(x: Any, y: np.ndarray, budget: Budget) -> Any:
        from sklearn.base import clone

        grown = clone(model).set_params(warm_start=True)  # there may be one for each label
        done, step = 0, 1
        while budget.more(done, most, "iterations"):
            before = budget.spent
            grown.set_params(max_iter=done + step if whole else step)
            grown.fit(x, y)
            if int(np.max(grown.n_iter_)) < (done + step if whole else step):
                break  # it is as good as it gets
            done += step
            each = (budget.spent - before) / step
            left = min(LONGEST, budget.seconds - budget.spent)
            step = min(most - done, max(1, min(4 * step, int(left / max(each, 1e-9)))))
        return grown

    return fit


def _at_once(model: Any) -> Callable[[Any, np.ndarray, Budget], Any]:
    return lambda x, y, budget: model.fit(x, y)


def _linear(rows: Rows, strength: float) -> Callable[[Any, np.ndarray, Budget], Any]:
    """Logistic regression, or ridge; `strength` is the inverse of the penalty."""
    from sklearn.linear_model import LogisticRegression, Ridge

    if not rows.classes:
        return _at_once(Ridge(alpha=1 / strength))
    return _grown(LogisticRegression(C=strength), ITERATIONS["linear"], whole=False)


def _descent(rows: Rows, strength: float) -> Callable[[Any, np.ndarray, Budget], Any]:
    """The same of sparse features, by stochastic gradient descent: of many classes and words, lbfgs takes minutes where
    this takes seconds, and is no better."""
    from sklearn.linear_model import SGDClassifier

    if not rows.classes:
        return _linear(rows, strength)

    def fit(x: Any, y: np.ndarray, budget: Budget) -> Any:
        model = SGDClassifier(loss="log_loss", alpha=1 / (strength * len(y)), random_state=0)
        there, random, done = np.unique(y), np.random.default_rng(0), 0
        while len(there) > 1 and budget.more(done, PASSES, "passes"):
            order = random.permutation(len(y))
            model.partial_fit(x[order], y[order], classes=there)
            done += 1
        return model

    return fit


def _trees(rows: Rows, name: str) -> Recipe:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    def cells(of: Rows, chosen: np.ndarray) -> np.ndarray:
        return np.concatenate([part.reshape(len(part), -1).cpu().numpy() for part in of.gathered(name, chosen)])

    categories = [place for place, size in rows.dataset.fields[name].category_sizes.items() if size <= MOST_CATEGORY]
    kind = HistGradientBoostingClassifier if rows.classes else HistGradientBoostingRegressor
    trees = kind(categorical_features=categories or None, random_state=0)
    return Recipe(cells, _grown(trees, ITERATIONS["trees"], whole=True))


def _tf_idf(rows: Rows, name: str) -> Recipe:
    """Of the tokens as the field cut them, and of neighbouring pairs."""
    vectors = _vectors(rows, [name])
    return Recipe(lambda of, chosen: vectors.transform(_documents(of, name, chosen)), _descent(rows, 10.0))


def _compared(rows: Rows, inputs: list[str]) -> Recipe:
    """Of two texts, TF-IDF of each, how they differ, their product, and its sum, which is their cosine."""
    from scipy.sparse import hstack

    vectors = _vectors(rows, inputs)

    def features(of: Rows, chosen: np.ndarray) -> Any:
        a, b = (vectors.transform(_documents(of, name, chosen)) for name in inputs)
        product = a.multiply(b)
        return hstack([a, b, abs(a - b), product, product.sum(1)]).tocsr()

    return Recipe(features, _descent(rows, 10.0))


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


def _is_small(form: Encoding) -> bool:
    return form.is_picture and max(form.shape[:2]) <= SMALL_PICTURE


def _pixels(rows: Rows, name: str) -> Recipe:
    """Pictures shrunken to 12 pixels a side."""

    def small(of: Rows, chosen: np.ndarray) -> np.ndarray:
        parts = []
        for gathered in of.gathered(name, chosen):
            pictures = gathered.float().permute(0, 3, 1, 2) / 255
            side = min(POOLED, *pictures.shape[2:])
            parts.append(torch.nn.functional.adaptive_avg_pool2d(pictures, side).flatten(1).cpu().numpy())
        return np.concatenate(parts)

    middle = small(rows, rows.train).mean(0)
    return Recipe(lambda of, chosen: small(of, chosen) - middle, _linear(rows, 0.1))


def _pooled_sound(rows: Rows, name: str) -> Recipe:
    """Mean and deviation over time of each band of log-mel pictures, and of how they change from frame to frame."""
    heard = rows.dataset.fields[name].pictured()
    assert heard is not None

    def pooled(of: Rows, chosen: np.ndarray) -> np.ndarray:
        parts = []
        for gathered in of.gathered(name, chosen):
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

    return _scaled(rows, pooled)


def _probe(rows: Rows) -> Recipe:
    """What a pretrained network makes of rows."""
    assert rows.pretrained is not None
    return _scaled(rows, rows.pretrained)


def _scaled(rows: Rows, features: Features) -> Recipe:
    """A linear model on features, each less its mean and over its deviation on the training rows."""
    there = features(rows, rows.train)
    mean, deviation = there.mean(0), there.std(0)
    scale = np.where(deviation > 0, deviation, 1)

    def scaled(of: Rows, chosen: np.ndarray) -> np.ndarray:
        found = there if of is rows and chosen is rows.train else features(of, chosen)
        return np.asarray((found - mean) / scale)

    return Recipe(scaled, _linear(rows, 0.1))


def _neighbour(rows: Rows, name: str) -> Recipe:
    """The class of the training series that is nearest, step by step."""
    from sklearn.neighbors import KNeighborsClassifier

    def flat(of: Rows, chosen: np.ndarray) -> np.ndarray:
        return np.concatenate([gathered.flatten(1).cpu().numpy() for gathered in of.gathered(name, chosen)])

    return Recipe(flat, _at_once(KNeighborsClassifier(1)))


RIVALS = [
    OfInput("gradient-boosted trees", 400_000, lambda rows, field: field.encoding.is_row, _trees),
    OfInput("TF-IDF and a linear model", MOST_TEXTS, lambda rows, field: field.token_key is not None, _tf_idf),
    OfInput("a linear model on pooled features", 12_000, lambda rows, field: bool(field.pictured()), _pooled_sound),
    OfInput("the nearest neighbour", 5_000, lambda rows, field: field.over_time and rows.single_class, _neighbour),
    OfInput("a linear model on small pixels", 12_000, lambda rows, field: _is_small(field.encoding), _pixels),
]
"""Of an input the first that suits it. A plug-in appends its own."""
