"""Tables that are not quite tables are read all the same, and what is left out is named by its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from flambeau.core.errors import DataError
from flambeau.data.sources.tables import read_table

ROWS = "1,cat\n2,dog\n" * 10


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x,label\n" + ROWS, ""),
        ("x, label\n" + ROWS.replace(",", ", "), ""),
        ("x, label\n" + ROWS.replace(",", ', "').replace("\n", '"\n'), ""),
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
        ("x,label\n" + ROWS + '3,"dog\nor",cat\n', "line 22 (3 cells)"),
    ],
)
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
    (tmp_path / "r.csv").write_text("price,label\n" + "".join(f"1,{100 + i},cat\n" for i in range(20)))
    with pytest.raises(DataError, match="the header has 2 cells and the rows have 3"):
        read_table(tmp_path / "r.csv")
    (tmp_path / "r.csv").write_text("label\n" + "".join(f'"{i + 1}",cat\n' for i in range(20)))
    assert read_table(tmp_path / "r.csv").frame.columns == ["Unnamed: 0", "label"]


def test_rows_that_end_where_nothing_follows_are_whole(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,c\n" + "1,2,3\n1,2\n1\n" * 10)
    assert len(read_table(tmp_path / "t.csv").frame) == 30


def test_one_column_is_parted_by_nothing(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('text\na, b\nc\nd, e, f\n"g, h"\n')
    assert read_table(tmp_path / "t.csv").frame["text"].to_list() == ["a, b", "c", "d, e, f", "g, h"]


@pytest.mark.parametrize("behind", ["", '4,"cat, or dog"\n', ROWS * 100])
def test_a_quote_that_is_never_closed_costs_its_own_row(tmp_path: Path, behind: str) -> None:
    (tmp_path / "t.csv").write_text("x,label\n" + ROWS + '3,"dog\n' + ROWS + behind)
    table = read_table(tmp_path / "t.csv")
    assert len(table.frame) == 40 + behind.count("\n")
    assert "line 22 (a quote opens that is never closed)" in str(table.findings[-1])


def test_quotes_within_cells_belong_to_them(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('size,label\n15",a\n"17"" wide",b\n' + '24",c\n' * 20)
    assert read_table(tmp_path / "t.csv").frame["size"].to_list() == ['15"', '17" wide'] + ['24"'] * 20


@pytest.mark.parametrize(
    ("head", "names"),
    [
        ("x,y,label\nkg,m,-\n", ["x", "y", "label"]),
        ("x,y,label\n[kg],[m],\n", ["x", "y", "label"]),
        ("A,,B\nx,y,label\n", ["x", "y", "label"]),
        (",A,A\nx,y,label\nfloat,int,str\n", ["x", "y", "label"]),
        ("Measured in May,,\n,,\nx,y,label\n", ["x", "y", "label"]),
        (",y,label\n", ["Unnamed: 0", "y", "label"]),
    ],
)
def test_the_header_is_found_among_groups_and_units(tmp_path: Path, head: str, names: list[str]) -> None:
    rows = "".join(f"{i},{i % 3},{'ab'[i % 2]}\n" for i in range(20))
    (tmp_path / "t.csv").write_text(head + rows)
    table = read_table(tmp_path / "t.csv")
    assert table.frame.columns == names and len(table.frame) == 20
    assert any(f.check == "skipped-lines" for f in table.findings) == (head.count("\n") > 1)


@pytest.mark.parametrize("first", ["NA,NA,a", ",,a", "?,5,a"])
def test_a_first_row_with_nothing_measured_is_one(tmp_path: Path, first: str) -> None:
    rows = "".join(f"{i},{i % 3},{'ab'[i % 2]}\n" for i in range(20))
    (tmp_path / "t.csv").write_text(f"x,y,label\n{first}\n{rows}")
    assert len(read_table(tmp_path / "t.csv").frame) == 21


def test_a_header_that_comes_again_is_no_row(tmp_path: Path) -> None:
    rows = "".join(f"{i},{'ab'[i % 2]}\n" for i in range(20))
    (tmp_path / "t.csv").write_text(f"x,label\n{rows}x,label\n{rows}")
    table = read_table(tmp_path / "t.csv")
    assert len(table.frame) == 40 and "1 row of t.csv left out that repeats the header (row 21)" in str(
        table.findings[0]
    )


@pytest.mark.parametrize("ends", [("\r\r\n",), ("\r", "\n"), ("\r\n", "\r"), ("\r",)])
def test_lines_may_end_in_any_way(tmp_path: Path, ends: tuple[str, ...]) -> None:
    lines = ["x,text,label"] + [f'{i},"a\nb",{"ab"[i % 2]}' for i in range(40)]
    (tmp_path / "t.csv").write_bytes("".join(line + ends[i * len(ends) // 41] for i, line in enumerate(lines)).encode())
    frame = read_table(tmp_path / "t.csv").frame
    assert len(frame) == 40 and set(frame["label"]) == {"a", "b"} and set(frame["text"]) == {"a\nb"}


def test_any_number_of_spaces_may_part_cells(tmp_path: Path) -> None:
    rows = [(str(i), f"{i / 4}", "ab"[i % 2]) for i in range(20)]
    for name, head in (("t.txt", "x y label"), ("t.dat", "x   y  label"), ("t.csv", '"x" "y" "label"')):
        lines = "".join(f'  {x:>5}   {y:<6} "{label}" \n' for x, y, label in rows)
        (tmp_path / name).write_text(f"{head}\n{lines}")
        table = read_table(tmp_path / name)
        assert table.frame.columns == ["x", "y", "label"] and table.frame.rows() == rows
        assert "spaces between its cells" in str(table.findings[0])
    (tmp_path / "r.txt").write_text(
        '"x" "label"\n' + "".join(f'"{i + 1}" {x} "{c}"\n' for i, (x, _, c) in enumerate(rows))
    )
    assert read_table(tmp_path / "r.txt").frame.columns == ["Unnamed: 0", "x", "label"]
    for text in ("words\n" + "two words\n" * 9, "place\n" + "12 Road\n" * 9, "a b\n" + "one two\n" * 9):
        (tmp_path / "text.csv").write_text(text)
        assert read_table(tmp_path / "text.csv").frame.width == 1


def test_codes_that_spreadsheets_keep_as_formulas(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('code,label\n="007",a\n"=""012""",b\n' * 10)
    assert read_table(tmp_path / "t.csv").frame["code"].to_list()[:2] == ["007", "012"]


def test_what_no_table_can_be_made_of_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x,label\n" + ROWS + "3,cat,and,more\n" * 10)
    with pytest.raises(DataError, match=r"10 of 30 rows do not have as many cells .* the first: line 22 \(4 cells\)"):
        read_table(tmp_path / "t.csv")


def test_a_row_may_begin_as_a_comment_does(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("# exported\n#great film,good\n#bad,bad\n" + ROWS)
    table = read_table(tmp_path / "t.csv", header=False)
    assert table.frame.rows()[:3] == [("#great film", "good"), ("#bad", "bad"), ("1", "cat")]


def test_decimal_commas_between_commas_are_no_names_of_rows(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("size\n" + "90,5\n2,5\n41,25\n" * 3)
    with pytest.raises(DataError, match=r"the header has 1 cells? and the rows have 2"):
        read_table(tmp_path / "t.csv")
