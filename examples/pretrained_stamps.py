"""A few hundred colour pictures and a network that has seen ImageNet: what transfer is worth.

    python examples/pretrained_stamps.py

Downloads Tux Paint's stamps (703 pictures in eight classes, the largest a third of them) and the ImageNet weights of
EfficientNet-Lite0, both pinned and checksummed. Ten minutes on a processor.
"""

from __future__ import annotations

from pathlib import Path

from realdata.pictures import efficientnet_lite0, write_stamps

import flambeau as fb

data = fb.Dataset.from_folder(write_stamps("runs/examples/stamps"))
print(data.describe())
learner = fb.Learner(
    data, model="timm:tf_efficientnet_lite0", pretrained=str(efficientnet_lite0()),
    run=fb.Run.free("stamps", Path("runs/examples")).path,
)  # fmt: skip
metrics = learner.fit()
print(metrics)
# frozen features of this network and a linear layer on them: 0.79
assert metrics["accuracy"] >= 0.78, metrics
