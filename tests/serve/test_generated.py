"""Samples made anew, by a real server: what may be asked for, that the same seed gives the same, and the page."""

from __future__ import annotations

import asyncio
import base64
import io
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from PIL import Image
from webpage import answered, asked, choose, complaints, wait

import flambeau as fb
from flambeau.serve import background_server

MOVE = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))"


def made_by(digits: tuple[np.ndarray, list[str]], objective: Any) -> fb.Predictor:
    images, names = digits[0][:320], digits[1][:320]
    data = fb.Dataset.from_arrays(images, names)
    learner = fb.Learner(data, objective=objective, run=False, quiet=True, epochs=2, augment="none")
    learner.fit(check=False)
    return learner.predictor


@pytest.fixture(scope="module")
def maker(digits: tuple[np.ndarray, list[str]]) -> fb.Predictor:
    return made_by(digits, "vae")


@pytest.fixture(scope="module")
def made_url(maker: fb.Predictor) -> Iterator[str]:
    with background_server(maker, title="maker") as address:
        yield address


@pytest.fixture(scope="module")
def classes_url(digits: tuple[np.ndarray, list[str]]) -> Iterator[str]:
    with background_server(made_by(digits, "cvae"), title="classes") as address:
        yield address


def generate(url: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{url}/v1/generate", json=body, timeout=30)


def files(url: str, **body: Any) -> list[str]:
    return [sample["file"] for sample in generate(url, **body).raise_for_status().json()["samples"]]


def test_a_seed_gives_the_same_pictures_whatever_else_is_asked_for(
    made_url: str, maker: fb.Predictor, pictures: list[bytes]
) -> None:
    alone = files(made_url, seed=7)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(alone[0]))))
    assert (picture.shape, picture.dtype) == ((8, 8), np.uint8)
    by_hand = maker.generate(1, seed=7)[0]
    assert np.array_equal(picture, by_hand.squeeze())

    async def crowd() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=made_url, timeout=30) as client:
            asking = [client.post("/v1/generate", json={"count": count, "seed": 7}) for count in (1, 5, 20)]
            asking += [client.post("/v1/generate", json={"count": 3, "seed": seed}) for seed in (8, 9)]
            looking = [client.post("/predict", files={"file": one}) for one in pictures[:10]]
            return (await asyncio.gather(*asking, *looking))[:5]

    answers = [[one["file"] for one in answer.json()["samples"]] for answer in asyncio.run(crowd())]
    assert [len(found) for found in answers] == [1, 5, 20, 3, 3]
    assert answers[0] == alone and answers[2][:5] == answers[1] and answers[1][:1] == alone
    assert len({one for found in answers for one in found}) == 20 + 6  # and no two seeds share one
    assert files(made_url, seed=7, count=20) == answers[2]


def test_a_way_goes_from_one_seed_to_the_other(made_url: str) -> None:
    way = files(made_url, seed=1, to_seed=2, count=5)
    assert [way[0], way[-1]] == [files(made_url, seed=1)[0], files(made_url, seed=2)[0]]
    seen = [np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))).astype(float) for one in way]
    whole = np.abs(seen[-1] - seen[0]).mean()
    assert all(0 < np.abs(b - a).mean() < whole for a, b in itertools.pairwise(seen))


def test_a_picture_may_be_had_itself(made_url: str) -> None:
    asked_for = {"headers": {"Accept": "image/png"}, "timeout": 30}
    one = httpx.post(f"{made_url}/v1/generate", json={"seed": 7}, **asked_for)
    assert one.headers["content-type"] == "image/png" and one.content == base64.b64decode(files(made_url, seed=7)[0])
    several = httpx.post(f"{made_url}/v1/generate", json={"count": 9}, **asked_for)
    assert Image.open(io.BytesIO(several.content)).size == (3 * 8 + 2 * 2, 3 * 8 + 2 * 2)


