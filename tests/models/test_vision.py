"""Our own networks: they take any shape, learn, keep channels_last, and fit torchvision's weights."""

from __future__ import annotations

import pytest
import torch
from made import net
from sklearn.datasets import load_digits
from torch import nn

from flambeau.core.errors import ModelError, UsageError
from flambeau.models import InputSpec

OURS = ["mlp", "lenet", "resnet9", "resnet18", "resnet34", "resnet50"]


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 17, 40), (4, 16, 16)])
def test_any_channels_and_any_size(name: str, shape: tuple[int, int, int]) -> None:
    model = net(name, InputSpec("image", shape), 5)
    assert model.training
    assert model(torch.rand(2, *shape)).shape == (2, 5)


@pytest.mark.parametrize("name", ["lenet", "resnet9", "resnet18", "resnet50"])
def test_channels_last_stays_channels_last_and_gives_the_same(name: str) -> None:
    shape = (3, 32, 32)
    model = net(name, InputSpec("image", shape), 4, generator=torch.Generator().manual_seed(0)).eval()
    pictures = torch.rand(2, *shape, generator=torch.Generator().manual_seed(1))
    formats = []

    def watch(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        if output.ndim == 4 and output.shape[2] > 1 and output.shape[1] > 1:
            formats.append(output.is_contiguous(memory_format=torch.channels_last))

    with torch.no_grad():
        expected = model(pictures)
        model.to(memory_format=torch.channels_last)
        for module in model.modules():
            module.register_forward_hook(watch)
        got = model(pictures.to(memory_format=torch.channels_last))
    assert formats and all(formats)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)  # float32 sums in another order


@pytest.mark.parametrize(("name", "floor"), [("lenet", 0.96), ("mlp", 0.95)])
def test_real_digits_are_learnt(name: str, floor: float) -> None:
    """Logistic regression reaches about 0.96 on all pixels; six seeds gave 0.985 to 0.997 (lenet), 0.975 to 0.992."""
    digits = load_digits()
    pictures = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    labels = torch.tensor(digits.target)
    generator = torch.Generator().manual_seed(0)
    mixed = torch.randperm(len(labels), generator=generator)  # its last rows are of other writers
    pictures, labels = pictures[mixed], labels[mixed]
    model = net(name, InputSpec("image", (1, 8, 8)), 10, generator=generator)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # of dropout, which draws from the global generator
        for _ in range(15):
            for rows in torch.randperm(1400, generator=generator).split(32):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(pictures[rows]), labels[rows]).backward()
                optimizer.step()
    model.eval()
    with torch.no_grad():
        accuracy = (model(pictures[1400:]).argmax(1) == labels[1400:]).float().mean().item()
    assert accuracy >= floor


def test_resnet9_is_small_and_a_step_lowers_the_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    model = net("resnet9", InputSpec("image", (1, 28, 28)), 10, generator=generator)
    pictures, labels = torch.rand(16, 1, 28, 28, generator=generator), torch.arange(16) % 10
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    losses = []
    for _ in range(6):
        loss = nn.functional.cross_entropy(model(pictures), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.usefixtures("torchvision_installed")
@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_weights_are_interchangeable_with_torchvision(name: str) -> None:
    import torchvision

    theirs = torchvision.models.get_model(name, weights=None, num_classes=7)
    ours = net(name, InputSpec("image", (3, 96, 96)), 7)
    pictures = torch.rand(2, 3, 96, 96)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for target, source in ((ours, theirs), (theirs, ours)):
        nn.init.normal_(source.fc.weight)  # so that the two differ before
        target.load_state_dict(source.state_dict(), strict=True)
        with torch.no_grad():
            expected, got = source.eval()(pictures), target.eval()(pictures)
        assert torch.equal(got, expected)


def test_the_stem_follows_the_picture_and_can_be_set() -> None:
    def kernel(size: int, **options: str) -> int:
        return net("resnet18", InputSpec("image", (3, size, size)), 2, **options).conv1.kernel_size[0]

    assert (kernel(64), kernel(65), kernel(32, stem="large"), kernel(96, stem="small")) == (3, 7, 7, 3)
    with pytest.raises(UsageError, match="large or small"):
        kernel(32, stem="tiny")


def test_a_picture_too_small_is_told_in_one_line() -> None:
    with pytest.raises(ModelError, match=r"lenet: it halves a picture twice, the picture has 3×3 px"):
        net("lenet", InputSpec("image", (1, 3, 3)), 2)
    with pytest.raises(ModelError, match=r"resnet9: it cannot take image 1×5×5 .*takes 8 px"):
        net("resnet9", InputSpec("image", (1, 5, 5)), 2)
