# SPDX-License-Identifier: Apache-2.0
"""Masks against twins that look at each pixel alone, and pycocotools."""

import numpy as np
import pytest

from deeplab2_like.labels import masks


def is_inside(points, x, y):
    """Even-odd rule for one point, by a ray to the left."""
    inside = False
    for (x0, y0), (x1, y1) in zip(
        points, [*points[1:], points[0]], strict=True
    ):
        if y0 > y1:
            (x0, y0), (x1, y1) = (x1, y1), (x0, y0)
        if y0 <= y < y1 and x0 + (y - y0) / (y1 - y0) * (x1 - x0) <= x:
            inside = not inside
    return inside


def fill_slowly(points, size):
    return np.array(
        [
            [is_inside(points, x + 0.5, y + 0.5) for x in range(size[1])]
            for y in range(size[0])
        ]
    ).reshape(size)


@pytest.mark.parametrize("seed", range(30))
def test_polygons_have_the_pixels_whose_centers_are_inside(seed):
    rng = np.random.default_rng(seed)
    size = tuple(rng.integers(1, 20, 2))
    points = rng.uniform(-6, 24, (rng.integers(3, 9), 2))
    if seed % 2:
        points = np.round(points * 2) / 2  # Corners on centers and on edges.
    found = masks.fill_polygon(points, size).to_array(size)
    np.testing.assert_array_equal(found, fill_slowly(points.tolist(), size))


@pytest.mark.parametrize("seed", range(10))
def test_triangles_with_common_edges_cover_each_pixel_once(seed):
    rng = np.random.default_rng(seed)
    corners = [(0, 0), (17, 0), (17, 13), (0, 13)]
    middle = tuple(rng.uniform(1, 12, 2))
    count = np.zeros((13, 17), int)
    for a, b in zip(corners, [*corners[1:], corners[0]], strict=True):
        triangle = masks.fill_polygon([a, b, middle], (13, 17))
        count += triangle.to_array((13, 17))
    assert (count == 1).all()


def test_a_rectangle_on_pixel_edges_has_its_pixels():
    points = [(2, 1), (5, 1), (5, 4), (2, 4)]
    mask = masks.fill_polygon(points, (6, 8)).to_array((6, 8))
    assert mask[1:4, 2:5].all()
    assert mask.sum() == 9


@pytest.mark.parametrize(
    "points",
    [
        [],
        [(1, 1)],
        [(1, 1), (5, 5)],
        [(1, 1), (5, 1), (3, 1)],
        [(-9, -9), (-2, -9), (-2, -2)],
        [(1.1, 1.1), (1.4, 1.1), (1.4, 1.4)],
        [(2**53, 0), (2**53, 2**53), (0, 2**53)],
    ],
)
def test_what_covers_no_center_is_empty(points):
    assert masks.fill_polygon(points, (6, 8)).area == 0


def test_polygons_far_larger_than_the_image_fill_it():
    far = 2.0**53
    points = [(-far, -far), (far, -far), (far, far), (-far, far)]
    assert masks.fill_polygon(points, (6, 8)).area == 48


@pytest.mark.parametrize("seed", range(5))
def test_polygons_differ_from_pycocotools_along_edges_only(seed):
    mask_lib = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 12))
    radii = rng.uniform(20, 45, 12)
    points = np.stack(
        [50 + radii * np.cos(angles), 48 + radii * np.sin(angles)], axis=1
    )
    size = (96, 100)
    theirs = mask_lib.decode(
        mask_lib.frPyObjects([points.reshape(-1).tolist()], *size)
    )[..., 0].astype(bool)
    ours = masks.fill_polygon(points, size).to_array(size)
    assert (ours & theirs).sum() / (ours | theirs).sum() > 0.95
    y, x = np.nonzero(ours != theirs)
    starts, ends = points, np.roll(points, -1, axis=0)
    for pixel in np.stack([x + 0.5, y + 0.5], axis=1):
        along = ((pixel - starts) * (ends - starts)).sum(1) / (
            (ends - starts) ** 2
        ).sum(1)
        nearest = starts + np.clip(along, 0, 1)[:, None] * (ends - starts)
        assert np.hypot(*(nearest - pixel).T).min() < 1.5


