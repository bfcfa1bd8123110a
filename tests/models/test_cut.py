"""A model cut where it is frozen no longer: both parts together are the model, in training and in evaluation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from made import net
from torch import Tensor, nn

from flambeau.core.errors import ModelError
from flambeau.fields import Ragged
from flambeau.models import Cut, InputSpec, fuse

pytestmark = pytest.mark.usefixtures("unchecked")  # what is followed is called with what stands for a tensor


def frozen(model: nn.Module, *trained: str) -> nn.Module:
    """All but some parts frozen, their statistics too."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(trained))
    for name, module in model.named_children():
        if name not in trained:
            module.eval()
            vars(module)["train"] = lambda mode=True, module=module: module
    return model.train()


def whole(model: Any, cut: Cut, inputs: Any) -> None:
    """Both parts together are the model, to the last bit, in training and in evaluation."""
    for training in (True, False):
        model.train(training)
        outputs = []
        for output in (lambda: model(inputs), lambda: cut.rest(inputs, cut.activations(inputs))):
            torch.manual_seed(0)
            outputs.append(output())
        assert torch.equal(*outputs)
    model.train()


@pytest.mark.parametrize(
    ("name", "trained", "size", "shape"),
    [
        ("resnet9", ("fc",), 32, (128,)),
        ("resnet18", ("fc",), 32, (512,)),
        ("resnet18", ("layer4", "fc"), 32, (256, 8, 8)),
        ("lenet", ("fc",), 28, None),
        ("timm:tf_efficientnet_lite0", ("classifier",), 32, (1280,)),
        ("timm:convnext_atto", ("head",), 32, None),
        ("timm:vit_tiny_patch16_224", ("head",), 224, (192,)),
        ("torchvision:resnet18", ("layer4", "fc"), 64, (256, 4, 4)),
        ("torchvision:vit_b_32", ("heads",), 32, (768,)),
        ("torchvision:efficientnet_b0", ("classifier",), 32, (1280,)),
        ("torchvision:convnext_tiny", ("classifier",), 32, None),
    ],
)
def test_models_of_pictures(name: str, trained: tuple[str, ...], size: int, shape: tuple[int, ...] | None) -> None:
    if ":" in name:
        pytest.importorskip(name.partition(":")[0])
    model = net(name, InputSpec("image", (3, size, size)), 4)
    trained = trained if all(hasattr(model, part) for part in trained) else ("head",)
    frozen(model, *trained)
    pictures = torch.randn(3, 3, size, size)
    cut = Cut(model, pictures, 3)
    assert shape in (None, *cut.shapes) and len(cut.shapes) == 1 and cut.flops > 0
    whole(model, cut, pictures)


@pytest.mark.parametrize("pooling", ["mean", "cls", "attention"])
def test_an_encoder_of_texts(pooling: str) -> None:
    transformers = pytest.importorskip("transformers")
    from flambeau.models.text.pretrained import PretrainedText

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    encoder = transformers.BertModel(transformers.BertConfig(vocab_size=50, **sizes), add_pooling_layer=False)
    model = frozen(PretrainedText(encoder, 3, pooling), "head", "pool")
    texts = Ragged(torch.randint(1, 50, (4, 7)), torch.tensor([7, 3, 5, 6]))
    cut = Cut(model, texts, 4, whole=pooling == "attention")
    assert cut.shapes == ([(7, 16)] if pooling == "attention" else [(16,)])
    whole(model, cut, texts)


def test_an_encoder_of_several_inputs() -> None:
    specs = {"photo": InputSpec("image", (3, 32, 32)), "row": InputSpec("series", (2, 32))}
    built, _, _ = fuse(specs, 3, encoders={"photo": {"name": "resnet9", "frozen": True}, "row": {"name": "resnet-1d"}})
    inputs = {"photo": torch.randn(4, 3, 32, 32), "row": torch.randn(4, 2, 32)}
    cut = Cut(built.model.train(), inputs, 4)
    assert cut.seen_frozen(["photo", "row"]) == {"photo"} and cut.seen_after(["photo", "row"]) == {"row"}
    whole(built.model, cut, inputs)


class Small(nn.Module):
    """A body and a head, with something between them."""

    def __init__(self, between: Any = None, body: nn.Module | None = None):
        super().__init__()
        self.body, self.head, self.between = body or nn.Linear(6, 5), nn.Linear(5, 2), between

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        return self.head(self.between(x) if self.between else x)


def dropped(x: Tensor) -> Tensor:
    return nn.functional.dropout(x, 0.5, training=True)


def noisy(x: Tensor) -> Tensor:
    return x + torch.rand_like(x)


def test_the_cut_is_before_what_draws_random_numbers() -> None:
    for between in (dropped, noisy, nn.Dropout(0.5)):
        model = frozen(Small(between), "head", "between")
        x = torch.randn(4, 6)
        cut = Cut(model, x, 4)
        assert torch.equal(cut.activations(x)[0], model.body(x))
        whole(model, cut, x)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (lambda: Small(), "nothing that comes before"),
        (lambda: frozen(Small(), "body"), "nothing that comes before"),
        (lambda: frozen(Small(lambda x: x if x.sum() > 0 else -x), "head"), "cannot be followed"),
    ],
    ids=["nothing frozen", "only what comes last", "depends on values"],
)
def test_what_cannot_be_cut(model: Any, why: str) -> None:
    with pytest.raises(ModelError, match=why):
        Cut(model(), torch.randn(4, 6), 4)


def test_statistics_that_go_on_are_not_frozen() -> None:
    body = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5))
    model = Small(body=body).train()
    body.requires_grad_(False)
    cut = Cut(model, torch.randn(4, 6), 4)
    assert torch.equal(cut.activations(x := torch.randn(4, 6))[0], body[0](x))
    assert cut.holds
    body[0].requires_grad_(True)
    assert not cut.holds


def test_the_fingerprint_is_of_each_frozen_weight_and_of_no_other() -> None:
    model = frozen(Small(body=nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5))), "head")
    cut = Cut(model, torch.randn(4, 6), 4)
    before = cut.fingerprint()
    with torch.no_grad():
        model.head.weight.add_(1)
        assert cut.fingerprint() == before
        for name, tensor in model.body.state_dict().items():
            kept = tensor.clone()
            tensor.view(-1)[0] += 1
            assert cut.fingerprint() != before, name
            tensor.copy_(kept)
    assert cut.fingerprint() == before
