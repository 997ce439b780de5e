# SPDX-License-Identifier: Apache-2.0
import asyncio
import threading

import pytest

from deeplab2_like.server import failures
from deeplab2_like.server.limits import Admission, Limits, Turns


def test_requests_have_so_many_bytes_together_and_no_more():
    limits = Limits(max_body_bytes=100)
    admission = Admission(limits)
    with admission.admit() as first:
        first.add(500)
        with admission.admit() as second:
            second.add(300)
            with pytest.raises(
                failures.RequestError, match="800 bytes"
            ) as found:
                second.add(1)
            assert found.value.kind == failures.Kind.BUSY
        with admission.admit() as third:
            third.add(300)
    with admission.admit() as alone:
        alone.add(limits.max_total_bytes)


def test_large_texts_are_read_one_at_a_time_and_small_ones_beside_them():
    turns = Turns()
    large, small = 2_000_000, 2
    started, gate = [], threading.Event()
    has_started = threading.Event()

    def read(number):
        started.append(number)
        has_started.set()
        assert gate.wait(30)
        return number

    async def read_all():
        first = asyncio.create_task(turns.run(large, read, 1))
        await asyncio.to_thread(has_started.wait, 30)
        second = asyncio.create_task(turns.run(large, read, 2))
        assert await turns.run(small, str, 3) == "3"
        assert started == [1]
        gate.set()
        return await asyncio.gather(first, second)

    assert asyncio.run(read_all()) == [1, 2]
    assert started == [1, 2]


def test_a_large_text_that_cannot_be_read_ends_its_turn():
    turns = Turns()

    async def read_all():
        with pytest.raises(ValueError, match="invalid literal"):
            await turns.run(2_000_000, int, "a")
        return await turns.run(2_000_000, int, "1")

    assert asyncio.run(read_all()) == 1
