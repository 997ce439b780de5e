# SPDX-License-Identifier: Apache-2.0
import pytest

from deeplab2_like.server import failures


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        ("a", "'a'"),
        ([1, "a", None], "[1, 'a', None]"),
        ({"b": [1], "a": 2}, "{'b': [1], 'a': 2}"),
        ({}, "{}"),
    ],
)
def test_small_values_are_shown_whole(value, text):
    assert failures.shorten(value) == text


class _Counted(list):
    """A list that counts how many of its values are read."""

    count = 0

    def __iter__(self):
        for value in super().__iter__():
            self.count += 1
            yield value


def test_of_large_values_only_the_beginning_is_read():
    values = _Counted(["a" * 1000] * 10_000)
    text = failures.shorten([values])
    assert len(text) == 60
    assert text.startswith("[['aaa")
    assert values.count < 20
    many = {str(number): number for number in range(10_000)}
    assert failures.shorten(many).startswith("{'0': 0, '1': 1, ")
    deep = []
    for _ in range(100_000):
        deep = [deep]
    assert failures.shorten(deep) == "[[[[...]]]]"
    assert len(failures.shorten("a" * 10**6)) <= 60
