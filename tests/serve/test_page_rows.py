"""The page for rows: a form for one, a CSV file for many, the past of a series, and the code that does the same."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from webpage import answered, choose, complaints, wait

import flambeau as fb
from flambeau.serve import Limits, background_server

pytestmark = pytest.mark.browser


def test_a_series_is_forecast_from_pasted_rows(browser: Callable[..., Any], tmp_path: Path) -> None:
    days = np.arange("2024-01-01", "2024-07-01", dtype="datetime64[D]")
    rows = [{"day": str(day), "sold": 10 + i % 7} for i, day in enumerate(days)]
    data = fb.Dataset.from_series(pl.DataFrame(rows), time="day", target="sold", length=14, horizon=3)
    fb.Learner(data, run=tmp_path / "run", quiet=True, epochs=1).fit(check=False)
    with background_server(tmp_path / "run") as url:
        page = browser(url)
        assert "forecasts sold" in page.find_element("id", "about").text
        past = tmp_path / "past.csv"
        past.write_text("day,sold\n" + "".join(f"{row['day']},{row['sold']}\n" for row in rows[:20]))
        page.find_element("id", "csv-file").send_keys(str(past))
        box = page.find_element("id", "json")
        wait(page, lambda: box.get_attribute("value").replace("\r", "") == past.read_text())
        page.find_element("css selector", "#rows button").click()
        (card,) = answered(page)
        times = [cell.text for cell in card.find_elements("css selector", "tbody td:first-child")]
        assert times == ["2024-01-21", "2024-01-22", "2024-01-23"]
        box.clear()
        box.send_keys("day,sold\n2024-01-01,5\n")
        page.find_element("css selector", "#rows button").click()
        assert "1 steps" in wait(page, lambda: page.find_element("id", "notice").text)
        assert complaints(page) == []


@pytest.mark.parametrize("language", ["en-US", "zh-CN"])
def test_a_telephone_scrolls_one_way_and_each_control_has_a_name(
    browser: Callable[..., Any], table_run: Path, url: str, language: str
) -> None:
    unnamed = """
        return [...document.querySelectorAll("input, select, textarea, button, a, summary")].filter((node) =>
          !node.labels?.length && !node.textContent.trim() && !node.getAttribute("aria-label")
          && !node.querySelector("img[alt]:not([alt=''])") && node.checkVisibility()).map((node) => node.outerHTML)"""
    with background_server(table_run) as of_rows:
        for address in (of_rows, url):
            page = browser(address, language)
            size = {"width": 375, "height": 800, "deviceScaleFactor": 1, "mobile": True}
            page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            page.find_element("css selector", "#code summary").click()
            assert page.execute_script("return document.documentElement.scrollWidth") == 375
            assert page.execute_script(unnamed) == []
            assert complaints(page) == []


def write_diamonds(path: Path, count: int = 120) -> list[dict[str, str]]:
    """A table whose names and cells are as bad as they come; its rows."""
    cuts = ["Ideal", "<b>Fair</b>", "\u202etfel"]
    rows = []
    for i in range(count):
        cut, when = cuts[i % 3], f"2024-{i % 12 + 1:02}-{i % 28 + 1:02}"
        price = "=2+3" if i % 10 > 4 else "low"
        rows.append({"carat": f"{0.2 + i % 10 / 10:.1f}", "the, cut": cut, "sold on": when, "price": price})
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return rows


@pytest.fixture(scope="module")
def table_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("table")
    write_diamonds(folder / "diamonds.csv")
    data = fb.Dataset.from_table(folder / "diamonds.csv", target="price")
    fb.Learner(data, run=folder / "run", quiet=True, epochs=2).fit(check=False)
    return folder / "run"


def fields_of(page: Any) -> dict[str, Any]:
    """The controls of the form by their labels."""
    labels = page.find_elements("css selector", "#fields label")
    return {label.text: page.find_element("id", label.get_attribute("for")) for label in labels}


def test_a_row_is_asked_for_column_by_column(browser: Callable[..., Any], table_run: Path) -> None:
    predictor = fb.load(table_run)
    with background_server(table_run) as url:
        page = browser(url)
        fields = fields_of(page)
        assert [*fields] == ["carat", "the, cut", "sold on"]
        assert [f.tag_name for f in fields.values()] == ["input", "select", "input"]
        assert fields["sold on"].get_attribute("type") == "date"
        example = predictor.examples[0]["table"]
        assert {n: f.get_attribute("value") for n, f in fields.items()} == {n: str(v) for n, v in example.items()}
        options = [o.text for o in fields["the, cut"].find_elements("tag name", "option")]
        assert options[0] == "(not given)" and "<b>Fair</b>" in options and "\\u202etfel" in options
        page.find_element("css selector", "#rows button").click()
        (card,) = answered(page)
        assert card.find_element("class name", "label").text == predictor.predict(example).label
        page.find_elements("css selector", "#examples button")[1].click()
        second = predictor.examples[1]["table"]
        assert fields["carat"].get_attribute("value") == str(second["carat"])
        fields["carat"].clear()
        fields["carat"].send_keys("many\n")
        error = answered(page, 1) and wait(page, lambda: page.find_element("id", "notice").text)
        assert "carat" in error and "many" in error
        assert complaints(page) == []


def shown(page: Any, name: str) -> str:
    """The code that the page shows under this name."""
    return str(page.find_element("id", name).get_attribute("textContent"))


def run_shown(page: Any, folder: Path) -> list[Any]:
    """What the Python that the page shows prints, and what its curl does."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.chdir(folder):
        exec(shown(page, "python"), {})
    said = [eval(printed.getvalue())]
    if shutil.which("curl"):
        done = subprocess.run(shown(page, "curl"), shell=True, cwd=folder, capture_output=True, check=True)
        said.append(json.loads(done.stdout)["predictions"])
    return said


