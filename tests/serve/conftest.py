"""A small model trained on real digits, and servers of it on free ports of the loopback."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from tones import write_tones
from webpage import chromium, wait

import flambeau as fb
from flambeau.serve import background_server


def _png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def _train(inputs: Any, labels: Sequence[Any], epochs: int = 2, **options: Any) -> fb.Predictor:
    data = fb.Dataset.from_arrays(inputs, labels)
    learner = fb.Learner(data, model="mlp", run=False, quiet=True, epochs=epochs, **options)
    learner.fit(check=False)
    return learner.predictor


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, list[str]]:
    """1,797 real digits, uint8 (N, 8, 8), and their names."""
    from sklearn.datasets import load_digits

    loaded = load_digits()
    return (loaded.images * (255 / 16)).astype(np.uint8), [str(t) for t in loaded.target]


@pytest.fixture(scope="session")
def predictor(digits: tuple[np.ndarray, list[str]]) -> fb.Predictor:
    return _train(*digits)


@pytest.fixture(scope="session")
def rows_predictor() -> fb.Predictor:
    """From 13 measurements of a wine to its grower: a model whose input is no file."""
    from sklearn.datasets import load_wine

    wine = load_wine()
    return _train(wine.data.astype(np.float32), [f"grower {t}" for t in wine.target], epochs=20)


@pytest.fixture(scope="session")
def hearing(tmp_path_factory: pytest.TempPathFactory) -> fb.Predictor:
    """From a tone to low, middle or high."""
    folder = write_tones(tmp_path_factory.mktemp("sounds") / "tones", each=8)
    learner = fb.Learner(fb.Dataset.from_folder(folder), epochs=6, run=False, quiet=True, cache=folder.parent / "cache")
    learner.fit(check=False)
    return learner.predictor


@pytest.fixture(scope="session")
def pictures(digits: tuple[np.ndarray, list[str]]) -> list[bytes]:
    """The first 40 digits as PNG files."""
    return [_png(image) for image in digits[0][:40]]


@pytest.fixture(scope="session")
def blank() -> bytes:
    """A black 8×8 PNG."""
    return _png(np.zeros((8, 8), np.uint8))


@pytest.fixture(scope="session")
def train() -> Callable[..., fb.Predictor]:
    """`train(inputs, labels, epochs=2)` gives the Predictor of a small model."""
    return _train


@pytest.fixture(scope="session")
def url(predictor: fb.Predictor) -> Iterator[str]:
    with background_server(predictor, title="digits") as address:
        yield address


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=30) as opened:
        yield opened


class Braked(fb.Predictor):
    """A Predictor whose forward passes wait until `gate` is set, that counts what it is asked for."""

    def __init__(self, inner: fb.Predictor):
        self.__dict__.update(inner.__dict__)
        self.gate = threading.Event()
        self.batches: list[int] = []
        self.encoded = threading.Semaphore(0)

    def encode(self, value: Any) -> dict[str, np.ndarray]:
        encoded = super().encode(value)
        self.encoded.release()
        return encoded

    def outputs(self, encoded: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
        assert self.gate.wait(30)
        self.batches.append(len(encoded))
        return super().outputs(encoded)

    def wait_for_encoded(self, count: int) -> None:
        """Returns once this many inputs have been decoded."""
        for _ in range(count):
            assert self.encoded.acquire(timeout=30)


@pytest.fixture
def braked(predictor: fb.Predictor) -> Iterator[Braked]:
    made = Braked(predictor)
    yield made
    made.gate.set()


@pytest.fixture
def post() -> Callable[..., httpx.Response]:
    """`post(url, data, …)` sends one picture as the body."""

    def send(url: str, data: bytes, kind: str = "image/png", **params: Any) -> httpx.Response:
        return httpx.post(f"{url}/predict", content=data, headers={"Content-Type": kind}, params=params, timeout=30)

    return send


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """`browser(url, language="en")` opens the page in a fresh Chromium."""
    opened: list[Any] = []

    def open_page(
        url: str, language: str = "en-US", microphone: bool = False, then: Callable[[Any], None] = lambda _: None
    ) -> Any:
        switches = [f"--lang={language}"]
        if microphone:  # a made one, which beeps
            switches += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        page = chromium(tmp_path / str(len(opened)), *switches, language=language)
        opened.append(page)
        page.get(url)
        then(page)
        wait(page, lambda: page.find_element("id", "about").text.strip())
        return page

    yield open_page
    for page in opened:
        page.quit()


@pytest.fixture
def files(tmp_path: Path, pictures: list[bytes]) -> list[Path]:
    paths = [tmp_path / f"digit-{i}.png" for i in range(3)]
    for path, data in zip(paths, pictures, strict=False):
        path.write_bytes(data)
    return paths
