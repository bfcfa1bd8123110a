"""Embeddings: what goes into a model's head, as an array, a table, a projector and a picture."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import flambeau as fb
from flambeau.core.errors import UsageError
from flambeau.predictor.embedding import head_of
from flambeau.studies.embeddings import flattened


@pytest.fixture(scope="module")
def run(digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("embeddings")
    for of_class in ("0", "1", "7"):
        (folder / "photos" / of_class).mkdir(parents=True)
        for file in sorted((digits_folder / of_class).iterdir())[:30]:
            shutil.copy(file, folder / "photos" / of_class)
    data = fb.Dataset.from_folder(folder / "photos")
    learner = fb.Learner(
        data, model="mlp", size=8, run=folder / "run", quiet=True, cache=folder / "cache", epochs=8, baseline=False
    )
    learner.fit(check=False)
    return folder / "run"


def test_what_is_embedded_is_what_the_head_makes_the_answer_of(run: Path) -> None:
    predictor = fb.load(run)
    files = sorted((run.parent / "photos").rglob("*.png"))[::20]
    vectors = predictor.embed(files, batch_size=2)
    assert vectors.shape == (len(files), head_of(predictor.objective).in_features)
    logits = head_of(predictor.objective)(torch.from_numpy(vectors))
    answers = [predictor.classes[i] for i in logits.argmax(1).tolist()]
    assert answers == [prediction.label for prediction in predictor.predict(files)]
    assert np.allclose(predictor.embed(files[1]), vectors[1], atol=1e-5)
    assert not head_of(predictor.objective)._forward_pre_hooks


def test_the_verb_writes_a_table_a_projector_and_a_picture_that_parts_the_classes(run: Path, flambeau: Any) -> None:
    done = flambeau("embed", "run", "photos", "--out", "all.parquet", cwd=run.parent)
    assert done.status == 0, done.err
    table = pl.read_parquet(run.parent / "all.parquet")
    assert len(table) == 90 and set(table["label"]) == {"0", "1", "7"}
    first = fb.load(run).embed([run.parent / "photos" / table["place"][0]])[0]
    assert np.allclose(table["vector"].to_numpy()[0], first, atol=1e-5)

    done = flambeau("embed", "run", "--picture", "pca", "--projector", "p", "--json", cwd=run.parent)
    assert done.status == 0, done.err
    points = fb.Run(run).embedding["points"]
    assert len(points) == len((run.parent / "p" / "tensors.tsv").read_text().splitlines())
    assert len(points) + 1 == len((run.parent / "p" / "metadata.tsv").read_text().splitlines())
    page = (run / "report.html").read_text()
    assert 'id="embedding"' in page and all(f"{p['label']} · {p['place']}" in page for p in points)
    xy, labels = np.array([[p["x"], p["y"]] for p in points]), np.array([p["label"] for p in points])
    distances = np.linalg.norm(xy[:, None] - xy, axis=2) + np.diag(np.full(len(xy), np.inf))
    assert (labels[distances.argmin(1)] == labels).mean() > 0.8  # near is alike


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "nothing is to be written"),
        (("--out", "v.txt"), "vectors cannot be written as '.txt'"),
        (("--picture", "tsn"), "did you mean 'tsne'"),
        (("photos", "--picture", "pca"), "the report shows the run's own rows"),
    ],
)
def test_what_cannot_be_embedded_is_told_in_a_line(run: Path, flambeau: Any, arguments: Any, said: str) -> None:
    done = flambeau("embed", "run", *arguments, cwd=run.parent)
    assert done.status == 2 and said in done.err and len(done.err.splitlines()) == 1


def test_one_number_is_drawn_on_a_line_and_a_way_that_is_none_is_refused() -> None:
    vectors = np.random.default_rng(0).random((5, 3)).astype(np.float32)
    assert flattened(vectors, "tsne").shape == (5, 2)
    assert np.allclose(flattened(vectors[:, :1], "pca")[:, 0], vectors[:, 0])
    with pytest.raises(UsageError, match="no way to draw vectors is called"):
        flattened(vectors, "isomap")