def test_classes_are_asked_for_by_name(classes_url: str, made_url: str) -> None:
    told = generate(classes_url, count=3, seed=1, **{"class": "4"}).json()["samples"]
    assert [sample["class"] for sample in told] == ["4"] * 3
    drawn = generate(classes_url, count=30, seed=1).json()["samples"]
    assert len({sample["class"] for sample in drawn}) > 3
    assert told[0]["file"] != generate(classes_url, seed=1, **{"class": "1"}).json()["samples"][0]["file"]
    assert httpx.get(f"{classes_url}/model").json()["generates"]["classes"] == [str(n) for n in range(10)]
    for url, name, said in ((classes_url, "ten", "no class is called 'ten'"), (made_url, "4", "makes no samples of a")):
        refused = generate(url, **{"class": name})
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "not-generated")
        assert said in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    "body, status, said",
    [
        (b'{"count": 65}', 413, "at most 64"),
        (b'{"count": 0}', 422, "count=0"),
        (b'{"count": 2.5}', 422, "count=2.5"),
        (b'{"seed": -1}', 422, "seed=-1"),
        (b'{"seed": 9007199254740992}', 422, "seed=9007199254740992"),
        (b'{"seed": "1"}', 422, "seed='1'"),
        (b'{"number": 4}', 422, "number=4"),
        (b"[]", 422, "does not fit"),
        (b'{"count"', 400, "not JSON"),
        (b'{"class": "' + b"x" * 5000 + b'"}', 413, "at most 4,096"),
    ],
)
def test_what_cannot_be_made_is_one_line(made_url: str, body: bytes, status: int, said: str) -> None:
    refused = httpx.post(f"{made_url}/v1/generate", content=body, headers={"Content-Type": "application/json"})
    error = refused.json()["error"]
    assert (
        refused.status_code == error["status"] == status and said in error["message"] and "\n" not in error["message"]
    )


def test_the_contract_is_told_and_a_classifier_has_none_of_it(made_url: str, url: str) -> None:
    told = httpx.get(f"{made_url}/openapi.json").json()["paths"]["/v1/generate"]["post"]
    asked_for = told["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert asked_for.keys() == {"count", "seed", "to_seed", "class"}
    assert told["responses"]["200"]["content"].keys() == {"application/json", "image/png"}
    assert "/v1/generate" not in httpx.get(f"{url}/openapi.json").json()["paths"]
    assert generate(url).status_code == 404 and httpx.get(f"{url}/model").json()["generates"] is None


def test_oddness_and_what_comes_back(made_url: str, maker: fb.Predictor, pictures: list[bytes], blank: bytes) -> None:
    noise = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)).save(noise, "PNG")
    sent = [("file", ("a.png", data)) for data in (pictures[0], noise.getvalue())]
    digit, odd = httpx.post(f"{made_url}/predict?reconstruct=true", files=sent).json()["predictions"]
    assert odd["label"] > digit["label"] == pytest.approx(maker.predict(pictures[0]).label, rel=1e-5)
    back = Image.open(io.BytesIO(base64.b64decode(digit["reconstruction"]["file"])))
    assert back.size == (8, 8)
    assert "reconstruction" not in httpx.post(f"{made_url}/predict", files=sent[:1]).json()["predictions"][0]


def test_a_classifier_reconstructs_nothing(url: str, pictures: list[bytes]) -> None:
    refused = httpx.post(f"{url}/predict?reconstruct=true", files={"file": pictures[0]})
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "not-generated")


@pytest.mark.browser
def test_the_page_makes_samples(
    browser: Callable[..., Any], classes_url: str, tmp_path: Path, pictures: list[bytes]
) -> None:
    page = browser(classes_url)
    assert "makes samples" in page.find_element("id", "about").text
    assert not page.find_element("id", "explain").is_displayed()  # it would be refused
    page.execute_script("arguments[0].value = 5", page.find_element("id", "make-count"))
    page.execute_script("arguments[0].value = '3'", page.find_element("id", "make-class"))
    page.find_element("css selector", "#make [type=submit]").click()
    shown = wait(page, lambda: page.find_elements("css selector", "#made img"))
    told = generate(classes_url, count=5, seed=0, **{"class": "3"}).json()["samples"]
    assert [image.get_attribute("src") for image in shown] == [f"data:image/png;base64,{one['file']}" for one in told]
    assert shown[0].get_attribute("alt") == "Sample 1 · 3"
    assert '"count":5' in page.find_element("id", "curl").get_attribute("textContent")

    page.find_element("id", "make-way").click()
    slider = wait(page, lambda: page.find_elements("css selector", "#way input"))[0]
    sources = []
    for place in (0, 0.5, 1):
        page.execute_script(MOVE, slider, place)
        sources.append(page.find_element("css selector", "#way img").get_attribute("src"))
    way = generate(classes_url, count=17, seed=0, to_seed=1, **{"class": "3"}).json()["samples"]
    assert sources == [f"data:image/png;base64,{way[place]['file']}" for place in (0, 8, 16)]

    path = tmp_path / "digit.png"
    path.write_bytes(pictures[0])
    choose(page, path)
    (card,) = answered(page)
    assert "oddness" in card.find_element("class name", "label").text
    assert card.find_element("css selector", ".back img").get_attribute("src").startswith("data:image/png;base64,")
    assert complaints(page) == []
    assert {address.removeprefix(classes_url).split("?")[0] for address in asked(page)} == {
        "/", "/model", "/v1/generate", "/v1/predict",
    }  # fmt: skip


