"""The rival of detectors: in every picture the class that is there most often, at the mean boxes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from flambeau.baselines.rows import CHUNK, Rows
from flambeau.fields import Ragged
from flambeau.fields.placement import Placement, following, frames_of
from flambeau.objectives.metrics import Metric

MOST = 20  # boxes that are said of a picture


def mean_boxes(rows: Rows, of: Rows, held_out: np.ndarray, metric: str) -> Sequence[Metric]:
    """Measures saying of each picture that the class with the most boxes in the training rows is there, as often as
    it is on average where it is at all, at the means of its boxes (k-means, Lloyd 1982). The surest is the one that the
    most boxes are near.

    Args:
        rows: with the training rows.
        of, held_out: what is measured, which may be of other data.
        metric: the measure of the model.
    """
    from sklearn.cluster import KMeans

    measures, boxes, pictures = rows.task.measured_by(False, metric), list[Tensor](), list[Tensor]()
    for part, target in _targets(rows, rows.train):
        there = (target.values[..., 4] >= 0) & (torch.arange(target.values.shape[1]) < target.lengths[:, None])
        boxes.append(target.values[there])
        pictures.append(part[there.nonzero()[:, 0]])
    learned, owner = torch.cat(boxes), torch.cat(pictures)
    if len(learned):
        k = learned[:, 4].long().bincount().argmax()
        own, there = learned[learned[:, 4] == k, :4], owner[learned[:, 4] == k]
        count = min(MOST, max(1, round(len(own) / len(there.unique()))), len(own.unique(dim=0)))
        means = KMeans(count, n_init=1, random_state=0).fit(own.double().numpy())
        shares = torch.from_numpy(means.labels_).bincount(minlength=count) / len(own)
        corners = torch.from_numpy(means.cluster_centers_).float()
        answer = torch.cat([corners, shares[:, None], torch.full((count, 1), float(k))], 1)
        answer = answer[shares.argsort(descending=True, stable=True)]
    else:
        answer = torch.zeros(1, 6)
    for part, target in _targets(of, held_out):
        for one in measures:
            one.update(answer.expand(len(part), -1, -1), target, part)
    return measures


def _targets(rows: Rows, which: np.ndarray) -> Iterator[tuple[Tensor, Ragged]]:
    """Some rows and their boxes as a model is to find them, a part at a time; no picture is read for them."""
    data, store = rows.dataset, rows.store
    leader, _ = following(data.fields, data.inputs, data.target)
    assert leader is not None and data.target is not None
    height, width = data.fields[leader].encoding.shape[:2]
    for chunk in np.array_split(which, max(1, -(-len(which) // CHUNK))):
        part = torch.from_numpy(chunk)
        boxes, frames = (
            store.columns[name].gather(part.to(store.device)).to("cpu") for name in (data.target, frames_of(leader))
        )
        assert isinstance(boxes, Ragged) and isinstance(frames, Tensor)
        yield part, rows.target.follow(boxes, Placement.of(frames, (height, width)))
