"""The rivals of what gives each pixel its class: the most frequent class, and a linear model on the pixel's colour and
place, which knows nothing of what is beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from flambeau.baselines.rows import Budget, Rows
from flambeau.fields.mask import UNKNOWN
from flambeau.objectives.metrics import Metric

AT_ONCE = 16  # pictures
PIXELS = 60_000  # of the training pictures, that the linear model is fitted on
A_PICTURE = 500
ITERATIONS = 100
Rival = tuple[str, Callable[[Budget], Sequence[Metric]], bool]


def of_pixels(rows: Rows, of: Rows, held_out: np.ndarray, metric: str) -> list[Rival]:
    """Both rivals, of the encoded pictures and masks."""
    K = rows.target.num_outputs

    def frequent(budget: Budget) -> Sequence[Metric]:
        counts = np.bincount(np.concatenate([y for _, y in sampled(rows)]), minlength=K)
        answer = torch.zeros(K)
        answer[int(counts.argmax())] = 1.0
        return measured(of, held_out, metric, lambda x: answer.view(1, K, 1, 1).expand(len(x), K, *x.shape[1:3]))

    def linear(budget: Budget) -> Sequence[Metric]:
        from sklearn.linear_model import LogisticRegression

        x, y = (np.concatenate(parts) for parts in zip(*sampled(rows), strict=True))
        if len(x) > PIXELS:
            chosen = np.random.default_rng(0).choice(len(x), PIXELS, replace=False)
            x, y = x[chosen], y[chosen]
        budget.notes.append(f"fitted on {len(x):,} pixels")
        if len(np.unique(y)) < 2:
            return frequent(budget)
        model = LogisticRegression(max_iter=ITERATIONS).fit(x, y)
        weight, bias = torch.zeros(K, x.shape[1]), torch.full((K,), -torch.inf)
        # of two classes scikit-learn has one row
        rows_of = model.coef_ if len(model.coef_) > 1 else np.concatenate([-model.coef_, model.coef_]) / 2
        at_0 = model.intercept_ if len(model.coef_) > 1 else np.concatenate([-model.intercept_, model.intercept_]) / 2
        weight[model.classes_], bias[model.classes_] = torch.from_numpy(rows_of).float(), torch.from_numpy(at_0).float()

        def answer(pictures: Tensor) -> Tensor:
            return (torch.einsum("kf,bfhw->bkhw", weight, described(pictures)) + bias.view(1, K, 1, 1)).softmax(1)

        return measured(of, held_out, metric, answer)

    return [("most frequent class", frequent, True), ("a linear model on each pixel's colour", linear, False)]


def described(pictures: Tensor) -> Tensor:
    """uint8 (B, H, W, C) as numbers of each pixel (B, F, H, W): its colour, products of that, its place."""
    x = pictures.permute(0, 3, 1, 2).float() / 127.5 - 1
    B, C, H, W = x.shape
    pairs = [x[:, i] * x[:, j] for i in range(C) for j in range(i, C)]
    down, across = torch.meshgrid(torch.linspace(-1, 1, H), torch.linspace(-1, 1, W), indexing="ij")
    return torch.cat([x, torch.stack([*pairs, down.expand(B, H, W), across.expand(B, H, W)], 1)], 1)


def sampled(rows: Rows) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Some known pixels of training pictures: what `described` says of each (n, F), and its class (n)."""
    generator = np.random.default_rng(0)
    train = rows.train
    if len(train) * A_PICTURE > 4 * PIXELS:
        train = np.sort(generator.choice(train, 4 * PIXELS // A_PICTURE, replace=False))
    for _, pictures, masks in parts(rows, train):
        x, y = described(pictures).movedim(1, -1).flatten(0, 2), masks.reshape(-1)
        known = np.flatnonzero(y.numpy() != UNKNOWN)
        chosen = np.sort(generator.choice(known, min(len(known), A_PICTURE * len(pictures)), replace=False))
        yield x[chosen].numpy(), y[chosen].numpy().astype(np.int64)


def parts(rows: Rows, chosen: np.ndarray) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """(rows, encoded pictures, encoded masks), some at a time."""
    picture, target = rows.dataset.inputs[0], rows.dataset.target or ""
    for start in range(0, len(chosen), AT_ONCE):
        part = torch.from_numpy(chosen[start : start + AT_ONCE])
        both = [rows.store.columns[name].gather(part.to(rows.store.device)) for name in (picture, target)]
        assert isinstance(both[0], Tensor) and isinstance(both[1], Tensor)
        yield part, both[0].cpu(), both[1].cpu()


def measured(of: Rows, held_out: np.ndarray, metric: str, answer: Callable[[Tensor], Tensor]) -> Sequence[Metric]:
    """The metrics of answers (B, K, H, W) to encoded pictures."""
    measures, field = of.task.measured_by(False, metric), of.target
    for part, pictures, masks in parts(of, held_out):
        for one in measures:
            one.update(answer(pictures), field.prepare(masks), part)
    return measures
