# SPDX-License-Identifier: Apache-2.0
"""Numbers as texts."""

import pytest

from deeplab2_like.reports import tables


@pytest.mark.parametrize(
    ("value", "other", "text", "tone"),
    [
        (0.5, 0.25, "+25.0", "better"),
        (0.25, 0.5, "\u221225.0", "worse"),
        (0.5, 0.5, "0.0", ""),
        (0.50001, 0.5, "0.0", ""),
        (None, 0.5, "\u2013", ""),
    ],
)
def test_a_difference_has_a_sign_and_a_tone(value, other, text, tone):
    cell = tables.difference(value, other, "why")
    assert (cell.text, cell.tone) == (text, tone)
    assert cell.reason == ("why" if value is None else "")


def test_percents_have_one_decimal_and_a_bar_within_its_cell():
    assert tables.percent(0.12345).text == "12.3"
    assert tables.percent(1.2, has_bar=True).bar == 1.0
    assert tables.percent(None, "why").reason == "why"


def test_thousands_are_separated():
    assert tables.count(1234567).text == "1\u202f234\u202f567"
    assert tables.count(0).text == "0"


def test_the_reasons_of_a_table_are_listed_once():
    rows = tables.make_rows(
        [
            [tables.name("a"), tables.percent(None, "why")],
            [tables.name("b"), tables.percent(None, "why")],
            [tables.name("c"), tables.percent(None, "also")],
        ]
    )
    table = tables.Table("t", "", tables.make_columns("A", "B"), rows)
    assert table.reasons == ("why", "also")
    assert (table.totals, table.others) == ((), rows)
