# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.large_images import tiling
from deeplab2_like.large_images.options import LargeOptions


@pytest.mark.parametrize("remainder", [0, 1])
@pytest.mark.parametrize("overlap", [0, 1, 16, 40, 48])
@pytest.mark.parametrize("length", [1, 64, 65, 66, 100, 321, 1000])
def test_tiles_cover_an_axis_and_share_enough(length, overlap, remainder):
    tile, stride = 64 + remainder, 16
    axis = tiling.make_axis(length, tile, overlap, stride, remainder)
    starts = np.array(axis.starts)
    assert not (starts % stride).any()
    assert axis.starts[0] == 0
    assert starts[-1] + tile >= axis.canvas >= length
    shared = starts[:-1] + tile - remainder - starts[1:]
    assert (shared >= overlap).all()
    if len(starts) > 1:
        assert starts[-1] + tile == axis.canvas
        # One tile less would not do.
        step = (tile - remainder) - -(-overlap // stride) * stride
        assert (len(starts) - 2) * step + tile < axis.canvas
    owned = [axis.find_own(index) for index in range(len(starts))]
    pixels = [pixel for own in owned for pixel in range(*own)]
    assert pixels == list(range(length))
    for (first, last), start in zip(owned, starts, strict=True):
        assert first == last or (start <= first and last <= start + tile)


@pytest.mark.parametrize("overlap", [0, 16, 32, 48])
@pytest.mark.parametrize("length", [65, 97, 129, 500])
def test_weights_are_positive_somewhere_and_fall_to_borders(length, overlap):
    axis = tiling.make_axis(length, 65, overlap, 16)
    total = np.zeros(axis.canvas // 4 + 17, int)
    for index, start in enumerate(axis.starts):
        weights = axis.weigh(index, 4)
        assert weights.shape == (17,)
        assert weights.max() <= tiling.FULL_WEIGHT
        total[start // 4 : start // 4 + 17] += weights
        changes = np.sign(np.diff(weights))
        changes = changes[changes != 0]
        assert (np.diff(changes) <= 0).all()  # Up, and then down.
        margin = (overlap // 4 + 1) // 3
        if index:
            assert not weights[:margin].any()
        else:
            assert weights[0] == tiling.FULL_WEIGHT
    used = total[: (axis.canvas - 1) // 4 + 1]
    assert (used > 0).all()


def test_neighbors_change_linearly():
    axis = tiling.make_axis(113, 65, 16, 16)
    assert axis.starts == (0, 48)
    # Five positions are shared; the outer one of each tile counts nothing.
    first = axis.weigh(0, 4)[12:]
    second = axis.weigh(1, 4)[:5]
    np.testing.assert_array_equal(first, second[::-1])
    np.testing.assert_array_equal(second, [0, 256, 512, 768, 1024])


def test_boxes_are_inside_the_image():
    made = tiling.make_tiling((100, 70), 65, 16, 16)
    boxes = list(made.boxes())
    assert len(boxes) == len(made) == 4
    assert boxes[0] == (0, 0, 65, 65)
    assert boxes[-1] == (48, 16, 100, 70)
    assert [made.index(*made.place(i)) for i in range(4)] == [0, 1, 2, 3]


def test_too_much_overlap_is_refused():
    with pytest.raises(errors.ConfigError, match="give at most 48"):
        tiling.make_axis(200, 65, 64, 16)
    assert tiling.make_axis(65, 65, 64, 16).starts == (0,)
    assert tiling.find_largest_overlap(65, 16) == 48
    assert len(tiling.make_axis(200, 65, 48, 16).starts) > 1


def test_options_are_read_from_flags():
    assert LargeOptions.parse(65, "auto").overlap is None
    assert LargeOptions.parse(65, "16").overlap == 16
    for wrong in ("-1", "1.5", "", "AUTO"):
        with pytest.raises(errors.ConfigError, match="--overlap="):
            LargeOptions.parse(65, wrong)
    LargeOptions(65).check_stride(16)
    LargeOptions(64).check_stride(32, 0)
    with pytest.raises(errors.ConfigError, match="take 65 or 97"):
        LargeOptions(70).check_stride(32)
