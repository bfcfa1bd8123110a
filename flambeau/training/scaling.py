"""Loss scaling, so that small gradients are not lost in float16: Micikevicius et al. 2018, arXiv:1710.03740."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from flambeau.core.errors import TrainingError

FIRST, LEAST = 2.0**16, 2.0**-16
STEADY = 2000  # updates without overflow after which the scale is doubled


class LossScale:
    """What the loss is multiplied by before its gradients are taken: halved when they overflow, doubled when they have
    not for long, as in torch.amp.GradScaler. Unlike there, whether they did is known before techniques see them (which
    waits for the device once an update), and a step may take several passes.

    Attributes:
        factor: the scale.
        steady: updates since it last changed.
        skipped: updates that were left out, for their gradients overflowed.
    """

    def __init__(self) -> None:
        self.factor, self.steady, self.skipped = FIRST, 0, 0

    def unscale(self, gradients: Sequence[Tensor]) -> bool:
        """Divides gradients by the scale, in place; whether all of them are finite."""
        if not gradients:
            return True
        overflow = torch.zeros((), device=gradients[0].device)
        torch._amp_foreach_non_finite_check_and_unscale_(
            list(gradients), overflow, torch.full_like(overflow, 1 / self.factor)
        )
        return not overflow.item()

    def update(self, finite: bool, step: int) -> None:
        """After an update, or where one was left out.

        Raises:
            TrainingError: gradients overflow however small the scale is.
        """
        self.steady += 1
        if not finite:
            self.factor, self.steady, self.skipped = self.factor / 2, 0, self.skipped + 1
        elif self.steady == STEADY:
            self.factor, self.steady = self.factor * 2, 0
        if self.factor < LEAST:
            raise TrainingError(
                f"the gradients are not finite at step {step}, nor were they at the {self.skipped} left out before",
                fix="lower the learning rate, or use precision=float32; the last checkpoint is from before",
                code="loss-not-finite",
            )

    def state_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        vars(self).update(state)