def test_ellipses_have_the_pixels_whose_centers_are_inside():
    mask = masks.fill_ellipse((4, 3), (3, 2), (7, 6)).to_array((7, 6))
    for y in range(7):
        for x in range(6):
            distance = ((x + 0.5 - 4) / 3) ** 2 + ((y + 0.5 - 3) / 2) ** 2
            assert mask[y, x] == (distance <= 1)
    assert masks.fill_ellipse((4, 3), (0, 2), (7, 6)).area == 0


@pytest.mark.parametrize("seed", range(20))
def test_run_lengths_are_those_of_pycocotools(seed):
    mask_lib = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(seed)
    size = tuple(int(n) for n in rng.integers(1, 60, 2))
    mask_hw = rng.random(size) < rng.choice([0, 0.02, 0.5, 1])
    mask_hw = np.kron(mask_hw, np.ones((rng.integers(1, 9), 1), bool))
    size = mask_hw.shape
    rle = mask_lib.encode(np.asfortranarray(mask_hw.astype(np.uint8)))
    counts = masks.read_compressed_counts(rle["counts"].decode())
    found = masks.fill_runs(counts, size)
    np.testing.assert_array_equal(found.to_array(size), mask_hw)
    assert found.area == mask_hw.sum()
    assert sum(counts[1::2]) == mask_hw.sum()


@pytest.mark.parametrize(
    ("text", "words"),
    [("0\x07", "character 2 of 2"), ("o", "cut off"), ("o" * 99, "no run")],
)
def test_what_is_no_run_length_code_is_refused(text, words):
    with pytest.raises(ValueError, match=words):
        masks.read_compressed_counts(text)


@pytest.mark.parametrize("counts", [[], [5], [-1, 13], [3, 4, 6]])
def test_run_lengths_that_do_not_fill_the_mask_are_refused(counts):
    with pytest.raises(ValueError, match=r"3 x 4 pixels"):
        masks.fill_runs(counts, (3, 4))


def test_united_masks_have_the_pixels_of_all():
    size = (9, 9)
    parts = [
        masks.fill_polygon([(0, 0), (3, 0), (3, 3), (0, 3)], size),
        masks.Mask.empty(),
        masks.fill_polygon([(2, 2), (8, 2), (8, 8), (2, 8)], size),
    ]
    expected = parts[0].to_array(size) | parts[2].to_array(size)
    united = masks.unite(parts)
    np.testing.assert_array_equal(united.to_array(size), expected)
    assert masks.unite([]).area == 0


@pytest.mark.parametrize("seed", range(8))
def test_run_lengths_are_written_as_they_are_read(seed):
    random = np.random.default_rng(seed)
    size = (int(random.integers(1, 300)), int(random.integers(1, 90)))
    mask = np.repeat(random.random(size) < 0.3, 1 + seed, axis=0)
    counts = masks.count_runs(mask)
    assert sum(counts) == mask.size
    assert all(counts[1:])
    text = masks.write_compressed_counts(counts)
    assert masks.read_compressed_counts(text) == counts
    found = masks.fill_runs(counts, mask.shape)
    np.testing.assert_array_equal(found.to_array(mask.shape), mask)


@pytest.mark.parametrize("seed", range(30))
def test_run_lengths_of_a_mask_are_those_of_its_image(seed):
    random = np.random.default_rng(seed)
    mask = np.zeros((7, 9), bool)
    height, width = random.integers(0, 8), random.integers(0, 10)
    y, x = random.integers(0, 8 - height), random.integers(0, 10 - width)
    fill = random.choice([0.5, 0.9, 1.0])
    window = random.random((height, width)) < fill
    mask[y : y + height, x : x + width] = window
    for found in (masks.Mask.of(mask), masks.Mask(int(y), int(x), window)):
        assert masks.count_mask_runs(found, (7, 9)) == masks.count_runs(mask)


def test_compressed_run_lengths_are_those_of_pycocotools():
    coco_masks = pytest.importorskip("pycocotools.mask")
    random = np.random.default_rng(0)
    for fill in (0, 0.01, 0.5, 1):
        mask = random.random((150, 70)) < fill
        text = masks.write_compressed_counts(masks.count_runs(mask))
        encoded = coco_masks.encode(np.asfortranarray(mask, np.uint8))
        assert text.encode() == encoded["counts"]
