# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.metrics import overlaps


def _count_pairs(true_hw, predicted_hw):
    pairs = {}
    for pair in zip(true_hw.flat, predicted_hw.flat, strict=True):
        key = (int(pair[0]), int(pair[1]))
        pairs[key] = pairs.get(key, 0) + 1
    return pairs


def _as_dictionary(found):
    return {
        (int(found.true_ids[t]), int(found.predicted_ids[p])): int(n)
        for t, p, n in zip(
            found.true_index, found.predicted_index, found.areas, strict=True
        )
    }


@pytest.mark.parametrize("seed", range(5))
def test_pairs_equal_those_counted_pixel_by_pixel(make_maps, seed):
    truth, predicted = make_maps(seed)
    found = overlaps.compute_overlaps(truth, predicted)
    assert _as_dictionary(found) == _count_pairs(truth, predicted)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.int64])
def test_any_integer_type_is_counted(dtype):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, (9, 7)).astype(dtype)
    predicted = rng.integers(0, 5, (9, 7)).astype(dtype)
    found = overlaps.compute_overlaps(truth, predicted)
    assert _as_dictionary(found) == _count_pairs(truth, predicted)


def test_ids_of_three_bytes_and_negative_ids_are_counted():
    truth = np.array([[2**24 - 1, 5, 5], [5, -3, 0]])
    predicted = np.array([[7, 7, 2**31 - 1], [7, 0, 0]])
    found = overlaps.compute_overlaps(truth, predicted)
    assert _as_dictionary(found) == _count_pairs(truth, predicted)


def test_thousands_of_segments_do_not_need_a_table_of_all_pairs():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 3000, (60, 70))
    predicted = rng.integers(0, 3000, (60, 70))
    found = overlaps.compute_overlaps(truth, predicted)
    assert _as_dictionary(found) == _count_pairs(truth, predicted)


@pytest.mark.parametrize("truth_order", "CF")
@pytest.mark.parametrize("predicted_order", "CF")
def test_the_memory_layout_does_not_matter(
    make_maps, truth_order, predicted_order
):
    truth, predicted = make_maps(3)
    found = overlaps.compute_overlaps(
        np.asarray(truth, order=truth_order),
        np.asarray(predicted, order=predicted_order),
    )
    assert _as_dictionary(found) == _count_pairs(truth, predicted)


def test_areas_are_those_of_the_maps(make_maps):
    truth, predicted = make_maps(4)
    found = overlaps.compute_overlaps(truth, predicted)
    for ids, areas, labels in (
        (found.true_ids, found.true_areas, truth),
        (found.predicted_ids, found.predicted_areas, predicted),
    ):
        expected = np.unique(labels, return_counts=True)
        np.testing.assert_array_equal(ids, expected[0])
        np.testing.assert_array_equal(areas, expected[1])


def test_an_empty_image_has_no_pairs():
    empty = np.zeros((0, 5), np.int32)
    found = overlaps.compute_overlaps(empty, empty)
    assert _as_dictionary(found) == {}
    assert found.true_areas.shape == found.predicted_areas.shape == (0,)


@pytest.mark.parametrize(
    ("truth", "predicted", "message"),
    [
        (np.zeros((4, 5), int), np.zeros((4, 6), int), r"\(4, 5\).*\(4, 6\)"),
        (np.zeros(4, int), np.zeros(4, int), r"\[H, W\]"),
        (np.zeros((4, 5)), np.zeros((4, 5), int), "float64"),
        (np.zeros((4, 5), int), None, "prediction is a NoneType"),
    ],
)
def test_maps_that_cannot_be_compared_are_refused(truth, predicted, message):
    with pytest.raises(errors.DataError, match=message):
        list(overlaps.iterate_images(truth, predicted))


def test_names_must_be_as_many_as_images():
    batch = np.zeros((2, 3, 3), int)
    with pytest.raises(errors.DataError, match=r"1 names .* 2 images"):
        list(overlaps.iterate_images(batch, batch, ["only one"]))
