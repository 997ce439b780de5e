# SPDX-License-Identifier: Apache-2.0
"""The measuring module: it counts runs, and sees memory and other results."""

import dataclasses

import numpy as np
import pytest

from benchmarks import measuring

FEW = measuring.Effort(seconds=0.0, min_runs=3, max_runs=5, warm_ups=2)


def test_runs_are_counted_and_warm_ups_are_not():
    calls = []
    found = measuring.measure("some", lambda: calls.append(1), effort=FEW)
    assert found.runs == 3
    assert len(calls) == 5


def test_no_more_runs_than_the_most_are_done():
    effort = measuring.Effort(seconds=1e9, min_runs=1, max_runs=4, warm_ups=0)
    found = measuring.measure("some", lambda: None, effort=effort)
    assert found.runs == 4


def test_the_least_time_is_at_most_the_median():
    found = measuring.measure(
        "some", lambda: sum(range(1000)), sizes={"n": 1000}, effort=FEW
    )
    assert 0 <= found.wall_ms_min <= found.wall_ms
    assert 0 <= found.cpu_ms_min <= found.cpu_ms
    assert found.sizes == {"n": 1000}
    assert found.peak_mb is None


def test_an_effort_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="min_runs is 5"):
        measuring.Effort(min_runs=5, max_runs=4)


def test_the_peak_is_what_a_run_holds_at_most():
    megabyte = 1_000_000

    def run():
        # One after the other: the peak is the larger one, not their sum.
        for size in (60 * megabyte, 30 * megabyte):
            np.ones(size, np.uint8)

    peak = measuring.measure_peak_mb(run)
    if peak is None:
        pytest.skip("this system does not tell the peak of the memory")
    assert 55 < peak < 85


def test_memory_that_was_there_before_does_not_count():
    inputs = np.ones(80_000_000, np.uint8)
    peak = measuring.measure_peak_mb(lambda: inputs[0])
    if peak is None:
        pytest.skip("this system does not tell the peak of the memory")
    assert peak < 20


def test_times_can_be_given_for_one_of_several_items():
    found = measuring.measure("some", lambda: None, effort=FEW)
    found = dataclasses.replace(found, wall_ms=80.0, cpu_ms=160.0)
    item = measuring.per_item(found, 8)
    assert (item.wall_ms, item.cpu_ms) == (10.0, 20.0)
    assert item.runs == found.runs


def test_other_results_can_be_added():
    found = measuring.measure("some", lambda: None, effort=FEW)
    found = measuring.with_values(found, {"a": 1.0})
    assert measuring.with_values(found, {"b": 2.0}).values == {
        "a": 1.0,
        "b": 2.0,
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("memory", "first"),
    [(measuring.Memory.FIRST_RUN, 0), (measuring.Memory.WARM, 2)],
)
def test_the_memory_is_that_of_the_first_or_of_a_later_run(memory, first):
    sizes = iter([60_000_000, 1, 30_000_000, 1, 1, 1, 1])

    def run():
        np.ones(next(sizes), np.uint8)

    found = measuring.measure("some", run, effort=FEW, memory=memory)
    if found.peak_mb is None:
        pytest.skip("this system does not tell the peak of the memory")
    expected = {0: 60, 2: 30}[first]
    assert expected - 5 < found.peak_mb < expected + 10
