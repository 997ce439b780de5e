# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.semi_supervised import views as views_lib

CANVAS = (33, 49)
RULES = views_lib.ViewRules(0.5, 2.0, 0.5)


def make_views(scales, shifts, mirrored, canvas=CANVAS):
    return views_lib.Views(
        canvas,
        tf.constant(scales, tf.float32),
        tf.constant(shifts, tf.float32),
        tf.constant(mirrored),
    )


def draw(count, width, seed=0):
    rng = np.random.default_rng(seed)
    return tf.constant(rng.random([count, width]), tf.float32)


def locate(view, size, canvas):
    """Returns where each pixel of a map in a view lies on the map."""
    scale, shift, is_mirrored = view
    places = []
    for axis in (0, 1):
        count = size[axis]
        position = np.arange(count, dtype=np.float64)
        if axis == 1 and is_mirrored:
            position = position[::-1]
        unit = (canvas[axis] - 1) / max(count - 1, 1)
        places.append((position * unit - shift[axis]) / scale / unit)
    return places


def show_twin(maps, view, canvas):
    """Returns the map of one image in a view, and where it is inside."""
    rows, columns = locate(view, maps.shape[:2], canvas)
    shown = np.zeros(maps.shape, np.float64)
    inside = np.zeros(maps.shape[:2], bool)
    last = np.array(maps.shape[:2]) - 1
    for i, y in enumerate(rows):
        for j, x in enumerate(columns):
            inside[i, j] = (
                -1e-3 <= y <= last[0] + 1e-3 and -1e-3 <= x <= last[1] + 1e-3
            )
            place = np.clip([y, x], 0, last)
            low = np.floor(place).astype(int)
            high = np.minimum(low + 1, last)
            w = place - low
            top = maps[low[0], low[1]] * (1 - w[1]) + (
                maps[low[0], high[1]] * w[1]
            )
            bottom = maps[high[0], low[1]] * (1 - w[1]) + (
                maps[high[0], high[1]] * w[1]
            )
            shown[i, j] = top * (1 - w[0]) + bottom * w[0]
    return shown, inside


def list_views(views):
    return list(
        zip(
            views.scale_b.numpy().astype(np.float64),
            views.shift_b2.numpy(),
            views.is_mirrored_b.numpy(),
            strict=True,
        )
    )


def test_drawn_views_have_the_scales_and_lie_in_the_canvas():
    views = views_lib.draw_views(draw(400, 4), RULES, CANVAS)
    scales = views.scale_b.numpy()
    assert scales.min() >= 0.5
    assert scales.max() <= 2.0
    # Half of the scales are below 1, evenly by their logarithm.
    assert 0.4 < (scales < 1).mean() < 0.6
    assert 0.4 < views.is_mirrored_b.numpy().mean() < 0.6
    margin = (np.array(CANVAS) - 1) * (1 - scales[:, None])
    shift = views.shift_b2.numpy()
    assert np.all(shift == np.round(shift))
    assert np.all(shift >= np.minimum(margin, 0) - 0.5)
    assert np.all(shift <= np.maximum(margin, 0) + 0.5)


def test_a_view_of_scale_1_that_is_not_mirrored_is_the_canvas():
    views = views_lib.draw_views(draw(3, 4), views_lib.ViewRules(), CANVAS)
    images = np.random.default_rng(1).random([3, *CANVAS, 3], np.float32)
    shown = views_lib.show_images(images, views, (1.0, 2.0, 3.0))
    np.testing.assert_array_equal(shown, images)
    valid = np.random.default_rng(2).random([3, *CANVAS]) < 0.5
    visible = views_lib.find_visible(tf.constant(valid), views, CANVAS)
    np.testing.assert_array_equal(visible, valid)


@pytest.mark.parametrize("size", [CANVAS, (9, 13), (1, 13)])
def test_maps_in_views_are_those_of_a_numpy_twin(size, run_in):
    drawn = draw(6, 4, seed=3)
    maps = np.random.default_rng(4).normal(size=[6, *size, 2])
    maps = maps.astype(np.float32)

    def show(drawn, maps):
        views = views_lib.draw_views(drawn, RULES, CANVAS)
        return views_lib.show_maps(maps, views)

    shown = run_in(show)(drawn, tf.constant(maps)).numpy()
    views = views_lib.draw_views(drawn, RULES, CANVAS)
    for index, view in enumerate(list_views(views)):
        expected, inside = show_twin(maps[index], view, CANVAS)
        np.testing.assert_allclose(
            shown[index][inside], expected[inside], atol=1e-4
        )


def test_what_is_outside_of_the_canvas_has_the_padding_color():
    views = make_views([0.5], [[4, 6]], [True])
    images = np.full([1, *CANVAS, 3], 9.0, np.float32)
    shown = views_lib.show_images(images, views, (1.0, 2.0, 3.0)).numpy()[0]
    _, inside = show_twin(images[0], list_views(views)[0], CANVAS)
    # 17 of 33 rows and 25 of 49 columns.
    assert inside.sum() == 17 * 25
    np.testing.assert_array_equal(shown[inside], np.full([425, 3], 9.0))
    outside = shown[~inside]
    np.testing.assert_array_equal(outside, np.tile([1, 2, 3], [1192, 1]))


