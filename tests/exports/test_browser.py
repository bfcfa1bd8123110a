"""`deploy/browser`: in a real browser, ONNX Runtime Web gives the numbers that Python does."""

from __future__ import annotations

import functools
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from outside import WEB, unpacked
from PIL import Image as PILImage
from sklearn.datasets import load_sample_image
from webpage import choose, chromium, complaints, wait

import flambeau as fb
from flambeau.fields.decoding import decode

PAGE = Path(__file__).parents[2] / "deploy" / "browser"
NEAR = 1e-4
BARS = """const rows = [...document.querySelectorAll("#answer li")];
return Object.fromEntries(rows.map(row => [row.dataset.label, Number(row.dataset.chance)]))"""
pytestmark = [pytest.mark.browser, pytest.mark.network]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[Path], Any]]:
    """`opened(export)`: the page with that export beside it."""
    site = tmp_path / "site"
    shutil.copytree(PAGE, site)
    unpacked(WEB, ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"), site / "ort")
    page = chromium(tmp_path / "profile")
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def show(export: Path) -> Any:
        shutil.copytree(export, site / "export")
        page.get(f"http://127.0.0.1:{server.server_port}/")
        wait(page, lambda: "Loading" not in page.find_element("id", "state").text)
        return page

    yield show
    page.quit()
    server.shutdown()
    server.server_close()


def says(page: Any, expected: Mapping[str, float]) -> None:
    """Waits until the bars say so."""
    wait(page, lambda: page.execute_script(BARS) == pytest.approx(expected, abs=NEAR))


def test_a_picture_gets_the_numbers_of_python(photos: Path, opened: Callable[[Path], Any], tmp_path: Path) -> None:
    export, run = fb.export(photos, format="onnx", out=tmp_path / "photos").path, fb.load(photos)
    page = opened(export)
    own = sorted((photos.parent / "data").rglob("*.png"))[7]
    choose(page, own)
    says(page, run.predict(own).probabilities)

    # of another size the graph itself makes it what the model takes
    large = tmp_path / "large.png"
    PILImage.fromarray(load_sample_image("china.jpg")).crop((40, 60, 340, 260)).save(large)
    graph = onnxruntime.InferenceSession(export / "predict.onnx")
    expected = graph.run(None, {"image": decode(large, 3, None)[None]})[0][0]
    choose(page, large)
    says(page, dict(zip(run.classes, expected.tolist(), strict=True)))
    assert complaints(page) == []

    broken = tmp_path / "broken.png"
    broken.write_bytes(large.read_bytes()[:100])
    choose(page, broken)
    wait(page, lambda: "cannot be read" in page.find_element("id", "state").text)


def test_a_text_gets_the_numbers_of_python(topics: Path, opened: Callable[[Path], Any], tmp_path: Path) -> None:
    page = opened(fb.export(topics, format="onnx", out=tmp_path / "topics").path)
    run = fb.load(topics)
    area = page.find_element("id", "text")
    for value in ("Don't stop: the Debugger's “breakpoint”, l'été 7½ हिन्दी", "print(x)  # a string"):
        area.clear()
        area.send_keys(value)
        says(page, run.predict(value).probabilities)
    assert complaints(page) == []


def test_what_it_cannot_read_is_told(topics: Path, opened: Callable[[Path], Any]) -> None:
    page = opened(fb.export(topics, format="program").path)
    assert "take --format onnx" in page.find_element("id", "state").text
