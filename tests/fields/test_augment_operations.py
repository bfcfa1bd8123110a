"""Perspective, elastic, tones and filters equal torchvision's; groups and policies give each sample what they say."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from flambeau.core.errors import UsageError
from flambeau.fields.augment import Augmentation, bend, filters, geometry, operations, resample
from flambeau.fields.augment.draws import Draws
from flambeau.fields.augment.tone import Tone

CPU = torch.device("cpu")
SIDES = (40, 56)


def noise(B: int, H: int = 24, W: int = 20, C: int = 3, low: int = 0, high: int = 256) -> torch.Tensor:
    return torch.randint(low, high, (B, H, W, C), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))


def smooth(B: int, H: int, W: int) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(H) + 0.5, torch.arange(W) + 0.5, indexing="ij")
    planes = [torch.sin(x / 8 + i) + torch.cos(y / 9 - i) + torch.sin((x + y) / 12) for i in range(3)]
    return (127.5 + 42 * torch.stack(planes, 2)).round().byte().expand(B, H, W, 3).contiguous()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(augmentation: Augmentation, batch: int, seed: int = 0) -> Draws:
    return Draws(batch, seeded(seed), CPU, further=2 * bend.control_points(augmentation.effects) ** 2)


def bytes_of(augmentation: Augmentation, images: torch.Tensor, **options: Any) -> torch.Tensor:
    """What comes out as whole levels, (B, C, H, W)."""
    out = augmentation(images, generator=seeded(), **options) * 255
    assert torch.allclose(out, out.round(), atol=1e-3)
    return out.round().byte()


TONES: dict[str, tuple[dict[str, Any], Callable[[Any, torch.Tensor], torch.Tensor]]] = {
    "posterize": ({"posterize": {"p": 1, "bits": 3}}, lambda TF, x: TF.posterize(x, 3)),
    "solarize": ({"solarize": {"p": 1, "threshold": 0.6}}, lambda TF, x: TF.solarize(x, 153)),
    "equalise": ({"equalise": 1.0}, lambda TF, x: TF.equalize(x)),
    "autocontrast": ({"autocontrast": 1.0}, lambda TF, x: TF.autocontrast(x)),
    "all": (
        {"posterize": {"p": 1, "bits": 3}, "solarize": 1.0, "equalise": 1.0, "autocontrast": 1.0},
        lambda TF, x: TF.posterize(TF.solarize(TF.equalize(TF.autocontrast(x)), 128), 3),
    ),
}


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("tone", TONES)
def test_tones_are_torchvision_s_bit_for_bit(tone: str, layout: torch.memory_format) -> None:
    TF = pytest.importorskip("torchvision.transforms.v2.functional")
    settings, theirs = TONES[tone]
    images = torch.cat([noise(6), noise(6, low=90, high=160), smooth(2, 24, 20), torch.full_like(noise(1), 77)])
    before = images.clone()
    ours = bytes_of(Augmentation(**settings), images, memory_format=layout)
    for image, out in zip(images, ours, strict=True):
        assert torch.equal(out, theirs(TF, image.permute(2, 0, 1)))
    assert torch.equal(images, before), "the caller's batch was written to"
    # behind a resampling, and on pictures of one channel; a turn by nothing changes no level
    resampled = bytes_of(Augmentation(**settings, rotation=0, fill=0.3), images, memory_format=layout)
    assert torch.equal(resampled, ours)
    assert torch.equal(bytes_of(Augmentation(**settings), images[..., :1]), ours[:, :1])


@pytest.mark.parametrize("tone", TONES)
def test_tones_at_once_are_those_sample_by_sample(tone: str) -> None:
    settings, _ = TONES[tone]
    halves = {name: {**(s if isinstance(s, dict) else {}), "p": 0.5} for name, s in settings.items()}
    augmentation, images = Augmentation(**halves), noise(32)
    one, other = (Tone(augmentation.effects, drawn(augmentation, 32), each) for each in (True, False))
    changed = one.apply(images, slice(None), False)
    assert torch.equal(changed, other.apply(images, slice(None), False))
    assert 0 < (changed != images).flatten(1).any(1).sum() < 32 or tone == "all"


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("factor", [0.0, 0.4, 1.7])
def test_sharpness_is_torchvision_s(factor: float, layout: torch.memory_format) -> None:
    TF = pytest.importorskip("torchvision.transforms.v2.functional")
    images = noise(3)
    # factors are uniform in 1 ± strength; here all of them are one
    ours = filters.sharpened(images.permute(0, 3, 1, 2).float(), torch.full((3,), factor)).clamp(0, 255)
    theirs = TF.adjust_sharpness(images.permute(0, 3, 1, 2).float() / 255, factor) * 255
    assert torch.allclose(ours, theirs, atol=255 * 1e-5)
    augmentation = Augmentation(sharpness={"strength": 0.9, "p": 0.5})
    out = augmentation(images, generator=seeded(), memory_format=layout, mean=[0.4], std=[0.2])
    factors = drawn(augmentation, 3).between("sharpness", 0.1, 1.9, 0.5, 1.0)
    for image, after, f in zip(images, out, factors.tolist(), strict=True):
        expected = TF.adjust_sharpness(image.permute(2, 0, 1).float() / 255, f)
        assert torch.allclose(after, (expected - 0.4) / 0.2, atol=1e-5 / 0.2)


@pytest.mark.parametrize("size", [(24, 20), (5, 4)])
def test_blur_is_torchvision_s(size: tuple[int, int]) -> None:
    TF = pytest.importorskip("torchvision.transforms.v2.functional")
    images = noise(5, *size)
    augmentation = Augmentation(blur={"sigma": (0.5, 1.3), "p": 0.7})
    out = augmentation(images, generator=seeded())
    sigmas = drawn(augmentation, 5).between("blur", 0.5, 1.3, 0.7, 0.0)
    kernel = [2 * min(math.ceil(3 * 1.3), side - 1) + 1 for side in (size[1], size[0])]
    assert (sigmas == 0).any() and (sigmas > 0).any()
    for image, after, sigma in zip(images, out, sigmas.tolist(), strict=True):
        floats = image.permute(2, 0, 1).float() / 255
        assert torch.allclose(after, TF.gaussian_blur(floats, kernel, [sigma, sigma]) if sigma else floats, atol=1e-5)


def test_filters_at_once_are_those_sample_by_sample() -> None:
    augmentation = Augmentation(blur={"sigma": 1.5, "p": 0.5}, sharpness={"strength": 0.8, "p": 0.5})
    one, other = (filters.Filters(augmentation.effects, drawn(augmentation, 16), each) for each in (True, False))
    images, again = (noise(16).float() for _ in range(2))
    one.apply(images, slice(None), False)
    other.apply(again, slice(None), False)
    assert torch.allclose(images, again, atol=255 * 1e-5) and not torch.equal(images, noise(16).float())


def test_perspective_is_torchvision_s() -> None:
    TF = pytest.importorskip("torchvision.transforms.v2.functional")
    images, (H, W) = smooth(8, *SIDES), SIDES
    augmentation = Augmentation(perspective=0.5)
    plan = geometry.draw(augmentation.effects, "matrix", drawn(augmentation, 8), SIDES, SIDES)
    assert plan.bend is not None and plan.bend.homography is not None
    corners = torch.tensor([[0.0, 0.0], [W, 0], [W, H], [0, H]]).expand(8, 4, 2)
    ends = plan.bend.forward(corners)
    inwards = (ends - corners).abs() / torch.tensor([W, H])
    assert inwards.max() <= 0.25 and inwards.max() > 0.2 and (plan.bend.backward(ends) - corners).abs().max() < 1e-3
    ours = augmentation(images, generator=seeded()) * 255
    for image, out, end in zip(images, ours, ends.tolist(), strict=True):
        # their zeros begin half a pixel earlier, so the edge of the picture is left out
        theirs = TF.perspective(image.permute(2, 0, 1).float(), corners[0].tolist(), end)
        inside = TF.perspective(torch.ones(1, H, W), corners[0].tolist(), end)[0] == 1
        assert inside.float().mean() > 0.3 and (out - theirs)[:, inside].abs().max() < 0.05


def test_elastic_is_torchvision_s_for_the_same_displacement() -> None:
    TF = pytest.importorskip("torchvision.transforms.v2.functional")
    images, (H, W) = smooth(64, *SIDES), SIDES
    augmentation = Augmentation(elastic={"strength": 0.03, "smooth": 0.15}, padding="edge")
    plan = geometry.draw(augmentation.effects, "matrix", drawn(augmentation, 64), SIDES, SIDES)
    assert plan.bend is not None and plan.matrix is not None
    there = torch.stack(torch.meshgrid(torch.arange(H) + 0.5, torch.arange(W) + 0.5, indexing="ij")[::-1], 2)
    moved = (plan.bend.grid(CPU) - there) / torch.tensor([W, H])
    # 64 fields of some 5 × 5 independent bumps, two of them in each
    assert moved.std() == pytest.approx(0.03, rel=4 / math.sqrt(2 * 64 * 25 * 2))
    out = resample.sample(images, plan.matrix, SIDES, "edge", None, bend=plan.bend)
    theirs = torch.cat([TF.elastic(image.permute(2, 0, 1)[None].float(), 2 * moved[i : i + 1])
                        for i, image in enumerate(images)])  # fmt: skip
    inside = (slice(None), slice(None), slice(6, -6), slice(8, -8))  # they show black beyond the edge
    assert torch.allclose(out[inside], theirs[inside], atol=0.05)


def test_a_displacement_is_undone_by_its_inverse() -> None:
    augmentation = Augmentation(elastic={"strength": 0.03, "smooth": 0.1}, perspective=0.3)
    plan = bend.draw(augmentation.effects, drawn(augmentation, 32), SIDES)
    assert plan is not None
    points = torch.rand(32, 50, 2, generator=seeded()) * torch.tensor([SIDES[1], SIDES[0]])
    assert (plan.forward(plan.backward(points)) - points).abs().max() < 0.02


def test_vertical_shear_is_the_sideways_one_on_its_side() -> None:
    images = smooth(4, 48, 48)
    one = Augmentation(shear=30)(images.transpose(1, 2).contiguous(), generator=seeded()).transpose(2, 3)
    draws = drawn(Augmentation(shear=30), 4)
    draws.values("vertical_shear")[:] = draws.values("shear")
    plan = geometry.draw(Augmentation(vertical_shear=30).effects, "matrix", draws, (48, 48), (48, 48))
    assert plan.matrix is not None
    other = resample.sample(images, plan.matrix, (48, 48), "constant", None) / 255
    assert torch.allclose(one, other, atol=1e-4)


# -- groups ---------------------------------------------------------------------------------------------------------


def test_what_comes_together_comes_together_or_not_at_all() -> None:
    given = [{"p": 0.3, "horizontal_flip": 1.0, "vertical_flip": 1.0}, {"solarize": {"p": 1.0, "threshold": 0.0}}]
    augmentation = Augmentation(together=given)
    images = noise(3000, 2, 2, 1)
    out = augmentation(images, generator=seeded()) * 255
    floats = images.permute(0, 3, 1, 2).float()
    seen = {}
    for name, expected in {
        "none": floats,
        "turned": floats.flip(2, 3),
        "inverted": 255 - floats,
        "both": 255 - floats.flip(2, 3),
    }.items():
        seen[name] = (out - expected).abs().flatten(1).amax(1) < 0.01
    assert torch.stack([*seen.values()]).any(0).all(), "one flip without the other"
    for name, share in {"none": 0.35, "turned": 0.15, "inverted": 0.35, "both": 0.15}.items():
        assert abs(seen[name].float().mean() - share) < 4 * math.sqrt(share * (1 - share) / 3000), name


def test_one_of_is_one_of() -> None:
    solarize = {"p": 1.0, "threshold": 0.5}
    shares = {"horizontal_flip": 0.2, "vertical_flip": 0.5, "solarize": 0.3}
    given = [{"p": 0.2, "horizontal_flip": 1.0}, {"p": 0.5, "vertical_flip": 1.0}, {"solarize": solarize}]
    augmentation = Augmentation(one_of=given)
    images = noise(3000, 2, 2, 1)
    floats, out = images.permute(0, 3, 1, 2).float(), augmentation(images, generator=seeded()) * 255
    candidates = (floats.flip(3), floats.flip(2), torch.where(floats >= 128, 255 - floats, floats))
    for (name, share), expected in zip(shares.items(), candidates, strict=True):
        mask = (out - expected).abs().flatten(1).amax(1) < 0.01
        others = [(c - expected).abs().flatten(1).amax(1) < 0.01 for c in candidates if c is not expected]
        unique = ~torch.stack(others).any(0)
        assert abs(mask[unique].float().mean() - share) < 4 * math.sqrt(share * (1 - share) / int(unique.sum())), name
    again = Augmentation.from_dict(json.loads(json.dumps(augmentation.to_dict())))
    assert again == augmentation and torch.equal(again(images, generator=seeded()) * 255, out)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"posterise": 0.2}, "did you mean 'posterize'"),
        ({"equalize": 0.2}, "did you mean 'equalise'"),
        ({"posterize": {"bit": 3}}, "did you mean 'bits'"),
        ({"elastic": {"strength": 0.05}}, "Elastic: strength is 0.05; expected a number within 0…0.03"),
        ({"blur": [3, 1]}, "a pair"),
        ({"one_of": [{"p": 0.7, "blur": 1}, {"p": 0.7, "solarize": 1}]}, "sum to 1.4; expected 1 at most"),
        ({"one_of": [{"blurr": 1}]}, "did you mean 'blur'"),
        ({"together": [{"p": 0.3}]}, "expected effects by name"),
        ({"together": [{"p": 3, "blur": 1}]}, "expected a number within 0…1"),
        ({"together": [{"blur": 1}], "blur": 0.5}, "blur is given twice"),
        ({"randaugment": True, "rotation": 5}, "rotation is one of the operations of randaugment already"),
        ({"randaugment": True, "trivialaugment": True}, "both choose the operations"),
        ({"randaugment": {"magnitud": 5}}, "did you mean 'magnitude'"),
        ({"randaugment": 31}, "expected a number within 0…30"),
    ],
)
def test_what_does_not_fit_is_told(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as raised:
        Augmentation.from_dict(settings)
    assert told in str(raised.value), str(raised.value)


# -- policies -------------------------------------------------------------------------------------------------------


def decided(settings: dict[str, Any], batch: int) -> Draws:
    augmentation = Augmentation(**settings)
    draws = drawn(augmentation, batch)
    operations.decide(augmentation.effects, draws)
    return draws


def test_randaugment_gives_each_sample_so_many_operations() -> None:
    N = 6000
    draws = decided({"randaugment": {"num_ops": 3, "magnitude": 15}}, N)
    shift = (draws.amounts["shift"] != 0).sum(1)
    others = torch.stack([mask for name, mask in draws.gates.items() if name != "shift"])
    counts = others.sum(0) + shift
    assert set(counts.tolist()) == {2, 3}, "identity is one of the operations"
    share = 3 / 14
    for mask in others:
        assert abs(mask.float().mean() - share) < 4 * math.sqrt(share * (1 - share) / N)
    turned = draws.amounts["rotation"]
    assert set(turned.abs().tolist()) == {15.0} and abs((turned > 0).float().mean() - 0.5) < 2 / math.sqrt(N)
    assert torch.equal(draws.amounts["posterize"].unique(), torch.tensor([6.0]))
    assert torch.allclose(draws.amounts["solarize"], torch.tensor(0.5))
    assert torch.allclose((draws.amounts["brightness"] - 1).abs(), torch.tensor(0.45))


def test_trivialaugment_gives_each_sample_one_of_any_magnitude() -> None:
    N = 6000
    draws = decided({"trivialaugment": True}, N)
    masks = torch.stack([mask for name, mask in draws.gates.items() if name != "shift"])
    counts = masks.sum(0) + (draws.amounts["shift"] != 0).sum(1)
    assert set(counts.tolist()) == {0, 1}
    for mask in masks:
        assert abs(mask.float().mean() - 1 / 14) < 4 * math.sqrt(13 / 14**2 / N)
    degrees = draws.amounts["rotation"].abs()
    assert len(degrees.unique()) == 31 and degrees.max() == 135 and abs(degrees.mean() - 67.5) < 4 * 39 / math.sqrt(N)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_each_operation_of_a_policy_is_torchvision_s(layout: torch.memory_format) -> None:
    TF = pytest.importorskip("torchvision.transforms.v2.functional")
    images = smooth(400, 16, 16)
    augmentation = Augmentation(trivialaugment=True)
    ours = augmentation(images, generator=seeded(), memory_format=layout) * 255
    draws = decided({"trivialaugment": True}, 400)
    theirs: dict[str, Callable[[torch.Tensor, float], torch.Tensor]] = {
        "brightness": TF.adjust_brightness,
        "saturation": TF.adjust_saturation,
        "contrast": TF.adjust_contrast,
        "sharpness": TF.adjust_sharpness,
        "posterize": lambda x, bits: TF.posterize((x * 255).byte(), int(bits)) / 255,
        "solarize": lambda x, threshold: (
            TF.solarize((x * 255).byte(), int((draws.table.new_tensor(threshold) * 255).round())) / 255
        ),
        "autocontrast": lambda x, _: TF.autocontrast((x * 255).byte()) / 255,
        "equalise": lambda x, _: TF.equalize((x * 255).byte()) / 255,
    }
    seen = set()
    for i, (image, out) in enumerate(zip(images.permute(0, 3, 1, 2).float() / 255, ours, strict=True)):
        on = [name for name, mask in draws.gates.items() if mask[i]]
        seen |= {*on}
        if not on:
            assert torch.allclose(out, image * 255, atol=1e-3)
        elif on[0] in theirs:
            amount = float(draws.amounts[on[0]][i]) if on[0] in draws.amounts else 0.0
            # torchvision's luma weights add up to 0.9999 in some places; the bytes of /255 and back are exact
            assert torch.allclose(out, theirs[on[0]](image, amount) * 255, atol=0.04), (on, amount)
    assert seen == set(operations.THEIRS)


@pytest.mark.parametrize("policy", ["randaugment", "trivialaugment"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_policy_draws_by_the_generator_alone(policy: str, channels: int) -> None:
    images = noise(48, 16, 16, channels)
    augmentation = Augmentation(**{policy: True}, padding="reflect", horizontal_flip=0.5)
    out = augmentation(images, generator=seeded())
    assert torch.equal(out, augmentation(images, generator=seeded()))
    assert not torch.equal(out, augmentation(images, generator=seeded(1)))
    assert torch.allclose(augmentation(images[:5], generator=seeded()), out[:5], atol=1e-5)


@pytest.mark.parametrize(
    "settings", [{"randaugment": 12, "fill": 0.3}, {"elastic": 0.02, "perspective": 0.3, "blur": 1.0}]
)
def test_all_at_once_is_sample_by_sample(settings: dict[str, Any]) -> None:
    """What a device does, beside what a CPU does."""
    augmentation, images = Augmentation(**settings), smooth(32, 24, 20)
    one, other = (augmentation.moving(images, generator=seeded(), each=each)[0] for each in (True, False))
    assert torch.allclose(one, other, atol=1e-5)


def test_policies_are_called_by_name() -> None:
    from flambeau.fields.augment import preset

    for kind in ("symbols", "small", "photos"):
        for name in ("randaugment", "trivialaugment"):
            augmentation = preset(name, kind=kind, flip=True)
            assert getattr(augmentation, name) is not None and augmentation.horizontal_flip is not None
