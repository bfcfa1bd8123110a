"""The report in a real browser: no errors, nothing wider than the screen, readable in light and dark."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flambeau import report

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync")  # fmt: skip
# every text that is seen against the first opaque background behind it: WCAG 2.2 contrast, 1.4.3
CONTRAST = """
const rgb = c => c.match(/[\\d.]+/g).map((v, i) => c.startsWith('color(') && i < 3 ? v * 255 : Number(v));
const light = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
  .reduce((s, v, i) => s + v * [.2126, .7152, .0722][i], 0);
const low = [];
const seen = ['p', 'h1', 'h2', 'dt', 'dd', 'li', 'a', 'th', 'td', '.quiet', '.brand', '.chip'].map(s => 'main ' + s);
for (const e of document.querySelectorAll(seen)) {
  if (!e.offsetParent || !e.textContent.trim()) continue;
  let behind = e;
  while (behind && (rgb(getComputedStyle(behind).backgroundColor)[3] ?? 1) < 1) behind = behind.parentElement;
  const [a, b] = [getComputedStyle(e).color, getComputedStyle(behind || document.body).backgroundColor]
    .map(c => light(rgb(c))).sort((x, y) => y - x);
  if ((a + .05) / (b + .05) < 4.5) low.push(e.tagName + ': ' + e.textContent.slice(0, 40));
}
return low;
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    chromium, driver = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
    if not chromium.exists() or not driver.exists():
        pytest.skip("needs chromium and its driver")
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = str(chromium)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    profile = tmp_path_factory.mktemp("chromium")
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    opened = Chrome(options=options, service=Service(str(driver)))
    yield opened
    opened.quit()
    shutil.rmtree(profile, ignore_errors=True)


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
@pytest.mark.parametrize("name", ["classification", "many_classes", "regression", "multilabel"])
def test_it_fits_the_screen_without_errors(name, width, scheme, browser, request):
    path = report.write(request.getfixturevalue(name))
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(path.resolve().as_uri())
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.execute_script("return document.querySelectorAll('svg').length") >= 3
    assert browser.execute_script("return document.fonts.size") == 0
    broken = "return [...document.images].filter(i => !i.complete || !i.naturalWidth).length"
    assert browser.execute_script(broken) == 0
    assert browser.execute_script(CONTRAST) == []
