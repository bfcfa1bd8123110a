"""Geometric augmentations do what they say, exactly where that is possible."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from flambeau.core.errors import UsageError
from flambeau.fields.augment import Augmentation, geometry, normalise, resample
from flambeau.fields.augment.draws import COLUMNS, Draws
from flambeau.fields.augment.effects import RandomErasing, RandomResizedCrop

CPU = torch.device("cpu")


def noise(B: int, H: int, W: int, C: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (B, H, W, C), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))


def smooth(B: int, H: int, W: int) -> torch.Tensor:
    """Waves of 48 pixels and more: bilinear interpolation errs by less than one grey level."""
    y, x = torch.meshgrid(torch.arange(H) + 0.5, torch.arange(W) + 0.5, indexing="ij")
    planes = [torch.sin(x / 8 + i) + torch.cos(y / 9 - i) + torch.sin((x + y) / 12) for i in range(3)]
    return (127.5 + 42 * torch.stack(planes, 2)).round().byte().expand(B, H, W, 3).contiguous()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def run(augmentation: Augmentation, images: torch.Tensor, seed: int = 0, **kwargs: object) -> torch.Tensor:
    """The augmented pictures in 0…255, (B, H, W, C)."""
    out = augmentation(images, generator=seeded(seed), **kwargs)  # type: ignore[arg-type]
    return out.permute(0, 2, 3, 1) * 255


def drawn(augmentation: Augmentation, images: torch.Tensor, size: tuple[int, int], **values: float) -> torch.Tensor:
    """One resampling with the given share (0…1) of each effect's range, in 0…255, (B, H, W, C)."""
    draws = Draws(len(images), seeded(), CPU)
    for name, value in values.items():
        draws.values(name)[:] = value
    plan = geometry.draw(augmentation.effects, "matrix", draws, tuple(images.shape[1:3]), size)
    assert plan.matrix is not None
    return resample.sample(images, plan.matrix, size, augmentation.padding, None).permute(0, 2, 3, 1)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("name, axis", [("horizontal_flip", 2), ("vertical_flip", 1)])
def test_flips_are_exact(name: str, axis: int, channels: int) -> None:
    images = noise(5, 9, 7, channels)
    before = images.clone()
    out = Augmentation.from_dict({name: 1.0})(images, generator=seeded(), mean=[0.3], std=[0.2])
    assert torch.equal(out, normalise(images.flip(axis), mean=[0.3], std=[0.2]))
    assert torch.equal(images, before), "the caller's batch was written to"


def test_a_flip_reaches_the_share_of_samples_that_it_should() -> None:
    images = noise(4000, 2, 2, 1)
    out = run(Augmentation(horizontal_flip=0.3), images)
    flipped = (out.round() == images.flip(2)).flatten(1).all(1) & (images != images.flip(2)).flatten(1).any(1)
    assert abs(flipped.float().mean() - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 4000)


def test_rotation_by_90_degrees_is_rot90() -> None:
    images = noise(2, 16, 16)
    out = drawn(Augmentation(rotation=90), images, (16, 16), rotation=1.0)
    assert torch.allclose(out, torch.rot90(images, 1, (1, 2)).float(), atol=0.01)


def test_rotation_and_shear_turn_as_in_torchvision() -> None:
    TF = pytest.importorskip("torchvision.transforms.v2.functional")
    images = smooth(1, 64, 64)
    for augmentation, name, settings in (
        (Augmentation(rotation=20), "rotation", {"angle": -20.0, "shear": [0.0, 0.0], "scale": 1.0}),
        (Augmentation(zoom=(1, 1.5)), "zoom", {"angle": 0.0, "shear": [0.0, 0.0], "scale": 1.5}),
    ):
        ours = drawn(augmentation, images, (64, 64), **{name: 1.0})
        theirs = TF.affine(
            images.permute(0, 3, 1, 2).float(),
            translate=[0, 0],
            interpolation=TF.InterpolationMode.BILINEAR,
            **settings,
        ).permute(0, 2, 3, 1)
        inside = slice(16, 48)
        assert torch.allclose(ours[:, inside, inside], theirs[:, inside, inside], atol=0.05), name


