# SPDX-License-Identifier: Apache-2.0
import math

import pytest

from deeplab2_like.trainer import tuning_search
from deeplab2_like.trainer.tuning_search import Part

_CANDIDATES = {"a": (0.0, 1.0, 2.0, 3.0), "b": (0.0, 1.0, 2.0)}


class Scores:
    """Scores by a function, and how often it was asked."""

    def __init__(self, *functions):
        self._functions = functions * (3 // len(functions))
        self.passes = []

    def __call__(self, settings):
        self.passes.append(len(settings))
        return [
            tuple(function(**one) for function in self._functions)
            for one in settings
        ]


def _search(scores, start=(0.0, 0.0), candidates=_CANDIDATES):
    names = dict(zip("ab", start, strict=True))
    return tuning_search.Search(candidates, names, scores)


def test_each_setting_is_gone_through_until_none_changes():
    # The best b depends on a.
    scores = Scores(lambda a, b: -0.5 * abs(a - 2 * b) + a + 0.5 * b)
    search = _search(scores)
    found = search.run()[Part.ALL]
    assert found.settings == {"a": 3.0, "b": 2.0}
    for change in found.changes:
        assert change.gain == change.after - change.before > 0
    gains = sum(change.gain for change in found.changes)
    before = search.score({"a": 0.0, "b": 0.0}, Part.ALL)
    assert before + gains == search.score(found.settings, Part.ALL)
    # Nothing is scored twice.
    tried = search.list_scores()
    assert len(tried) == sum(scores.passes) <= 12


def test_the_present_value_stays_where_none_is_better():
    found = _search(Scores(lambda **_: 0.5), (1.5, 1.0)).run()
    for one in found.values():
        assert one.settings == {"a": 1.5, "b": 1.0}
        assert not one.changes


def test_of_equal_values_the_nearest_one_is_taken():
    scores = Scores(lambda a, **_: float(a != 1.0))
    found = _search(scores, (1.0, 0.0)).run()[Part.ALL]
    assert found.settings["a"] in (0.0, 2.0)
    scores = Scores(lambda a, **_: float(a >= 2.0))
    found = _search(scores, (1.0, 0.0)).run()[Part.ALL]
    assert found.settings["a"] == 2.0


def test_each_half_has_a_search_of_its_own():
    def near(value):
        return lambda a, **_: -abs(a - value)

    scores = Scores(near(2.0), near(3.0), near(1.0))
    search = _search(scores)
    found = search.run()
    assert [one.settings["a"] for one in found.values()] == [2.0, 3.0, 1.0]
    # What was chosen on one half can be scored on the other.
    chosen = found[Part.FIRST_HALF].settings
    assert search.score(chosen, Part.SECOND_HALF) == -2.0
    assert search.score(chosen, Part.FIRST_HALF) == 0.0


def test_a_defined_score_is_better_than_none():
    scores = Scores(lambda a, **_: 0.1 if a == 3.0 else math.nan)
    found = _search(scores).run()[Part.ALL]
    assert found.settings["a"] == 3.0
    scores = Scores(lambda **_: math.nan)
    assert not _search(scores).run()[Part.ALL].changes


@pytest.mark.parametrize("start", [(0.0, 0.0), (3.0, 2.0), (2.0, 1.0)])
def test_a_search_ends(start):
    # No value of a setting is best whatever the other one is.
    scores = Scores(lambda a, b: math.sin(7 * a + 3 * b) + math.cos(5 * a * b))
    search = _search(scores, start)
    found = search.run()[Part.ALL]
    assert search.score(found.settings, Part.ALL) >= search.score(
        {"a": start[0], "b": start[1]}, Part.ALL
    )
