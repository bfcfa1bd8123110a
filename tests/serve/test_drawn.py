"""Answers that lie in a picture: boxes and masks are drawn on the page, pictures come back as files."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from webpage import answered, choose, complaints, wait

import flambeau as fb
from flambeau.fields import Boxes, Field, Mask, Picture
from flambeau.fields import Image as FieldImage
from flambeau.serve import Limits, background_server

SIDE = 32
OVER = "return getComputedStyle(document.querySelector('.card .over'))[arguments[0]]"
INK = """
const canvas = document.querySelector(".card canvas");
const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
const context = copy.getContext("2d", { willReadFrequently: true });
context.drawImage(canvas, 0, 0);
const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
let inked = 0;
for (let i = 3; i < data.length; i += 4) inked += data[i] > 0;
return [canvas.width, canvas.height, inked];
"""
ALPHAS = """
    const mask = document.querySelector("img.over"), canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [mask.naturalWidth, mask.naturalHeight];
    const context = canvas.getContext("2d");
    context.drawImage(mask, 0, 0);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    return [...new Set(pixels.filter((_, i) => i % 4 === 3))];
"""
SLIDE = """
const input = document.querySelector(".card .slider input");
input.value = arguments[0];
input.dispatchEvent(new Event("input"));
"""


def scene(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A red square on grey noise, and which pixels are of it."""
    pixels, (x, y) = generator.normal(110, 20, (SIDE, SIDE, 3)), generator.integers(2, SIDE - 14, 2)
    inside = np.zeros((SIDE, SIDE), np.uint8)
    inside[y : y + 12, x : x + 12] = 1
    pixels[inside == 1] = (220, 40, 40)
    return pixels.clip(0, 255).astype(np.uint8), inside


def box_of(inside: np.ndarray) -> dict[str, Any]:
    y, x = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    corners = map(int, (x[0], y[0], x[-1] + 1, y[-1] + 1))
    return {**dict(zip(("x1", "y1", "x2", "y2"), corners, strict=True)), "label": "square"}


