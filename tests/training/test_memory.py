"""Memory that runs out: the batch is taken in parts, and what is learned is that of the batch that was asked for."""

from __future__ import annotations

import pytest
import sklearn.datasets
import torch
from torch import nn

import flambeau as fb
from flambeau.core.errors import TrainingError
from flambeau.data.batch import Batch
from flambeau.fields.encoding import Ragged
from flambeau.training.memory import in_parts


class OutInBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, most):
        ctx.full = len(x) > most
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        if ctx.full:
            raise torch.OutOfMemoryError("out of memory")
        return grad, None


class Small(nn.Module):
    """Fits `most` samples at once; more run out of memory, in the forward pass or in the backward pass."""

    def __init__(self, most: int, backward: bool, norm: bool = False):
        super().__init__()
        self.first, self.last = nn.Linear(64, 16), nn.Linear(16, 10)
        self.norm = nn.BatchNorm1d(16) if norm else nn.Identity()
        self.most, self.backward = most, backward

    def forward(self, x):
        hidden = self.norm(self.first(x.flatten(1)).relu())
        if self.backward:
            hidden = OutInBackward.apply(hidden, self.most) if self.training else hidden
        elif len(x) > self.most:
            raise torch.OutOfMemoryError("out of memory")
        return self.last(hidden)


@pytest.fixture(scope="module")
def data() -> fb.Dataset:
    digits = sklearn.datasets.load_digits()
    return fb.Dataset.from_arrays(digits.images[:300] / 16, digits.target[:300])


def trained(data, most, backward=False, norm=False, **options):
    torch.manual_seed(0)
    model = Small(most, backward, norm)
    options = {"epochs": 2, "batch_size": 32, "baseline": False, "run": False, "quiet": True, **options}
    learner = fb.Learner(data, model=model, **options)
    return learner, learner.fit(check=False)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("techniques", [None, ["mixup", "sam", "clip"]])
def test_parts_learn_what_the_whole_batch_does(backward, techniques, data):
    whole, wanted = trained(data, 10**9, techniques=techniques)
    parted, found = trained(data, 9, backward, techniques=techniques)
    assert parted.trainer.updates.parts.count == 4 and whole.trainer.updates.parts.count == 1
    assert len(parted.trainer.notes) == 1 and "taken in 4 parts" in parted.trainer.notes[0]
    for ours, theirs in zip(parted.objective.model.parameters(), whole.objective.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)  # sums of 32 in another order, 20 steps on
    assert found == pytest.approx(wanted, rel=1e-3)


def test_a_resumed_training_takes_the_same_parts(data, tmp_path):
    whole = trained(data, 9, run=tmp_path / "whole")[0]

    class Killed(fb.Technique):
        name = "killed"

        def on_step_end(self, objective, step):
            if step == 9:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(data, 9, run=tmp_path / "cut", techniques=[Killed()])
    torch.manual_seed(0)
    model = Small(9, False)
    again = fb.Learner(data, model=model, epochs=2, batch_size=32, baseline=False, run=tmp_path / "cut", quiet=True,
                       techniques=[type("Killed", (fb.Technique,), {"name": "killed"})()])  # fmt: skip
    again.fit(check=False, resume=True)
    for ours, theirs in zip(again.objective.model.parameters(), whole.objective.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert again.trainer.notes == []  # known from the checkpoint, and not said twice


def test_batch_norm_never_sees_one_sample_and_it_is_said_that_it_sees_parts(data):
    learner, _ = trained(data, 3, norm=True, batch_size=7)
    assert "but for batch normalisation" in learner.trainer.notes[0]


def test_where_not_even_one_sample_fits_it_is_told(data):
    with pytest.raises(TrainingError, match="not even one sample fits"):
        trained(data, 0)


def test_parts_hold_each_sample_once_and_what_cannot_be_cut_stays_whole():
    text = Ragged(torch.arange(10).view(5, 2), torch.tensor([2, 1, 2, 2, 1]))
    batch = Batch({"text": text, "share": torch.tensor(0.5)}, [torch.arange(5)], torch.arange(5))
    parts = in_parts(batch, 2)
    assert [len(part) for part in parts] == [2, 3]
    assert torch.equal(torch.cat([part.input["text"].values for part in parts]), text.values)
    assert torch.equal(torch.cat([part.target[0] for part in parts]), torch.arange(5))
    assert [len(part) for part in in_parts(batch, 9, least=2)] == [2, 3]
    odd = Batch(torch.zeros(7, 2), None, torch.arange(5))  # windows of 5 samples
    assert in_parts(odd, 2) == [odd]
