"""Triton's own clients, unchanged, against a real server over HTTP and gRPC."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

import flambeau as fb
from flambeau.serve import Doors, Limits, background_server

KEY = "k" * 20
WINES = 5


@pytest.fixture(scope="module")
def table() -> fb.Predictor:
    """From a number, a category and a text's length in words to a number: columns of several kinds."""
    generator = np.random.default_rng(0)
    size, kind = generator.normal(50, 10, 200), generator.choice(["flat", "house"], 200)
    price = size * np.where(kind == "flat", 2.0, 3.0)
    columns = {"size": size.tolist(), "kind": kind.tolist(), "price": price.tolist()}
    learner = fb.Learner(fb.Dataset(columns, target="price"), run=False, quiet=True, epochs=2, model="linear")
    learner.fit(check=False)
    return learner.predictor


@pytest.fixture(scope="module")
def places(
    predictor: fb.Predictor, rows_predictor: fb.Predictor, hearing: fb.Predictor, table: fb.Predictor
) -> Iterator[dict[str, str]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    models = {"digits": predictor, "wines": rows_predictor, "tones": hearing, "homes": table}
    doors = Doors(api_keys=[KEY], grpc_port=port)
    with background_server(models, doors=doors, limits=Limits(max_body=2**20)) as url:
        yield {"http": url.removeprefix("http://"), "grpc": f"127.0.0.1:{port}"}


class Triton:
    """Triton's client of either protocol, with a key."""

    def __init__(self, protocol: str, places: dict[str, str]):
        self.module: Any = getattr(tritonclient, protocol)
        self.client = self.module.InferenceServerClient(places[protocol])
        self.headers = {"x-api-key": KEY}
        self.json = {"headers": self.headers} | ({"as_json": True} if protocol == "grpc" else {})

    def tensor(self, name: str, array: np.ndarray, datatype: str, **options: Any) -> Any:
        made = self.module.InferInput(name, array.shape, datatype)
        made.set_data_from_numpy(array, **options)
        return made

    def ask(self, model: str, inputs: list[Any], **options: Any) -> Any:
        return self.client.infer(model, inputs, headers=self.headers, **options)


@pytest.fixture(params=["http", "grpc"])
def triton(request: pytest.FixtureRequest, places: dict[str, str]) -> Iterator[Triton]:
    made = Triton(request.param, places)
    yield made
    made.client.close()


def elements(values: list[Any]) -> np.ndarray:
    array = np.empty((len(values), 1), object)
    array[:, 0] = values
    return array


def test_pictures_come_as_files_or_as_pixels(
    triton: Triton, predictor: fb.Predictor, pictures: list[bytes], digits: tuple[np.ndarray, list[str]]
) -> None:
    expected = [predictor.predict(picture) for picture in pictures[:3]]
    (name,) = predictor.inputs
    as_files = triton.tensor(name, elements(pictures[:3]), "BYTES")
    as_pixels = triton.tensor(name, digits[0][:3, :, :, None], "UINT8")
    for tensor in (as_files, as_pixels):
        answer = triton.ask("digits", [tensor], request_id="no 7", model_version="1")
        assert [one.decode() for one in answer.as_numpy("label").ravel()] == [one.label for one in expected]
        chances = answer.as_numpy("probabilities")
        assert chances.dtype == np.float32 and chances.shape == (3, 10)
        for line, one in zip(chances, expected, strict=True):
            # told in six decimals
            assert line == pytest.approx([one.probabilities[c] for c in predictor.classes], abs=1e-6)
        assert answer.as_numpy("confidence")[:, 0] == pytest.approx([one.confidence for one in expected], abs=1e-6)
        head = answer.get_response() if triton.module is tritonclient.http else answer.get_response(as_json=True)
        assert (head["model_name"], head["model_version"], head["id"]) == ("digits", "1", "no 7")


def test_outputs_are_chosen_and_told_as_classes(triton: Triton, predictor: fb.Predictor, pictures: list[bytes]) -> None:
    (name,) = predictor.inputs
    wanted = triton.module.InferRequestedOutput("probabilities", class_count=2)
    answer = triton.ask("digits", [triton.tensor(name, elements(pictures[:1]), "BYTES")], outputs=[wanted])
    assert answer.as_numpy("label") is None
    first, second = predictor.predict(pictures[0]).top(2)
    told = [one.decode().split(":") for one in answer.as_numpy("probabilities")[0]]
    assert [(int(index), label) for _, index, label in told] == [(int(first), first), (int(second), second)]


def test_numbers_sounds_and_columns(
    triton: Triton, rows_predictor: fb.Predictor, hearing: fb.Predictor, table: fb.Predictor
) -> None:
    (wine,) = rows_predictor.inputs
    rows = np.random.default_rng(0).normal(10, 1, (WINES, 13)).astype(np.float32)
    answer = triton.ask("wines", [triton.tensor(wine, rows, "FP32")])
    assert [one.decode() for one in answer.as_numpy("label")[:, 0]] == [
        one.label for one in rows_predictor.predict(list(rows))
    ]
    (sound,) = hearing.inputs
    rate = hearing.fields[sound].rate
    wave = np.sin(2 * np.pi * 200 * np.arange(rate // 2) / rate).astype(np.float32)[None] * 0.5
    answer = triton.ask("tones", [triton.tensor(sound, wave, "FP32")])
    assert answer.as_numpy("label")[0, 0].decode() == hearing.predict(wave[0]).label
    inputs = [
        triton.tensor("kind", elements([b"flat", b"house"]), "BYTES"),
        triton.tensor("size", np.array([[40.0], [np.nan]]), "FP64"),
    ]
    answer = triton.ask("homes", inputs)
    by_hand = table.predict([{"size": 40.0, "kind": "flat"}, {"size": None, "kind": "house"}])
    assert answer.as_numpy("label")[:, 0] == pytest.approx([one.label for one in by_hand])
    assert json.loads(answer.as_numpy("details")[0, 0]) == {}


def test_the_server_and_its_models_are_told(triton: Triton, predictor: fb.Predictor) -> None:
    client = triton.client
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("digits", headers=triton.headers)
    assert client.is_model_ready("digits", "1", headers=triton.headers)
    server = client.get_server_metadata(**triton.json)
    assert server["name"] == "flambeau" and "binary_tensor_data" in server["extensions"]
    told = client.get_model_metadata("digits", **triton.json)
    assert [(port["name"], port["datatype"]) for port in told["inputs"]] == [(predictor.inputs[0], "BYTES")]
    assert [(port["name"], [int(size) for size in port["shape"]]) for port in told["outputs"]] == [
        ("label", [-1, 1]), ("confidence", [-1, 1]), ("probabilities", [-1, 10]), ("details", [-1, 1]),
    ]  # fmt: skip
    homes = client.get_model_metadata("homes", "1", **triton.json)
    assert {port["name"]: port["datatype"] for port in homes["inputs"]} == {"size": "FP64", "kind": "BYTES"}
    assert homes["outputs"][0]["datatype"] == "FP64"


def test_what_does_not_fit_is_told(triton: Triton, predictor: fb.Predictor, pictures: list[bytes]) -> None:
    (name,) = predictor.inputs
    good = triton.tensor(name, elements(pictures[:1]), "BYTES")
    for model, inputs, options, says in [
        ("none", [good], {}, "there is no model 'none'"),
        ("digits", [good], {"model_version": "9"}, "no version '9'"),
        ("digits", [triton.tensor("other", elements([b""]), "BYTES")], {}, f"no input '{name}'"),
        ("digits", [triton.tensor(name, elements([pictures[0], b"words"]), "BYTES")], {}, "row 1 of the batch"),
        ("digits", [triton.tensor(name, elements([b""] * 33), "BYTES")], {}, "at most 32"),
        ("digits", [good], {"outputs": [triton.module.InferRequestedOutput("other")]}, "no output 'other'"),
    ]:
        with pytest.raises(InferenceServerException, match=says):
            triton.ask(model, inputs, **options)
    with pytest.raises(InferenceServerException, match="a key is needed"):
        triton.client.infer("digits", [good])
    assert triton.client.is_server_live(headers={"x-api-key": "wrong"})


def test_json_alone_and_what_is_no_tensor(places: dict[str, str], rows_predictor: fb.Predictor) -> None:
    (name,) = rows_predictor.inputs
    url = f"http://{places['http']}/v2/models/wines/infer"
    headers = {"X-API-Key": KEY}
    good: dict[str, Any] = {"name": name, "shape": [1, 13], "datatype": "FP64", "data": [[10.0] * 13]}
    answer = httpx.post(url, json={"id": "7", "inputs": [good]}, headers=headers).json()
    assert answer["id"] == "7" and answer["outputs"][0] | {"data": []} == {
        "name": "label", "datatype": "BYTES", "shape": [1, 1], "data": [],
    }  # fmt: skip
    for change, says in [
        ({"data": [1.0]}, "1 values; expected 13"), ({"data": ["a"] * 13}, "no FP64"), ({"data": None}, "no data"),
        ({"datatype": "FP7"}, "expected one of BOOL"), ({"shape": []}, "shape []"),
        ({"shape": [-1, 13]}, "at least one"),
        ({"shape": [10**9, 13]}, "expected 13000000000"),
        ({"data": None, "parameters": {"binary_data_size": 4}}, "has 4 bytes behind the JSON, where 0 are"),
    ]:  # fmt: skip
        refused = httpx.post(url, json={"inputs": [{**good, **change}]}, headers=headers)
        assert refused.status_code == 400 and says in refused.json()["error"], refused.text
    lying = httpx.post(url, content=b"{}", headers={**headers, "Inference-Header-Content-Length": "9"})
    assert lying.status_code == 400
    large = httpx.post(url, content=bytes(2**20 + 1), headers=headers)
    assert large.status_code == 413 and isinstance(large.json()["error"], str)
    ready = httpx.get(f"http://{places['http']}/v2/models/wines/versions/1/ready", headers=headers)
    assert ready.json() == {"ready": True}
    index = httpx.post(f"http://{places['http']}/v2/repository/index", headers=headers).json()
    assert {one["name"]: one["state"] for one in index} == dict.fromkeys(("digits", "wines", "tones", "homes"), "READY")


def test_grpc_over_tls(predictor: fb.Predictor, pictures: list[bytes], tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(cert),
               "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    doors = Doors(api_keys=[KEY], grpc_port=port, tls_cert=cert, tls_key=key)
    with background_server({"digits": predictor}, doors=doors):
        address = f"localhost:{port}"
        with tritonclient.grpc.InferenceServerClient(address, ssl=True, root_certificates=str(cert)) as client:
            assert client.is_server_ready()
            picture = tritonclient.grpc.InferInput(predictor.inputs[0], [1, 1], "BYTES")
            picture.set_data_from_numpy(elements(pictures[:1]))
            answer = client.infer("digits", [picture], headers={"x-api-key": KEY})
            assert answer.as_numpy("label")[0, 0].decode() == predictor.predict(pictures[0]).label
            with pytest.raises(InferenceServerException, match="UNAUTHENTICATED"):
                client.get_model_metadata("digits")
        with tritonclient.grpc.InferenceServerClient(address) as plain, pytest.raises(InferenceServerException):
            plain.is_server_live(client_timeout=2)
