"""CycleGAN: pictures of one class made into such of another, of which it has seen no pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from typer.testing import CliRunner

import flambeau as fb
from flambeau import report
from flambeau.cli.main import app
from flambeau.core.errors import UsageError
from flambeau.objectives.generative import CycleGAN
from flambeau.predictor.generating import reconstructed
from flambeau.testing.small import context

INKS = {"red": (1.0, 0.3, 0.1), "blue": (0.1, 0.4, 1.0)}
EACH = 200


def inked() -> tuple[np.ndarray, list[str]]:
    """Digits in two inks, none of them in both, uint8 (N, 16, 16, 3)."""
    grey = load_digits().images[: 2 * EACH] / 16
    grey = grey.repeat(2, 1).repeat(2, 2)[..., None]
    parts = [grey[i * EACH : (i + 1) * EACH] * np.asarray(ink) for i, ink in enumerate(INKS.values())]
    return (np.concatenate(parts) * 255).astype(np.uint8), [name for name in INKS for _ in range(EACH)]


def test_a_picture_becomes_one_of_another_class_and_stays_what_it_shows(tmp_path: Path) -> None:
    pictures, labels = inked()
    objective = {"name": "cyclegan", "width": 8, "blocks": 1}
    learner = fb.Learner(
        fb.Dataset.from_arrays(pictures, labels), objective=objective, epochs=14, batch_size=25, learning_rate=1e-3,
        run=tmp_path / "run", quiet=True,
    )  # fmt: skip
    learner.fit(check=False)
    red = pictures[:32]
    made = [
        np.asarray(v) for v, _ in reconstructed(learner.predictor, [learner.predictor.encode(p) for p in red], "blue")
    ]
    bright = red.max(-1) > 128
    ink = np.stack(made)[bright].mean(0)
    assert ink[2] > 1.5 * ink[0], f"the ink is red {ink[0]:.0f} and blue {ink[2]:.0f}"
    alike = [
        np.corrcoef(a.sum(-1).ravel(), b.sum(-1).ravel())[0, 1] for a, b in zip(red.astype(int), made, strict=True)
    ]
    assert float(np.median(alike)) > 0.7

    Image.fromarray(red[0]).save(tmp_path / "three.png")
    command = ["reconstruct", str(tmp_path / "run"), str(tmp_path / "three.png"), "--out", str(tmp_path / "changed")]
    assert CliRunner().invoke(app, [*command, "--class", "blue"], catch_exceptions=False).exit_code == 0
    written = np.asarray(Image.open(tmp_path / "changed" / "three.png").convert("RGB"))
    assert np.abs(written.astype(int) - made[0]).max() <= 8
    assert "Held-out, and made into the other classes" in report.write(learner.run).read_text(encoding="utf-8")

    for verb in ("generate", "interpolate"):
        with pytest.raises(UsageError, match="CycleGAN"):
            learner.predictor.generate(2) if verb == "generate" else learner.predictor.interpolate(red[0], red[1], 3)


@pytest.mark.parametrize(
    ("options", "told"), [({"width": 0}, "width=0"), ({"cycle": -1.0}, "cycle=-1.0"), ({"blocks": 0}, "blocks=0")]
)
def test_settings_that_do_not_fit_are_told(options: dict[str, float], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        CycleGAN.build(context(), **options)


def test_what_is_no_picture_of_a_class_is_told() -> None:
    with pytest.raises(UsageError, match="has no classes"):
        CycleGAN.build(context("number"))
