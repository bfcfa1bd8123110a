"""A test of your own model: that it trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from flambeau.core.findings import Severity
from flambeau.diagnosis import doctor


def assert_trains(
    model: nn.Module, loss: Callable[..., Tensor] | None, batch: Any, optimizer: Optimizer | None = None
) -> None:
    """Passes where `fb.doctor` finds nothing above a note; what it takes is said there. Takes seconds, and changes
    nothing.

    >>> import torch
    >>> batch = torch.randn(16, 8), torch.randint(0, 3, (16,))
    >>> assert_trains(torch.nn.Linear(8, 3), torch.nn.CrossEntropyLoss(), batch)

    Raises:
        AssertionError: with all that was found, a line each.
    """
    findings = doctor(model, loss, batch, optimizer, quiet=True)
    if wrong := [finding for finding in findings if finding.severity is not Severity.NOTE]:
        raise AssertionError("\n".join(map(str, wrong)))
