# SPDX-License-Identifier: Apache-2.0
"""Polygons and run lengths have the pixels of segments, however they lie."""

import hypothesis
import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import numpy as np
import pytest

from deeplab2_like.labels import masks
from deeplab2_like.large_images import corners, outlines

_MAPS = arrays.arrays(
    np.uint32,
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    elements=st.integers(0, 3),
)


@pytest.fixture(scope="module", name="stream")
def _stream(drawn_results):
    def stream(ids_hw, **options):
        return list(
            corners.stream_corners(
                drawn_results.ArrayMap(ids_hw),
                drawn_results.list_segments(ids_hw),
                **options,
            )
        )

    return stream


def _fill(polygons, size):
    """Rasterizes polygons by the rule for pixel centers."""
    mask = np.zeros(size, bool)
    for rings in polygons:
        part = np.zeros(size, bool)
        for ring in rings:
            part ^= masks.fill_polygon(ring, size).to_array(size)
        assert not (mask & part).any()
        mask |= part
    return mask


@hypothesis.settings(deadline=None, max_examples=150)
@hypothesis.given(
    ids_hw=_MAPS,
    rows=st.integers(1, 13),
    most=st.sampled_from([4, 20, 10**6]),
)
def test_each_outline_has_the_pixels_of_its_segment(stream, ids_hw, rows, most):
    found = np.zeros_like(ids_hw)
    for complete in stream(ids_hw, band_rows=rows, most_corners=most):
        for outline in outlines.trace(complete.corners):
            mask = _fill(outline.polygons, ids_hw.shape)
            assert not found[mask].any()
            found[mask] = complete.id[outline.label]
    np.testing.assert_array_equal(found, ids_hw)


@hypothesis.settings(deadline=None, max_examples=150)
@hypothesis.given(ids_hw=_MAPS, rows=st.integers(1, 13))
def test_polygons_are_valid_and_oriented(stream, ids_hw, rows):
    shapely = pytest.importorskip("shapely", reason="shapely is for tests")
    for complete in stream(ids_hw, band_rows=rows):
        for outline in outlines.trace(complete.corners):
            polygons = [
                shapely.Polygon(rings[0], rings[1:])
                for rings in outline.polygons
            ]
            for polygon, rings in zip(polygons, outline.polygons, strict=True):
                assert polygon.is_valid, shapely.is_valid_reason(polygon)
                assert polygon.exterior.is_ccw
                assert not any(hole.is_ccw for hole in polygon.interiors)
                for ring in rings:
                    # Only corners: directions alternate.
                    steps = np.diff(ring, axis=0, append=ring[:1])
                    is_level = steps[:, 1] == 0
                    assert (is_level != np.roll(is_level, 1)).all()
            whole = shapely.MultiPolygon(polygons)
            assert whole.is_valid, shapely.is_valid_reason(whole)
            mask = ids_hw == complete.id[outline.label]
            assert whole.area == mask.sum()


@hypothesis.settings(deadline=None, max_examples=150)
@hypothesis.given(
    ids_hw=_MAPS,
    rows=st.integers(1, 13),
    most=st.sampled_from([4, 20, 10**6]),
)
def test_run_lengths_are_those_of_the_masks(stream, ids_hw, rows, most):
    parts = {}
    for complete in stream(ids_hw, band_rows=rows, most_corners=most):
        for label, toggles in outlines.find_toggles(
            complete.corners, ids_hw.shape[0]
        ):
            parts.setdefault(int(complete.id[label]), []).append(toggles)
    assert sorted(parts) == np.unique(ids_hw[ids_hw > 0]).tolist()
    for label, toggles in parts.items():
        runs = outlines.count_runs(toggles)
        expected = masks.count_runs(ids_hw == label)
        rest = ids_hw.size - sum(runs)
        assert [*runs, rest][: len(expected)] == expected
        assert len(runs) == len(expected) - (rest > 0)


def test_an_instance_that_spans_all_bands_has_one_outline(stream):
    ids_hw = np.zeros((50, 8), np.uint32)
    ids_hw[:, 2:5] = 1
    ids_hw[20:22, 3] = 2
    complete = stream(ids_hw, band_rows=3)
    found = {
        int(part.id[outline.label]): outline.polygons
        for part in complete
        for outline in outlines.trace(part.corners)
    }
    assert len(found[1]) == 1
    assert [len(ring) for ring in found[1][0]] == [4, 4]
    assert len(found[2]) == 1


def test_parts_of_long_outlines_are_numbered(stream):
    ids_hw = np.zeros((60, 40), np.uint32)
    ids_hw[:, ::2] = 1
    ids_hw[::2] = 1
    found = stream(ids_hw, band_rows=4, most_corners=100)
    parts = [
        (int(c.id[o.label]), int(c.part[o.label]))
        for c in found
        for o in outlines.trace(c.corners)
    ]
    assert {one for one, _ in parts} == {1}
    assert sorted(part for _, part in parts) == list(range(len(parts)))
    assert len(parts) > 5


def test_a_map_without_segments_has_no_outline(stream):
    ids_hw = np.zeros((5, 6), np.uint32)
    assert stream(ids_hw) == []
    empty = corners.find_corners(ids_hw, 1)
    assert list(outlines.trace(empty)) == []
    assert list(outlines.find_toggles(empty, 5)) == []
