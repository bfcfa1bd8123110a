"""The page in a real browser: a picture in, the answer on the screen, and nothing the console complains of."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tones import as_file, noise, tone
from webpage import answered, asked, choose, complaints, wait

import flambeau as fb
from flambeau.serve import background_server

pytestmark = pytest.mark.browser

ARRIVES = """
const [kind, name, base64] = arguments;
const held = new DataTransfer();
held.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], name, {type: "image/png"}));
const event = kind === "drop"
    ? new DragEvent("drop", {dataTransfer: held, bubbles: true, cancelable: true})
    : new ClipboardEvent("paste", {clipboardData: held, bubbles: true});
document.body.dispatchEvent(event);
"""


def test_a_picture_gets_its_class_and_bars(
    browser: Callable[..., Any], url: str, predictor: fb.Predictor, files: list[Path]
) -> None:
    page = browser(url)
    assert page.title == "digits" and "10 classes" in page.find_element("id", "about").text
    choose(page, files[0])
    (card,) = answered(page)
    expected = predictor.predict(files[0])
    assert card.find_element("class name", "label").text == expected.label
    assert card.find_element("class name", "file").text == files[0].name
    assert page.execute_script("return arguments[0].naturalWidth", card.find_element("tag name", "img")) == 8
    bars = card.find_elements("css selector", ".bars li")
    assert [b.find_element("class name", "class").text for b in bars] == list(expected.top(5))

    def widths() -> list[float]:
        script = "return arguments[0].getBoundingClientRect().width / arguments[0].parentElement.clientWidth"
        return [page.execute_script(script, b.find_element("class name", "fill")) for b in bars]

    # the first bar grows to its probability; the least ones are given a hair's width, so that they can be seen
    wait(page, lambda: abs(widths()[0] - max(expected.confidence, 0.006)) < 0.01)
    assert expected.label in page.find_element("id", "status").get_attribute("textContent")

    choose(page, *files[1:])
    page.execute_script(ARRIVES, "drop", "dropped.png", base64.b64encode(files[0].read_bytes()).decode())
    page.execute_script(ARRIVES, "paste", "pasted.png", base64.b64encode(files[0].read_bytes()).decode())
    cards = answered(page, 5)
    assert {c.find_element("class name", "file").text for c in cards} == {
        "dropped.png", "pasted.png", *(f.name for f in files),
    }  # fmt: skip
    page.find_element("id", "clear").click()
    assert page.find_elements("css selector", ".card") == []

    assert complaints(page) == []
    assert {address.removeprefix(url) for address in asked(page)} == {"/", "/model", "/v1/predict?top=5"}


def test_bad_files_get_clear_words(
    browser: Callable[..., Any], url: str, nasty: dict[str, Path], tmp_path: Path
) -> None:
    page = browser(url)
    large = tmp_path / "large.png"
    with large.open("wb") as handle:
        handle.truncate(17 * 2**20)
    told = []
    for count, path in enumerate([nasty["text"], nasty["truncated"], nasty["huge"], large], 1):
        choose(page, path)
        card = answered(page, count)[0]
        told.append(card.find_element("class name", "error").text)
        assert not card.find_elements("css selector", ".bars li")
    assert "not a picture" in told[0]
    assert "cut short" in told[1]
    assert "too many pixels" in told[2]
    assert "16 MB" in told[3]
    assert complaints(page) == []


def test_hostile_names_are_text_and_chinese_is_spoken(
    browser: Callable[..., Any], digits: tuple[np.ndarray, list[str]], train: Callable[..., fb.Predictor],
    files: list[Path],
) -> None:  # fmt: skip
    evil = "<img src=x onerror=document.title='broken'>"
    images, names = digits[0][:360], [evil if n == "0" else f"数字{n}" for n in digits[1][:360]]
    with background_server(train(images, names, epochs=20), title=evil) as url:
        page = browser(url, "zh-CN")
        assert page.find_element("tag name", "html").get_attribute("lang") == "zh-Hans"
        assert "拖到这里" in page.find_element("id", "drop").text
        choose(page, files[0])
        (card,) = answered(page)
        assert card.find_element("class name", "label").text == evil
        assert page.find_element("id", "name").text == evil and page.title == evil
        choose(page, files[1])
        assert answered(page, 2)[0].find_element("class name", "label").text == "数字1"
        assert complaints(page) == []


def test_rows_are_typed_as_json(browser: Callable[..., Any], rows_predictor: fb.Predictor) -> None:
    from selenium.webdriver.common.keys import Keys

    with background_server(rows_predictor) as url:
        page = browser(url)
        box = page.find_element("id", "json")
        assert not page.find_element("id", "drop").is_displayed()
        box.send_keys(Keys.CONTROL, Keys.ENTER)  # the example that is there
        (card,) = answered(page)
        expected = rows_predictor.predict(np.asarray(json.loads(box.get_attribute("value"))[0]))
        assert card.find_element("class name", "label").text == expected.label
        box.clear()
        box.send_keys("{")
        page.find_element("css selector", "#rows button").click()
        assert "not JSON" in wait(page, lambda: page.find_element("id", "notice").text)
        assert complaints(page) == []


def test_a_sound_gets_its_class_and_can_be_played(
    browser: Callable[..., Any], hearing: fb.Predictor, tmp_path: Path
) -> None:
    file = tmp_path / "low.wav"
    file.write_bytes(as_file(tone(200, 0.4) + noise(0.4, level=0.02)))
    with background_server(hearing) as url:
        page = browser(url, microphone=True)
        assert "Drop a sound" in page.find_element("id", "drop").text
        choose(page, file)
        (card,) = answered(page)
        assert card.find_element("class name", "label").text == hearing.predict(file).label
        player = card.find_element("tag name", "audio")
        assert player.is_displayed()
        assert wait(page, lambda: page.execute_script("return arguments[0].duration", player)) == pytest.approx(
            0.4, abs=0.05
        )
        record = page.find_element("id", "record")
        record.click()
        wait(page, lambda: record.text == "Stop")
        wait(page, lambda: page.find_element("id", "recording").text == "1 s")
        record.click()
        newest = answered(page, 2)[0]
        assert newest.find_element("class name", "file").text == "recording 1.wav"
        assert newest.find_element("class name", "label").text in hearing.classes
        assert complaints(page) == []
        assert {address.removeprefix(url) for address in asked(page)} == {"/", "/model", "/v1/predict?top=5"}