def test_shear_slants_like_italics() -> None:
    images = torch.zeros(1, 21, 21, 1, dtype=torch.uint8)
    images[0, :, 10] = 255
    out = drawn(Augmentation(shear=45), images, (21, 21), shear=1.0)[0, :, :, 0]
    # 45°: each row further down moves one pixel further to the right
    expected = torch.stack([F.one_hot(torch.tensor(row), 21) * 255.0 for row in range(21)])
    assert torch.allclose(out, expected, atol=0.01)


def test_zoom_by_two_shows_the_middle() -> None:
    images = smooth(1, 64, 64)
    out = drawn(Augmentation(zoom=(1, 2)), images, (64, 64), zoom=1.0)
    middle = images[:, 16:48, 16:48].permute(0, 3, 1, 2).float()
    expected = F.interpolate(middle, (64, 64), mode="bilinear").permute(0, 2, 3, 1)
    assert torch.allclose(out[:, 1:-1, 1:-1], expected[:, 1:-1, 1:-1], atol=0.01)


def test_a_shift_alone_moves_by_whole_pixels() -> None:
    images = noise(64, 20, 30, 1)
    out = run(Augmentation(shift=0.2, fill=1.0), images).round().byte()
    seen = set()
    for before, after in zip(images[..., 0], out[..., 0], strict=True):
        found = [
            (dy, dx)
            for dy in range(-4, 5)
            for dx in range(-6, 7)
            if torch.equal(window(after, dy, dx), window(before, -dy, -dx))
        ]
        assert len(found) == 1
        (dy, dx) = found[0]
        assert (window(after, dy, dx).numel() + (after == 255).sum()) >= after.numel(), "the rest is the fill"
        seen.add(found[0])
    assert len(seen) > 30 and {dy for dy, _ in seen} == set(range(-4, 5))


def window(image: torch.Tensor, dy: int, dx: int) -> torch.Tensor:
    """What is left of (H, W) behind the first dy rows and dx columns, or before the last ones if negative."""
    rows = slice(dy, None) if dy >= 0 else slice(None, dy)
    columns = slice(dx, None) if dx >= 0 else slice(None, dx)
    return image[rows, columns]


@pytest.mark.parametrize("padding", ["constant", "reflect", "edge"])
@pytest.mark.parametrize("fill", [0.0, 0.6])
def test_whole_pixels_and_resampling_agree(padding: str, fill: float) -> None:
    """A rotation by nothing sends the same crop, flip and padding through `grid_sample`."""
    images = noise(32, 12, 10)
    settings = {"random_crop": 4, "horizontal_flip": 0.5, "vertical_flip": 0.5, "padding": padding, "fill": fill}
    exact = run(Augmentation.from_dict(settings), images, size=(11, 13))
    resampled = run(Augmentation.from_dict({**settings, "rotation": 0}), images, size=(11, 13))
    assert torch.allclose(exact, resampled, atol=0.02)
    shifts = {"shift": 0.3, "horizontal_flip": 0.5, "vertical_flip": 0.5, "padding": padding, "fill": fill}
    exact = run(Augmentation.from_dict(shifts), images)
    resampled = run(Augmentation.from_dict({**shifts, "rotation": 0}), images)
    assert torch.allclose(exact, resampled, atol=0.02)
    assert not torch.allclose(exact, images.float())


@pytest.mark.parametrize("padding, mode", [("reflect", "reflect"), ("edge", "edge"), ("constant", "constant")])
def test_padding_is_numpy_s(padding: str, mode: str) -> None:
    images = noise(3, 6, 5)
    padded = resample.pad(images, (3, 4), padding, [0, 0, 0])
    expected = np.pad(images.numpy(), ((0, 0), (3, 3), (4, 4), (0, 0)), mode=mode)  # type: ignore[call-overload]
    assert np.array_equal(padded.numpy(), expected)