def test_only_pixels_that_depend_on_no_padding_are_visible():
    views = views_lib.draw_views(draw(20, 4, 5), RULES, CANVAS)
    rng = np.random.default_rng(6)
    sizes = [rng.integers(5, side, 20) for side in CANVAS]
    valid = np.zeros([20, *CANVAS], bool)
    for index, (height, width) in enumerate(zip(*sizes, strict=True)):
        valid[index, :height, :width] = True
    visible = views_lib.find_visible(tf.constant(valid), views, CANVAS).numpy()
    for index, view in enumerate(list_views(views)):
        rows, columns = locate(view, CANVAS, CANVAS)
        height, width = sizes[0][index], sizes[1][index]
        is_row = (rows > -1e-3) & (rows < height - 1 + 1e-3)
        is_column = (columns > -1e-3) & (columns < width - 1 + 1e-3)
        np.testing.assert_array_equal(
            visible[index], is_row[:, None] & is_column[None], str(view)
        )


@pytest.mark.parametrize("is_mirrored", [False, True])
@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_a_pointwise_network_sees_the_view_as_it_saw_the_canvas(
    scale, is_mirrored
):
    # At these scales each pixel of a view is one of the canvas.
    shift = [[5, 3]] if scale < 1 else [[0, 0]]
    views = make_views([scale], shift, [is_mirrored])
    image = np.random.default_rng(7).random([1, *CANVAS, 3], np.float32)

    def predict(images):
        return tf.sin(13.0 * images[..., :2]) * images[..., 1:]

    seen = predict(views_lib.show_images(image, views, (0.0, 0.0, 0.0)))
    shown = views_lib.show_maps(predict(image), views)
    visible = views_lib.find_visible(
        tf.ones([1, *CANVAS], tf.bool), views, CANVAS
    ).numpy()
    assert visible.sum() >= 17 * 25
    # The sine of a number depends on its place in a vector, in the last bit.
    np.testing.assert_allclose(
        seen.numpy()[visible], shown.numpy()[visible], atol=1e-6
    )


@pytest.mark.parametrize("size", [CANVAS, (9, 13)])
def test_offsets_point_to_where_the_center_is_in_the_view(size):
    views = views_lib.draw_views(draw(12, 4, 8), RULES, CANVAS)
    center = np.array([10.0, 31.0])
    unit = (np.array(CANVAS) - 1) / (np.array(size) - 1)
    grid = np.stack(
        np.meshgrid(*(np.arange(side) for side in size), indexing="ij"), -1
    )
    offset = np.tile(center / unit - grid, [12, 1, 1, 1]).astype(np.float32)
    shown = views_lib.show_offsets(offset, views).numpy()
    visible = views_lib.find_visible(
        tf.ones([12, *CANVAS], tf.bool), views, size
    ).numpy()
    for index, (scale, shift, is_mirrored) in enumerate(list_views(views)):
        moved = center * scale + shift
        if is_mirrored:
            moved[1] = CANVAS[1] - 1 - moved[1]
        expected = moved / unit - grid
        np.testing.assert_allclose(
            shown[index][visible[index]],
            expected[visible[index]],
            atol=1e-4,
        )


def test_pixels_of_maps_lie_on_those_of_the_canvas():
    assert views_lib.choose_pixels(33, 9) == list(range(0, 33, 4))
    assert views_lib.choose_pixels(33, 33) == list(range(33))
    assert views_lib.choose_pixels(33, 1) == [0]


def test_boxes_have_their_areas_and_lie_in_the_canvas():
    boxes = views_lib.draw_boxes(draw(500, 5), 0.5, CANVAS)
    top, left, bottom, right = boxes.numpy().T
    height, width = bottom - top, right - left
    has_box = height > 0
    assert 0.4 < has_box.mean() < 0.6
    assert np.all(width[~has_box] == 0)
    assert np.all((top >= 0) & (left >= 0))
    assert np.all((bottom <= CANVAS[0]) & (right <= CANVAS[1]))
    share = (height * width)[has_box] / np.prod(CANVAS)
    assert share.min() > 0.01
    assert share.max() < 0.42
    none = views_lib.draw_boxes(draw(50, 5), 0.0, CANVAS)
    assert not views_lib.find_in_boxes(none, CANVAS, CANVAS).numpy().any()


def test_boxes_are_the_same_places_on_canvas_and_maps():
    boxes = tf.constant([[4.0, 8.0, 13.0, 21.0], [0.0, 0.0, 33.0, 49.0]])
    full = views_lib.find_in_boxes(boxes, CANVAS, CANVAS).numpy()
    assert full[0].sum() == 9 * 13
    assert full[0, 4:13, 8:21].all()
    assert full[1].all()
    small = views_lib.find_in_boxes(boxes, (9, 13), CANVAS).numpy()
    np.testing.assert_array_equal(small, full[:, ::4, ::4])


def test_a_box_shows_the_other_of_a_pair(run_in):
    x = np.arange(4 * 6, dtype=np.int32).reshape([4, 2, 3])
    is_in_box = np.zeros([4, 2, 3], bool)
    is_in_box[0, 1] = is_in_box[3, :, 2] = True
    mixed = run_in(views_lib.mix_pairs)(
        tf.constant(x), tf.constant(is_in_box)
    ).numpy()
    expected = x.copy()
    expected[0, 1] = x[1, 1]
    expected[3, :, 2] = x[2, :, 2]
    np.testing.assert_array_equal(mixed, expected)
    deep = views_lib.mix_pairs(
        tf.constant(np.stack([x, -x], -1)), tf.constant(is_in_box)
    )
    np.testing.assert_array_equal(deep[..., 0], expected)
    np.testing.assert_array_equal(deep[..., 1], -expected)
