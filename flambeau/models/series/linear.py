"""DLinear: one linear map from a window to what follows, of its trend and of the rest.

Zeng, Chen, Zhang, Xu, "Are transformers effective for time series forecasting?", 2022, arXiv:2205.13504.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from flambeau.models.series.parts import Forecaster
from flambeau.models.spec import OWN, InputSpec


@OWN.register("dlinear", kinds=("history",))
class DLinear(Forecaster):
    """The target's past is parted into a moving average and the rest, each mapped to the next steps by one layer; what
    is known of each step ahead is added by another.

    Args:
        spec, num_outputs, level: see `Forecaster`.
        window: steps of the moving average.
    """

    def __init__(self, spec: InputSpec, num_outputs: int, window: int = 25, level: str = "last"):
        super().__init__(spec, num_outputs, level)
        self.window = min(window, self.length) // 2 * 2 + 1
        self.trend = nn.Linear(self.length, num_outputs)
        self.rest = nn.Linear(self.length, num_outputs)
        self.ahead = nn.Linear(self.known, self.quantiles, bias=False) if self.known else None

    def steps(self, past: Tensor, future: Tensor) -> Tensor:
        target = past[:, :1]
        half = self.window // 2
        padded = F.pad(target, (half, half), mode="replicate") if half else target
        trend = F.avg_pool1d(padded, self.window, stride=1)
        out = self.trend(trend[:, 0]) + self.rest((target - trend)[:, 0])
        out = out.view(out.shape[0], self.horizon, self.quantiles)
        return out if self.ahead is None else out + self.ahead(future.transpose(1, 2))
