"""The section of what a generative model makes, of the files that a run holds."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flambeau import report
from flambeau.core.files import write_json
from flambeau.core.findings import Finding, Severity
from flambeau.fields.heat import as_img
from flambeau.report.advice import advise
from flambeau.report.facts import Facts
from flambeau.run import Run

SHEET = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))


@pytest.fixture
def copy(classification: Run, tmp_path: Path) -> Run:
    shutil.copytree(classification.path, tmp_path / "run")
    return Run(tmp_path / "run")


def made(run: Run, frames: int, **more: Any) -> Run:
    """The run with what a generative one has beside it."""
    (run.path / "samples").mkdir()
    noise = np.random.default_rng(0)
    for epoch in range(1, frames + 1):
        picture = Image.fromarray(noise.integers(0, 256, (78, 78), np.uint8))
        picture.save(run.path / "samples" / f"epoch-{epoch:04}.png")
    names = ("real", "samples", "nearest", "reconstructed", "between", "plane")
    points = [{"x": float(i), "y": float(i % 3), "label": "<b>", "place": f"{i}.png"} for i in range(5)]
    portrait = {name: as_img(SHEET, kind="png") for name in names} | {"codes": {"method": "pca", "points": points}}
    write_json(run.path / "evaluation.json", {**run.evaluation, "portrait": portrait, **more})
    lines = (run.path / "metrics.jsonl").read_text().splitlines()
    epochs = [
        {"step": n, "epoch": n, "train_loss": 1.0, "phases": {"discriminator": 1 / n, "generator": n}}
        for n in (1, 2, 3)
    ]
    watched = [{"step": n, "epoch": n, "monitors": {"diversity": 0.5, "unknown": 1.0}} for n in (1, 2, 3)]
    figures = [{"step": n, "epoch": n, "figures": {"told_apart": 0.9}} for n in (1, 2, 3)]
    written = [*lines, *(json.dumps(line) for line in (*epochs, *watched, *figures))]
    (run.path / "metrics.jsonl").write_text("\n".join(written) + "\n")
    return run


def frames_of(page: str) -> list[np.ndarray]:
    (found,) = re.findall(r"data:image/webp;base64,([A-Za-z0-9+/=]+)", page)
    moving = Image.open(io.BytesIO(base64.b64decode(found)))
    shown = []
    for i in range(moving.n_frames):
        moving.seek(i)
        shown.append(np.asarray(moving.convert("L")))
    return shown


def test_samples_stand_beside_real_ones_and_move(copy: Run, read: Any) -> None:
    measured = {
        "features": {"name": "the last layer of <i>"}, "samples": 100, "diversity": 0.5, "of_class_asked": 0.875,
        "metrics": {"frechet@ab/100": 12.5}, "floor": {"frechet@ab/100": 0.25},
        "classes": [{"class": "</td>", "generated": 0.25, "real": 0.75}],
    }  # fmt: skip
    run = made(copy, 4, generated=measured)
    page = report.build(run)
    seen = read(page)
    assert not seen.faults and "generated" in seen.ids and "pictures" not in seen.ids and "embedding" in seen.ids
    assert page.count('class="sheet tiny"') == 7 and as_img(SHEET, kind="png").split('"')[1] in page
    figures = ("12.5", "0.25", "50.0%", "87.5%", "25.0%")
    told = ("Real", "nearest training pictures", "From epoch 1 to epoch 4", "diversity of samples",
            "discriminator is right on", "Loss of each phase", "generator")  # fmt: skip
    for said in (*figures, *told):
        assert said in seen.text, said
    paths = sorted((run.path / "samples").iterdir())
    frames = frames_of(page)
    assert all(np.array_equal(frame, np.asarray(Image.open(path))) for frame, path in zip(frames, paths, strict=True))
    assert "训练中监视的内容" in report.build(run, language="zh-CN")


def test_what_is_long_or_damaged_is_left_out(copy: Run) -> None:
    run = made(copy, 70)
    frames = frames_of(report.build(run))
    first, last = (np.asarray(Image.open(run.path / "samples" / f"epoch-{n:04}.png")) for n in (1, 70))
    assert len(frames) == 30 and np.array_equal(frames[0], first) and np.array_equal(frames[-1], last)
    (run.path / "samples" / "epoch-0070.png").write_bytes(b"\x89PNG\r\n\x1a\n cut short")
    evaluation = run.evaluation
    evaluation["portrait"]["real"] = "<script>alert(1)</script>"
    write_json(run.path / "evaluation.json", evaluation)
    page = report.build(run)
    assert "image/webp" not in page and "<script" not in page and page.count('class="sheet tiny"') == 5


def test_large_pictures_make_a_small_page(copy: Run) -> None:
    run = made(copy, 0)
    noise = np.random.default_rng(0)
    for epoch in range(1, 31):
        picture = Image.fromarray(noise.integers(0, 256, (33, 33, 3), np.uint8)).resize(
            (526, 526), Image.Resampling.BICUBIC
        )
        picture.save(run.path / "samples" / f"epoch-{epoch:04}.png")
    page = report.build(run)
    assert "image/webp" in page and len(page) < 1_500_000
    assert frames_of(page)[0].shape == (400, 400)


def test_a_classifier_has_no_such_section(classification: Run, read: Any) -> None:
    assert (
        not Path(classification.path / "samples").exists() and "generated" not in read(report.build(classification)).ids
    )


def test_losses_of_networks_that_work_against_one_another_give_no_advice(copy: Run) -> None:
    collapse = Finding("mode-collapse", Severity.WARNING, "mode collapse: all alike", ["step 9"], fix="a lower rate")
    write_json(copy.path / "evaluation.json", {"split": "test", "metrics": {"loss": 1.0}, "detail": {}})

    def advice(phases: bool, *findings: Finding) -> list[str]:
        lines: list[dict[str, Any]] = [{"step": n, "epoch": n, "train_loss": float(n)} for n in (1, 2, 3)]
        for line in lines if phases else ():
            line["phases"] = {"discriminator": 1.0, "generator": line["train_loss"]}
        lines.append({"step": 9, "epoch": 3, "findings": [one.to_dict() for one in findings]})
        (copy.path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return [one.key for one in advise(Facts(copy))]

    assert "advice.diverged" in advice(False)
    assert "advice.diverged" not in advice(True)
    assert "advice.monitored" not in advice(True) and "advice.monitored" in advice(True, collapse)
