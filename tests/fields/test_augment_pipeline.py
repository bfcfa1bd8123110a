"""The whole path: what is promised of every setting, on every device."""

from __future__ import annotations

import json

import pytest
import torch

from flambeau.core.errors import DataError, UsageError
from flambeau.fields.augment import EFFECTS, Augmentation, choose, normalise, preset
from flambeau.fields.augment.effects import Contrast, Rotation

LAYOUTS = [torch.channels_last, torch.contiguous_format]
ON = {
    "matrix": {"rotation": 20, "zoom": (0.8, 1.2), "shear": 5, "shift": 0.1, "padding": "reflect"},
    "boxes": {"random_resized_crop": (0.3, 1.0)},
    "crop": {"random_crop": 3},
    "shift": {"shift": 0.2},
    "none": {},
}
COLOUR = {"horizontal_flip": 0.5, "brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.1, "greyscale": 0.2}


def noise(B: int, H: int, W: int, C: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (B, H, W, C), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))


def seeded(seed: int = 0, device: str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_normalise_is_its_formula(channels: int, layout: torch.memory_format, dtype: torch.dtype) -> None:
    images = noise(3, 5, 6, channels)
    mean, std = [0.1, 0.2, 0.3, 0.4][:channels], [0.5, 0.6, 0.7, 0.8][:channels]
    out = normalise(images, mean=mean, std=std, memory_format=layout, dtype=dtype)
    shape = (1, channels, 1, 1)
    exact = (images.permute(0, 3, 1, 2).double() / 255 - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)
    assert out.dtype == dtype and out.shape == (3, channels, 5, 6) and out.is_contiguous(memory_format=layout)
    assert torch.allclose(out.double(), exact, atol=2e-6 if dtype == torch.float32 else 2**-8 * 2)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_on_is_exactly_normalise(channels: int, layout: torch.memory_format) -> None:
    images = noise(7, 11, 9, channels)
    settings = {"mean": [0.4], "std": [0.3], "memory_format": layout}
    assert not Augmentation()
    off = Augmentation.from_dict({name: {"p": 0} for name in EFFECTS})
    for augmentation in (Augmentation(), preset("none"), off):
        assert torch.equal(augmentation(images, generator=seeded(), **settings), normalise(images, **settings))
    resized = Augmentation()(images, size=(6, 5), generator=seeded(), **settings)
    assert torch.equal(resized, normalise(images, (6, 5), **settings))


@pytest.mark.parametrize("way", ON)
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_layouts_and_dtypes_hold_the_same_values(way: str, channels: int) -> None:
    images = noise(30, 20, 18, channels)
    augmentation = Augmentation.from_dict({**ON[way], **COLOUR, "random_erasing": 0.5})
    settings = {"size": (20, 18), "mean": [0.4], "std": [0.3]}
    last = augmentation(images, generator=seeded(), **settings)
    first = augmentation(images, generator=seeded(), memory_format=torch.contiguous_format, **settings)
    half = augmentation(images, generator=seeded(), dtype=torch.bfloat16, **settings)
    assert torch.allclose(last, first, atol=1e-4)
    assert half.dtype == torch.bfloat16 and torch.allclose(half.float(), last, atol=2**-7, rtol=2**-7)


@pytest.mark.parametrize("way", ON)
def test_the_same_seed_gives_the_same_batch_and_another_another(way: str) -> None:
    images = noise(8, 16, 16)
    augmentation = Augmentation.from_dict(
        {**ON[way], **COLOUR, "gaussian_noise": 0.1, "random_erasing": {"fill": "noise"}}
    )
    one, two, other = (augmentation(images, generator=seeded(s), mean=[0.5], std=[0.5]) for s in (1, 1, 2))
    assert torch.equal(one, two) and not torch.equal(one, other)
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    augmentation(images, generator=seeded())
    assert torch.equal(before, torch.random.get_rng_state()), "the global generator was used"


@pytest.mark.parametrize("way", ON)
def test_a_sample_does_not_depend_on_the_others(way: str) -> None:
    images = noise(40, 16, 16)
    augmentation = Augmentation.from_dict({**ON[way], **COLOUR, "random_erasing": 0.5})
    whole = augmentation(images, generator=seeded())
    part = augmentation(images[:5], generator=seeded())
    assert torch.allclose(whole[:5], part, atol=1e-6)
    changed = images.clone()
    changed[1:] = 255 - changed[1:]
    assert torch.allclose(augmentation(changed, generator=seeded())[0], whole[0], atol=1e-6)


def test_samples_of_one_batch_are_changed_differently() -> None:
    images = noise(1, 16, 16).expand(32, 16, 16, 3)  # also: a view whose samples are one
    out = Augmentation(rotation=20, brightness=0.3)(images, generator=seeded())
    assert len({tuple(o.flatten()[:50].tolist()) for o in out}) == 32


def test_switching_one_effect_on_leaves_the_draws_of_the_others() -> None:
    images = noise(16, 8, 8)
    flips = Augmentation(horizontal_flip=0.5)(images, generator=seeded())
    both = Augmentation(horizontal_flip=0.5, brightness={"strength": 0.5, "p": 0.5})(images, generator=seeded())
    same = (flips - both).abs().flatten(1).amax(1) < 1e-5
    assert 2 < same.sum() < 14


def test_large_batches_are_worked_through_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    from flambeau.fields.augment import assemble

    images = noise(37, 16, 16)
    for way in ON.values():
        augmentation = Augmentation.from_dict({**way, **COLOUR, "random_erasing": 0.5})
        whole = augmentation(images, generator=seeded())
        monkeypatch.setattr(assemble, "CHUNK", 16 * 16 * 3 * 5)
        assert torch.allclose(augmentation(images, generator=seeded()), whole, atol=1e-6)
        monkeypatch.undo()


def test_views_autocast_and_empty_batches() -> None:
    augmentation = Augmentation.from_dict({**ON["boxes"], **COLOUR})
    images = noise(6, 20, 24)
    views = noise(6, 24, 20).transpose(1, 2)
    views.copy_(images)
    plain = augmentation(images, generator=seeded(), size=(16, 16))
    assert torch.equal(augmentation(views, generator=seeded(), size=(16, 16)), plain)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(augmentation(images, generator=seeded(), size=(16, 16)), plain)
    assert augmentation(images[:0], generator=seeded(), size=(16, 16)).shape == (0, 3, 16, 16)
    assert normalise(images[:0]).shape == (0, 3, 20, 24)
    one = noise(2, 1, 1)
    for way in ("matrix", "boxes", "shift", "none"):
        assert torch.isfinite(Augmentation.from_dict({**ON[way], **COLOUR})(one, generator=seeded())).all()


def test_custom_callables_come_last_and_may_take_the_generator() -> None:
    def double(batch: torch.Tensor) -> torch.Tensor:
        return batch * 2

    def shake(batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return batch + torch.rand(batch.shape, generator=generator)

    images = noise(3, 4, 4)
    augmentation = Augmentation(horizontal_flip=1.0, custom=[double])
    assert torch.equal(augmentation(images, generator=seeded()), normalise(images.flip(2)) * 2)
    shaken = Augmentation(custom=[shake])
    assert torch.equal(shaken(images, generator=seeded(1)), shaken(images, generator=seeded(1)))
    state = Augmentation(custom=[double, torch.nn.Identity()]).to_dict()
    assert state == {"custom": ["double", "Identity"]}
    with pytest.raises(UsageError, match="'double' is known by name only"):
        Augmentation.from_dict(state)(images, generator=seeded())
    with pytest.raises(UsageError, match=r"custom augmentation <lambda>: it gave \(3, 4, 4\)"):
        Augmentation(custom=[lambda batch: batch[:, 0]])(images, generator=seeded())


@pytest.mark.parametrize("level", ["light", "default", "strong"])
@pytest.mark.parametrize("kind", ["symbols", "small", "photos"])
def test_presets_survive_json_and_run(kind: str, level: str) -> None:
    augmentation = preset(level, kind=kind, flip=True)
    again = Augmentation.from_dict(json.loads(json.dumps(augmentation.to_dict())))
    assert again == augmentation and again.to_dict() == augmentation.to_dict()
    images = noise(4, 32, 32)
    out = augmentation(images, generator=seeded(), mean=[0.5], std=[0.25])
    assert torch.equal(out, again(images, generator=seeded(), mean=[0.5], std=[0.25]))
    assert out.shape == (4, 3, 32, 32) and torch.isfinite(out).all()
    assert not torch.equal(out, normalise(images, mean=[0.5], std=[0.25]))


def test_settings_may_be_written_short() -> None:
    assert Augmentation(rotation=10).rotation == Rotation(10) == Augmentation(rotation={"degrees": 10}).rotation
    assert Augmentation(contrast=True).contrast == Contrast() and Augmentation(contrast=False).contrast is None
    assert Augmentation(zoom=0.2) == Augmentation(zoom=[0.8, 1.2])


@pytest.mark.parametrize(
    "state, message",
    [
        ({"rotaton": 10}, "no augmentation is called 'rotaton'; did you mean 'rotation'"),
        ({"rotation": {"degree": 10}}, "rotation: no setting is called 'degree'; did you mean 'degrees'"),
        ({"rotation": 500}, "Rotation: degrees is 500; expected a number within 0…180"),
        ({"horizontal_flip": 2}, "HorizontalFlip: p is 2"),
        ({"brightness": "much"}, "brightness: the setting is 'much'"),
        ({"random_resized_crop": [0.9, 0.1]}, r"scale is \(0.9, 0.1\); expected a pair \(smaller, larger\)"),
        ({"padding": "reflection"}, "padding is 'reflection'; did you mean 'reflect'"),
        ({"fill": 255}, "fill is 255; expected numbers within 0…1"),
        ({"random_crop": 4, "random_resized_crop": 0.5}, "both choose the window"),
        ({"random_erasing": {"fill": "mena"}}, "did you mean 'mean'"),
    ],
)
def test_settings_that_do_not_fit_are_named(state: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Augmentation.from_dict(state)


@pytest.mark.usefixtures("unchecked")
def test_batches_that_are_no_pictures_are_named() -> None:
    with pytest.raises(DataError, match=r"the batch is torch.float32 of shape \(2, 4, 4, 3\); expected uint8"):
        normalise(torch.zeros(2, 4, 4, 3))
    with pytest.raises(DataError, match=r"shape \(4, 4, 3\)"):
        Augmentation()(torch.zeros(4, 4, 3, dtype=torch.uint8), generator=seeded())
    with pytest.raises(UsageError, match="mean has 3 numbers; expected one, or one for each of 1 channels"):
        normalise(noise(2, 4, 4, 1), mean=[0.5] * 3)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("way", [w for w in ON if w != "boxes"])
def test_sample_by_sample_and_all_at_once_agree(way: str, layout: torch.memory_format) -> None:
    """A CPU works sample by sample, other devices on the batch at once; here both on the CPU."""
    images = noise(24, 20, 18)
    augmentation = Augmentation.from_dict({**ON[way], **COLOUR, "vertical_flip": 0.5, "random_erasing": 0.5})
    settings = {"mean": [0.4], "std": [0.3], "memory_format": layout}
    outputs = [augmentation.moving(images, generator=seeded(), each=each, **settings)[0] for each in (True, False)]
    assert torch.allclose(*outputs, atol=1e-5)


def test_noise_all_at_once_is_distributed_as_sample_by_sample() -> None:
    images = torch.full((2000, 12, 12, 3), 128, dtype=torch.uint8)
    augmentation = Augmentation(gaussian_noise={"sigma": 0.1, "p": 0.5}, random_erasing={"fill": "noise", "p": 0.3})
    for each in (True, False):
        out = augmentation.moving(images, generator=seeded(), mean=[0.5], std=[0.25], each=each)[0]
        spread = out.flatten(1).std(1)
        assert abs((spread < 1e-6).float().mean() - 0.35) < 4 * 0.5 / 2000**0.5, "half have no noise, 0.7 no rectangle"
        assert abs(spread[(spread > 0.3) & (spread < 0.5)].mean() - 0.4) < 0.02, "0.1 / 0.25 where nothing is erased"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("way", ON)
def test_a_cuda_device_gives_what_the_cpu_gives(way: str) -> None:
    """With a generator on the CPU all draws are equal; resized crops differ by the CPU's antialiasing."""
    y, x = torch.meshgrid(torch.arange(40), torch.arange(40), indexing="ij")
    waves = torch.stack([torch.sin(x / 8 + i) + torch.cos(y / 9) for i in range(3)], 2)
    images = (127 + 60 * waves).byte().expand(16, 40, 40, 3).contiguous()
    augmentation = Augmentation.from_dict({**ON[way], **COLOUR, "random_erasing": 0.5})
    settings = {"mean": [0.5], "std": [0.25], "size": (40, 40)}
    host = augmentation(images, generator=seeded(), **settings)
    device = augmentation(images.cuda(), generator=seeded(), **settings)
    assert device.is_cuda and device.is_contiguous(memory_format=torch.channels_last)
    far = ((device.cpu() - host).abs() > 8 / 255 / 0.25).float().mean()
    assert far < (0.02 if way == "boxes" else 0.001)
    again = [augmentation(images.cuda(), generator=seeded(3, "cuda"), **settings) for _ in range(2)]
    assert torch.equal(*again)


def test_choose_is_one_call() -> None:
    augmentation, why = choose(noise(60, 32, 32), torch.arange(60) % 2)
    assert augmentation and why.endswith(".")
