"""Embeddings of the rows of a dataset, and a picture of them in two dimensions."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from flambeau.core.errors import DataError, UsageError, check_known, needed
from flambeau.core.files import write_atomic
from flambeau.core.reporter import QUIET, Reporter
from flambeau.data.batch import Batch
from flambeau.data.batches import Batches
from flambeau.data.dataset import Dataset
from flambeau.evaluation import held_out
from flambeau.predictor import Predictor
from flambeau.predictor.embedding import embed, whole
from flambeau.predictor.generating import codes as codes_of
from flambeau.run import Run

METHODS = ("pca", "tsne", "umap")


@dataclass(frozen=True)
class Embeddings:
    """Vectors of rows.

    Attributes:
        vectors: float32 (N, F).
        labels: of each row, as text; empty where the data has none.
        places: where each came from: its file, or its number.
        split: what the rows are: a split of the run's data, or `all` of other data.
    """

    vectors: np.ndarray
    labels: list[str]
    places: list[str]
    split: str

    def save(self, path: Path) -> None:
        """Writes a table: `place`, `label` and `vector`, a list in .parquet, and columns v0, v1, … in .csv.

        Raises:
            UsageError: the name ends otherwise.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        table = pl.DataFrame({"place": self.places} | ({"label": self.labels} if self.labels else {}))
        if path.suffix == ".parquet":
            table.with_columns(pl.Series("vector", self.vectors)).write_parquet(path)
        elif path.suffix == ".csv":
            numbers = pl.DataFrame({f"v{i}": column for i, column in enumerate(self.vectors.T)})
            table.hstack(numbers).write_csv(path)
        else:
            raise UsageError(f"vectors cannot be written as '{path.suffix}'", expected=".parquet or .csv")

    def save_projector(self, folder: Path) -> None:
        """Writes the three files of TensorBoard's projector into a folder, which `tensorboard --logdir` is given."""
        folder.mkdir(parents=True, exist_ok=True)
        vectors = "".join("\t".join(f"{value:.6g}" for value in row) + "\n" for row in self.vectors.tolist())
        named = [("label", self.labels), ("place", self.places)] if self.labels else [("place", self.places)]
        rows = zip(*(values for _, values in named), strict=True)
        plain = ["\t".join(" ".join(value.split()) for value in row) for row in rows]
        head = ["\t".join(name for name, _ in named)] if len(named) > 1 else []  # one column has no head there
        config = 'embeddings {\n  tensor_path: "tensors.tsv"\n  metadata_path: "metadata.tsv"\n}\n'
        write_atomic(folder / "tensors.tsv", vectors.encode())
        write_atomic(folder / "metadata.tsv", ("\n".join([*head, *plain]) + "\n").encode())
        write_atomic(folder / "projector_config.pbtxt", config.encode())

    def picture(self, method: str, seed: int = 0) -> dict[str, Any]:
        """{method, split, points: [{x, y, label, place}]}, plain JSON, which the report draws.

        Args:
            method: pca, tsne (van der Maaten & Hinton 2008) or umap (McInnes et al. 2018, arXiv:1802.03426).

        Raises:
            UsageError: there is no such method. DataError: there are fewer than three rows. MissingExtra: umap is not
            installed.
        """
        if len(self.vectors) < 3:
            raise DataError(f"{len(self.vectors)} rows make no picture", expected="3 or more")
        xy = flattened(self.vectors, method, seed)
        labels = self.labels or [""] * len(xy)
        points = [
            {"x": x, "y": y, "label": label, "place": place}
            for (x, y), label, place in zip(xy.tolist(), labels, self.places, strict=True)
        ]
        return {"method": method, "split": self.split, "points": points}


def flattened(vectors: np.ndarray, method: str, seed: int = 0) -> np.ndarray:
    """Vectors (N, F) in two dimensions, float64 (N, 2); see `Embeddings.picture`."""
    check_known("no way to draw vectors is called", [method], METHODS)
    if vectors.shape[1] < 2:
        return np.column_stack([vectors, np.zeros(len(vectors))]).astype(np.float64)
    if method == "pca":
        from sklearn.decomposition import PCA

        return PCA(2, random_state=seed).fit_transform(vectors).astype(np.float64)
    if method == "umap":
        umap = needed("umap", "umap", "a picture by umap")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a seed costs it its threads
            made = umap.UMAP(n_neighbors=min(15, len(vectors) - 1), init="pca", random_state=seed).fit_transform(
                vectors
            )
        return np.asarray(made, np.float64)
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(vectors) - 1) / 3)
    made = TSNE(2, init="pca", perplexity=perplexity, random_state=seed).fit_transform(vectors)
    return np.asarray(made, np.float64)


def embeddings(
    run: str | Path | Run, data: str | Path | Dataset | None = None, *, samples: int = 0, device: str = "auto",
    codes: bool = False, reporter: Reporter = QUIET, **source_options: Any,
) -> Embeddings:  # fmt: skip
    """Embeds a run's held-out rows, or all rows of other data.

    Args:
        samples: rows at most, from all over the data; 0 for all.
        codes: those of an autoencoder, in place of what comes before the last layer.

    Raises:
        RunError, DataError: as `evaluate_run`. UsageError: the run is an ensemble. ModelError: as `Predictor.embed`.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    predictor = Predictor.load(run, device=device, reporter=reporter)
    whole(predictor)
    reading, rows, split = held_out(run, predictor, data, reporter=reporter, **source_options)
    rows = rows[:: -(-len(rows) // samples)] if 0 < samples < len(rows) else rows
    dataset, trained, seen = reading.dataset, run.recipe.training, list[int]()
    tokens = None if trained.max_tokens is None else 2 * trained.max_tokens
    batches = Batches(reading.store, torch.from_numpy(rows), 2 * (trained.batch_size or 32), tokens=tokens)

    def prepared() -> Iterator[Batch]:
        for chosen, gathered in batches.epoch(0):
            seen.extend(chosen.tolist())  # batches bounded by tokens come in another order
            yield reading.prepare(chosen, gathered, False, None)

    vectors = (codes_of if codes else embed)(predictor.objective, predictor.engine, prepared())
    target = dataset.target if dataset.target in dataset.columns else None
    labels = [dataset.fields[target].caption(dataset.columns[target][row]) for row in seen] if target else []
    return Embeddings(vectors, labels, [dataset.place(row) for row in seen], split)
