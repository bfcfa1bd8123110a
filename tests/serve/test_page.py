"""The page in a real browser: a picture in, the answer on the screen, and nothing the console complains of."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tones import as_file, noise, tone

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


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """`browser(url, language="en")` opens the page in a fresh Chromium."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("there is no Chromium with its chromedriver here")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    opened: list[Any] = []

    def open_page(url: str, language: str = "en-US", microphone: bool = False) -> Any:
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for switch in (
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={tmp_path / str(len(opened))}", f"--lang={language}", "--window-size=1100,900",
        ):  # fmt: skip
            options.add_argument(switch)
        if microphone:  # a made one, which beeps
            options.add_argument("--use-fake-device-for-media-stream")
            options.add_argument("--use-fake-ui-for-media-stream")
        options.add_experimental_option("prefs", {"intl.accept_languages": language})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        page = webdriver.Chrome(options=options, service=Service(driver))
        opened.append(page)
        page.get(url)
        wait(page, lambda: page.find_element("id", "about").text.strip())
        return page

    yield open_page
    for page in opened:
        page.quit()


def wait(page: Any, condition: Callable[[], Any]) -> Any:
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(page, 20, poll_frequency=0.05).until(lambda _: condition())


def choose(page: Any, *files: Path) -> None:
    page.find_element("id", "file").send_keys("\n".join(map(str, files)))


def answered(page: Any, count: int = 1) -> list[Any]:
    """The cards, newest first, once this many have their answer."""

    def done() -> Any:
        cards = page.find_elements("css selector", ".card")
        return (
            cards
            if len(cards) == count and not any(c.find_element("class name", "wait").is_displayed() for c in cards)
            else None
        )

    return wait(page, done)


def complaints(page: Any) -> list[str]:
    """What the console says, but for the answers with a status of 4xx that a test has asked for."""
    return [entry["message"] for entry in page.get_log("browser") if "status of 4" not in entry["message"]]


def asked(page: Any) -> set[str]:
    """The addresses that the page has asked for (not what is inside of it, nor what the browser's own pages load)."""
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    sent = [
        e["params"]["request"]["url"] for e in events
        if e["method"] == "Network.requestWillBeSent" and e["params"]["documentURL"].startswith("http")
    ]  # fmt: skip
    return {address for address in sent if address.split(":")[0] not in ("data", "blob")}


@pytest.fixture
def files(tmp_path: Path, pictures: list[bytes]) -> list[Path]:
    paths = [tmp_path / f"digit-{i}.png" for i in range(3)]
    for path, data in zip(paths, pictures, strict=False):
        path.write_bytes(data)
    return paths


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
    assert {address.removeprefix(url) for address in asked(page)} == {"/", "/model", "/predict?top=5"}


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
    browser: Callable[..., Any],
    hearing: fb.Predictor,
    tmp_path: Path,
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
        assert {address.removeprefix(url) for address in asked(page)} == {"/", "/model", "/predict?top=5"}
