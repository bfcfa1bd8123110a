"""Things as HTML and as figures: what they hold, escaped, small; the numbers of a figure; what cannot be drawn."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
import sklearn.datasets
from matplotlib.figure import Figure

import flambeau as fb
from flambeau.core.cell import Output
from flambeau.core.findings import Finding, Findings, Severity
from flambeau.notebook import html

EVIL = "<script>alert(1)</script>"
SMALL = 30_000  # characters


@pytest.fixture(scope="module")
def learner(tmp_path_factory: pytest.TempPathFactory) -> fb.Learner:
    digits = sklearn.datasets.load_digits()
    names = [EVIL if number == 0 else f"n{number} $" for number in digits.target[:300]]
    data = fb.Dataset.from_arrays(digits.images[:300] / 16, names)
    folder = tmp_path_factory.mktemp("shown")
    learner = fb.Learner(data, "mlp", epochs=2, batch_size=32, run=folder / "run", cache=folder / "cache", quiet=True,
                         baseline=False, log_every=1, learning_rate=0.01)  # fmt: skip
    learner.fit()
    return learner


class Tags(HTMLParser):
    """The elements of a page; every one that is opened is closed."""

    def __init__(self, text: str):
        super().__init__()
        self.found: set[str] = set()
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.found.add(tag)
        if tag not in ("img", "br", "path", "circle", "rect", "line"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("path", "circle", "rect", "line"):
            assert self.open.pop() == tag


def shown(thing: object) -> str:
    """A thing's HTML: whole, small, and without what data would put into it."""
    text = html.of(thing)
    tags = Tags(text)
    assert not tags.open and not tags.found & {"script", "iframe", "link"} and len(text) < SMALL
    return text


def test_everything_is_escaped_whole_and_small(learner: fb.Learner) -> None:
    assert learner.data is not None and learner.run is not None
    digits = sklearn.datasets.load_digits()
    for thing in (learner, learner.data, learner.run, learner.predict(digits.images[0] / 16)):
        assert html.of(thing) == thing._repr_html_()
        shown(thing)
    assert "&lt;script&gt;" in shown(learner.data)
    found = Findings([Finding("x", Severity.ERROR, EVIL, [EVIL] * 500, fix=EVIL)] * 100)
    assert "and 80 more" in html.of(found) and "script" not in Tags(html.of(found)).found


def test_style_holds_for_the_output_alone_and_has_no_colour_of_a_page(learner: fb.Learner) -> None:
    style = re.search(r"<style>(.*?)</style>", shown(learner.run), re.DOTALL)
    assert style is not None
    selectors = [one for rule in re.findall(r"([^{}]+)\{", style[1]) for one in rule.split(",")]
    assert all(one.strip().startswith(".flambeau") for one in selectors) and "@media" not in style[1]
    assert ".tile" in style[1] and ".matrix" not in style[1]


def test_a_learner_tells_what_it_would_do_and_what_it_cannot() -> None:
    data = fb.Dataset({"x": [0.0, 1.0] * 30, "y": ["a", "b"] * 30}, target="y")
    assert "training.learning_rate" in shown(fb.Learner(data, run=False))
    assert "did you mean &#x27;mlp&#x27;" in shown(fb.Learner(data, "mpl", run=False))


def test_texts_forecasts_and_numbers_are_shown(tmp_path: Path) -> None:
    shown(fb.Prediction(["O", "B-PER"], 0.9, tokens=["I", "<b>"]))
    shown(fb.Prediction([1.0, 2.0], times=["1", "2"], quantiles={"0.1": [0.5, 1.5]}))
    assert "3.25" in shown(fb.Prediction(3.25))
    assert "nothing is in it yet" in shown(fb.Run(tmp_path))


def test_figures_have_their_numbers(learner: fb.Learner) -> None:
    assert learner.data is not None and learner.run is not None
    figures = {
        "step": learner.plot_losses(), "learning_rate": learner.plot_lr(), "count": learner.plot_confusion(),
        "accuracy": learner.plot_calibration(), "predicted": learner.run.show_mistakes(3), "row": learner.data.show(5),
    }  # fmt: skip
    for column, figure in figures.items():
        assert isinstance(figure, Figure) and column in figure.frame().columns and figure.axes
        assert figure._repr_png_().startswith(b"\x89PNG")
    held = len(learner.data.rows("test"))
    assert figures["count"].frame()["count"].sum() == figures["accuracy"].frame()["count"].sum() == held
    assert len(figures["row"].frame()) == 5 and figures["row"].frame()["row"].is_in(range(300)).all()
    confused = figures["count"].frame().filter(pl.col("true") != pl.col("predicted"))["count"].sum()
    assert len(figures["predicted"].frame()) == min(3, confused)


def test_history_and_metrics_are_tidy(learner: fb.Learner) -> None:
    run = fb.Run.open(learner.run.path)  # type: ignore[union-attr]
    history = run.history.filter((pl.col("split") == "valid") & (pl.col("metric") == "accuracy"))
    assert history["epoch"].to_list() == [1, 2]
    assert history["value"].to_list() == [line["valid"]["accuracy"] for line in run.lines if "valid" in line]
    assert len(run.history.filter((pl.col("split") == "step") & (pl.col("metric") == "loss"))) == history["step"][-1]
    metrics = {row["metric"]: row for row in run.metrics.iter_rows(named=True)}
    assert {n: row["value"] for n, row in metrics.items()} == run.evaluation["metrics"]
    assert metrics["accuracy"]["low"] <= metrics["accuracy"]["value"] <= metrics["accuracy"]["high"]
    assert fb.Run("nowhere").metrics.is_empty() and fb.Run("nowhere").history.is_empty()


def test_what_is_not_there_is_said(learner: fb.Learner, tmp_path: Path) -> None:
    data = fb.Dataset({"x": [0.0, 1.0] * 30, "y": [0.5, 1.5] * 30}, target="y")
    numbers = fb.Learner(data, "linear", epochs=1, run=tmp_path / "numbers", quiet=True, baseline=False)
    with pytest.raises(fb.FlambeauError, match="has not been trained, and figures are of a run"):
        numbers.plot_losses()
    numbers.fit()
    with pytest.raises(fb.FlambeauError, match="how classes are confused was not measured; expected a classifier"):
        numbers.plot_confusion()
    with pytest.raises(fb.FlambeauError, match="leaves no run"):
        fb.Learner(data, run=False).plot_lr()
    with pytest.raises(fb.FlambeauError, match="no split is called 'vaild'; did you mean 'valid'"):
        data.show(split="vaild")
    with pytest.raises(fb.FlambeauError, match="count=0 does not fit"):
        data.show(0)


def test_a_cells_output_is_folded_and_escaped() -> None:
    output = Output.__new__(Output)
    output.lines, output.bars = [(f"line {i} {EVIL}", None) for i in range(40)], {1: (EVIL, 3, 10, EVIL)}
    text = output.html()
    assert "28 lines before" in text and "<script" not in text and 'value="3" max="10"' in text
    Tags(text)
