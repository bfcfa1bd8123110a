"""What the report shows of a model that makes samples: small pictures, each a sheet of many. Of samples that are no
pictures it shows those that an evaluation keeps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from flambeau.data.batch import Batch
from flambeau.fields.heat import as_img

if TYPE_CHECKING:
    from flambeau.objectives.generative.base import Generative

SHOWN, COLUMNS = 64, 8
WAYS, STEPS = 6, 9
PLANE, SPREAD = 11, 2.0  # samples a side; standard deviations of codes to each side of their mean
MOST_CODES = 1000
SHARP = 32  # pixels a side up to which a sheet is kept without loss


def portrait(objective: Generative, held_out: Iterable[Batch], train: Iterable[Batch]) -> dict[str, Any]:
    """Plain JSON: the HTML of sheets by name, and `codes`, {rows, places} of some held-out rows in the plane of their
    first two principal directions. Nothing of samples that are no pictures.

    Args:
        held_out: batches from all over the rows that the model was not trained on, as an evaluation sees them.
        train: batches of what it was trained on, as an evaluation sees them, with no augmentation.
    """
    if not objective.spec.form.pictures or not objective.field.restores:
        return {}
    with torch.inference_mode():
        return _Portrait(objective, [*held_out]).drawn(train)


def nearest(samples: Tensor, batches: Iterable[Batch]) -> Tensor:
    """Of each sample (B, …) the input of the batches that is nearest to it, by the distance of prepared values."""
    best, least = torch.zeros_like(samples), torch.full((len(samples),), torch.inf, device=samples.device)
    for batch in batches:
        rows = batch.input.to(samples)
        distance, row = torch.cdist(samples.flatten(1), rows.flatten(1)).min(1)
        closer = distance < least
        best[closer], least = rows[row[closer]], torch.minimum(least, distance)
    return best


def sheet_of(objective: Generative, prepared: Any, columns: int) -> str:
    """Prepared pictures side by side, as HTML."""
    picture = objective.field.sheet(objective.field.restore(prepared), columns)
    assert picture is not None
    return as_img(picture, "", "png" if max(objective.spec.shape[-2:]) <= SHARP else "jpeg")


class _Portrait:
    def __init__(self, objective: Generative, batches: Sequence[Batch]):
        self.objective, self.batches = objective, batches
        self.real = torch.cat([batch.input for batch in batches]).float()
        self.chosen = torch.linspace(0, len(self.real) - 1, min(SHOWN, len(self.real))).long()

    def drawn(self, train: Iterable[Batch]) -> dict[str, Any]:
        objective = self.objective
        found = {"real": self.sheet(self.real[self.chosen])}
        if objective.makes_of_noise:
            columns = objective.sheet_columns
            samples = objective.samples(SHOWN // columns * columns)
            few = samples[:COLUMNS].float()
            found["samples"] = self.sheet(samples, columns)
            found["nearest"] = self.sheet(torch.cat([few, nearest(few, train).to(few)]), len(few))
        if objective.encodes and objective.code_size < math.prod(objective.spec.shape):
            return found | self.of_codes()
        noise, label = objective.drawn(2 * WAYS, torch.Generator().manual_seed(0))
        return found | {"between": self.ways(noise, label)}

    def sheet(self, prepared: Any, columns: int = COLUMNS) -> str:
        return sheet_of(self.objective, prepared, columns)

    def of_codes(self) -> dict[str, Any]:
        """What codes of held-out rows show: what comes back of them, ways between them, and the plane they lie in."""
        objective = self.objective
        codes = torch.cat([objective.encode(batch) for batch in self.batches]).float()
        rows = torch.cat([batch.rows for batch in self.batches])
        labels = [objective.labels_of(batch) for batch in self.batches]
        label = torch.cat([one for one in labels if one is not None]) if labels[0] is not None else None
        some = self.chosen[:: max(1, len(self.chosen) // (2 * WAYS))][: 2 * WAYS]
        of_some = None if label is None else label[some]
        back = objective.decode_code(codes[some][:COLUMNS], None if of_some is None else of_some[:COLUMNS])
        found = {
            "reconstructed": self.sheet(torch.cat([self.real[some][:COLUMNS], back.float().to(self.real)]), len(back))
        }
        if len(some) > 1:
            found["between"] = self.ways(codes[some], of_some)
        if codes.shape[1] < 2 or len(codes) < 3:
            return found
        mean, directions = codes.mean(0), torch.eye(2, codes.shape[1], device=codes.device)
        if codes.shape[1] > 2:
            directions = torch.linalg.svd(codes - mean, full_matrices=False).Vh[:2]
        places = (codes - mean) @ directions.T
        reach = SPREAD * torch.linspace(-1, 1, PLANE, device=codes.device)
        down, right = torch.meshgrid(-reach, reach, indexing="ij")
        grid = torch.stack([right.flatten(), down.flatten()], 1) * places.std(0)
        of_plane = None if label is None else label.mode().values.expand(len(grid))
        known = [[round(n, 4) for n in place] for place in places[:MOST_CODES].tolist()]
        return found | {
            "plane": self.sheet(objective.decode_code(mean + grid @ directions, of_plane), PLANE),
            "codes": {"method": "pca" if codes.shape[1] > 2 else "codes", "rows": rows[: len(known)].tolist(),
                      "places": known},
        }  # fmt: skip

    def ways(self, ends: Tensor, label: Tensor | None) -> str:
        """A row of samples from each end of the first half to one of the second; all of the class of the first."""
        shares, made = torch.linspace(0, 1, STEPS), []
        half = len(ends) // 2
        for i in range(half):
            codes = self.objective.between(ends[i], ends[i + half], shares)
            made.append(self.objective.decode_code(codes, None if label is None else label[i].expand(STEPS)))
        return self.sheet(torch.cat(made), STEPS)
