# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.model import multi_scale
from deeplab2_like.model.layers.resize import scaled_size
from deeplab2_like.model.multi_scale import View
from deeplab2_like.model.outputs import resize_outputs

_SCALES = [0.5, 0.75, 1.0, 1.75]
_VIEWS = multi_scale.make_views(_SCALES, True)


def _make_images(size=(33, 49), batch=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (batch, *size, 3)).astype(np.uint8)


def _compute_blurred(images, scale):
    """Outputs that depend on neighbouring pixels, at half the resolution."""
    x = tf.cast(images, tf.float32) / 255.0
    x = tf.nn.avg_pool2d(x, 3, 2, "SAME")
    return {
        "semantic_logits": tf.concat([4.0 * x, x * x + scale], axis=-1),
        "center_heatmap": tf.reduce_mean(x, axis=-1, keepdims=True),
        "offset_map": x[..., :2] * scale,
    }


def _resize(values, size):
    return tf.raw_ops.ResizeBilinear(
        images=values, size=size, align_corners=True
    ).numpy()


def test_each_scale_is_seen_plain_and_then_mirrored():
    assert multi_scale.make_views([], False) == (View(1.0, False),)
    assert multi_scale.make_views([0.5, 2.0], True) == (
        View(0.5, False),
        View(0.5, True),
        View(2.0, False),
        View(2.0, True),
    )


def test_the_average_is_that_of_a_plain_loop():
    images = _make_images()
    size = images.shape[1:3]
    found = multi_scale.average_views(_compute_blurred, images, _VIEWS)
    sums = {}
    for scale in _SCALES:
        view_size = [int((n - 1) * scale + 1) for n in size]
        for step in (1, -1):
            view = _resize(images.astype(np.float32), view_size)[:, :, ::step]
            maps = _compute_blurred(view, scale)
            maps = {k: v.numpy()[:, :, ::step] for k, v in maps.items()}
            height, width = maps["offset_map"].shape[1:3]
            maps["offset_map"] = maps["offset_map"] * [
                (size[0] - 1) / (height - 1),
                step * (size[1] - 1) / (width - 1),
            ]
            maps = {k: _resize(v, size) for k, v in maps.items()}
            logits = maps["semantic_logits"]
            maps["semantic_probs"] = tf.nn.softmax(logits).numpy()
            for key, value in maps.items():
                sums[key] = sums.get(key, 0.0) + value
    assert found.keys() == sums.keys()
    for key, value in sums.items():
        np.testing.assert_allclose(found[key], value / 8, atol=2e-5)


def test_offsets_to_one_place_stay_offsets_to_that_place():
    size, target = (65, 97), (20.0, 71.0)

    def compute(images, scale):
        """Returns exact offsets, of an object that is right in the original."""
        del scale
        height, width = images.shape[1:3]
        # The mirrored views are those whose left pixel is bright.
        is_mirrored = float(images[0, 0, 0, 0]) > 128
        y, x = target
        x = size[1] - 1 - x if is_mirrored else x
        y, x = (
            y * (height - 1) / (size[0] - 1),
            x * (width - 1) / (size[1] - 1),
        )
        grid = np.stack(np.mgrid[:height, :width], axis=-1)
        offset = np.array([y, x]) - grid
        return {
            "semantic_logits": tf.zeros([1, height, width, 2]),
            "offset_map": tf.constant(offset[None], tf.float32),
        }

    images = np.zeros((1, *size, 3), np.uint8)
    images[:, :, -1] = 255
    found = multi_scale.average_views(compute, images, _VIEWS)
    votes = found["offset_map"][0] + np.stack(
        np.mgrid[: size[0], : size[1]], axis=-1
    )
    expected = np.broadcast_to(np.array(target), votes.shape)
    np.testing.assert_allclose(votes, expected, atol=1e-3)


def test_a_mirrored_image_gives_the_mirrored_average():
    images = _make_images()
    found = multi_scale.average_views(_compute_blurred, images, _VIEWS)
    mirrored = multi_scale.average_views(
        _compute_blurred, images[:, :, ::-1], _VIEWS
    )
    for key, value in found.items():
        expected = value.numpy()[:, :, ::-1]
        if key == "offset_map":
            expected = expected * [1, -1]
        np.testing.assert_allclose(mirrored[key], expected, atol=1e-5)


def test_a_single_view_stays_at_head_resolution():
    images = _make_images()
    found = multi_scale.average_views(_compute_blurred, images, [View()])
    expected = _compute_blurred(images, 1.0)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value)
    found = multi_scale.average_views(_compute_blurred, images, [View(0.5)])
    assert found["offset_map"].shape[1:3] == (9, 13)


def test_a_single_mirrored_view_is_turned_back():
    images = _make_images()
    found = multi_scale.average_views(
        _compute_blurred, images, [View(1.0, True)]
    )
    expected = resize_outputs(
        _compute_blurred(images[:, :, ::-1], 1.0), (33, 49)
    )
    np.testing.assert_allclose(
        found["semantic_logits"],
        expected["semantic_logits"][:, :, ::-1],
        atol=1e-5,
    )


def test_logits_can_be_left_out():
    found = multi_scale.average_views(
        _compute_blurred, _make_images(), _VIEWS, keep_logits=False
    )
    assert set(found) == {"semantic_probs", "center_heatmap", "offset_map"}


@pytest.mark.parametrize("jit_compile", [False, True])
def test_eager_graph_and_xla_give_the_same(jit_compile):
    images = _make_images()

    def average(images):
        return multi_scale.average_views(_compute_blurred, images, _VIEWS)

    expected = average(images)
    compiled = tf.function(
        average,
        jit_compile=jit_compile,
        input_signature=[tf.TensorSpec(images.shape, tf.uint8)],
    )
    found = compiled(images)
    shapes = compiled.get_concrete_function().structured_outputs
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, atol=2e-5)
        assert shapes[key].shape.is_fully_defined()


def test_sizes_may_be_unknown_while_tracing():
    average = tf.function(
        lambda x: multi_scale.average_views(_compute_blurred, x, _VIEWS),
        input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)],
    )
    for size in ((33, 49), (20, 7)):
        images = _make_images(size)
        expected = multi_scale.average_views(_compute_blurred, images, _VIEWS)
        for key, value in average(images).items():
            np.testing.assert_allclose(value, expected[key], atol=2e-5)


def test_a_graph_computes_one_view_after_the_other():
    seen = []

    def compute(images, scale):
        seen.append(images)
        return _compute_blurred(images, scale)

    with tf.Graph().as_default():
        images = tf.zeros([1, 17, 17, 3])
        multi_scale.average_views(compute, images, [View(), View(), View()])
        sums = [{i.name for i in x.op.control_inputs} for x in seen]
    assert not sums[0]
    assert sums[1]
    assert sums[2]
    assert sums[1].isdisjoint(sums[2])


@pytest.mark.parametrize("factor", [0.25, 0.5, 0.7, 1.0, 1.1, 2.0])
def test_scaled_sizes_of_tensors_are_those_of_numbers(factor):
    factor = float(np.float32(factor))  # As a field of a config gives it.
    for size in ((1, 2), (33, 65), (1025, 2049), (640, 481)):
        numbers = scaled_size(size, factor)
        assert numbers == tuple(int((n - 1) * factor + 1) for n in size)
        found = scaled_size(tf.constant(size), factor)
        np.testing.assert_array_equal(found, numbers)
