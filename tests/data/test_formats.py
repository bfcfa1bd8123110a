"""Tables that are not CSV, and files that are compressed."""

from __future__ import annotations

import bz2
import datetime
import gzip
import json
import lzma
from pathlib import Path

import openpyxl
import polars as pl
import pytest
import zstandard

import flambeau as fb
from flambeau import Dataset
from flambeau.cli.main import run
from flambeau.core.errors import DataError
from flambeau.data.sources.formats import READERS
from flambeau.data.sources.opening import from_path
from flambeau.data.sources.tables import read_table

ROWS = [{"x": i % 3, "label": ["cat", "dog"][i % 2]} for i in range(40)]
CSV = "x,label\n" + "".join(f"{row['x']},{row['label']}\n" for row in ROWS)


def workbook(path: Path) -> Path:
    book = openpyxl.Workbook()
    book.active.append(["a title alone"])
    sheet = book.create_sheet("Data")
    sheet.append(["id", "price", "when", "code", "mixed", None, "fine", "id"])
    for i in range(5):
        day = datetime.datetime(2024, 1, 1 + i)
        sheet.append([i, i * 1.5, day, f"00{i}", "n/a" if i == 2 else i, None, i % 2 == 0, "again"])
    book.create_sheet("More").append(["a"])
    book["More"].append([1])
    book.save(path)
    return path


def test_a_workbook_keeps_what_its_cells_are(tmp_path: Path) -> None:
    frame, findings = READERS[".xlsx"](workbook(tmp_path / "book.xlsx"))
    assert frame.schema == {
        "id": pl.Int64, "price": pl.Float64, "when": pl.Date, "code": pl.String, "mixed": pl.String,
        "fine": pl.Boolean, "id_duplicated_0": pl.String,
    }  # fmt: skip
    assert frame["code"].to_list()[:2] == ["000", "001"] and frame["mixed"].to_list() == ["0", "1", "n/a", "3", "4"]
    assert "the sheet 'Data' is read" in findings[0].message and findings[0].places == ["More"]


def test_a_workbook_with_a_cell_far_away_is_refused(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active["A1"], book.active["XFD1048576"] = "x", 1
    book.save(tmp_path / "far.xlsx")
    with pytest.raises(DataError, match=r"far\.xlsx: a sheet has cells in column 16,384 and in row 1,048,576"):
        read_table(tmp_path / "far.xlsx")


ARFF = """% of flowers
@RELATION iris
@ATTRIBUTE 'sepal length' NUMERIC
@ATTRIBUTE b {x, 'y z',"w"}
@ATTRIBUTE c string
@attribute class {0,01}
@DATA
5.1, 'y z', 'it\\'s, fine', 01
?,x,?,0
abc,x,hi,0
1,2
{0 3.5, 3 01}
"""


def test_arff_keeps_names_as_they_are_written_and_names_the_lines_that_do_not_fit(tmp_path: Path) -> None:
    (tmp_path / "a.arff").write_text(ARFF)
    frame, findings = READERS[".arff"](tmp_path / "a.arff")
    assert frame.rows() == [(5.1, "y z", "it's, fine", "01"), (None, "x", None, "0"), (3.5, "x", None, "01")]
    assert findings[0].places == ["line 10", "line 11"]


@pytest.mark.parametrize(
    "document",
    [
        [{"a": "007", "b": 1}, {"a": "1"}],
        {"rows": [{"a": "007", "b": 1}, {"a": "1"}], "made": "2024"},
        {"a": ["007", "1"], "b": [1, None]},
        {"a": {"0": "007", "1": "1"}, "b": {"0": 1, "1": None}},
    ],
    ids=["rows", "rows under a name", "columns", "columns of pandas"],
)
def test_json_tables(document: object, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(document))
    frame, _ = READERS[".json"](tmp_path / "a.json")
    assert frame.rows() == [("007", 1), ("1", None)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b"[1, 2]", "holds no table"),
        ("a.json", b"[" * 100_000, "is not JSON"),
        ("a.json", b'{"a": [1], "b": [1, 2]}', "holds no table"),
        ("a.xlsx", b"PK\3\4" + bytes(60), "the table cannot be read"),
        ("a.xls", b"no sheet", "the table cannot be read"),
        ("a.arff", b"", "no attributes or no rows"),
        ("a.arff", b"@attribute x\n@data\n1", "the attribute has no kind"),
        ("a.csv.gz", b"x,label\n1,2\n", "the archive is damaged"),
        ("a.csv.zst", b"x,label\n1,2\n", "the archive is damaged"),
    ],
)
def test_what_cannot_be_read_is_one_line(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as raised:
        read_table(tmp_path / name)
    assert name in str(raised.value) and "\n" not in str(raised.value)


PACK = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstandard.compress}


