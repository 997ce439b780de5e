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
    assert (found.labels.height, found.labels.width) == labels.shape
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


def test_borders_of_tiles_count_nothing(synthetic, quiet, tmp_path):
    """Up to a third of the overlap, so that NaN there changes nothing."""
    size, tile = (150, 140), 65
    heads = synthetic.make_heads(1, size, 4)
    rules = synthetic.make_rules()
    found = _predict(
        synthetic,
        heads,
        rules,
        size,
        LargeOptions(tile, 48),
        quiet,
        tmp_path / "work",
        spoiled=48 // 3 // 4,
    )
    limit = peaks.scale_limit(50, size, tile)
    whole = synthetic.segment_whole(heads, rules, size, limit)
    _assert_same(found, *synthetic.number_segments(whole, rules, size))


@pytest.mark.parametrize("stride", [4, 8])
def test_systems_without_instances(synthetic, quiet, tmp_path, stride):
    size = (90, 133)
    heads = synthetic.make_heads(2, size, stride, with_centers=False)
    rules = synthetic.make_rules(with_centers=False)
    found = _predict(
        synthetic,
        heads,
        rules,
        size,
        LargeOptions(65, 16, 2000),
        quiet,
        tmp_path / "work",
        stride=stride,
    )
    whole = synthetic.segment_whole(heads, rules, size)
    _assert_same(found, *synthetic.number_segments(whole, rules, size))


def test_probabilities_at_full_size(synthetic, quiet, tmp_path):
    """As where several views of each image are averaged: scores are equal."""
    size = (70, 85)
    heads = synthetic.make_heads(3, size, 1)
    logits = heads.pop("semantic_logits")
    powers = np.exp(logits)
    heads["semantic_probs"] = powers / powers.sum(axis=2, keepdims=True)
    rules = synthetic.make_rules(limit=30)
    found = _predict(
        synthetic,
        heads,
        rules,
        size,
        LargeOptions(49, 16, 2000),
        quiet,
        tmp_path / "work",
        stride=1,
    )
    limit = peaks.scale_limit(30, size, 49)
    whole = synthetic.segment_whole(heads, rules, size, limit)
    expected = synthetic.number_segments(whole, rules, size)
    _assert_same(found, *expected, score_tolerance=0)


def test_damaged_parts_are_void_and_named(synthetic, quiet, tmp_path):
    size = (97, 110)
    damage = Box(20, 30, 60, 81)
    heads = synthetic.make_heads(4, size, 4)
    rules = synthetic.make_rules()
    work = tmp_path / "work"
    arguments = (heads, rules, size, LargeOptions(65, 32), quiet)
    found = _predict(synthetic, *arguments, work, damaged=(damage,))
    labels = found.labels.read(0, size[0])
    whole = _predict(synthetic, *arguments, tmp_path / "other")
    assert not labels[20:60, 30:81].any()
    assert whole.labels.read(20, 60)[:, 30:81].any()
    assert found.segments.area.sum() == np.count_nonzero(labels)
    assert "drawn: rows 20 to 59, columns 30 to 80" in found.problems[0]
    assert not whole.problems


def test_pixels_without_a_value_are_void(synthetic, quiet, tmp_path):
    size = (97, 110)
    heads = synthetic.make_heads(5, size, 4)
    rules = synthetic.make_rules()
    image = synthetic.place_image(*size)
    y, x = np.mgrid[: size[0], : size[1]]
    image.void = np.hypot(y - 40, x - 50) < 25
    found = predicting.predict_large(
        synthetic.make_model(heads, rules, 4),
        image,
        LargeOptions(65, 32, 2000),
        tmp_path / "work",
        quiet,
    )
    labels = found.labels.read(0, size[0])
    assert not labels[image.void].any()
    assert labels[~image.void].mean() > 0.5
    assert found.segments.area.sum() == np.count_nonzero(labels)
    assert not found.problems
