# SPDX-License-Identifier: Apache-2.0
import concurrent.futures

import pytest

from deeplab2_like.storage import in_order


def test_results_come_in_order_and_few_are_ahead_of_their_use():
    started = []

    def square(value):
        started.append(value)
        return value * value

    with concurrent.futures.ThreadPoolExecutor(4) as executor:
        found = in_order.call(executor, square, range(100), 5)
        for number, result in enumerate(found):
            assert result == number * number
            assert len(started) <= number + 7
    assert sorted(started) == [*range(100)]


def test_an_error_comes_in_its_place():
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        found = in_order.call(executor, lambda value: 1 / value, [1, 2, 0], 8)
        assert [next(found), next(found)] == [1, 0.5]
        with pytest.raises(ZeroDivisionError):
            next(found)
