"""Looking at a page in a real browser."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def chromium(profile: Path, *switches: str, language: str = "en-US") -> Any:
    """A fresh Chromium without a window; skips the test where there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("there is no Chromium with its chromedriver here")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = program
    for switch in (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={profile}", "--window-size=1100,900", *switches,
    ):  # fmt: skip
        options.add_argument(switch)
    options.add_experimental_option("prefs", {"intl.accept_languages": language})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=Service(driver))


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
        e["params"]["request"]["url"]
        for e in events
        if e["method"] == "Network.requestWillBeSent" and e["params"]["documentURL"].startswith("http")
    ]
    return {address for address in sent if address.split(":")[0] not in ("data", "blob")}
