"""Arrays in .npz and .mat files, as Datasets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat
from sklearn.datasets import load_digits

from flambeau.cli.main import run
from flambeau.core.errors import DataError
from flambeau.data.dataset import Dataset
from flambeau.data.sources.opening import from_path

DIGITS = load_digits()
X, Y = (DIGITS.images * 15).astype(np.uint8), DIGITS.target


def counts(data: Dataset) -> list[int]:
    return [len(data.rows(side)) for side in ("train", "valid", "test")]


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_valid", "y_valid", "x_test", "y_test"),
        ("train_images", "train_labels", "val_images", "val_labels", "test_images", "test_labels"),
    ],
    ids=["as Keras", "as MedMNIST"],
)
def test_the_names_of_arrays_tell_the_split(names: tuple[str, ...], tmp_path: Path) -> None:
    parts = [(X[:60], Y[:60, None]), (X[60:80], Y[60:80, None]), (X[80:90], Y[80:90, None])]
    np.savez(tmp_path / "d.npz", **dict(zip(names, [a for part in parts for a in part], strict=True)))
    data = from_path(tmp_path / "d.npz")
    assert counts(data) == [60, 20, 10] and data.fields[data.inputs[0]].kind == "image"
    again = Dataset.from_source(json.loads(json.dumps(data.source)))
    assert counts(again) == [60, 20, 10] and again.inputs == data.inputs


def test_matlab_with_the_samples_last_and_the_names_of_the_classes_beside_them(tmp_path: Path) -> None:
    pictures = np.moveaxis(np.repeat(X[:50, :, :, None], 3, 3), 0, -1)  # (H, W, C, N), as SVHN
    names = np.asarray([f"digit {i}" for i in range(10)], object)
    savemat(tmp_path / "d.mat", {"X": pictures, "y": Y[:50, None], "names": names})
    data = from_path(tmp_path / "d.mat")
    assert len(data) == 50 and data.inputs == ["X"] and data.fields["X"].kind == "image"
    assert np.array_equal(np.asarray(data.columns["X"][7])[..., 0], X[7]) and data.columns["y"][7] == Y[7]
    assert any("names" in finding.message for finding in data.findings)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("d.npz", {"x": X[:9], "y": np.asarray([{}, 1], object)}, "pickled objects, which are never loaded"),
        ("d.npz", {"x": X[:9], "answers": Y[:9]}, "no array of the train part looks like the target"),
        ("d.npz", {"x": X[:9], "y": Y[:8]}, "no array has as many rows as 'y', 8"),
        ("d.npz", {"x_test": X[:9], "y_test": Y[:9]}, "no array is of the training part"),
        ("d.npz", b"PK" + bytes(40), "cannot be read"),
        ("d.mat", b"nothing", "cannot be read"),
        ("d.mat", b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(99), "MATLAB 7.3, which is HDF5"),
    ],
)
def test_what_does_not_fit_is_one_line(name: str, content: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content) if isinstance(content, bytes) else np.savez(path, **content)
    with pytest.raises(DataError, match=message) as raised:
        from_path(path)
    assert name in str(raised.value)


def test_trained_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("d.npz", images=X[:200], labels=Y[:200])
    assert run(["train", "d.npz", "--model", "mlp", "--epochs", "2", "--run", "run"]) == 0
    assert run(["evaluate", "run"]) == 0
