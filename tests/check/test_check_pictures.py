"""check names every picture that is unreadable, misnamed, exotic, extreme or blank."""

from __future__ import annotations

import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage
from realdata.nasty import UNREADABLE

from flambeau.core.findings import Finding, Severity
from flambeau.data.dataset import Dataset
from flambeau.data.store.encode import EncodeOptions, encode

EXOTIC = {
    "cmyk": ["cmyk.jpg"],
    "16-bit": ["grey16.png"],
    "float": ["float_tiff.tif"],
    "1-bit": ["one_bit.png"],
    "palette": ["animated.gif", "palette_transparent.png"],
    "alpha": ["la.png", "palette_transparent.png", "rgba.png"],
    "animated": ["animated.gif"],
    "exif-rotated": [f"exif_{i}.jpg" for i in range(2, 9)],
    "wrong-extension": ["png_as_jpg.jpg"],
}


@pytest.fixture(scope="module")
def nasty_folder(digits_folder: Path, nasty: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty digits of each class, and every nasty file among the threes."""
    root = tmp_path_factory.mktemp("check") / "digits"
    for folder in sorted(digits_folder.iterdir()):
        (root / folder.name).mkdir(parents=True)
        for path in sorted(folder.iterdir())[:40]:
            shutil.copyfile(path, root / folder.name / path.name)
    for path in nasty.values():
        shutil.copyfile(path, root / "3" / path.name)
    return root


@pytest.fixture(scope="module")
def dataset(nasty_folder: Path) -> Dataset:
    return Dataset.from_folder(nasty_folder)


@pytest.fixture(scope="module")
def findings(dataset: Dataset) -> list[Finding]:
    return dataset.check()


def places(findings: list[Finding]) -> dict[str, list[str]]:
    """File names that each check names."""
    names: dict[str, list[str]] = defaultdict(list)
    for finding in findings:
        names[finding.check] += [Path(place).name for place in finding.places]
    return {check: sorted(found) for check, found in names.items()}


def test_unreadable_files_are_named_with_the_reason(findings: list[Finding]) -> None:
    reasons = {f.places[0]: f.message for f in findings if f.check in ("unreadable", "too-large")}
    assert set(reasons) == {f"3/{name}" for name in ("empty.jpg", "text.jpg", "truncated.jpg", "huge.png")}
    for name, reason in (("empty.jpg", "empty"), ("text.jpg", "not a picture"),
                         ("truncated.jpg", "cut short"), ("huge.png", "too large")):  # fmt: skip
        assert reason in reasons[f"3/{name}"]
    assert all(f.severity is Severity.WARNING for f in findings if f.check in ("unreadable", "too-large"))


def test_unreadable_is_what_the_store_leaves_out(dataset: Dataset, findings: list[Finding], tmp_path: Path) -> None:
    fresh = Dataset.from_source(dataset.source)
    fresh.fit()
    store = encode(fresh, EncodeOptions(cache=tmp_path))
    left_out = sorted(row for f in store.findings for row in f.rows)
    told = sorted(row for f in findings if f.check in ("unreadable", "too-large") for row in f.rows)
    assert told == left_out
    assert len(told) == len(UNREADABLE)


@pytest.mark.parametrize("check", EXOTIC)
def test_exotic_files_are_noted(check: str, findings: list[Finding]) -> None:
    assert places(findings)[check] == EXOTIC[check]
    assert all(f.severity is Severity.NOTE for f in findings if f.check == check)


def test_extreme_and_blank_pictures(findings: list[Finding]) -> None:
    named = places(findings)
    assert named["tiny"] == ["one_pixel.png"]
    assert named["extreme-aspect"] == ["wide.png"]
    assert named["blank"] == ["one_pixel.png"]


def test_colour_among_grey_pictures_is_noted(findings: list[Finding]) -> None:
    named = places(findings)["mixed-colour"]
    assert "plain.jpg" in named
    assert not {"grey.jpg", "grey16.png", "la.png", "one_bit.png", "00000.png"} & set(named)


def test_places_are_relative_and_rows_point_at_them(dataset: Dataset, findings: list[Finding]) -> None:
    for finding in findings:
        if finding.check in EXOTIC:
            assert finding.places == [dataset.place(row) for row in finding.rows]
            assert finding.count == len(finding.rows)


def test_threads_change_nothing(dataset: Dataset, findings: list[Finding]) -> None:
    assert [f.to_dict() for f in dataset.check(threads=1)] == [f.to_dict() for f in findings]


def test_tiny_pictures_are_fine_where_all_are_tiny(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(40):
        folder = tmp_path / "ab"[i % 2]
        folder.mkdir(exist_ok=True)
        PILImage.fromarray(rng.integers(0, 255, (5, 5), np.uint8)).save(folder / f"{i}.png")
    assert "tiny" not in places(Dataset.from_folder(tmp_path).check())


def test_no_readable_training_picture_is_an_error(tmp_path: Path) -> None:
    for i in range(30):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        (tmp_path / "ab"[i % 2] / f"{i}.jpg").write_bytes(b"\xff\xd8\xff" + bytes(20))
    findings = Dataset.from_folder(tmp_path).check()
    assert "nothing-readable" in {f.check for f in findings if f.severity is Severity.ERROR}


def test_a_missing_file_of_a_table_is_named(digits_folder: Path, tmp_path: Path) -> None:
    lines = ["path,label"]
    for folder in sorted(digits_folder.iterdir()):
        lines += [f"{path},{folder.name}" for path in sorted(folder.iterdir())[:12]]
    lines.insert(1, "gone.png,0")
    (tmp_path / "table.csv").write_text("\n".join(lines))
    data = Dataset.from_table(tmp_path / "table.csv")
    (finding,) = [f for f in data.check() if f.check == "unreadable"]
    assert finding.rows == [0]
    assert "missing" in finding.message
    assert "gone.png" in finding.places[0]


def test_blank_pictures_are_not_called_duplicates_as_well(tmp_path: Path) -> None:
    x = np.stack(
        [*np.random.default_rng(0).integers(0, 255, (30, 16, 16), np.uint8), *np.full((4, 16, 16), 7, np.uint8)]
    )
    findings = Dataset.from_arrays(x, np.arange(34) % 2, split="none").check()
    assert [f.rows for f in findings if f.check == "blank"] == [[30, 31, 32, 33]]
    assert not any("duplicate" in f.check or "conflict" in f.check for f in findings)


def test_arrays_that_are_no_pictures_are_told_in_one_finding() -> None:
    from flambeau.fields import Image

    x = np.full((40, 8, 8), np.nan, np.float32)
    findings = Dataset.from_arrays(x, np.arange(40) % 2, fields={"x": Image()}, split="none").check()
    (finding,) = [f for f in findings if f.check == "unreadable"]
    assert finding.count == 40