@pytest.mark.parametrize("suffix", PACK)
def test_a_compressed_table_is_the_table(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").write_text(CSV)
    Path(f"rows.csv{suffix}").write_bytes(PACK[suffix](CSV.encode()))
    assert read_table(f"rows.csv{suffix}").frame.equals(read_table("rows.csv").frame)


def test_a_compressed_file_that_would_fill_the_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.csv.gz").write_bytes(gzip.compress(bytes(8 << 20)))
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 4 << 20}))
    with pytest.raises(DataError, match="would unpack to"):
        read_table("rows.csv.gz")
    assert not list(Path(".flambeau/archives").iterdir())


def test_a_compressed_file_of_next_to_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("flambeau.data.sources.archives.BOMB_BYTES", 1 << 20)
    Path("rows.csv.gz").write_bytes(gzip.compress(b"a,label\n" + bytes(8 << 20)))
    with pytest.raises(DataError, match="over 300 times its size"):
        read_table("rows.csv.gz")
    Path("rows.csv.gz").write_bytes(gzip.compress(b"a,label\n" + b"1,x\n" * (1 << 17)))
    assert read_table("rows.csv.gz").frame.height == 1 << 17


def test_trained_evaluated_and_predicted_from_such_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    book = openpyxl.Workbook()
    book.active.append(["x", "code"])
    for i in range(60):
        book.active.append([i % 2, ["007", "7"][i % 2]])
    book.save("rows.xlsx")
    Path("rows.csv.gz").write_bytes(gzip.compress(b"x,code\n0,007\n1,7\n"))
    assert (
        run(
            [
                "train",
                "rows.xlsx",
                "--target",
                "code",
                "--model",
                "linear",
                "--epochs",
                "20",
                "--learning-rate",
                "0.3",
                "--run",
                "run",
            ]
        )
        == 0
    )
    assert fb.load("run").classes == ["007", "7"]
    capsys.readouterr()
    assert run(["predict", "run", "rows.csv.gz", "--json"]) == 0
    assert [p["label"] for p in json.loads(capsys.readouterr().out)["predictions"]] == ["007", "7"]
    assert run(["evaluate", "run", "rows.xlsx", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 60


@pytest.mark.parametrize("suffix", [".arrow", ".feather", ".ipc", ".stream.arrow", ".parq", ".tab", ".data"])
def test_tables_with_other_endings(suffix: str, tmp_path: Path) -> None:
    file, frame = tmp_path / f"rows{suffix}", pl.DataFrame(ROWS)
    if suffix == ".parq":
        frame.write_parquet(file)
    elif suffix in (".tab", ".data"):
        frame.write_csv(file, separator="\t" if suffix == ".tab" else ",")
    else:
        (frame.write_ipc_stream if "stream" in suffix else frame.write_ipc)(file)
    data = from_path(file)
    assert data.inputs == ["x"] and list(data.columns["label"]) == [row["label"] for row in ROWS]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n", "the pointer of Git LFS"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "a web page"),
        (gzip.compress(CSV.encode(), mtime=0), "compressed: call it .gz"),
        (b"PK\x03\x04" + bytes(100), "a zip or an Excel file"),
        (b"PAR1" + bytes(100), "Parquet: call it .parquet"),
        (b"%PDF-1.7\n", "a PDF"),
    ],
)
def test_what_is_called_a_table_and_is_none_is_named(content: bytes, told: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(content)
    with pytest.raises(DataError, match=f"rows.csv: this is {told}"):
        Dataset.from_table(file)
