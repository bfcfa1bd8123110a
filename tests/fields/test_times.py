"""Times as people write them: read by one form, told where it is a guess, and written back as they were."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import flambeau as fb
from flambeau.core.errors import UsageError
from flambeau.fields import Date
from flambeau.fields.time.timeforms import find_form
from flambeau.fields.time.times import parsed, read, texts_of
from flambeau_onnx.times import TimeForm
from flambeau_onnx.times import read as read_one

DAYS = [dt.datetime(2023, 12, 25) + dt.timedelta(days=i) for i in range(60)]
HOURS = [dt.datetime(2023, 12, 31, 9) + dt.timedelta(hours=i) for i in range(60)]
MONTHS = [dt.datetime(2005 + i // 12, i % 12 + 1, 1) for i in range(60)]
QUARTERS = [dt.datetime(2005 + i // 4, i % 4 * 3 + 1, 1) for i in range(60)]
WEEKS = [dt.datetime(2004, 12, 27) + dt.timedelta(weeks=i) for i in range(60)]


def parse(texts: list[str], format: str) -> np.ndarray:
    return parsed(texts_of(texts), TimeForm(format))


def quarter(form: str) -> Callable[[dt.datetime], str]:
    return lambda day: form.format(y=day.year, q=(day.month + 2) // 3)


@pytest.mark.parametrize(
    ("times", "write"),
    [
        (DAYS, "%Y-%m-%d"), (DAYS, "%d-%m-%Y"), (DAYS, "%d-%b-%y"), (DAYS, "%B %d, %Y"), (DAYS, "%Y.%m.%d"),
        (DAYS, "%-m/%-d/%y"), (DAYS, "%d.%m.%y"), (DAYS, "%Y年%m月%d日"), (DAYS, "%Y%m%d"), (DAYS, "%a, %d %b %Y"),
        (HOURS, "%m/%d/%Y %H:%M"), (HOURS, "%d/%m/%Y %H:%M"), (HOURS, "%m/%d/%Y %I:%M:%S %p"),
        (HOURS, "%-m/%-d/%Y, %-I:%M:%S %p"), (HOURS, "%Y-%m-%d %H:%M:%S+00:00"), (HOURS, "%Y-%m-%dT%H:%M:%S+01:00"),
        (HOURS, "%Y-%m-%dT%H:%M:%S.000Z"), (HOURS, "%Y-%m-%d %H:%M:%S UTC"), (HOURS, "%d/%b/%Y:%H:%M:%S -0530"),
        (HOURS, "%Y%m%dT%H%M%SZ"), (HOURS, "%Y%m%d%H%M"), (HOURS, "%a %b %d %Y %H:%M:%S GMT+0100"),
        (HOURS, "%H:%M %d.%m.%Y"), (HOURS, "%d.%m.%Y %H.%M"), (HOURS, "%Y年%m月%d日%H时%M分"), (HOURS, "%Y-%m-%dT%H"),
        (DAYS, "%A, %B %d, %Y"), (DAYS, "%Y. %m. %d."), (MONTHS, "%Y.%m"), (QUARTERS, quarter("{q}Q{y}")),
        (WEEKS, "W%V %G"), (MONTHS, "%Y-%m"),
        (MONTHS, "%Y%m"), (MONTHS, "%b %Y"), (MONTHS, "%b-%y"), (MONTHS, "%m/%Y"), (MONTHS, "%YM%m"),
        (MONTHS, "%d/%m/%Y"), (MONTHS, "%m/%d/%Y"),
        (QUARTERS, quarter("{y}Q{q}")), (QUARTERS, quarter("{y}-Q{q}")), (QUARTERS, quarter("Q{q} {y}")),
        (WEEKS, "%G-W%V"), (WEEKS, "%G-W%V-%u"), (WEEKS, "%G%V"), (DAYS, "%y%m%d"), (DAYS, "%d%m%Y"), (DAYS, "%Y%j"),
        (QUARTERS, quarter("{y}.{q}")), (HOURS, "%Y-%m-%d %H:%M:%S CET"), (HOURS, "%-m/%-d/%Y %-I %p"),
    ],
)  # fmt: skip
def test_what_is_written_is_read_and_written_so_again(times: list[dt.datetime], write: Any) -> None:
    texts = [write(t) if callable(write) else t.strftime(write) for t in times]
    found = find_form(texts, time_column=True)
    assert found.share == 1.0 and not any(note.other for note in found.notes)
    when, wrong = read(texts, found.form)
    assert when.tolist() == times and not len(wrong)
    assert [found.form.written(t) for t in when] == texts
    assert [read_one(text, found.form) for text in texts] == list(when)  # as what has no polars reads them


@pytest.mark.parametrize(
    ("values", "first"),
    [
        (["31. Dezember 2023", "1. März 2024"], "2023-12-31"), (["31 déc. 2023", "1 févr. 2024"], "2023-12-31"),
        ([20231231, 20240101], "2023-12-31"), ([20231231.0, np.nan], "2023-12-31"), (["202312", "202401"], "2023-12"),
        ([1704067200, 1704070800], "2024-01-01"), ([1704067200000], "2024-01-01"), (["1704067200.5"], "2024-01-01"),
        ([1704067200000000], "2024-01-01"), ([dt.date(2023, 12, 31)], "2023-12-31"),
        (["2023-12-31 24:00"], "2024-01-01"), (["December 31st, 2023"], "2023-12-31"),
        (["Sun Dec 31 2023 14:00:00 GMT+0100 (Central European Standard Time)"], "2023-12-31T14:00"),
        (["2023-12-31T14:00:00+01:00[Europe/Paris]"], "2023-12-31T14:00"),
        (["31.12.2023", "1.1.2024 12:30"], "2023-12-31"),
        (["31 de dezembro de 2023", "5 de maio de 2024"], "2023-12-31"),
        (["31 december 2023", "1 januari 2024"], "2023-12-31"), (["So 31.12.2023", "Mo 01.01.2024"], "2023-12-31"),
        (["2023-12-31", "0000-00-00"], "2023-12-31"), (["2023년 12월 31일"], "2023-12-31"),
        ([45291, 45292], "2023-12-31"), ([45291.041666667], "2023-12-31T01:00:00"),
        ([31122023, 1012024], "2023-12-31"), (["2023-12-31 14:00 CET", "2024-03-31 15:00 CEST"], "2023-12-31T13:00"),
    ],
)  # fmt: skip
def test_other_ways(values: list[Any], first: str) -> None:
    found = find_form(values, time_column=True)
    assert read(values, found.form)[0][0].astype("datetime64[s]") >= np.datetime64(first)
    assert str(read(values, found.form)[0][0]).startswith(first)


@pytest.mark.parametrize("values", [[1, 2, 3], ["12:30", "13:40"], ["10.0.0.1"], ["a1", "b2"], [1990.0833, 1990.1667],
                                    ["٢٠٢٤-٠٧-١٨"], [999999, 2000131], [45123, 99999]])  # fmt: skip
def test_what_is_no_time(values: Sequence[Any]) -> None:
    assert find_form(values, time_column=True).share == 0.0
    assert Date.recognise(values).score == 0.0


def test_numbers_are_days_only_where_all_of_them_are() -> None:
    days = [int(day.strftime("%Y%m%d")) for day in DAYS]
    assert Date.recognise(days).score > 0.6 and Date.recognise([*days, 20231301]).score == 0.0
    assert Date.recognise([1704067200 + i for i in range(50)]).score == 0.0, "an amount may be as large"


def test_days_and_months_are_told_apart_by_all_values() -> None:
    early = [f"{d:02}/01/2023" for d in range(1, 13)] * 100
    assert find_form([*early, "01/13/2023"]).form.format == "%m/%d/%Y", "a part over 12 in any row"
    assert find_form(["01/02/2023 00:00", "01/02/2023 12:00", "02/02/2023 00:00"]).form.format == "%d/%m/%Y %H:%M"
    assert find_form(["01/02/2023", "02/01/2023", "02/02/2023"]).form.format == "%m/%d/%Y", "the order of the rows"
    field = Date()
    field.fit(["01/02/2023", "05/03/2023", "04/01/2023"])
    assert field.read_as == "%d/%m/%Y"
    (doubt,) = [f for f in field.check(["01/02/2023", "05/03/2023", "04/01/2023"]) if f.check == "day-or-month"]
    assert "'01/02/2023' is read as 2023-02-01, not 2023-01-02" in doubt.message and "date:%m/%d/%Y" in doubt.fix
    asked = Date("%m/%d/%Y")
    asked.fit(["01/02/2023", "05/03/2023", "04/01/2023"])
    assert str(np.datetime64(int(asked.days(["01/02/2023"])[0][0]), "D")) == "2023-01-02" and not asked.check(
        ["01/02/2023"]
    )
    again = Date.from_dict(field.to_dict())
    assert again.form == field.form


def test_two_digit_years_keep_the_order_of_the_rows() -> None:
    assert [str(t)[:10] for t in parse(["12/31/69", "12/31/99", "01/01/00", "01/01/68"], "%m/%d/%y")] == [
        "1969-12-31", "1999-12-31", "2000-01-01", "2068-01-01",
    ]  # fmt: skip
    texts = [(dt.date(1965, 6, 1) + dt.timedelta(days=i)).strftime("%m/%d/%y") for i in range(3000)]
    found = find_form(texts)
    when, _ = read(texts, found.form)
    assert str(when[0])[:10] == "1965-06-01" and (np.diff(when).astype(int) > 0).all()
    assert "1965 to 1973" in found.notes[-1].message


def test_one_offset_keeps_the_hour_and_several_are_brought_to_utc() -> None:
    one = [f"{h.isoformat()}+02:00" for h in HOURS]
    found = find_form(one)
    assert found.form.zone == "+02:00" and read(one, found.form)[0].tolist() == HOURS and not found.notes
    same, _ = read(["2023-12-31T07:00:00Z"], found.form)
    assert str(same[0])[:16] == "2023-12-31T09:00", "another offset is brought to the clock that is kept"
    summer = ["2024-03-31T01:00:00+01:00", "2024-03-31T03:00:00+02:00", "2024-03-31T04:00:00+02:00"]
    found = find_form(summer)
    assert np.diff(read(summer, found.form)[0]).tolist() == [dt.timedelta(hours=1)] * 2
    assert "different offsets" in found.notes[0].message and found.form.written(
        read(summer, found.form)[0][0]
    ).endswith("00:00:00+00:00")
    aware = [h.replace(tzinfo=dt.timezone(dt.timedelta(hours=2))) for h in HOURS]
    assert read(aware, find_form(aware).form)[0].tolist() == HOURS


def test_a_field_with_a_form_reads_iso_8601_too_and_says_what_it_expects() -> None:
    field = Date("%m/%d/%y")
    field.fit(["12/31/23", "01/02/24"])
    assert (
        field.days(["01/02/24", "2024-01-02", "2024-01-02T00:00:00", dt.date(2024, 1, 2)])[0].tolist() == [19724.0] * 4
    )
    assert field.days(["soon", None])[1].tolist() == [0] and field.example() == "01/01/24"
    for format in ("%Y-%Q", "day", "%m/%m/%Y"):
        with pytest.raises(UsageError, match="is not a format of times"):
            Date(format)
    assert TimeForm("unix ms").written(np.datetime64("2024-01-01")) == "1704067200000"


def test_the_form_is_decided_by_all_rows_and_not_by_those_that_train() -> None:
    texts = ["01/02/2023", "04/05/2023", "03/02/2023", "06/01/2023"] * 5 + ["12/31/2023"]
    data = fb.Dataset(
        {"when": texts, "n": range(21), "y": ["a", "b", "a"] * 7}, target="y", split=["train"] * 20 + ["valid"]
    )
    data.fit()
    field = data.fields["when"]
    assert isinstance(field, Date) and field.read_as == "%m/%d/%Y" and not len(field.days(texts)[1])
    assert field.mean < 19480, "but what is learned is of training rows only"
