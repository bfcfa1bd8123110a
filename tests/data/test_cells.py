"""Tables that are not quite tables are read all the same, and what is left out is named by its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from flambeau.core.errors import DataError
from flambeau.data.tables import read_table

ROWS = "1,cat\n2,dog\n" * 10


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x,label\n" + ROWS, ""),
        ("x, label\n" + ROWS.replace(",", ", "), ""),
        ('x, label\n' + ROWS.replace(",", ', "').replace("\n", '"\n'), ""),
        ("sep=;\nx;label\n" + ROWS.replace(",", ";"), "';' between its cells"),
        ("# exported 2024-05-01\n# device 7\nx,label\n" + ROWS, "2 lines before the table: '# exported"),
        ("# x,label\n" + ROWS, ""),
        ("Report of 2024\nDevice: 7, A\n\nx,label\n" + ROWS, "2 lines before the table: 'Report of 2024'"),
        ("x,label\n" + ROWS.replace("\n", "\n\n"), ""),
        (("x,label\n" + ROWS).replace("\n", "\r"), ""),
        (("x,label\n" + ROWS).replace("\n", "\r\n"), ""),
        ("x,label,\n" + ROWS.replace("\n", ",\n"), ""),
        ("x,label\n" + ROWS.replace("\n", ",\n"), ""),
        ("x,label\n" + ROWS.replace("cat", "c\0at"), "zero bytes"),
        ("\ufeffx,label\n" + ROWS, ""),
        ("x,label\n" + ROWS + "3,cat,more\n4\n", "2 rows of t.csv left out"),
        ('x,label\n' + ROWS + '3,"dog\nor",cat\n', "line 22 (3 cells)"),
    ],
)  # fmt: skip
def test_it_is_found_where_the_table_is(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "t.csv").write_bytes(text.encode())
    table = read_table(tmp_path / "t.csv")
    assert table.frame.columns == ["x", "label"]
    assert table.frame.rows() == [("1", "cat"), ("2", "dog")] * 10
    told = " ".join(str(finding) for finding in table.findings)
    assert said in told and bool(said) == bool(told)


def test_names_of_rows_that_the_header_has_no_name_for(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("x,label\n" + "".join(f'"{i + 1}",{i % 2},cat\n' for i in range(20)))
    assert read_table(tmp_path / "r.csv").frame.columns == ["Unnamed: 0", "x", "label"]
    (tmp_path / "r.csv").write_text("label\n" + "".join(f'"{i + 1}",cat\n' for i in range(20)))
    assert read_table(tmp_path / "r.csv").frame.columns == ["Unnamed: 0", "label"]


def test_rows_that_end_where_nothing_follows_are_whole(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,c\n" + "1,2,3\n1,2\n1\n" * 10)
    assert len(read_table(tmp_path / "t.csv").frame) == 30


def test_one_column_is_parted_by_nothing(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('text\na, b\nc\nd, e, f\n"g, h"\n')
    assert read_table(tmp_path / "t.csv").frame["text"].to_list() == ["a, b", "c", "d, e, f", "g, h"]


def test_what_no_table_can_be_made_of_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x,label\n" + ROWS + '3,"dog\n' + ROWS * 100)
    with pytest.raises(DataError, match=r"t.csv, line 22: a quote opens here that is never closed"):
        read_table(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("x,label\n" + ROWS + "3,cat,and,more\n" * 10)
    with pytest.raises(DataError, match=r"10 of 30 rows have more cells .* the first: line 22 \(4 cells\)"):
        read_table(tmp_path / "t.csv")


def test_a_row_may_begin_as_a_comment_does(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("# exported\n#great film,good\n#bad,bad\n" + ROWS)
    table = read_table(tmp_path / "t.csv", header=False)
    assert table.frame.rows()[:3] == [("#great film", "good"), ("#bad", "bad"), ("1", "cat")]
