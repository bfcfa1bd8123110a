from __future__ import annotations

import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import flambeau as fb
from flambeau import report
from flambeau.core.errors import RunError, UsageError
from flambeau.core.files import read_json, write_json
from flambeau.run import Run

RUNS = ["classification", "many_classes", "regression", "multilabel", "table", "forecast", "own_parts"]
ALWAYS = ["data", "curves", "speed", "reasons", "environment", "recipe"]
SECTIONS = {
    "classification": [
        *ALWAYS,
        "confusion",
        "classes",
        "worst",
        "calibration",
        "learning_rate",
        "rivals",
        "thresholds",
    ],
    "many_classes": [*ALWAYS, "confusion", "classes", "worst", "calibration", "rivals", "thresholds"],
    "regression": [*ALWAYS, "regression", "ranges", "worst", "rivals"],
    "multilabel": [*ALWAYS, "classes", "worst", "rivals", "thresholds"],
    "table": [*ALWAYS, "confusion", "classes", "worst", "calibration", "rivals", "inputs", "thresholds", "slices"],
    "forecast": [*ALWAYS, "forecasts", "worst", "rivals"],
    "own_parts": [*ALWAYS, "worst"],
}


@pytest.fixture
def copy(classification: Run, tmp_path: Path) -> Run:
    """A run that a test may spoil."""
    shutil.copytree(classification.path, tmp_path / "run")
    return Run(tmp_path / "run")


@pytest.mark.parametrize("language", ["en", "zh-CN"])
@pytest.mark.parametrize("name", RUNS)
def test_is_one_well_formed_file_that_asks_nothing_of_any_server(name, language, request, read):
    page = report.build(request.getfixturevalue(name), language=language)
    seen = read(page)
    assert seen.faults == []
    assert all(a.startswith(("data:", "#")) for a in seen.addresses)
    assert "url(" not in seen.style and "@import" not in seen.style
    assert "script" not in seen.tags and seen.handlers == []
    assert '<meta charset="utf-8">' in page and f'lang="{language}"' in page
    assert {a[1:] for a in seen.addresses if a.startswith("#")} <= set(seen.ids)
    assert len(set(seen.ids)) == len(seen.ids)


@pytest.mark.parametrize("name", RUNS)
def test_has_the_sections_that_the_run_has_something_to_say_about(name, request, read):
    seen = read(report.build(request.getfixturevalue(name)))
    assert set(SECTIONS[name]) <= set(seen.ids)
    assert set(seen.ids) - {"learning_rate", "groups"} <= set(SECTIONS[name])


def test_hostile_names_are_text(classification, names, read):
    page = report.build(classification)
    text = read(page).text
    for name in names:
        assert name.removeprefix("\u202e") in text
    assert "\u202e" not in page
    assert "<script" not in page and "<img src=x" not in page
    assert "train/<b>11</b>.png" in text and "<b>11</b>" not in page


def test_metrics_and_thumbnails_are_there(classification):
    page = report.build(classification)
    accuracy = classification.evaluation["metrics"]["accuracy"]
    assert f"{accuracy:.1%}" in page
    mistakes = classification.evaluation["detail"]["worst"]
    assert mistakes and all(m["html"].split('"')[1] in page for m in mistakes)
    shown = read_json(classification.path / "findings.json")["thumbnails"]
    assert len(shown[0]) == 8 and all(t.split('"')[1] in page for t in shown[0])
    for finding in classification.findings:
        assert finding.message in page


def test_by_what_the_outputs_were_divided_is_told(copy, read):
    evaluation = read_json(copy.path / "evaluation.json")
    for divided, told in ((1.0, False), (1.73, True)):
        evaluation["detail"]["calibration"]["temperature"] = divided
        write_json(copy.path / "evaluation.json", evaluation)
        assert ("outputs were divided by 1.73" in read(report.build(copy)).text) is told


