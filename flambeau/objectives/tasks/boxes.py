"""Boxes: what is learned, said and measured of a target that is any number of boxes in a picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.core.errors import UsageError
from flambeau.core.registry import Asked, name_and_options
from flambeau.core.shapes import Float
from flambeau.data.batch import Batch
from flambeau.fields import Field
from flambeau.fields.boxes import CORNERS, Boxes
from flambeau.fields.picture.instances import whole
from flambeau.fields.picture.segments import packed
from flambeau.fields.placement import Placement
from flambeau.models.detection.nms import Suppression
from flambeau.models.spec import OutputSpec
from flambeau.objectives.dense.aligned import aligned, counted
from flambeau.objectives.dense.found import ANSWER, MASK, BoxMetric
from flambeau.objectives.losses import Loss
from flambeau.objectives.metrics import Metric
from flambeau.objectives.prediction import Prediction
from flambeau.objectives.programs import BATCH, Port, Program
from flambeau.objectives.tasks.base import TASKS, Task
from flambeau_onnx.deciding import SURE

FINAL = Suppression()


@TASKS.register("boxes")
class Detection(Task):
    """Outputs (B, N, K + 8) as `OutputSpec` has them; answers (B, most, 6) as `Suppression` gives them, or with the
    probabilities of the s×s cells of each box behind, row by row: the mask of the thing; targets are Ragged (B, M, 7+)
    in 0…1, as `Boxes.follow` gives them."""

    field: Boxes
    answers = "boxes"
    default_loss = "aligned"
    rivals = "boxes"
    steady = False
    metric_names = ("map50", "map", "map75", "map_small", "map_medium", "map_large", "recall")

    @property
    def known(self) -> tuple[str, ...]:
        of_masks = [MASK + name for name in self.metric_names if name != "recall"] if self.field.masks else []
        return (*self.metric_names, *of_masks, "loss")

    @property
    def output_spec(self) -> OutputSpec:
        return OutputSpec(self.field.num_outputs, "boxes")

    def criterion(self, loss: Asked) -> Loss:
        name, _ = name_and_options(loss)
        if name not in ("auto", self.default_loss):
            raise UsageError(f"the loss {name} is not for boxes", expected=self.default_loss)
        return aligned

    def weight(self, batch: Batch) -> float:
        return float(counted(batch.target).sum())

    def activate(self, output: Float[Tensor, "B N outputs"]) -> Float[Tensor, "B most 6"]:
        return FINAL(output)

    def exported(self, output: Any, inputs: Any) -> dict[str, Tensor]:
        """`candidates` (B, N, K + 8), of which `finished` keeps the best: suppression loops over what it finds."""
        return {"candidates": output}

    def programs(self, predict: Callable[[Batch], Mapping[str, Tensor]]) -> dict[str, Program]:
        """`suppress`, from candidates to boxes: a step of its own, so that it can be changed or left out."""
        candidates = Port("candidates", "float32", (BATCH, "places", self.field.num_outputs + 4))

        def suppress(batch: Batch) -> dict[str, Tensor]:
            return {self.answers: FINAL(batch.input["candidates"])}

        return {"suppress": Program(suppress, (candidates,), predict)}

    def finished(self, given: Mapping[str, Tensor]) -> Tensor:
        return given[self.answers] if self.answers in given else self.activate(given["candidates"])

    def raw(self, given: Mapping[str, Tensor]) -> Tensor:
        return given["candidates"]

    def metrics(self, detail: bool, asked: str = "auto") -> list[Metric]:
        return [BoxMetric(self.field, detail, asked)]

    def decode(
        self, output: np.ndarray, reject_below: float = 0.0, asked: Field | None = None, value: Any = None
    ) -> Prediction:
        kept = torch.from_numpy(output[output[:, 4] > (reject_below or SURE)])
        if asked is None or value is None:  # where a picture lies in the model's input is not known
            placement = Placement.of(torch.tensor([[1.0, 1, 1, 0, 1, 0]]), (1, 1))
        else:
            placement = asked.placement([value])
        H, W = placement.size
        boxes = kept[:, :4] * kept.new_tensor([W, H, W, H])
        said = []
        for answer, box, corners in zip(kept, boxes, placement.raw_boxes(boxes[None])[0].tolist(), strict=True):
            score, k = answer[4:ANSWER].tolist()
            one: dict[str, Any] = dict(zip(CORNERS, (round(x, 2) for x in corners), strict=True))
            one |= {"label": self.field.classes[int(k)], "confidence": round(score, 4)}
            if len(answer) > ANSWER:
                side = math.isqrt(len(answer) - ANSWER)
                one["mask"] = packed(whole(answer[ANSWER:].view(side, side), box, corners, placement))
            said.append(one)
        return Prediction(said)
