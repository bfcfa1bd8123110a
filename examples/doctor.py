"""The doctor on the parts of a plain PyTorch loop: three faults that raise no error, named with place and cure.

    python examples/doctor.py

The faults: a layer in a plain list, an output that is broadcast against its target, a learning rate too high.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import flambeau as fb


class Regression(nn.Module):
    """Has a layer that the optimizer does not know of, and gives (B, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Linear(8, 32)]  # should be nn.ModuleList
        self.head = nn.Linear(32, 1)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x).relu()
        return self.head(x)


class Mended(Regression):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(self.layers)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).squeeze(1)


if __name__ == "__main__":
    torch.manual_seed(0)
    x = torch.randn(64, 8)
    batch = x, x.sum(1)

    model = Regression()
    before = model.head.weight.clone()
    findings = fb.doctor(model, nn.MSELoss(), batch, torch.optim.Adam(model.parameters(), lr=10.0))
    checks = {finding.check: finding for finding in findings}
    assert {"broadcast", "not-registered", "learning-rate"} <= checks.keys(), checks
    assert checks["not-registered"].places == ["layers.0.bias", "layers.0.weight"]
    assert torch.equal(model.head.weight, before)  # nothing was trained

    mended = Mended()
    assert fb.doctor(mended, nn.MSELoss(), batch, torch.optim.Adam(mended.parameters(), lr=1e-2)) == []