def test_every_cell_of_the_confusion_matrix_is_shown(classification, read):
    page = report.build(classification)
    classes = classification.evaluation["detail"]["classes"]
    seen = read(page)
    total = sum(n > 0 for row in classification.evaluation["detail"]["confusion"] for n in row)
    assert page.count('style="--heat:') == total
    assert seen.text.count(classes[0]) >= 3  # row, column, per-class table


def test_of_many_classes_the_most_confused_pairs_are_shown(many_classes, read):
    page = report.build(many_classes)
    assert "--heat" not in read(page).style.split("@media print")[1]
    assert page.count('class="meter miss"') >= 30


def test_the_data_may_be_gone_and_the_run_elsewhere(digits_folder, tmp_path):
    data = tmp_path / "data"
    for i, source in enumerate(sorted(digits_folder.rglob("*.png"))):
        if i % 12 == 0:
            (data / source.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(source, data / source.parent.name)
    dataset = fb.Dataset.from_folder(data)
    learner = fb.Learner(dataset, model="mlp", run=tmp_path / "here", cache=tmp_path / "cache", quiet=True, epochs=1)
    learner.fit(check=False)
    before = report.build(Run(tmp_path / "here"))
    shutil.rmtree(data)
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "there").mkdir()
    shutil.move(tmp_path / "here", tmp_path / "there" / "here")
    assert report.build(Run(tmp_path / "there" / "here")) == before
    assert before.count("data:image/png") > 0


def test_write_leaves_the_page_in_the_run_and_nothing_else(copy):
    before = {p.name for p in copy.path.iterdir()}
    path = report.write(copy.path)
    assert path == copy.path / "report.html" and path.read_text(encoding="utf-8") == report.build(copy)
    assert {p.name for p in copy.path.iterdir()} == before | {"report.html"}


def test_a_training_that_was_killed_has_a_report(copy, read):
    for name in ("model.safetensors", "evaluation.json"):
        (copy.path / name).unlink()
    lines = (copy.path / "metrics.jsonl").read_text().splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if "train_loss" in line)
    (copy.path / "metrics.jsonl").write_text("".join(lines[: first + 3]) + '{"step": 99, "epo')
    seen = read(report.build(copy))
    assert "1 of 3 epochs" in seen.text and f"flambeau resume {copy.path}" in seen.text
    assert {"data", "curves", "speed"} <= set(seen.ids) and "confusion" not in seen.ids


def test_a_training_that_had_hardly_begun_has_a_report(copy, read):
    for path in copy.path.iterdir():
        if path.name != "recipe.yaml":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    seen = read(report.build(copy))
    assert seen.faults == [] and "No epoch is finished yet." in seen.text
    assert "The data was not checked" in seen.text


def test_charts_are_well_formed_and_hold_no_number_that_is_none(copy):
    lines = [line.replace('"train_loss": ', '"train_loss": NaN, "was": ') if '"epoch": 2' in line else line
             for line in (copy.path / "metrics.jsonl").read_text().splitlines(keepends=True)]  # fmt: skip
    (copy.path / "metrics.jsonl").write_text("".join(lines))
    evaluation = copy.evaluation
    evaluation["metrics"]["loss"] = float("nan")
    write_json(copy.path / "evaluation.json", evaluation)
    found = re.findall(r"<svg.*?</svg>", report.build(copy), flags=re.DOTALL)
    assert len(found) == 11
    for chart in found:
        for element in ElementTree.fromstring(chart).iter():
            for name in ("d", "x", "y", "cx", "cy", "width", "height"):
                assert not {"nan", "inf"} & set(element.get(name, "").replace("L", " ").replace("M", " ").split())


def test_a_thumbnail_that_the_library_did_not_make_is_text(copy, read):
    evaluation = copy.evaluation
    evaluation["detail"]["worst"][0]["html"] = '<img src="https://example.org/x.png" alt=""><iframe src=//x></iframe>'
    write_json(copy.path / "evaluation.json", evaluation)
    page = report.build(copy)
    assert "example.org" in read(page).text and "<iframe" not in page


