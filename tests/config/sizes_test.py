# SPDX-License-Identifier: Apache-2.0
import pytest

from deeplab2_like.config import sizes


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_legal_canvases_are_multiples_of_the_stride_plus_one(stride):
    legal = [s for s in range(1, 200) if sizes.is_legal_canvas(s, stride)]
    assert legal == list(range(stride + 1, 200, stride))


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_the_smallest_canvas_that_holds_a_size_is_found(stride):
    for size in range(1, 300):
        canvas = sizes.legal_canvas(size, stride)
        assert sizes.is_legal_canvas(canvas, stride)
        assert canvas >= size
        below = canvas - stride
        assert below < size or not sizes.is_legal_canvas(below, stride)


@pytest.mark.parametrize(
    ("size", "expected"),
    [(1024, (1009, 1025)), (1025, (1025,)), (5, (17,)), (18, (17, 33))],
)
def test_the_nearest_legal_canvases_are_named(size, expected):
    assert sizes.nearest_legal_canvases(size, 16) == expected


def test_every_image_gets_the_crop_without_a_multiple():
    assert sizes.compute_canvas((300, 500), (257, 257)) == (257, 257)


@pytest.mark.parametrize(
    ("image", "canvas"),
    [
        ((100, 200), (257, 257)),
        ((257, 257), (257, 257)),
        ((258, 256), (273, 257)),
        ((360, 1040), (369, 1041)),
    ],
)
def test_a_multiple_gives_the_smallest_canvas_that_holds_the_image(
    image, canvas
):
    assert sizes.compute_canvas(image, (257, 257), 16) == canvas


@pytest.mark.parametrize("stride", [16, 32])
def test_without_a_remainder_legal_canvases_are_multiples(stride):
    legal = [s for s in range(200) if sizes.is_legal_canvas(s, stride, 0)]
    assert legal == list(range(stride, 200, stride))
    for size in range(1, 200):
        canvas = sizes.legal_canvas(size, stride, 0)
        assert size <= canvas < max(size + stride, stride + 1)
        assert canvas % stride == 0
    assert sizes.nearest_legal_canvases(stride + 1, stride, 0) == (
        stride,
        2 * stride,
    )
    image, crop = (33, 2 * stride + 1), (stride, stride)
    expected = (48 if stride == 16 else 64, 3 * stride)
    assert sizes.compute_canvas(image, crop, stride, 0) == expected


def test_legal_sides_are_described():
    assert sizes.describe_legal(16) == "k * 16 + 1"
    assert sizes.describe_legal(32, 0) == "k * 32"
