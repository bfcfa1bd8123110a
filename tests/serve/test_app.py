"""The application around the predictions: health, description, contract, page."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import flambeau as fb
from flambeau.serve import Limits, background_server, create_app
from flambeau.serve.problems import Problem
from flambeau.serve.service import Service


def test_ready_only_after_a_forward_pass(braked: Any) -> None:
    with background_server(braked) as url, httpx.Client(base_url=url) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        before = client.get("/readyz")
        assert (before.status_code, before.json()["error"]["code"]) == (503, "not-ready")
        assert "Retry-After" in before.headers
        braked.gate.set()
        for _ in range(5000):
            if (after := client.get("/readyz")).status_code == 200:
                break
        assert after.json() == {"status": "ready"}
        assert braked.batches == [1]


def test_a_model_that_fails_is_alive_but_never_ready(braked: Any, blank: bytes) -> None:
    def broken(_: Any) -> np.ndarray:
        raise RuntimeError("secret of the inside")

    braked.outputs = broken
    with background_server(braked) as url:
        answer = httpx.post(f"{url}/predict", content=blank, headers={"Content-Type": "image/png"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "model-failed")
        assert "secret" not in answer.text
        assert httpx.get(f"{url}/healthz").status_code == 200
        assert httpx.get(f"{url}/readyz").status_code == 503


def test_an_output_that_is_no_number_is_an_error(braked: Any, blank: bytes) -> None:
    braked.outputs = lambda batch: np.full((len(batch), 10), np.nan, np.float32)
    with background_server(braked) as url:
        answer = httpx.post(f"{url}/predict", content=blank, headers={"Content-Type": "image/png"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "not-finite")


def test_model_is_described(client: httpx.Client) -> None:
    described = client.get("/model").json()
    assert described["name"] == "digits" and described["accepts"] == "files"
    assert described["inputs"][0] | {"name": ""} == {
        "name": "", "kind": "image", "shape": [8, 8, 1], "colour": "grey", "rate": None,
    }  # fmt: skip
    assert described["output"]["classes"] == list("0123456789")
    assert described["limits"]["max_body"] == 16 * 2**20
    assert described["versions"]["flambeau"] == fb.__version__


def matches(value: Any, schema: dict[str, Any], contract: dict[str, Any]) -> bool:
    """Whether a JSON value is as a schema of OpenAPI says."""
    if "$ref" in schema:
        return matches(value, contract["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]], contract)
    if "anyOf" in schema:
        return any(matches(value, s, contract) for s in schema["anyOf"])
    match schema.get("type"):
        case "object":
            known = schema.get("properties", {})
            more = schema.get("additionalProperties")
            return (
                isinstance(value, dict)
                and all(name in value for name in schema.get("required", []))
                and all(matches(v, known[k], contract) for k, v in value.items() if k in known)
                and (
                    all(matches(v, more, contract) for k, v in value.items() if k not in known)
                    if isinstance(more, dict)
                    else value.keys() <= known.keys()
                )
            )
        case "array":
            return isinstance(value, list) and all(matches(v, schema.get("items", {}), contract) for v in value)
        case "string":
            return isinstance(value, str)
        case "number":
            return isinstance(value, (int, float))
        case "integer":
            return isinstance(value, int)
        case "null":
            return value is None
    return True


def test_the_contract_is_what_is_answered(client: httpx.Client, pictures: list[bytes]) -> None:
    contract = client.get("/openapi.json").json()
    assert {path for path in contract["paths"] if not path.startswith("/v2")} == {
        "/v1/predict", "/v1/models", "/v1/models/{name}", "/model", "/healthz", "/readyz", "/metrics",
    }  # fmt: skip
    body = contract["paths"]["/v1/predict"]["post"]["requestBody"]["content"]
    assert {"multipart/form-data", "image/*", "audio/*", "application/octet-stream"} == set(body)

    good, bad = ("file", ("a.png", pictures[0])), ("file", ("b.png", b"words"))
    answers = [
        client.post("/v1/predict", files=[good, bad]), client.post("/v1/predict", files=[bad]),
        client.post("/v1/predict?top=0", files=[good]), client.post("/v1/predict", json={}),
        client.post("/v1/predict", content=bytes(17 * 2**20)), client.get("/model"), client.get("/healthz"),
        client.get("/readyz"),
    ]  # fmt: skip
    assert [a.status_code for a in answers] == [200, 422, 422, 415, 413, 200, 200, 200]
    for answer in answers:
        operation = contract["paths"][answer.request.url.path][answer.request.method.lower()]
        described = operation["responses"][str(answer.status_code)]["content"]["application/json"]["schema"]
        assert matches(answer.json(), described, contract), (answer.request.url, answer.text)
        assert not matches({"other": 1}, described, contract)


def test_the_page_asks_nobody_else_and_says_so(client: httpx.Client) -> None:
    page = client.get("/")
    assert page.headers["Content-Type"].startswith("text/html")
    policy = dict(part.strip().split(" ", 1) for part in page.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'" and policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in str(policy) and policy["script-src"].startswith("'sha256-")
    addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s'\"<>]*", page.text))
    assert addresses == {"http://www.w3.org/2000/svg"}  # the name of a language, which nobody fetches
    assert not re.search(r"\son\w+=|javascript:|innerHTML|insertAdjacentHTML|document\.write", page.text)
    for response in (page, client.get("/model"), client.get("/nothing")):
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["X-Frame-Options"] == "DENY"
        assert response.headers["Referrer-Policy"] == "no-referrer"
    for drawn in ("/docs", "/redoc"):
        assert client.get(drawn).status_code == 404


def test_hostile_class_names_stay_data(
    digits: tuple[np.ndarray, list[str]], train: Callable[..., fb.Predictor], blank: bytes
) -> None:
    evil = "<img src=x onerror=alert(1)>"
    images, names = digits[0][:360], [evil if n == "0" else n for n in digits[1][:360]]
    with background_server(train(images, names), title=evil) as url:
        assert evil in httpx.get(f"{url}/model").json()["output"]["classes"]
        assert evil not in httpx.get(url).text
        answer = httpx.post(f"{url}/predict?top=10", content=blank, headers={"Content-Type": "image/png"})
        assert answer.headers["Content-Type"] == "application/json"
        assert evil in answer.json()["predictions"][0]["probabilities"]


def test_a_model_without_fields_cannot_be_served(predictor: fb.Predictor) -> None:
    with pytest.raises(fb.FlambeauError, match="no fields"):
        create_app(fb.Predictor(predictor.objective, predictor.engine))


def test_files_in_json_are_bytes_and_never_paths(predictor: fb.Predictor, nasty: dict[str, Path]) -> None:
    fields = {"photo": fb.fields.Image(size=8, colour="rgb"), "age": fb.fields.Number(standardise=False)}
    both = fb.Predictor(predictor.objective, predictor.engine, fields, ["photo", "age"])
    service = Service(both, Limits(max_pixels=100_000), "both")
    path = nasty["plain"]
    _, encoded = service._encode({"photo": base64.b64encode(path.read_bytes()).decode(), "age": 3})
    assert encoded["photo"].shape == (8, 8, 3) and encoded["age"] == 3
    huge = base64.b64encode(nasty["huge"].read_bytes()).decode()
    for value in (str(path), None, 7, ["x"], huge):
        with pytest.raises(Problem):
            service._encode({"photo": value, "age": 3})
    json.dumps(service._example())
