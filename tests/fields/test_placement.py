"""What has a place in a picture stays with it: through every fit, every turn of a camera and every augmentation."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from flambeau.data.dataset import Dataset
from flambeau.data.prepare import Preparer
from flambeau.data.store.encode import encode
from flambeau.fields import Field, Image, Ragged
from flambeau.fields.augment import Augmentation
from flambeau.fields.base import Encoding, Recognition
from flambeau.fields.picture.pixels import ORIENTATION, TURNS
from flambeau.fields.placement import Placement
from flambeau.objectives import Supervised
from flambeau.predictor import Predictor
from flambeau.training import engine

SIZE = (56, 72)
HALF = 0.5  # of a pixel of the model's input
GEOMETRY: dict[str, dict[str, Any]] = {
    "nothing": {},
    "colours": {"brightness": 0.2, "contrast": 0.2},
    "flips": {"horizontal_flip": 0.5, "vertical_flip": 0.5},
    "shift": {"shift": 0.1, "horizontal_flip": 0.5},
    "crop": {"random_crop": 6, "horizontal_flip": 0.5, "vertical_flip": 0.5},
    "resized crop": {"random_resized_crop": (0.6, 1.0), "horizontal_flip": 0.5},
    "rotation": {"rotation": 180},
    "zoom": {"zoom": (0.7, 1.3), "vertical_flip": 0.5},
    "shear": {"shear": 20, "vertical_shear": 10, "rotation": 10, "shift": 0.1},
    "perspective": {"perspective": 0.4, "random_resized_crop": (0.8, 1.0), "horizontal_flip": 0.5},
    "elastic": {"elastic": {"strength": 0.02, "smooth": 0.15}, "rotation": 15},
    "bent": {"perspective": 0.3, "elastic": 0.02, "padding": "edge", "vertical_flip": 0.5},
    "all": {"random_resized_crop": (0.7, 1.0), "rotation": 30, "zoom": 0.1, "shear": 8, "horizontal_flip": 0.5,
            "shift": 0.1, "padding": "reflect"},
}  # fmt: skip


class Marks(Field):
    """Points of the raw picture, float32 (B, T, 2)."""

    kind = "marks"
    follows = True

    @classmethod
    def recognise(cls, values: Any) -> Recognition:
        return Recognition(0.0, "")

    def fit(self, values: Any) -> None:
        return

    @property
    def encoding(self) -> Encoding:
        return Encoding(np.dtype(np.float32), (2,), ragged=True, padded=False)

    def encode(self, value: Any) -> np.ndarray:
        return np.asarray(value, np.float32)

    def follow(self, value: Ragged, placement: Any) -> Ragged:
        return Ragged(placement.points(value.values), value.lengths)


def drawn(h: int, w: int, seed: int) -> tuple[np.ndarray, tuple[float, float]]:
    """A black picture with a white disc, and its middle (x, y)."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0.4, 0.6, 2) * (w, h)
    down, across = np.mgrid[:h, :w] + 0.5
    radius = min(h, w) / 14
    away = np.hypot(down - y, across - x)
    return (255 * np.clip(radius + 0.5 - away, 0, 1)).astype(np.uint8), (x, y)


def centre(picture: torch.Tensor) -> np.ndarray:
    """The middle of what is bright, (x, y)."""
    light = (picture.double() - picture.amin() - 0.1 * (picture.amax() - picture.amin())).clamp_min(0)
    down = (light.sum(1) * (torch.arange(picture.shape[0]) + 0.5)).sum()
    across = (light.sum(0) * (torch.arange(picture.shape[1]) + 0.5)).sum()
    return (torch.stack([across, down]) / light.sum()).numpy()


def jpeg(array: np.ndarray, orientation: int = 1) -> bytes:
    """A JPEG file of a picture as people see it, stored as a camera does that was held so."""
    stored = np.ascontiguousarray(TURNS.get(orientation, lambda a: a)(array.copy()))
    exif = PILImage.Exif()
    exif[ORIENTATION] = orientation
    buffer = io.BytesIO()
    PILImage.fromarray(stored).save(buffer, "jpeg", quality=95, exif=exif)
    return buffer.getvalue()


