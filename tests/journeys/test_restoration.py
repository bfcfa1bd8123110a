"""A folder of sharp pictures alone: trained on what is made of them, and restored at their own size."""

from __future__ import annotations

import base64
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from forkserver import Forkserver
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_sample_images

import flambeau as fb
from flambeau.data.sources.sharp import from_sharp, tiled
from flambeau.fields.picture.degradation import Degradation, jpeg
from flambeau.objectives.tasks.picture import SIDE
from flambeau.predictor.tiling import TilingPredictor, spans

SMALL = ("--set", "model.options.width=8", "--set", "model.options.blocks=1", "--epochs", 2, "--no-check")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve parts of two real photos, 96×72, and a larger one beside them."""
    folder = tmp_path_factory.mktemp("restoring") / "photos"
    folder.mkdir()
    for i in range(12):
        photo = load_sample_images().images[i % 2]
        Image.fromarray(photo[30 * i : 30 * i + 72, 40 * i : 40 * i + 96]).save(folder / f"{i}.png")
    Image.fromarray(load_sample_images().images[0][:280, :300]).save(folder.parent / "large.png")
    return folder


@pytest.mark.parametrize(
    ("task", "metric", "scale"),
    [("super-resolution scale=3 blur=1 noise=0.02 jpeg=60", "psnr", 3), ("colourise", "ssim", 1)],
)
def test_it_trains_resumes_measures_and_restores(
    task: str, metric: str, scale: int, flambeau: Forkserver, photos: Path, tmp_path: Path
) -> None:
    trained = flambeau("train", photos, "--task", task, *SMALL, "--metric", metric, "--run", "run", cwd=tmp_path)
    assert trained.status == 0, trained.err
    kept = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert kept["metric"] == metric and {"psnr", "ssim"} <= kept["metrics"].keys()
    rivals = {"bicubic"} if scale > 1 else {"the input as it is"}
    assert all(name in trained.err for name in rivals)
    assert "class=curtain" in (tmp_path / "run" / "report.html").read_text().replace('"', "")
    again = flambeau("train", photos, "--task", task, *SMALL, "--metric", metric, "--run", "again", cwd=tmp_path)
    assert again.status == 0, again.err
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("run", "again"))
    assert all(tensor.equal(second[key]) for key, tensor in first.items()), "what is drawn hangs on the seed alone"
    measured = flambeau("evaluate", "run", photos, "--json", cwd=tmp_path)
    assert measured.status == 0 and measured.json["metrics"]["psnr"] > 15, measured.err
    large = photos.parent / "large.png"
    told = flambeau("predict", "run", large, "--out", "out", "--json", cwd=tmp_path)
    assert told.status == 0, told.err
    assert Image.open(tmp_path / told.json["predictions"][0]["label"]).size == (300 * scale, 280 * scale)
    said = flambeau("predict", "run", large, "--json", cwd=tmp_path).json["predictions"][0]["label"]
    assert Image.open(io.BytesIO(base64.b64decode(said))).size == (300 * scale, 280 * scale)


@pytest.mark.parametrize(
    ("model", "options"), [("edsr", {"width": 8, "blocks": 2}), ("rrdb", {"width": 8, "growth": 4})]
)
def test_tiles_are_as_the_whole(model: str, options: dict[str, int], photos: Path, tmp_path: Path) -> None:
    data = from_sharp(photos, task="super-resolution")
    learner = fb.Learner(data, model=model, options=options, epochs=1, run=tmp_path / "run", device="cpu")
    learner.fit(check=False)
    predictor = fb.load(tmp_path / "run", device="cpu")
    assert isinstance(predictor, TilingPredictor)
    encoded = predictor.encode(photos.parent / "large.png")
    (tiles,) = predictor.outputs([encoded])
    batch = predictor.prepare(torch.arange(1), {"image": torch.from_numpy(encoded["image"])[None]})
    with torch.inference_mode():
        whole = predictor.objective.model(batch.input)
    np.testing.assert_allclose(tiles, whole[0].numpy(), atol=1e-4)
    assert len(spans(300, SIDE)) == 2


def test_tiles_of_a_photo_cover_it_and_stay_on_one_side(photos: Path) -> None:
    seen = np.zeros((101, 75), bool)
    for top, left, height, width in tiled((101, 75), 32, 2):
        assert top % 2 == left % 2 == height % 2 == width % 2 == 0
        seen[top : top + height, left : left + width] = True
    assert seen[:100, :74].all()
    data = from_sharp(photos, task="denoise")
    sides: dict[str, set[int]] = {}
    for photo, split in zip(data.columns["photo"], data.split.tolist(), strict=True):
        sides.setdefault(photo, set()).add(split)
    assert all(len(side) == 1 for side in sides.values())
    first, again = data.columns["image"][0], from_sharp(photos, task="denoise").columns["image"][0]
    assert np.array_equal(first, again) and not np.array_equal(first, data.columns["sharp"][0])


def test_of_one_photo_all_tiles_train(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    shutil.copy(photos.parent / "large.png", tmp_path / "one")
    data = from_sharp(tmp_path / "one", task="denoise")
    assert len(data) > 1 and len(data.rows("train")) == len(data)


def test_jpeg_of_greys_is_what_a_jpeg_is() -> None:
    photo = load_sample_images().images[0][:160, :200, 1].copy()
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", quality=30)
    truth = np.asarray(Image.open(buffer)).astype(float)
    planes = torch.from_numpy(photo)[None, None].float() / 255
    ours = jpeg(planes, torch.full((1, 1, 1, 1), 30.0))[0, 0].numpy() * 255
    # the decoder rounds; a coefficient in the middle between two steps may be taken for either
    assert np.quantile(np.abs(ours - truth), 0.97) < 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--task", "sharpen"), "no task on sharp pictures is called 'sharpen'"),
        (("--task", "denoise noise=3"), "such pictures cannot be made"),
        (("--task", "denoise power=3"), "denoise has no option 'power'"),
        (("--task", "denoise", "--target", "x"), "target is for tables"),
    ],
)
def test_what_does_not_fit_is_one_line(
    arguments: tuple[str, ...], message: str, flambeau: Forkserver, photos: Path
) -> None:
    done = flambeau("train", photos, *arguments, "--run", "refused", cwd=photos.parent)
    assert done.status == 2 and message in done.told, done.told
    nothing = flambeau("train", "nowhere", "--task", "denoise", cwd=photos.parent)
    assert nothing.status == 2 and "there is no such folder" in nothing.told


def test_esrgan_begins_where_another_run_ended(flambeau: Forkserver, photos: Path, tmp_path: Path) -> None:
    command = ("train", photos, "--task", "super-resolution", "--model", "edsr", *SMALL)
    assert flambeau(*command, "--run", "psnr", cwd=tmp_path).status == 0
    begun = ("--pretrained", "psnr/model.safetensors", "--objective", "esrgan", "--set", "objective.width=4")
    trained = flambeau(*command, *begun, "--run", "sharp", cwd=tmp_path)
    assert trained.status == 0, trained.err
    said = " ".join((tmp_path / "sharp" / "recipe.yaml").read_text().split())
    assert "by random filters, for no weights are given" in said
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("psnr", "sharp"))
    own = {key.removeprefix("generator."): value for key, value in second.items() if key.startswith("generator.")}
    assert own.keys() == first.keys() and any(key.startswith("discriminator.") for key in second)
    assert all(0 < (own[key] - value).abs().mean() < 0.05 for key, value in first.items() if key.endswith("weight"))
    told = flambeau("predict", "sharp", photos / "0.png", "--out", "out", "--json", cwd=tmp_path)
    assert told.status == 0 and Image.open(tmp_path / told.json["predictions"][0]["label"]).size == (192, 144)


def test_each_picture_draws_its_own_strength() -> None:
    sharp = torch.full((4, 3, 16, 16), 0.5)
    made = Degradation.of("denoise noise=0.3")(sharp, torch.Generator().manual_seed(0))
    spread = made.flatten(1).std(1)
    assert made.shape == sharp.shape and len({round(float(s), 3) for s in spread}) == 4
