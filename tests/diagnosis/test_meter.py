"""What a step is measured by."""

import torch
from torch import nn

from flambeau.diagnosis.meter import Meter


def test_a_parameter_without_elements_is_passed_over():
    model = nn.ModuleList([nn.Linear(3, 2), nn.Embedding(4, 0)])
    optimizer, meter = torch.optim.SGD(model.parameters(), 0.1), Meter(model)
    for step in range(2):
        meter.next_gradients()
        meter.watch()
        (model[0](torch.ones(5, 3)).sum() + model[1](torch.tensor([1])).sum()).backward()
        if step:
            meter.next_gradients()
        meter.before(step, [optimizer])
        optimizer.step()
        meter.after()
    read = meter.take()
    assert read is not None and read().gradient > 0
