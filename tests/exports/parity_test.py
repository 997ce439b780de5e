# SPDX-License-Identifier: Apache-2.0
import pytest

from deeplab2_like import errors
from deeplab2_like.exports import parity


@pytest.mark.parametrize(
    ("num_pixels", "num_different"), [(1_000_000, 100), (1_000, 16), (1_000, 0)]
)
def test_what_rounding_tips_is_allowed(num_pixels, num_different):
    found = parity.Parity(4, num_pixels, num_pixels - num_different, [])
    assert found.is_good
    parity.require(found)
    assert found.equal_pixels == pytest.approx(1 - num_different / num_pixels)


@pytest.mark.parametrize(
    ("num_pixels", "num_different"), [(1_000_000, 101), (1_000, 17)]
)
def test_more_is_refused(num_pixels, num_different):
    found = parity.Parity(4, num_pixels, num_pixels - num_different, [])
    with pytest.raises(errors.ExportError, match=f"of {num_pixels} pixels"):
        parity.require(found)


def test_other_segments_are_refused_however_many_pixels_are_equal():
    found = parity.Parity(1, 1_000, 1_000, ["a.jpg: 2 segments instead of 3"])
    with pytest.raises(errors.ExportError, match="2 segments instead of 3"):
        parity.require(found)