def test_reflection_of_more_than_there_is_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot be reflected by 8 rows"):
        run(Augmentation(random_crop=8, padding="reflect"), noise(2, 8, 8))


def test_a_crop_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="random crop of 32×32 does not fit into pictures of 16×16"):
        run(Augmentation(random_crop=4), noise(2, 16, 16), size=(32, 32))


def test_constant_fill_reaches_the_corners_under_colour_too() -> None:
    images = torch.full((4, 20, 20, 3), 200, dtype=torch.uint8)
    augmentation = Augmentation(rotation=45, fill=(0.2, 0.4, 0.6), padding="constant", brightness={"strength": 0.0})
    out = drawn_corner(run(augmentation, images))
    assert torch.allclose(out, 255 * torch.tensor([0.2, 0.4, 0.6]).expand_as(out), atol=0.05)


def drawn_corner(out: torch.Tensor) -> torch.Tensor:
    turned = (out[:, 10, 10] - 200).abs().amax(1) < 0.1
    assert turned.all(), "the middle is as it was"
    corners = out[:, 0, 0]
    return corners[(corners[:, 0] - 200).abs() > 100]


def test_the_fused_chain_is_the_sequence() -> None:
    """Flip, zoom, shear, rotation and shift in one matrix equal the same one after the other."""
    images = smooth(1, 96, 96)
    chain = Augmentation(horizontal_flip=1, zoom=(1, 1.2), shear=12, rotation=15, shift=0.05)
    values = {"zoom": 1.0, "shear": 1.0, "rotation": 1.0, "shift": 1.0}
    fused = drawn(chain, images, (96, 96), **values)
    step = images.flip(2).float()
    for name in ("zoom", "shear", "rotation", "shift"):
        one = Augmentation(**{name: getattr(chain, name)})
        draws = Draws(1, seeded(), CPU)
        draws.values(name)[:] = 1.0
        plan = geometry.draw(one.effects, "matrix", draws, (96, 96), (96, 96))
        assert plan.matrix is not None
        step = resample.sample(step, plan.matrix, (96, 96), "constant", None).permute(0, 2, 3, 1)
    inside = slice(32, 64)
    # each of the four steps interpolates: second derivatives are below 42 * 3 / 64, errors below a quarter of that
    assert (fused[:, inside, inside] - step[:, inside, inside]).abs().max() < 4 * 2 * 42 * 3 / 64 / 8 + 1


def test_a_resized_crop_is_torchvision_s_bit_for_bit() -> None:
    TF = pytest.importorskip("torchvision.transforms.v2.functional")
    images = noise(24, 40, 50)
    augmentation = Augmentation(random_resized_crop=(0.2, 1.0))
    out = run(augmentation, images, seed=3, size=(32, 24)).round().byte()
    draws = Draws(24, seeded(3), CPU)
    boxes = geometry.draw(augmentation.effects, "boxes", draws, (40, 50), (32, 24)).boxes
    assert boxes is not None
    for image, after, (top, left, height, width) in zip(images, out, boxes.tolist(), strict=True):
        theirs = TF.resized_crop(image.permute(2, 0, 1), top, left, height, width, [32, 24], antialias=True)
        assert torch.equal(after.permute(2, 0, 1), theirs)


def test_boxes_and_the_matrix_show_the_same_window() -> None:
    """What a device without the integer kernel does, beside what the CPU does."""
    images = smooth(16, 48, 48)
    augmentation = Augmentation(random_resized_crop=(0.3, 1.0), horizontal_flip=0.5)
    draws = Draws(16, seeded(1), CPU)
    plan = geometry.draw(augmentation.effects, "matrix", draws, (48, 48), (64, 64))
    assert plan.matrix is not None
    sampled = resample.sample(images, plan.matrix, (64, 64), "edge", None).permute(0, 2, 3, 1)
    kernel = run(augmentation, images, seed=1, size=(64, 64))
    inside = slice(4, 60)  # the kernel sees nothing beyond its window, the matrix does
    assert (sampled - kernel)[:, inside, inside].abs().max() < 1.1  # the kernel rounds to bytes twice


