from __future__ import annotations

import math

import pytest

from flambeau.report.markup import Markup, fragment, tag, text
from flambeau.report.scale import Scale, log_ticks, ticks
from flambeau.report.svg import Series, line_chart

PNG = "data:image/png;base64,iVBORw0KGgo="


def test_text_is_escaped_in_content_and_attributes_and_markup_only_in_attributes():
    assert tag("p", "<&>", title='"<') == '<p title="&quot;&lt;">&lt;&amp;&gt;</p>'
    assert (
        tag("p", Markup("<b>x</b>"), title=Markup('" onclick="x')) == '<p title="&quot; onclick=&quot;x"><b>x</b></p>'
    )


def test_names_of_files_that_are_not_utf8_can_be_written():
    assert text("a\udcff\x00b").encode("utf-8") == "a\ufffd\ufffdb".encode()


@pytest.mark.parametrize(
    "given",
    [
        f'<img src="{PNG}" alt="" onerror="alert(1)">',
        '<img src="https://example.org/a.png" alt="">',
        '<img src="data:image/svg+xml;base64,AAAA" alt="">',
        f'<img src="{PNG}" alt=""><script>alert(1)</script>',
        "<span onclick=x>a</span>",
        "<span>a<b>b</b></span>",
        "plain <text>",
    ],
)
def test_foreign_fragments_become_text(given):
    assert fragment(given) == text(given)


def test_own_fragments_stay():
    both = f'<img src="{PNG}" alt=""> <span class=unreadable>cut &lt;off&gt;</span>'
    assert fragment(both) == f'<img src="{PNG}" alt="" class="tiny"><span>cut &lt;off&gt;</span>'
    assert fragment(None) == ""


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3, 1e6), (0.0993, 0.0997), (1e-9, 2e-9), (5, 5.0001)])
def test_ticks_lie_inside_and_are_few(low, high):
    found = ticks(low, high)
    assert 2 <= len(found) <= 7 and all(low - 1e-12 <= t <= high + 1e-12 for t in found)


@pytest.mark.parametrize(("low", "high"), [(1e-5, 10), (0.02, 3), (1.1, 1.9)])
def test_log_ticks_lie_inside_and_are_few(low, high):
    found = log_ticks(low, high)
    assert 2 <= len(found) <= 7 and all(low <= t <= high for t in found)


@pytest.mark.parametrize("values", [[], [math.nan], [0.0], [3.0, 3.0], [1, math.inf], [-1e30, 1e30]])
def test_a_scale_holds_whatever_it_is_given(values):
    for log in (False, True):
        scale = Scale.around(values, 0, 100, log=log)
        drawn = [scale(v) for v in values if scale.shows(v)]
        assert scale.low < scale.high and all(-0.1 <= p <= 100.1 for p in drawn)
        assert scale.ticks()


def test_long_curves_are_thinned_and_points_that_are_not_numbers_left_out():
    long = Series("a", [(i, math.sin(i)) for i in range(100_000)])
    assert len(line_chart([long], label="", x_label="", y_label="")) < 20_000
    broken = Series("a", [(0, 1.0), (1, math.nan), (2, 3.0)])
    assert "nan" not in line_chart([broken], label="", x_label="", y_label="")