@pytest.fixture(scope="module")
def scenes() -> list[tuple[np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(0)
    return [scene(generator) for _ in range(48)]


def trained(scenes: list[Any], target: Field, values: list[Any], epochs: int) -> fb.Predictor:
    columns = {"photo": [pixels for pixels, _ in scenes], target.kind: values}
    data = fb.Dataset(columns, target=target.kind, fields={"photo": FieldImage(), target.kind: target})
    learner = fb.Learner(data, run=False, quiet=True, epochs=epochs, batch_size=8, learning_rate=0.005)
    learner.fit(check=False)
    return learner.predictor


@pytest.fixture(scope="module")
def boxes(scenes: list[Any]) -> fb.Predictor:
    return trained(scenes, Boxes(), [[box_of(inside)] for _, inside in scenes], 16)


@pytest.fixture(scope="module")
def masks(scenes: list[Any]) -> fb.Predictor:
    return trained(scenes, Mask(["ground", "square"]), [inside for _, inside in scenes], 6)


@pytest.fixture
def photo(scenes: list[Any], tmp_path: Path) -> Path:
    """Twice as large as what the model sees."""
    Image.fromarray(scenes[0][0]).resize((2 * SIDE, 2 * SIDE)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.mark.browser
def test_boxes_are_drawn_and_counted_above_a_threshold(
    browser: Callable[..., Any], boxes: fb.Predictor, photo: Path
) -> None:
    with background_server(boxes) as url:
        page = browser(url)
        choose(page, photo)
        (card,) = answered(page)
        wide, high, inked = wait(page, lambda: page.execute_script(INK))
        assert wide == high == 20 * SIDE and inked > 0, "as many pixels as names can be read in"
        said = boxes.predict(photo).label
        assert card.find_element("class name", "label").text == f"{len(said)} thing{'s' * (len(said) != 1)}: " + (
            f"{len(said)} square"
        )
        page.execute_script(SLIDE, 1)
        assert card.find_element("class name", "label").text == "0 things" and page.execute_script(INK)[2] == 0
        page.execute_script(SLIDE, 0.05)
        few = httpx.post(f"{url}/predict?reject_below=0.05", files={"file": photo.read_bytes()}, timeout=30).json()
        (answer,) = few["predictions"]
        assert card.find_element("class name", "label").text.startswith(f"{len(answer['label'])} thing")
        assert len(answer["label"]) >= len(said) and all(box["confidence"] > 0.05 for box in answer["label"])
        assert complaints(page) == []


@pytest.mark.browser
def test_a_mask_lies_over_its_picture_with_the_names_of_its_colours(
    browser: Callable[..., Any], masks: fb.Predictor, photo: Path
) -> None:
    with background_server(masks) as url:
        page = browser(url, "zh-CN")
        choose(page, photo)
        (card,) = answered(page)
        wait(page, lambda: len(card.find_elements("css selector", ".legend .class")) == 2)
        names = [one.get_attribute("textContent") for one in card.find_elements("css selector", ".legend .class")]
        assert set(names) == {"ground", "square"}
        assert page.execute_script(OVER, "opacity") == "0.5"
        assert wait(page, lambda: sorted(page.execute_script(ALPHAS)) == [0, 255])  # the ground hides nothing
        page.execute_script(SLIDE, 0.25)
        assert page.execute_script(OVER, "opacity") == "0.25" and "叠加强度" in card.text
        assert complaints(page) == []


def test_a_mask_is_a_file_of_class_numbers_and_limits_hold_before_decoding(masks: fb.Predictor, photo: Path) -> None:
    large = io.BytesIO()
    Image.new("L", (1000, 900)).save(large, "PNG")
    with background_server(masks, limits=Limits(max_decoding=3_000_000)) as url, httpx.Client(timeout=30) as client:
        sent = {"file": ("photo.png", photo.read_bytes())}
        (answer,) = client.post(f"{url}/predict", files=sent).json()["predictions"]
        alone = client.post(f"{url}/predict", files=sent, headers={"Accept": "image/png"})
        assert alone.headers["content-type"] == "image/png" and alone.content == base64.b64decode(answer["label"])
        with Image.open(io.BytesIO(alone.content)) as mask:
            assert mask.size == (2 * SIDE, 2 * SIDE) and mask.mode == "P"
            assert (np.asarray(mask) == np.asarray(masks.predict(photo).label)).all()
        both = [("file", ("a.png", photo.read_bytes()))] * 2
        assert client.post(f"{url}/predict", files=both, headers={"Accept": "image/png"}).status_code == 406
        refused = client.post(f"{url}/predict", files={"file": large.getvalue()}).json()["error"]
        assert refused["status"] == 413 and "900" in refused["message"] and refused["code"] == "too-many-pixels"
        described = client.get(f"{url}/model").json()["output"]
        assert described["kind"] == "mask" and described["colours"].keys() == {"ground", "square"}


@pytest.mark.browser
def test_a_picture_comes_back_larger_and_can_be_kept(
    browser: Callable[..., Any], scenes: list[Any], photo: Path
) -> None:
    large = [np.asarray(Image.fromarray(pixels).resize((2 * SIDE, 2 * SIDE))) for pixels, _ in scenes]
    with background_server(trained(scenes, Picture(scale=2), large, 1)) as url:
        page = browser(url)
        choose(page, photo)
        (card,) = answered(page)
        made = wait(page, lambda: page.execute_script("return document.querySelector('.card .over').naturalWidth"))
        assert made == 4 * SIDE and card.find_element("link text", "Save the picture").get_attribute("download")
        page.execute_script(SLIDE, 0.25)
        assert page.execute_script(OVER, "clip-path") == "inset(0px 0px 0px 75%)" and complaints(page) == []
