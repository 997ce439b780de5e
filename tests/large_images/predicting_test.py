# SPDX-License-Identifier: Apache-2.0
"""Tiles and bands give what the post-processing of the whole maps gives."""

import numpy as np
import pytest

from deeplab2_like.large_images import peaks, predicting
from deeplab2_like.large_images.options import LargeOptions
from deeplab2_like.large_images.source import Box


def _predict(synthetic, heads, rules, size, options, quiet, folder, **more):
    damaged = more.pop("damaged", ())
    stride = more.pop("stride", 4)
    return predicting.predict_large(
        synthetic.make_model(heads, rules, stride, **more),
        synthetic.place_image(*size, damaged),
        options,
        folder,
        quiet,
    )


def _assert_same(found, labels, table, score_tolerance=1e-5):
    assert found.labels.height, found.labels.width == labels.shape
    read = found.labels.read(0, labels.shape[0])
    assert read.dtype == np.uint32
    np.testing.assert_array_equal(read, labels)
    for name, expected in table.items():
        column = getattr(found.segments, name)
        if name == "score":
            np.testing.assert_allclose(column, expected, atol=score_tolerance)
        else:
            np.testing.assert_array_equal(column, expected, name)


@pytest.mark.parametrize(
    ("size", "tile", "overlap", "band_pixels", "kernel"),
    [
        ((97, 129), 65, 32, 1, 7),
        ((150, 211), 65, 48, 3000, 8),
        ((61, 203), 81, 0, 5000, 1),
        ((233, 35), 49, 16, 1 << 20, 41),
        ((20, 30), 65, 16, 1, 3),
    ],
)
def test_tiles_and_bands_equal_the_whole(
    synthetic, quiet, tmp_path, size, tile, overlap, band_pixels, kernel
):
    heads = synthetic.make_heads(sum(size), size, 4)
    rules = synthetic.make_rules(limit=40, kernel=kernel)
    options = LargeOptions(tile, overlap, band_pixels)
    found = _predict(
        synthetic, heads, rules, size, options, quiet, tmp_path / "work"
    )
    limit = peaks.scale_limit(40, size, tile)
    whole = synthetic.segment_whole(heads, rules, size, limit)
    expected = synthetic.number_segments(whole, rules, size)
    assert found.segments.is_thing.sum() >= 2
    _assert_same(found, *expected)
