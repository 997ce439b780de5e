# SPDX-License-Identifier: Apache-2.0
"""The phases of commands are timed by what they print."""

import sys

import pytest

from benchmarks import own_photos
from deeplab2_like import errors

_STARTS = {"": "begin", "Work": "work", "End": "end"}


def test_phases_begin_with_their_lines():
    code = "print('hello'); print('Work 1'); print('End'); print('Work 2')"
    phases, lines = own_photos.time_phases(
        "x", [sys.executable, "-c", code], _STARTS
    )
    assert [phase.name for phase in phases] == ["begin", "work", "end"]
    assert all(phase.seconds >= 0 for phase in phases)
    assert lines == ["hello", "Work 1", "End", "Work 2"]


def test_a_failure_is_shown():
    code = "import sys; print('why'); sys.exit(3)"
    with pytest.raises(errors.UserError, match="x failed with code 3: why"):
        own_photos.time_phases("x", [sys.executable, "-c", code], _STARTS)
