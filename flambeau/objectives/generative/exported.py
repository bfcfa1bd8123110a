"""What scores, encodes and makes samples by exported programs in place of its networks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from flambeau.data.batch import Batch
from flambeau.objectives.base import Context
from flambeau.objectives.generative.base import Generative
from flambeau.objectives.programs import Runtimes, arrays_of, tensors


class Exported(Generative):
    """Of a run that was exported; it is not trained. It measures scores, and not the loss, which is in no program.

    Args:
        runtimes: its programs.
        family: the class that the run was trained with.
    """

    measures = ("score",)
    monitor = "score"

    def __init__(self, context: Context, runtimes: Runtimes, family: type[Generative]):
        self.conditional = family.conditional  # type: ignore[misc]
        self.makes_of_noise = family.makes_of_noise  # type: ignore[misc]
        super().__init__(context)
        self.runtimes, self.model = runtimes, nn.Identity()
        self.code_size = int(runtimes.inputs["decode"][0].shape[1])
        self.start_evaluation()

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def encodes(self) -> bool:
        return "encode" in self.runtimes

    def loss(self, batch: Batch, phase: str = "train") -> Tensor:
        return self.scores(batch).mean()

    def measure(self, batch: Batch) -> dict[str, Tensor]:
        return {"score": self.scores(batch)}

    def scores(self, batch: Batch) -> Tensor:
        return tensors(self.runtimes, "predict", arrays_of(batch))["score"][:, 0]

    def encode(self, batch: Batch) -> Tensor:
        return tensors(self.runtimes, "encode", arrays_of(batch))["code"]

    def decode_code(self, codes: Tensor, label: Tensor | None = None) -> Any:
        arrays = {"code": codes.float().numpy()} | ({} if label is None else {"label": label.numpy()})
        made = tensors(self.runtimes, "decode", arrays)["sample"]
        return self.spec.form.from_decoded(made, self.spec.shape)
