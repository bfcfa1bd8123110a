"""What is deployed, run: the Dockerfile's steps without Docker, and a service installed as `install.sh` does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import dockerfile
import pytest
import yaml

import flambeau as fb
from flambeau.deployment import Wishes

ROOT = Path(__file__).parents[2]
PATIENCE = 300.0
pytestmark = pytest.mark.extras


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    columns = {"size": [float(i % 10) for i in range(60)], "kind": [("low", "high")[i % 10 > 4] for i in range(60)]}
    folder = tmp_path_factory.mktemp("runs") / "sizes"
    fb.Learner(fb.Dataset(columns, target="kind"), run=folder, epochs=1, baseline=False, quiet=True).fit(check=False)
    return folder


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that another user may enter, unlike those of pytest."""
    folder = Path(mkdtemp(prefix="flambeau-image-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def predicted(port: int, value: float) -> dict[str, Any]:
    body = json.dumps({"inputs": [value]}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/predict", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        told: dict[str, Any] = json.loads(answer.read())
        return told


def check_that_it_answers(image: dockerfile.Image, port: int, run: Path) -> None:
    """As the run does, once it is ready; and that it ends when it is told to."""
    server = image.start(image.command)
    try:
        end = time.monotonic() + PATIENCE
        while image.start(image.health, stderr=subprocess.DEVNULL).wait() != 0:
            assert server.poll() is None and time.monotonic() < end
        told = predicted(port, 8.0)
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 143
    (expected,) = fb.load(run).predict([8.0])
    assert told["model"]["name"] == "sizes" and told["predictions"][0]["label"] == expected.label


def test_the_steps_of_the_dockerfile_make_a_server_that_answers_as_nobody(run: Path, place: Path) -> None:
    port = free_port()
    done = fb.deploy(run, "docker", place / "context", wishes=Wishes(port=port))
    # a process of its own: with pip imported here, nothing that is compiled finds its distutils
    asked = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
    index = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout.strip()
    image = dockerfile.build(done.out, place / "image", {"TORCH_INDEX": index})
    assert image.user == 10001 and not (image.root / "build").exists()
    before = {path for path in image.root.rglob("*") if not path.is_relative_to(image.root / "var")}
    check_that_it_answers(image, port, run)
    after = {path for path in image.root.rglob("*") if not path.is_relative_to(image.root / "var")}
    assert after == before, "the root may be read-only: nothing is written but in its own folder"
    if os.getuid() == 0:
        assert all(path.stat().st_uid == 0 for path in (image.root / "srv").rglob("*"))
    torch = next((image.root / "opt").rglob("site-packages/torch"))
    assert not list(torch.parent.glob("nvidia*")), "no CUDA"


def test_an_image_without_torch_answers_too(run: Path, place: Path) -> None:
    port = free_port()
    exported = fb.export(run, format="onnx", out=place / "onnx")
    done = fb.deploy(exported, "docker", place / "small", wishes=Wishes("sizes", port=port, without_torch=True))
    image = dockerfile.build(done.out, place / "small-image", {})
    assert not list((image.root / "opt").rglob("site-packages/torch"))
    check_that_it_answers(image, port, run)


MODELS = """
import importlib, json, sys, types
# its package without what it imports for serving: the models need nothing of that
package = types.ModuleType("kserve")
package.__path__ = [f"{sys.argv[1]}/kserve"]
sys.modules["kserve"] = package
names = {"inference_service": "InferenceService", "inference_service_spec": "InferenceServiceSpec",
         "predictor_spec": "PredictorSpec"}
told = {}
for file, name in names.items():
    model = getattr(importlib.import_module(f"kserve.models.v1beta1_{file}"), f"V1beta1{name}")
    told[name] = {key: model.openapi_types[attribute] for attribute, key in model.attribute_map.items()}
print(json.dumps(told))
"""


def test_an_inference_service_has_the_keys_of_kserves_own_models(run: Path, place: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "-d",
        place / "kserve",
        "kserve==0.21.0",
    ]
    subprocess.run(command, check=True)
    (package,) = (place / "kserve").glob("*.whl")
    with zipfile.ZipFile(package) as archive:
        archive.extractall(place / "kserve")
    told = subprocess.run([sys.executable, "-c", MODELS, place / "kserve"], capture_output=True, check=True).stdout
    models = json.loads(told)
    done = fb.deploy(run, "kserve", place / "service")
    document = yaml.safe_load((done.out / "kserve.yaml").read_text())
    assert document.keys() <= models["InferenceService"].keys()
    assert document["spec"].keys() <= models["InferenceServiceSpec"].keys()
    plain = {"int": int, "str": str, "bool": bool}
    for key, value in document["spec"]["predictor"].items():
        kind = models["PredictorSpec"][key]
        assert isinstance(value, list if kind.startswith("list[") else plain.get(kind, dict)), key
