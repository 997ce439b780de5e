# SPDX-License-Identifier: Apache-2.0
"""Centers of bands are those of the whole heatmap."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.large_images import bands, peaks, validity
from deeplab2_like.postprocess import options
from deeplab2_like.postprocess.pixels import centers, upsampling


class _Maps:
    """The heatmap of a canvas, as `blending.HeadMaps`."""

    stride = 4

    def __init__(self, heatmap):
        self._heatmap = heatmap
        self.height, self.width = heatmap.shape

    def read(self, name, top, bottom):
        assert name == "center_heatmap"
        assert 0 <= top < bottom <= self.height
        return self._heatmap[top:bottom, :, None]


@pytest.mark.parametrize("limit", [1, 7, 30, 1000])
@pytest.mark.parametrize("kernel", [1, 2, 5, 41])
def test_they_are_those_of_the_whole(quiet, limit, kernel):
    rng = np.random.default_rng(kernel)
    # Of few values, so that many are equal.
    heatmap = (rng.integers(0, 6, (17, 13)) / 5).astype(np.float32)
    size, canvas = (60, 45), (65, 49)
    rules = options.CenterRules(0.15, kernel, limit)
    found = peaks.find_centers(
        _Maps(heatmap),
        bands.cut(*size, stride=4, band_pixels=300),
        validity.ValidPixels(size),
        rules,
        limit,
        quiet,
    )
    whole = upsampling.upsample_maps(tf.constant(heatmap[None]), canvas)
    whole = whole[0].numpy()
    whole[size[0] :], whole[:, size[1] :] = 0, 0
    expected = centers.find_centers(tf.constant(whole), rules)
    count = int(expected.count)
    assert len(found) == count
    for name in ("y", "x", "score"):
        np.testing.assert_array_equal(
            getattr(found, name), getattr(expected, name)[:count], name
        )


def test_the_limit_is_that_of_each_tile():
    assert peaks.scale_limit(200, (50, 60), 65) == 200
    assert peaks.scale_limit(200, (65, 65), 65) == 200
    assert peaks.scale_limit(200, (66, 65), 65) == 400
    assert peaks.scale_limit(200, (650, 650), 65) == 20_000
