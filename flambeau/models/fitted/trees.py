"""Gradient-boosted trees of a table: Friedman, "Greedy function approximation: a gradient boosting machine", 2001;
grown on histograms, Ke et al., "LightGBM: a highly efficient gradient boosting decision tree", 2017."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from flambeau.core.shapes import Float
from flambeau.fields import Row
from flambeau.models.fitted.base import NEVER, Examples, FittedModel
from flambeau.models.spec import OWN, InputSpec

MOST_CODES = 255  # of a category that scikit-learn splits into sets; larger ones are split as numbers
MOST_ROWS = 400_000
ITERATIONS = (30, 300)
WORK = 2_000_000_000  # rows × columns × trees, where the number of iterations is chosen: about a minute on a processor


class Grown(NamedTuple):
    """Trees for one output or several: `trees[i][k]`, scikit-learn's nodes of iteration i and output k, with the sets
    of codes that go left; `start` (k)."""

    trees: list[list[Any]]
    start: np.ndarray


@OWN.register("boosted-trees", kinds=("table", "number"), fitted=True)
class BoostedTrees(FittedModel):
    """Trees that each mend what those before them leave, by HistGradientBoosting of scikit-learn. Validation rows
    choose how many count.

    All T trees are walked side by side, a level at a time: each node is a row of the buffers, and a leaf leads to
    itself.

    Args:
        spec: a table (D, K1, …), or numbers (D,).
        num_outputs: K.
        iterations: trees for each output, at most; as many as the rows allow in about a minute, if not given.
        learning_rate: share of each tree that counts.
        leaves: of a tree, at most.
        penalty: L2, of what leaves say.

    Attributes:
        roots: int64 (T), the first node of each tree; outputs int64 (T), which output it adds to.
        feature, left, right: int64 (N); threshold float32 (N), where a value up to it goes left; value float64 (N).
        chosen: int64 (N), the row of `codes`, bool (S, 256), that says which codes go left; 0 for splits of numbers.
        levels: of the deepest tree, its length.

    Shapes: Row, or numbers (B, D), to (B, K).
    """

    roots: Tensor
    outputs: Tensor
    feature: Tensor
    left: Tensor
    right: Tensor
    threshold: Tensor
    value: Tensor
    chosen: Tensor
    codes: Tensor
    levels: Tensor
    start: Tensor

    def __init__(
        self, spec: InputSpec, num_outputs: int, iterations: int | None = None, learning_rate: float = 0.1,
        leaves: int = 31, penalty: float = 0.0,
    ):  # fmt: skip
        super().__init__()
        self.num_numbers, self.sizes = spec.shape[0], spec.form.choices(spec.shape)
        self.num_outputs, self.iterations = num_outputs, iterations
        self.learning_rate, self.leaves, self.penalty = learning_rate, leaves, penalty
        for name in ("roots", "outputs", "feature", "left", "right", "chosen", "levels"):
            self.register_buffer(name, torch.zeros(1, dtype=torch.int64))
        self.register_buffer("threshold", torch.zeros(1))
        self.register_buffer("value", torch.zeros(1, dtype=torch.float64))
        self.register_buffer("codes", torch.zeros(1, MOST_CODES + 1, dtype=torch.bool))
        self.register_buffer("start", torch.zeros(num_outputs, dtype=torch.float64))

    def cells(self, row: Row | Tensor) -> Float[Tensor, "B D"]:
        """Numbers, then the codes of categories."""
        return torch.cat((row.numbers, row.codes.to(row.numbers.dtype)), 1) if isinstance(row, tuple) else row

    def forward(self, row: Row | Float[Tensor, "B D"]) -> Float[Tensor, "B K"]:
        x = self.cells(row).float()
        node = self.roots.expand(x.shape[0], -1)  # (B, T)
        for _ in range(self.levels.shape[0]):
            cell = x.gather(1, self.feature[node])
            sets, code = self.chosen[node], cell.clamp(0, MOST_CODES).long()
            by_set = sets > 0  # a choice between truths in words that every runtime knows
            goes_left = (by_set & self.codes[sets, code]) | (~by_set & (cell <= self.threshold[node]))
            node = torch.where(goes_left, self.left[node], self.right[node])
        sums = x.new_zeros(x.shape[0], self.num_outputs, dtype=torch.float64)
        sums = sums.scatter_add(1, self.outputs.expand(x.shape[0], -1), self.value[node])
        return (sums + self.start).float()

    def fit(self, train: Examples, valid: Examples | None) -> str:
        x, y, w = train.gathered(self.cells, MOST_ROWS)
        held_x, held_y = (None, y[:0]) if valid is None else valid.gathered(self.cells, MOST_ROWS)[:2]
        single = not train.numbers and y.ndim == 1
        if train.numbers:
            y = y.reshape(len(y), -1)
            held_y = held_y.reshape(-1, y.shape[1])
        grown: list[tuple[Grown, np.ndarray]] = []
        for number in range(1 if single else y.shape[1]):
            mine, held = (y, held_y) if single else (y[:, number], held_y[:, number])
            if not single and not train.numbers:
                mine, held = (mine > 0.5).astype(int), (held > 0.5).astype(int)
            outputs = np.unique(mine) if single else np.asarray([number])
            grown.append((self._grow(x, mine, w, None if held_x is None else (held_x, held), train.numbers), outputs))
        self._take(grown, single)
        counts = [len(one.trees) for one, _ in grown]
        told = f"{max(counts)}" if len(set(counts)) == 1 else f"{min(counts)} to {max(counts)}"
        chosen = " chosen by validation rows" if valid is not None else ""
        return f"{len(self.roots):,} trees, {told} iterations{chosen}, {len(self.feature):,} nodes"

    def _most(self, x: np.ndarray, outputs: int) -> int:
        if self.iterations is not None:
            return self.iterations
        least, most = ITERATIONS
        return max(least, min(most, WORK // max(1, x.size * outputs)))

    def _grow(
        self, x: np.ndarray, y: np.ndarray, w: np.ndarray, held_out: tuple[np.ndarray, np.ndarray] | None, numbers: bool
    ) -> Grown:
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        there = np.unique(y)
        if not numbers and len(there) < 2:
            return Grown([], np.asarray([-NEVER if there.any() else NEVER]))
        kind = HistGradientBoostingRegressor if numbers else HistGradientBoostingClassifier
        categories = [self.num_numbers + i for i, size in enumerate(self.sizes) if size <= MOST_CODES]
        fitted = kind(
            max_iter=self._most(x, 1 if numbers or len(there) == 2 else len(there)), learning_rate=self.learning_rate,
            max_leaf_nodes=self.leaves, l2_regularization=self.penalty, early_stopping=False, random_state=0,
            categorical_features=categories or None,
        ).fit(x, y, sample_weight=w)  # fmt: skip
        trees = [list(one) for one in fitted._predictors]
        if held_out is not None:
            trees = trees[: _best(fitted, *held_out, there, numbers)]
        order, codes = _columns(fitted)
        plain = [[_plain(tree, order, codes) for tree in one] for one in trees]
        return Grown(plain, np.ravel(fitted._baseline_prediction))

    def _take(self, grown: list[tuple[Grown, np.ndarray]], single: bool) -> None:
        """Lays all trees into the buffers.

        Args:
            single: whether there is one class a sample: those that no row has are all but impossible then.
        """
        start = np.full(self.num_outputs, NEVER if single else 0.0)
        nodes: list[dict[str, np.ndarray]] = []
        roots, outputs, sets, depth, count = [], [], [np.zeros(MOST_CODES + 1, bool)], 1, 0
        for one, of in grown:
            # of two classes one number speaks for the second
            start[of] = 0.0 if single else start[of]
            if one.trees or not single:  # a single class that has no rival is certain
                start[of[-len(one.start) :]] = one.start
            for trees in one.trees:
                for output, tree in zip(of[-len(trees) :], trees, strict=True):
                    shifted = {**tree, "left": tree["left"] + count, "right": tree["right"] + count}
                    shifted["chosen"] = np.where(tree["chosen"] > 0, tree["chosen"] + len(sets) - 1, 0)
                    sets += list(shifted.pop("sets"))
                    depth = max(depth, int(shifted.pop("depth")))
                    nodes.append(shifted)
                    roots.append(count)
                    outputs.append(output)
                    count += len(tree["left"])
        if not nodes:
            nodes.append({n: np.zeros(1) for n in ("feature", "left", "right", "chosen", "threshold", "value")})
            roots, outputs = [0], [0]
        laid = {name: np.concatenate([one[name] for one in nodes]) for name in nodes[0]}
        self.keep(roots=np.asarray(roots), outputs=np.asarray(outputs), levels=np.zeros(depth), codes=np.stack(sets),
                  start=start, **laid)  # fmt: skip


def _best(fitted: Any, x: np.ndarray, y: np.ndarray, there: np.ndarray, numbers: bool) -> int:
    """After how many iterations the loss on some rows is least; rows of classes that were not learned do not count."""
    if numbers:
        losses = [float(np.mean((said - y) ** 2)) for said in fitted.staged_predict(x)]
        return int(np.argmin(losses)) + 1
    known = np.isin(y, there)
    x, y = x[known], np.searchsorted(there, y[known])
    if not len(y):
        return len(fitted._predictors)
    rows = np.arange(len(y))
    losses = [-float(np.log(np.maximum(p[rows, y], 1e-12)).mean()) for p in fitted.staged_predict_proba(x)]
    return int(np.argmin(losses)) + 1


def _plain(tree: Any, order: np.ndarray, codes: list[np.ndarray]) -> dict[str, Any]:
    """One of scikit-learn's trees as arrays of our own; thresholds are rounded down to float32, which parts float32
    numbers as they were parted.

    Args:
        order: which of our columns is each that it sees.
        codes: of the first of these, which are categories, the codes that training had, by scikit-learn's number.
    """
    nodes = tree.nodes
    leaf, own = nodes["is_leaf"].astype(bool), np.arange(len(nodes))
    exact = nodes["num_threshold"].astype(np.float64)
    with np.errstate(over="ignore"):
        down = exact.astype(np.float32)
    down = np.where(down.astype(np.float64) > exact, np.nextafter(down, np.float32(-np.inf)), down)
    sets, chosen = [], np.zeros(len(nodes), np.int64)
    for number, place in enumerate(np.flatnonzero(nodes["is_categorical"].astype(bool) & ~leaf), 1):
        chosen[place] = number
        node = nodes[place]
        words = np.asarray(tree.raw_left_cat_bitsets[node["bitset_idx"]], "<u4")
        left = np.unpackbits(words.view(np.uint8), bitorder="little").astype(bool)
        known = codes[int(node["feature_idx"])]
        by_code = np.full(MOST_CODES + 1, bool(node["missing_go_to_left"]))  # codes that training had not
        by_code[known] = left[: len(known)]
        sets.append(by_code)
    feature = np.where(leaf, 0, nodes["feature_idx"].astype(np.int64))
    return {
        "feature": order[feature], "threshold": np.where(leaf, 0, down),
        "left": np.where(leaf, own, nodes["left"].astype(np.int64)),
        "right": np.where(leaf, own, nodes["right"].astype(np.int64)),
        "value": np.where(leaf, nodes["value"], 0.0), "chosen": chosen, "sets": sets,
        "depth": max(1, int(nodes["depth"].max())),
    }  # fmt: skip


def _columns(fitted: Any) -> tuple[np.ndarray, list[np.ndarray]]:
    """Which of the columns that it was fitted to is each that its trees see: categories come first in them; and of
    these the codes that it had seen."""
    categories = fitted.is_categorical_
    if categories is None or not categories.any():
        return np.arange(fitted.n_features_in_), []
    seen = fitted._preprocessor.named_transformers_["encoder"].categories_
    return np.concatenate((np.flatnonzero(categories), np.flatnonzero(~categories))), [c.astype(int) for c in seen]
