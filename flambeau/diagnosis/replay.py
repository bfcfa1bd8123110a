"""What a loop does between its model and its loss, recorded call by call, as two functions that can be called again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from flambeau.diagnosis.values import mapped, samples_of, tensors

MOST = 20_000  # calls of a step that are kept
OF_CLASSES = (F.cross_entropy, F.nll_loss)


@dataclass
class Call:
    """A call of one of torch's functions, and where in the user's program."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    named: dict[str, Any]
    result: Any
    place: str

    def again(self, values: dict[int, Tensor]) -> None:
        """Calls it with new values in place of tensors, by their id; the results are put beside these."""
        result = self.function(*mapped(self.arguments, lambda t: values.get(id(t), t)),
                               **mapped(self.named, lambda t: values.get(id(t), t)))  # fmt: skip
        values.update({id(old): new for old, new in zip(tensors(self.result), tensors(result), strict=False)})


class Recorder(TorchFunctionMode):
    """While entered, keeps calls that give tensors, and the targets of losses of classes.

    Args:
        keeps: whether calls are kept.
        where: names the place in the user's program.
    """

    def __init__(self, keeps: bool, where: Callable[[], str]):
        super().__init__()
        self.calls: list[Call] = []
        self.target: Any = None
        self._keeps, self._where = keeps, where

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if function in OF_CLASSES and len(args) > 1:
            self.target = args[1]
        if self._keeps and len(self.calls) < MOST and next(tensors(result), None) is not None:
            self.calls.append(Call(function, args, kwargs or {}, result, self._where()))
        return result


@dataclass
class Replay:
    """From a model's output to what the loss function is given, and from there to the loss.

    Attributes:
        calls: that the loss depends on the output by, in order.
        split: how many of them come before the target does.
        outputs: of the model; which of its tensors the loss depends on is found by its place among all of them.
    """

    calls: list[Call]
    split: int
    place: int
    output: Tensor
    between: Tensor
    target: Any
    loss: Tensor
    line: str = ""
    kept: list[Any] = field(default_factory=list)

    @classmethod
    def of(cls, calls: list[Call], outputs: Any, inputs: Any, loss: Tensor) -> Replay | None:
        """None where the loss does not depend on an output by calls that were seen."""
        size = samples_of(inputs)
        for place, output in enumerate(tensors(outputs)):
            if output is loss or not output.ndim or not output.is_floating_point():
                continue
            known, needed = {id(output)}, list[Call]()
            for call in calls:
                if any(id(t) in known for t in _given(call)):
                    known |= {id(t) for t in tensors(call.result)}
                    needed.append(call)
            if id(loss) not in known:
                continue
            return cls._split(needed, place, output, loss, size if size is not None else len(output))
        return None

    @classmethod
    def _split(cls, calls: list[Call], place: int, output: Tensor, loss: Tensor, size: int) -> Replay:
        known = {id(output)}
        for number, call in enumerate(calls):
            given = list(_given(call))
            own = next((t for t in given if id(t) in known), output)
            strange = [t for t in given if id(t) not in known and not t.requires_grad and t.ndim and len(t) % size == 0]
            if strange:
                return cls(calls, number, place, output, own, strange[0], loss, call.place)
            known |= {id(t) for t in tensors(call.result)}
        return cls(calls, 0, place, output, output, None, loss, calls[-1].place)

    def forward(self, model: nn.Module, inputs: tuple[tuple[Any, ...], dict[str, Any]]) -> Any:
        """What the loss function is given."""
        outputs = list(tensors(model(*inputs[0], **inputs[1])))
        values = {id(self.output): outputs[self.place]}
        for call in self.calls[: self.split]:
            call.again(values)
        return values[id(self.between)]

    def criterion(self, output: Tensor, target: Any) -> Tensor:
        """The loss."""
        values = {id(self.between): output}
        if target is not None:
            values[id(self.target)] = target
        for call in self.calls[self.split :]:
            call.again(values)
        return values[id(self.loss)]

    def __deepcopy__(self, memo: Any) -> Replay:
        return self  # nothing of it is changed


def _given(call: Call) -> Iterator[Tensor]:
    yield from tensors(call.arguments)
    yield from tensors(call.named)