def batch_of(
    pictures: list[Any], marks: list[Any], image: Image, training: bool, share: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    data = Dataset({"x": pictures, "y": marks}, fields={"x": image, "y": Marks()}, target="y", split="none")
    data.fit()
    data.fields["x"].mean, data.fields["x"].std = [0.0], [1.0]
    store = encode(data)
    rows = torch.arange(len(pictures))
    prepare = Preparer(data.fields, data.inputs, "y", torch.device("cpu"))
    assert prepare.train_at(share)
    batch = prepare(rows, store.gather(rows), training, torch.Generator().manual_seed(0))
    return batch.input[:, 0], batch.target.values[:, 0]


@pytest.mark.parametrize("augment", GEOMETRY)
@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
def test_a_mark_stays_on_what_it_marks(fit: str, augment: str) -> None:
    sides = [(200, 300), (300, 200), (90, 90), (64, 203), (57, 73), SIZE]
    made = [drawn(h, w, seed) for seed, (h, w) in enumerate(sides * 4)]
    image = Image(SIZE, "grey", fit, background=0, augment=GEOMETRY[augment])
    pictures, marks = batch_of([p for p, _ in made], [[m] for _, m in made], image, training=True)
    for picture, mark in zip(pictures, marks.numpy(), strict=True):
        if (mark > 8).all() and (mark < np.array(SIZE[::-1]) - 8).all():  # wholly inside
            assert np.abs(centre(picture) - mark).max() < HALF


@pytest.mark.parametrize("augment", GEOMETRY)
def test_a_mark_stays_on_what_it_marks_in_smaller_pictures(augment: str) -> None:
    sides = [(200, 300), (90, 90), SIZE]
    made = [drawn(h, w, seed) for seed, (h, w) in enumerate(sides * 8)]
    image = Image(SIZE, "grey", "pad", background=0, augment=GEOMETRY[augment])
    pictures, marks = batch_of([p for p, _ in made], [[m] for _, m in made], image, training=True, share=0.75)
    assert pictures.shape[1:] == (40, 56)  # multiples of four
    for picture, mark in zip(pictures, marks.numpy(), strict=True):
        if (mark > 8).all() and (mark < np.array((56, 40)) - 8).all():  # wholly inside
            assert np.abs(centre(picture) - mark).max() < HALF


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_marks_are_on_the_picture_as_people_see_it(orientation: int, fit: str) -> None:
    """A photo that is held upright by its EXIF alone, and decoded at a fraction of its size."""
    made = [drawn(h, w, seed) for seed, (h, w) in enumerate([(701, 1001), (355, 611), (90, 77), (1203, 999)])]
    files = [jpeg(picture, orientation) for picture, _ in made]
    image = Image(SIZE, "grey", fit, background=0)
    pictures, marks = batch_of(files, [[m] for _, m in made], image, training=False)
    for picture, mark in zip(pictures, marks.numpy(), strict=True):
        assert np.abs(centre(picture) - mark).max() < HALF
    back = image.placement(files).raw_points(marks[:, None])[:, 0]
    np.testing.assert_allclose(back.numpy(), [m for _, m in made], atol=1e-2)


def test_an_input_follows_another_in_a_prediction_too() -> None:
    """What is seen beside a picture, such as where it was touched, is brought to where the model sees it."""

    class Marked(torch.nn.Module):
        def forward(self, inputs: dict[str, Any]) -> torch.Tensor:
            return inputs["y"].values[:, 0]

    picture, middle = drawn(200, 300, 0)
    data = Dataset({"x": [picture], "y": [[middle]]}, fields={"x": Image(SIZE, "grey"), "y": Marks()}, split="none")
    data.fit()
    model = Marked()
    predictor = Predictor(Supervised(model), engine.choose(model, device="cpu"), data.fields, data.inputs)
    (seen,) = predictor.outputs([predictor.encode({"x": picture, "y": [middle]})])
    np.testing.assert_allclose(seen, np.array(middle) * (SIZE[1] / 300, SIZE[0] / 200), rtol=1e-5)


@pytest.mark.parametrize("each", [True, False], ids=["sample by sample", "all at once"])
@pytest.mark.parametrize("padding", ["constant", "reflect"])
@pytest.mark.parametrize("augment", GEOMETRY)
def test_what_lies_on_the_same_grid_is_moved_as_the_picture(augment: str, padding: str, each: bool) -> None:
    """Pictures, masks and boxes, for outputs of another size than the picture, on a device as on a CPU."""
    settings = {**GEOMETRY[augment], "padding": padding, "fill": 0.25}
    size = SIZE if augment in ("nothing", "colours", "crop") else (48, 60)
    made = [drawn(*SIZE, seed) for seed in range(24)]
    pictures = torch.from_numpy(np.stack([picture for picture, _ in made]))
    augmentation = Augmentation(**settings)
    generator = torch.Generator().manual_seed(1)
    out, movement = augmentation.moving(pictures[..., None], size=size, generator=generator, each=each)
    frames = torch.tensor([[*SIZE, 1.0, 0.0, 1.0, 0.0]]).repeat(len(made), 1)
    placement = Placement.of(frames, SIZE, movement)
    if augment != "colours":
        followed = placement.picture(pictures[..., None])[..., 0]
        assert ((followed.float() - out[:, 0] * 255).abs() <= 0.5 + 1e-3).all(), "the same bytes, but for rounding"
    mask = placement.nearest((pictures > 127).to(torch.uint8) * 7, 255)
    assert set(mask.unique().tolist()) <= {0, 7, 255} and (padding == "constant" or 255 not in mask)
    radius, middles = min(SIZE) / 14, torch.tensor([middle for _, middle in made], dtype=torch.float32)
    points = placement.points(middles[:, None])[:, 0].numpy()
    boxes = placement.boxes(torch.cat([middles - radius, middles + radius], 1)[:, None])[:, 0]
    for shown, point, box in zip(mask, points, boxes, strict=True):
        if (point > 10).all() and (point < np.array(shown.shape[::-1]) - 10).all():
            disc = (shown == 7).double()
            assert np.abs(centre(disc) - point).max() < HALF
            rows, columns = disc.amax(1).nonzero()[:, 0], disc.amax(0).nonzero()[:, 0]
            edges = torch.tensor([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
            assert (box[:2] <= edges[:2] + 1).all() and (box[2:] >= edges[2:] - 1).all(), "the box holds the disc"
