"""The board in a real browser: by mouse and by keys, on a wide screen and on a phone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from webpage import asked, complaints, wait

from flambeau.board import Workplace
from flambeau.board.labels import TABLE

pytestmark = pytest.mark.browser
Board = tuple[str, str, Workplace]


def cells(page: Any, column: int) -> list[str]:
    return [cell.text for cell in page.find_elements("css selector", f"#runs tbody tr > :nth-child({column})")]


def state(page: Any, name: str) -> str:
    script = "return document.querySelector(`#runs tr[data-name='${arguments[0]}'] .state`)?.className ?? ''"
    return page.execute_script(script, name).removeprefix("state ")


def press(page: Any, *keys: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(page).send_keys(*keys).perform()


def test_runs_are_sorted_compared_and_looked_into(browser: Callable[..., Any], board: Board) -> None:
    url, _, _ = board
    page = browser(url)
    assert "2 runs" in page.find_element("id", "about").text
    assert not page.find_element("id", "new").is_displayed()  # without the token there is nothing to start
    by_name = page.find_element("css selector", "#runs th[data-by=name] button")
    by_name.click()
    assert cells(page, 2) == ["first", "second"]
    by_name.click()
    assert cells(page, 2) == ["second", "first"]
    press(page, "/")
    press(page, "fir")
    assert cells(page, 2) == ["first"]
    page.find_element("id", "filter").clear()
    page.find_element("id", "filter").send_keys(" ")
    for box in page.find_elements("css selector", "#runs input"):
        page.execute_script("arguments[0].click()", page.find_element("css selector", "#runs input:not(:checked)"))
        del box
    wait(page, lambda: len(page.find_elements("css selector", "#chart .curve")) == 2)
    wait(page, lambda: "training.seed" in page.find_element("id", "compare-settings").text)
    assert "the same rows" in page.find_element("id", "compare-note").text
    page.find_element("css selector", "#runs tr[data-name=first] .name button").click()
    wait(page, lambda: page.find_element("id", "one-name").text == "first")
    (mistake, *_) = wait(page, lambda: page.find_elements("css selector", "#mistakes .mistake"))
    assert "was 1" in mistake.text and "taken for 4" in mistake.text
    assert complaints(page) == []
    assert {address.removeprefix(url).split("?")[0] for address in asked(page)} == {
        "/", "/api/runs", "/api/curves", "/api/compare", "/api/runs/first/mistakes",
    }  # fmt: skip


def test_labels_are_given_by_keys(browser: Callable[..., Any], board: Board, tmp_path: Path) -> None:
    import json

    url, token, work = board
    (work.folder / ".board").mkdir()
    samples = [{"row": i, "place": f"1/{i}.png", "given": "1", "suggested": "4", "confidence": 0.9,
                "why": "suspected" if i < 2 else "unsure", "html": f"<span>sample {i}</span>"}
               for i in range(3)]  # fmt: skip
    (work.folder / ".board" / "first.labels.json").write_text(
        json.dumps({"classes": ["0", "1", "4"], "samples": samples})
    )
    page = browser(f"{url}/#token={token}")
    assert token not in page.current_url  # nor in the history that others may look at
    page.find_element("css selector", "#runs tr[data-name=first] .name button").click()
    page.find_element("id", "tab-labels").click()
    at = lambda what: wait(page, lambda: what in page.find_element("id", "labels-said").text)  # noqa: E731
    at("1 of 3, 0 decided")
    assert page.find_element("css selector", "#sample .thumb").text == "sample 0"
    press(page, "3")
    at("2 of 3, 1 decided")
    press(page, "0")
    at("3 of 3, 2 decided")
    assert page.find_element("css selector", "#sample .why").text == "least sure"
    press(page, "\ue012")  # to the left
    at("2 of 3, 2 decided")
    press(page, "\ue003")  # backspace
    at("2 of 3, 1 decided")
    assert page.find_element("id", "train-again").text == "Train again with 1 correction"
    table = (work.folder / "first" / TABLE).read_text().splitlines()
    assert table[1:] == ["1/0.png,1,4,0.9000,"]
    assert complaints(page) == []


@pytest.mark.parametrize("language", ["en-US", "zh-CN"])
def test_a_phone_shows_it_without_scrolling_sideways(browser: Callable[..., Any], board: Board, language: str) -> None:
    page = browser(board[0], "--force-dark-mode", language=language)
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 780, "deviceScaleFactor": 2, "mobile": True}
    )
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    page.execute_script("arguments[0].click()", page.find_element("css selector", "#runs input"))
    wait(page, lambda: page.find_elements("css selector", "#chart .curve"))
    page.find_element("css selector", "#runs .name button").click()
    wait(page, lambda: page.find_elements("css selector", "#mistakes .mistake"))
    assert page.execute_script("return document.documentElement.scrollWidth") <= 360
    background = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, background.strip("rgb()").split(","))) < 120  # dark
    assert ("训练" in page.find_element("tag name", "h1").text) == (language == "zh-CN")
    assert complaints(page) == []


@pytest.mark.slow
def test_a_training_is_started_watched_stopped_and_resumed(browser: Callable[..., Any], board: Board) -> None:
    url, token, work = board
    page = browser(f"{url}/#token={token}")
    press(page, "n")
    for name, value in (("data", "photos"), ("model", "mlp"), ("epochs", "100000"), ("name", "mine")):
        page.find_element("id", f"start-{name}").send_keys(value)
    page.find_element("css selector", "#start button").click()
    wait(page, lambda: state(page, "mine") in ("starting", "training"))
    long = lambda condition: [wait_long(page, condition)]  # noqa: E731
    path = "return document.querySelector('#chart .curve path')?.getAttribute('d') ?? ''"
    long(lambda: len(page.execute_script(path)) > 0)
    before = page.execute_script(path)
    long(lambda: page.execute_script(path) != before)  # while it trains, and nobody did anything
    assert state(page, "mine") == "training"
    page.find_element("css selector", "#runs tr[data-name=mine] .actions button").click()
    long(lambda: state(page, "mine") == "stopped")
    done = work.run("mine").progress.epoch
    assert done > 0 and work.jobs["mine"].process.wait(60) == 143
    page.find_element("css selector", "#runs tr[data-name=mine] .actions button").click()
    long(lambda: state(page, "mine") == "training" and work.run("mine").lines[-1]["epoch"] > done)
    page.find_element("css selector", "#runs tr[data-name=mine] .actions button").click()
    long(lambda: state(page, "mine") == "stopped")
    assert complaints(page) == []


def wait_long(page: Any, condition: Callable[[], Any]) -> Any:
    """As `wait`, where a process has to begin first."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(page, 120, poll_frequency=0.1).until(lambda _: condition())
