"""`python -m flambeau_onnx serve EXPORT`: the same answers over HTTP, without torch, and within bounds."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import flambeau as fb
from flambeau.core.errors import UsageError
from flambeau.deployment import Wishes

ROOT = Path(__file__).parents[2]
ALONE = """import sys; sys.modules["torch"] = sys.modules["flambeau"] = None
from flambeau_onnx.__main__ import main; sys.exit(main())"""
KEY = "k" * 32
JSON = {"Content-Type": "application/json"}


class Served:
    """A server in a process that has no torch."""

    def __init__(self, export: Path, *words: str, **environment: str):
        command = [sys.executable, "-c", ALONE, "serve", str(export), "--port", "0", *words]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        env={**os.environ, "PYTHONPATH": str(ROOT), **environment})  # fmt: skip
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        self.port = int(self.line.rsplit(":", 1)[1])

    def ask(self, body: Any, path: str = "/v1/predict", method: str = "POST", **headers: str) -> tuple[int, Any]:
        """(status, what the answer says)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(method, path, data, {**JSON, **{k.replace("_", "-"): v for k, v in headers.items()}})
        answer = connection.getresponse()
        told = json.loads(answer.read())
        connection.close()
        return answer.status, told

    def end(self) -> tuple[int, str]:
        """Its exit status, and what it wrote to stderr."""
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Exports of a model of digits and of one of rows."""
    folder, digits = tmp_path_factory.mktemp("served"), load_digits()
    pictures = (digits.images[:300] * (255 / 16)).astype(np.uint8)
    rows = {"size": [float(i % 10) for i in range(60)], "kind": [("low", "high")[i % 10 > 4] for i in range(60)]}
    sets = {"digits": fb.Dataset.from_arrays(pictures, [str(t) for t in digits.target[:300]]),
            "rows": fb.Dataset(rows, target="kind")}  # fmt: skip
    made = {}
    for name, data in sets.items():
        fb.Learner(data, model="mlp", run=folder / name, epochs=1, baseline=False, quiet=True).fit(check=False)
        made[name] = fb.export(folder / name, format="onnx", out=folder / f"{name}-onnx").path
    return made


@pytest.fixture(scope="module")
def digits(exported: dict[str, Path]) -> Iterator[Served]:
    made = Served(exported["digits"], "--name", "digits")
    yield made
    status, said = made.end()
    assert (status, said) == (143, "")


@pytest.fixture(scope="module")
def picture() -> bytes:
    stream = io.BytesIO()
    Image.fromarray((load_digits().images[3] * (255 / 16)).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def test_pictures_are_answered_as_the_export_does(digits: Served, exported: dict[str, Path], picture: bytes) -> None:
    (expected,) = fb.load(exported["digits"]).predict([picture])
    as_text, (column,) = base64.b64encode(picture).decode(), fb.load(exported["digits"]).inputs
    status, by_file = digits.ask(picture, Content_Type="image/png")
    assert status == 200 and by_file["model"] == {"name": "digits", "version": fb.Run(exported["digits"]).version}
    (one,) = by_file["predictions"]
    assert one["label"] == expected.label and one["confidence"] == pytest.approx(expected.confidence, rel=1e-4)
    assert len(one["probabilities"]) == 5 and next(iter(one["probabilities"])) == expected.label
    status, several = digits.ask({"inputs": [as_text, {column: as_text}, "bm8=", 7]}, "/v1/predict?top=1")
    first, second, *others = several["predictions"]
    assert status == 200 and first == second and len(first["probabilities"]) == 1
    assert [entry["code"] for entry in others] == ["unreadable"] * 2


def test_rows_are_answered_and_keys_asked_for(exported: dict[str, Path]) -> None:
    served = Served(exported["rows"], FLAMBEAU_API_KEYS=f"{'x' * 32} {KEY}")
    body = {"inputs": [1.0, {"size": 8.0}, "wide"]}
    for status, headers in ((401, {}), (401, {"X_API_Key": KEY[1:]}), (401, {"Authorization": f"Basic {KEY}"})):
        assert served.ask(body, **headers)[0] == status
    status, told = served.ask(body, Authorization=f"Bearer {KEY}")
    expected = [one.label for one in fb.load(exported["rows"]).predict([1.0, 8.0])]
    assert status == 200 and [one.get("label") for one in told["predictions"]] == [*expected, None]
    assert "'wide' is not a number" in told["predictions"][2]["error"]
    assert served.ask(None, "/health/ready", "GET") == (200, {"status": "ready"})
    assert served.end() == (143, "")


def test_what_cannot_be_answered_is_told_and_no_file_of_the_server_is_read(digits: Served, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"secret")
    stream = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(stream, "PNG")
    for body, status, code, told in (
        ({"inputs": [str(tmp_path / "secret.png")]}, 422, "unreadable", "is not base64"),
        ({"inputs": [[[1]]]}, 422, "unreadable", "is no file"),
        ({"inputs": [{"other": "bm8="}]}, 422, "unreadable", "expected an object of"),
        ({"inputs": [base64.b64encode(b"secret").decode()]}, 422, "unreadable", "not a picture"),
        ({"inputs": [base64.b64encode(stream.getvalue()).decode()]}, 422, "unreadable", "10000×10000 pixels"),
        ({"inputs": []}, 422, "no-inputs", "at least one"), ({"inputs": ["a"] * 33}, 413, "too-many", "at most 32"),
        ([], 422, "no-inputs", "expected"), (b"{", 400, "bad-json", "not JSON"), (b"[" * 10_000, 400, "bad-json", ""),
        (b"," * 1_000_001, 413, "too-many", "values"), (bytes((16 << 20) + 1), 413, "too-large", "16,777,216"),
    ):  # fmt: skip
        assert (answer := digits.ask(body))[0] == status, (str(body)[:60], answer)
        assert answer[1]["error"]["code"] == code and told in answer[1]["error"]["message"], answer
    assert digits.ask(b"", Content_Type="text/plain")[0] == 415
    assert digits.ask({"inputs": ["a"]}, "/v1/predict?top=0")[0] == 422
    assert digits.ask({}, "/elsewhere")[0] == 404 and digits.ask(None, "/v1/predict", "GET")[0] == 405
    assert digits.ask(None, "/health/live", "GET")[0] == 200 and digits.ask(None, "/", "PUT")[0] == 501


def test_a_slow_client_is_cut_and_holds_nobody_up(exported: dict[str, Path]) -> None:
    served = Served(exported["rows"], "--timeout", "1")
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as slow:
        slow.sendall(b"POST /v1/predict HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{")
        assert served.ask({"inputs": [1.0]})[0] in (200, 504)
        assert slow.recv(100) == b"", "its time is over"
    assert served.end() == (143, "")


def test_an_image_holds_what_it_needs_and_no_torch(exported: dict[str, Path], tmp_path: Path) -> None:
    done = fb.deploy(exported["digits"], "docker", tmp_path / "out", wishes=Wishes("digits", without_torch=True))
    steps, pins = ((done.out / name).read_text() for name in ("Dockerfile", "constraints.txt"))
    assert "torch" not in (steps + pins).replace("TORCH", "") and "simplejpeg==" in steps and "onnxruntime==" in pins
    assert 'CMD ["python", "-m", "flambeau_onnx", "serve", "/srv/model", "--name", "digits"' in steps
    assert {path.name for path in (done.out / "model").iterdir()} <= {
        "predict.onnx", "export.json", "fields.json", "decision.json"
    }  # fmt: skip
    for target, run, told in (("compose", exported["digits"], "--target docker"),
                              ("docker", exported["digits"].parent / "rows", "format onnx")):  # fmt: skip
        with pytest.raises(UsageError, match=told):
            fb.deploy(run, target, tmp_path / "other", wishes=Wishes(without_torch=True))
