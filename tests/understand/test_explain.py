"""`flambeau explain` and `Predictor.explain`: pictures and a page, numbers, and what goes wrong in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

import flambeau as fb
from flambeau.cli.main import run as cli
from flambeau.core.errors import UsageError


@pytest.fixture(scope="module")
def run(digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("explain") / "digits"
    data = fb.Dataset.from_folder(digits_folder)
    fb.Learner(data, model="lenet", run=path, epochs=1, seed=0, augment="none").fit()
    return path


def test_the_verb_draws_each_file_and_tells_what_it_cannot_read(
    run: Path, digits_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad, out = sorted((digits_folder / "3").iterdir())[0], tmp_path / "bad.png", tmp_path / "heat"
    bad.write_bytes(b"no picture")
    files = [str(good), str(good), str(bad)]
    assert cli(["explain", str(run), *files, "--out", str(out), "--target", "3", "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    first, second, third = found["explanations"]
    assert first["method"] == "grad_cam" and first["explained"] == "3" and "error" in third
    assert first["inputs"]["image"]["shape"] == [8, 8] and np.max(first["inputs"]["image"]["grid"]) > 0
    assert first["pictures"] != second["pictures"] and PILImage.open(second["pictures"][0]).size == (256, 256)
    page = Path(found["page"]).read_text("utf-8")
    assert page.count("<article") == 2 and page.count("<img") == 4 and "&lt;" not in page
    assert cli(["explain", str(run), str(good), "--out", str(out), "--method", "occlusion"]) == 0
    assert "occlusion: how much the output falls" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--method", "grad_camp"], "did you mean 'grad_cam'"),
        (["--target", "dog"], "no class 'dog'"),
        (["--layer", "body.99"], "no layer 'body.99'"),
        (["--method", "occlusion", "--layer", "body"], "no setting 'layer'"),
    ],
)
def test_what_is_not_there_is_told_in_a_line(
    run: Path, digits_folder: Path, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(next((digits_folder / "3").iterdir()))
    assert cli(["explain", str(run), file, *arguments]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("flambeau: ") and told in line


def test_of_a_value_there_is_one_explanation_and_of_a_list_one_each(run: Path, digits_folder: Path) -> None:
    predictor = fb.load(run)
    file = str(next((digits_folder / "5").iterdir()))
    one, (again,) = predictor.explain(file), predictor.explain([file])
    assert np.array_equal(one.heat.grid, again.heat.grid) and one.output == one.prediction.label
    assert not predictor.objective.model.training
    with pytest.raises(UsageError, match="no setting 'steps'"):
        predictor.explain(file, method="occlusion", steps=3)


def test_the_report_shows_beside_each_mistake_where_the_model_saw_what_it_predicted(run: Path) -> None:
    evaluation = fb.Run.open(run).evaluation
    mistakes = evaluation["detail"]["worst"]
    assert mistakes and all(m["html"].count("<img") == 2 and 'alt="heat"' in m["html"] for m in mistakes)
    assert cli(["report", str(run)]) == 0
    page = (run / "report.html").read_text("utf-8")
    assert page.count('alt="heat"') == len(mistakes) and "Grad-CAM" in page
