# SPDX-License-Identifier: Apache-2.0
"""Functions that are called in several processes."""

import os

import pytest

from deeplab2_like import errors
from deeplab2_like.recipes.inspection import processes


@pytest.mark.parametrize("count", [0, 1, 8, 9, 100])
@pytest.mark.parametrize("number", [1, 2])
def test_results_come_in_order(count, number):
    found = processes.call_in_order(lambda i: 3 * i, count, number)
    assert list(found) == [3 * i for i in range(count)]


def test_a_process_that_is_gone_is_an_error_and_no_hang():
    parent = os.getpid()

    def end(place):
        if place == 40 and os.getpid() != parent:
            os._exit(9)
        return place

    with pytest.raises(errors.DataError, match="--num_processes=1"):
        list(processes.call_in_order(end, 100, 2))


def test_an_unexpected_error_reaches_the_caller():
    def fail(place):
        raise ZeroDivisionError(place)

    with pytest.raises(ZeroDivisionError):
        list(processes.call_in_order(fail, 100, 2))


def test_a_caller_may_stop_early():
    found = processes.call_in_order(lambda i: i, 1000, 2)
    assert next(found) == 0
    found.close()
