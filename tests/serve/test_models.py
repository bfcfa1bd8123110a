"""Several models in one server, and who may ask them."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from selenium.webdriver.support.ui import Select
from webpage import complaints, wait

import flambeau as fb
from flambeau.serve import Doors, background_server
from flambeau.serve.keys import read_keys

KEY, ADMIN = "k" * 20, "a" * 20
GROWER = {"inputs": [[13.0, 2.0, 2.3, 17.0, 100.0, 2.5, 2.4, 0.3, 1.6, 5.0, 1.0, 2.9, 800.0]]}


@pytest.fixture(scope="module")
def both(predictor: fb.Predictor, rows_predictor: fb.Predictor) -> Iterator[str]:
    doors = Doors(api_keys=[KEY, "k" * 30], admin_keys=[ADMIN])
    with background_server({"digits": predictor, "wines": rows_predictor}, doors=doors) as url:
        yield url


@pytest.fixture
def client(both: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=both, timeout=30, headers={"Authorization": f"Bearer {KEY}"}) as opened:
        yield opened


def test_each_model_answers_by_its_name_and_the_first_to_none(client: httpx.Client, pictures: list[bytes]) -> None:
    cards = client.get("/v1/models").json()["data"]
    assert [(card["id"], card["version"], card["versions"]) for card in cards] == [
        ("digits", "1", ["1"]), ("wines", "1", ["1"]),
    ]  # fmt: skip
    assert client.get("/v1/models/wines").json()["id"] == "wines"
    picture = {"content": pictures[0], "headers": {"Content-Type": "image/png"}}
    for query in ("", "?model=digits", "?model=digits&version=1"):
        answer = client.post(f"/v1/predict{query}", **picture)
        assert answer.json()["model"] == {"name": "digits", "version": "1", "flambeau": fb.__version__}
        assert answer.headers["X-Model-Version"] == "1"
    wine = client.post("/v1/predict?model=wines", json=GROWER).json()
    assert wine["model"]["name"] == "wines" and wine["predictions"][0]["label"].startswith("grower")
    assert client.post("/predict?model=wines", json=GROWER).json() == wine
    assert client.get("/model?model=wines").json()["models"] == ["digits", "wines"]
    for query, code in (("model=none", "unknown-model"), ("version=2", "unknown-version")):
        refused = client.post(f"/v1/predict?{query}", **picture)
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, code)
    assert client.post("/v1/predict?model=wines", **picture).status_code == 415


def test_keys_let_in_and_those_of_administrators_are_others(both: str, pictures: list[bytes]) -> None:
    def status(path: str, **headers: str) -> int:
        named = {name.replace("_", "-"): key for name, key in headers.items()}
        return httpx.get(f"{both}{path}", headers=named).status_code

    for path in ("/", "/healthz", "/readyz"):
        assert status(path) == 200
    for path in ("/model", "/v1/models", "/openapi.json", "/nothing"):
        assert status(path) == status(path, Authorization=f"Bearer {KEY}x") == status(path, Authorization=KEY) == 401
        assert status(path, X_API_Key=ADMIN) == 401
        assert status(path, X_API_Key=KEY) == status(path, Authorization=f"bearer {'k' * 30}") != 401
    assert status("/admin/models") == status("/admin/models", X_API_Key=KEY) == 401
    assert status("/admin/models", X_API_Key=ADMIN) == 200
    refused = httpx.post(f"{both}/v1/predict", content=pictures[0], headers={"Content-Type": "image/png"})
    assert refused.json()["error"]["code"] == "no-key" and refused.headers["WWW-Authenticate"] == "Bearer"
    assert "access-control-allow-origin" not in httpx.get(both, headers={"Origin": "https://other.example"}).headers


def test_without_keys_nobody_is_asked_and_nobody_administers(url: str) -> None:
    assert httpx.get(f"{url}/model").status_code == 200
    assert httpx.get(f"{url}/admin/models", headers={"X-API-Key": ""}).status_code == 403


def test_keys_that_can_be_guessed_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# ours\n{KEY}\n\n  {ADMIN}\n")
    assert read_keys(path) == [KEY, ADMIN]
    for text, message in (("# none\n", "no key"), ("short\n", "key 1 has 5 characters")):
        path.write_text(text)
        with pytest.raises(fb.FlambeauError, match=message):
            read_keys(path)
    with pytest.raises(fb.FlambeauError, match="nowhere"):
        read_keys(tmp_path / "nowhere")


@pytest.mark.browser
def test_the_page_asks_for_the_key_and_goes_from_model_to_model(browser: Callable[..., Any], both: str) -> None:
    from selenium.webdriver.support.expected_conditions import alert_is_present

    def let_in(page: Any) -> None:
        wait(page, lambda: alert_is_present()(page))
        page.switch_to.alert.send_keys(KEY)
        page.switch_to.alert.accept()

    page = browser(both, then=let_in)
    assert page.title == "digits"
    Select(page.find_element("id", "models")).select_by_visible_text("wines")
    wait(page, lambda: page.title == "wines")
    assert "?model=wines" in page.find_element("id", "curl").get_attribute("textContent")
    assert all("401" in line for line in complaints(page))


def test_tls_by_a_certificate(predictor: fb.Predictor, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True,
    )  # fmt: skip
    with background_server(predictor, doors=Doors(tls_cert=cert, tls_key=key)) as url:
        assert url.startswith("https://")
        assert httpx.get(f"{url}/healthz", verify=ssl.create_default_context(cafile=cert)).json() == {"status": "ok"}
    with pytest.raises(fb.FlambeauError, match=r"cert\.pem"), background_server(predictor, doors=Doors(tls_cert=cert)):
        pass