@pytest.mark.browser
def test_the_page_speaks_chinese_of_samples(browser: Callable[..., Any], made_url: str) -> None:
    page = browser(made_url, "zh-CN")
    assert page.find_element("css selector", "#make [type=submit]").text == "生成样本"
    assert not page.find_element("id", "make-classes").is_displayed()
    page.execute_script("arguments[0].value = 65; arguments[0].max = 99", page.find_element("id", "make-count"))
    page.find_element("css selector", "#make [type=submit]").click()
    assert wait(page, lambda: page.find_element("id", "notice").text) == "一次提交的输入太多。"


def test_an_autoencoder_gives_back_and_makes_nothing(
    browser: Callable[..., Any], digits: tuple[np.ndarray, list[str]], pictures: list[bytes]
) -> None:
    with background_server(made_by(digits, "autoencoder")) as url:
        refused = generate(url)
        assert refused.status_code == 422 and "makes nothing of noise" in refused.json()["error"]["message"]
        (told,) = httpx.post(f"{url}/predict?reconstruct=true", files={"file": pictures[0]}).json()["predictions"]
        assert told["label"] > 0 and told["reconstruction"]["file"]
        assert not browser(url).find_element("id", "make").is_displayed()


def test_codes_are_what_is_embedded(maker: fb.Predictor, pictures: list[bytes]) -> None:
    codes = maker.embed(pictures[:4])
    encoded = [maker.encode(picture) for picture in pictures[:4]]
    with torch.inference_mode():
        batch = maker.prepare(torch.arange(4), maker.gather(encoded))
        exact = maker.objective.encode(batch).numpy()
    assert np.allclose(codes, exact, atol=np.abs(exact).max() / 64)  # bfloat16 has 8 bits, and passes some layers


@pytest.mark.browser
def test_rows_of_a_table_are_made_too(browser: Callable[..., Any]) -> None:
    noise = np.random.default_rng(0).normal(size=120)
    columns = {"size": noise.tolist(), "twice": (2 * noise).tolist(), "kind": ["x" if n < 0 else "y" for n in noise]}
    learner = fb.Learner(fb.Dataset(columns), objective="vae", run=False, quiet=True, epochs=2)
    learner.fit(check=False)
    with background_server(learner.predictor) as url:
        rows = [sample["value"] for sample in generate(url, count=3, seed=5).json()["samples"]]
        assert all(row.keys() == columns.keys() and row["kind"] in ("x", "y") for row in rows)
        refused = httpx.post(f"{url}/v1/generate", json={}, headers={"Accept": "image/png"}, timeout=30)
        assert (refused.status_code, refused.json()["error"]["code"]) == (406, "no-picture")
        body = {"inputs": [{"size": 1, "twice": 2, "kind": "y"}]}
        (told,) = httpx.post(f"{url}/predict?reconstruct=true", json=body, timeout=30).json()["predictions"]
        assert told["reconstruction"]["value"].keys() == columns.keys()
        page = browser(url)
        page.find_element("css selector", "#make [type=submit]").click()
        shown = wait(page, lambda: page.find_elements("css selector", "#made pre"))
        assert len(shown) == 16 and shown[0].text.startswith("size: ")
        assert complaints(page) == []
