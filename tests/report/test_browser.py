"""The report in a real browser: no errors, nothing wider than the screen, readable in light and dark."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flambeau import report
from flambeau.report.markup import text

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


RUNS = ["classification", "many_classes", "regression", "multilabel", "table", "forecast"]
# what a person reads, without names, code and what is marked as English
READ = """
for (const e of document.querySelectorAll('pre, [lang=en], h1, .place, .thumb, .facts dd')) e.remove();
for (const e of document.querySelectorAll('details')) e.open = true;
return document.body.innerText + [...document.querySelectorAll('[aria-label]')].map(e => e.ariaLabel).join('\\n');
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
@pytest.mark.parametrize(("width", "scheme"), [(375, "light"), (1280, "dark")])
@pytest.mark.parametrize("name", RUNS)
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
    text = browser.execute_script("return document.body.innerText")
    assert "<span" not in text and "undefined" not in text and "NaN" not in text
    unnamed = "return [...document.querySelectorAll('svg')].filter(s => !s.getAttribute('aria-label')).length"
    assert browser.execute_script(unnamed) == 0
    assert browser.execute_script("return document.fonts.size") == 0
    broken = "return [...document.images].filter(i => !i.complete || !i.naturalWidth).length"
    assert browser.execute_script(broken) == 0
    assert browser.execute_script(CONTRAST) == []


@pytest.mark.browser
@pytest.mark.parametrize("name", ["many_classes", "regression", "table", "forecast"])
def test_a_chinese_report_holds_no_english_sentence(name, browser, request, tmp_path):
    page = tmp_path / "report.html"
    page.write_text(report.build(request.getfixturevalue(name), language="zh-CN"), encoding="utf-8")
    browser.get(page.as_uri())
    seen = browser.execute_script(READ)
    assert re.findall(r"[a-z]{2,}(?:[ ,]+[a-z]{2,}){2,}", seen) == []


@pytest.mark.browser
def test_names_from_right_to_left_leave_what_is_beside_them_in_place(table, browser, tmp_path):
    """A file name after such a word stays behind it on the line, and a count in brackets too."""
    page = tmp_path / "names.html"
    told = text("\u05e9\u05dc\u05d5\u05dd/01666.png (3)")
    page.write_text(f"<!doctype html><meta charset=utf-8><p>{told}</p>", encoding="utf-8")
    browser.get(page.as_uri())
    places = """
      const node = document.querySelector('p').firstChild, at = t => {
        const range = document.createRange(), i = node.data.indexOf(t);
        range.setStart(node, i); range.setEnd(node, i + t.length); return range.getBoundingClientRect().left; };
      return ['\u05e9', '01666', '.png', '(3)'].map(at);
    """
    found = browser.execute_script(places)
    assert found == sorted(found)