def test_resized_crops_are_distributed_as_torchvision_s() -> None:
    transforms = pytest.importorskip("torchvision.transforms.v2")
    H, W, N = 90, 120, 4000
    draws = Draws(N, seeded(), CPU)
    ours = geometry.resized_crops(RandomResizedCrop((0.08, 1.0)), draws, (H, W)).double()
    torch.manual_seed(0)
    crop = transforms.RandomResizedCrop(10, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3))
    image = torch.zeros(3, H, W)
    drawn_ = [crop.make_params([image]) for _ in range(N)]
    theirs = torch.tensor([[p["top"], p["left"], p["height"], p["width"]] for p in drawn_]).double()
    assert (ours[:, 0] + ours[:, 2]).max() <= H and (ours[:, 1] + ours[:, 3]).max() <= W and ours.min() >= 0

    def features(boxes: torch.Tensor) -> list[torch.Tensor]:
        top, left, height, width = boxes.T
        return [height * width, width / height, top / (H - height).clamp(min=1), left / (W - width).clamp(min=1)]

    for a, b in zip(features(ours), features(theirs), strict=True):
        # two samples of one distribution differ by 1.95 sqrt(2 / N) = 0.044 with probability 0.001
        points = torch.cat([a, b]).sort().values
        below = [torch.searchsorted(x.sort().values, points, right=True) for x in (a, b)]
        assert (below[0] - below[1]).abs().max() / N < 0.05


def test_a_window_of_impossible_shape_falls_back_to_the_middle() -> None:
    draws = Draws(8, seeded(), CPU)
    boxes = geometry.resized_crops(RandomResizedCrop((1.0, 1.0), (3 / 4, 4 / 3)), draws, (10, 100))
    assert boxes.tolist() == [[0, 43, 10, 13]] * 8


def test_large_pictures_are_reduced_with_antialiasing_before_a_rotation() -> None:
    """A checkerboard of single pixels, reduced eightfold, is grey: without antialiasing it would be black and white."""
    board = (torch.arange(256)[:, None] + torch.arange(256)) % 2 * 255
    images = board.byte().expand(2, 256, 256)[..., None].contiguous()
    out = run(Augmentation(rotation=5, padding="edge"), images, size=(32, 32))
    assert (out - 127.5).abs().max() < 8


@pytest.mark.parametrize("fill", ["mean", "noise"])
def test_erasing_takes_rectangles_of_the_asked_area(fill: str) -> None:
    images = torch.full((400, 40, 50, 3), 255, dtype=torch.uint8)
    augmentation = Augmentation(random_erasing=RandomErasing((0.1, 0.3), (0.5, 2.0), fill, 0.5))
    out = augmentation(images, generator=seeded(), mean=[0.5] * 3, std=[0.25] * 3)
    erased = ((out - 2).abs() > 1e-5).any(1)
    touched = erased.flatten(1).any(1)
    assert 0.4 < touched.float().mean() < 0.6
    for mask in erased[touched]:
        rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
        height, width = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
        assert mask.sum() == height * width, "it is not one rectangle"
        # sides are rounded to whole pixels
        assert 0.1 * 2000 - 50 < height * width < 0.3 * 2000 + 50 and 0.45 < height / width < 2.2
    inside = out.permute(1, 0, 2, 3)[:, erased]
    if fill == "mean":
        assert (inside == 0).all()
    else:
        assert abs(inside.mean()) < 0.02 and abs(inside.std() - 1) < 0.02


def test_every_effect_has_columns_of_its_own() -> None:
    draws = Draws(2, seeded(), CPU)
    stops = [(draws.start[name], draws.start[name] + COLUMNS[name]) for name in COLUMNS]
    assert all(a[1] == b[0] for a, b in pairwise(stops)) and stops[-1][1] <= draws.table.shape[1]
