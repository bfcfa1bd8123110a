"""The contract of a model whose loss is inside it: targets go in beside the pictures, and the loss comes out; so work
detectors that learn from proposals of their own, and those whose queries are matched with what is there."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor


class LossAndAnswers(NamedTuple):
    """The output of a model whose loss is its own.

    Attributes:
        loss: the mean over the batch, a float32 scalar; None where no targets were given.
        answers: as `Task.activate` gives them: for boxes float (B, N, 6…), for masks probabilities (B, K, H, W). None
            in training mode.
    """

    loss: Tensor | None
    answers: Tensor | None


@runtime_checkable
class OwnLoss(Protocol):
    """A model whose loss is its own. `Supervised` gives it targets, and minimises what it says."""

    own_loss: str
    """What the loss is of, for a person."""

    def __call__(self, inputs: Any, target: Any = None) -> LossAndAnswers:
        """In training mode the loss, and in evaluation mode answers; with a target, as the task has it prepared, the
        loss too, which then draws nothing from the random state that training goes on with."""


def own_loss(output: LossAndAnswers, target: Any) -> Tensor:
    """The loss between output and target of such a model, which has said it already."""
    assert output.loss is not None
    return output.loss