def test_the_code_that_is_shown_does_the_same(
    browser: Callable[..., Any], table_run: Path, url: str, files: list[Path]
) -> None:
    with background_server(table_run) as of_rows:
        page = browser(of_rows)
        expected = fb.load(table_run).predict(fb.load(table_run).examples[0]["table"])
        for (prediction,) in run_shown(page, table_run):
            assert prediction["label"] == expected.label
            assert prediction["confidence"] == pytest.approx(expected.confidence, abs=1e-5)
    page = browser(url)
    choose(page, files[0])
    (card,) = answered(page)
    assert files[0].name in shown(page, "curl")
    for (prediction,) in run_shown(page, files[0].parent):
        assert prediction["label"] == card.find_element("class name", "label").text


def test_a_table_goes_in_and_comes_back_with_its_answers(
    browser: Callable[..., Any], table_run: Path, tmp_path: Path
) -> None:
    rows = write_diamonds(tmp_path / "more.csv", 30)
    rows[7]["carat"] = "many"
    with (tmp_path / "more.csv").open("w", newline="", encoding="utf-8-sig") as handle:
        writer = csv.DictWriter(handle, [*rows[0]][::-1], delimiter=";", lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(rows)
    with background_server(table_run, limits=Limits(max_rows=8)) as url:
        page = browser(url)
        page.find_element("id", "csv-file").send_keys(str(tmp_path / "more.csv"))
        link = page.find_element("id", "csv-link")
        wait(page, link.is_displayed)
        assert "30" in link.text and link.get_attribute("download") == "more-predictions.csv"
        assert "1 rows could not" in page.find_element("id", "csv-status").text
        page.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
        link.click()
        wait(page, (tmp_path / "more-predictions.csv").exists)
        content = (tmp_path / "more-predictions.csv").read_text(encoding="utf-8")
        assert content.startswith("\ufeff")
        written = list(csv.DictReader(io.StringIO(content.removeprefix("\ufeff"), newline="")))
        assert [row["row"] for row in written] == [str(i) for i in range(1, 31)]
        assert {row["price"] for row in written} == {"'=2+3", "low"}  # nothing that a spreadsheet computes
        assert {row["prediction"] for row in written} == {"'=2+3", "low", ""}
        assert "many" in written[7]["error"] and not any(row["error"] for row in written[:7])
        (tmp_path / "other.csv").write_text("a,b\n1,2\n")
        page.find_element("id", "csv-file").send_keys(str(tmp_path / "other.csv"))
        assert "no column carat" in wait(page, lambda: page.find_element("id", "notice").text)
        assert complaints(page) == []


def test_a_row_with_a_picture_in_it(
    browser: Callable[..., Any], digits_folder: Path, tmp_path: Path, files: list[Path]
) -> None:
    pictures = [str(path) for name in "01" for path in sorted((digits_folder / name).iterdir())[:40]]
    rows = {"photo": pictures, "age": [float(i) for i in range(80)], "name": ["zero"] * 40 + ["one"] * 40}
    data = fb.Dataset(rows, target="name", fields={"photo": fb.fields.Image(size=8)})
    fb.Learner(data, run=tmp_path / "run", quiet=True, epochs=1).fit(check=False)
    predictor = fb.load(tmp_path / "run")
    with background_server(tmp_path / "run") as url:
        page = browser(url)
        fields, preview = fields_of(page), page.find_element("css selector", ".field img")
        assert page.execute_script("return arguments[0].naturalWidth", preview) == 8  # the example's
        fields["photo"].send_keys(str(files[0]))
        fields["age"].clear()
        fields["age"].send_keys("3")
        page.find_element("css selector", "#rows button").click()
        (card,) = answered(page)
        expected = predictor.predict({"photo": files[0], "age": 3})
        assert card.find_element("class name", "label").text == expected.label
        assert len(shown(page, "curl")) < 300
        for (prediction,) in run_shown(page, files[0].parent):
            assert prediction["confidence"] == pytest.approx(expected.confidence, abs=1e-5)
        assert complaints(page) == []


def test_words_are_shown_with_their_tags(browser: Callable[..., Any], tmp_path: Path) -> None:
    words = [["Anna", "lives", "in", "Paris"], ["the", "cat", "saw", "Bob"]] * 20
    tags = [["B-PER", "O", "O", "B-LOC"], ["O", "O", "O", "<b>"]] * 20
    data = fb.Dataset({"words": words, "tags": tags}, target="tags")
    fb.Learner(data, run=tmp_path / "run", quiet=True, epochs=1).fit(check=False)
    with background_server(tmp_path / "run") as url:
        page = browser(url)
        page.find_element("css selector", "#rows button").click()
        (card,) = answered(page)
        script = (
            "return [...arguments[0].querySelectorAll('ruby')].map((r) => [r.firstChild.data, r.lastChild.textContent])"
        )
        expected = fb.load(tmp_path / "run").predict(words[:1])[0]
        typed = page.find_element("css selector", "#fields textarea").get_attribute("value").split()
        found = page.execute_script(script, card)
        assert [word for word, _ in found] == typed
        assert typed != words[0] or [tag for _, tag in found] == list(expected.label)
        assert complaints(page) == []