@pytest.mark.parametrize("name", RUNS)
def test_chinese_reports_are_chinese(name, request, read):
    text = read(report.build(request.getfixturevalue(name), language="zh-CN")).text
    for word in ("下一步做什么", "曲线", "速度", "环境", "配方"):
        assert word in text
    assert "What to do next" not in text


def test_what_is_not_a_run_and_a_language_that_is_not_spoken_are_named(tmp_path, classification):
    with pytest.raises(RunError, match="not a run"):
        report.write(tmp_path)
    with pytest.raises(UsageError, match=r"does not speak 'zh'.*zh-CN"):
        report.build(classification, language="zh")


def test_the_data_is_pictured(table, classification, read):
    """How many rows each part has, how often each class is there, what the columns hold, and some rows."""
    seen = table.path / "findings.json"
    overview = read_json(seen)["overview"]
    page = report.build(table)
    text = read(page).text
    for part, count in overview["rows"].items():
        assert count > 0 and f"{ {'train': 'training', 'valid': 'validation'}.get(part, part) } {count}" in text
    assert page.count('class="bars"') == 3
    assert page.count('class="spark"') == 4 and "16.9%" in text  # 30 of 178 have no alcohol
    assert page.count("card sample") == len(overview["samples"]) == 12
    assert "&lt;span" not in page and '<span class="name">alcohol</span>' in page
    assert "red" in text and "rose" in text
    digits = report.build(classification)
    assert digits.count('class="bars"') == 10 and digits.count("card sample") == 12


def test_a_forecast_has_a_legend_a_band_and_the_name_of_what_is_forecast(forecast, read):
    page = report.build(forecast)
    charts = forecast.evaluation["detail"]["forecasts"]
    assert page.count('class="band c1"') == len(charts) > 0
    assert page.count('class="key band c1"') == len(charts)
    assert "to forecast load, 24 steps ahead" in read(page).text


def test_one_epoch_is_told_in_words_and_not_drawn_as_a_dot(forecast, read):
    page = report.build(forecast)
    text = read(page).text
    assert "One epoch only, so there is no curve. training: loss" in text
    curves = page.split('<section id="curves">')[1].split("</section>")[0]
    assert "<circle" not in curves


def test_intervals_and_a_tie_are_shown(copy, read):
    evaluation = copy.evaluation
    accuracy = evaluation["metrics"]["accuracy"]
    rival = {"name": "a simple one", "seconds": 1.0, "metrics": {"accuracy": accuracy - 0.01},
             "differences": {"accuracy": [0.01, -0.02, 0.04]}, "note": "fitted on 100 of 1,000 rows"}  # fmt: skip
    evaluation |= {"metric": "accuracy", "intervals": {"accuracy": [0.123, 0.987]}, "baselines": [rival]}
    write_json(copy.path / "evaluation.json", evaluation)
    text = read(report.build(copy)).text
    assert "95 %: 12.3% to 98.7%" in text
    assert "A tie with the best simple model" in text and "+1.0% (95 %: \u22122.0% to +4.0%)" in text
    assert "fitted on 100 of 1,000 rows" in text


def test_the_report_of_many_sounds_or_pictures_stays_small(copy):
    document = read_json(copy.path / "findings.json")
    large = f'<img src="data:image/png;base64,{"A" * 200_000}" alt="">'
    document["thumbnails"] = [[large] * 8 for _ in document["findings"]]
    write_json(copy.path / "findings.json", document)
    assert len(report.build(copy)) < 2_000_000


def test_what_a_language_has_no_words_for_is_marked_as_english(copy):
    document = read_json(copy.path / "findings.json")
    document["findings"][0] |= {"check": "of-tomorrow", "message": "something that nobody knew"}
    write_json(copy.path / "findings.json", document)
    assert '<b lang="en">something that nobody knew</b>' in report.build(copy, language="zh-CN")
    assert "<b>something that nobody knew</b>" in report.build(copy)
