# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.semi_supervised import consistency
from deeplab2_like.semi_supervised import views as views_lib

CANVAS = (33, 49)
SIZE = (9, 13)
SOFT = consistency.Rules(0.0, takes_best_class=False, thing_ids=(1, 2))
HARD = consistency.Rules(0.6, takes_best_class=True, thing_ids=(1, 2))
CENTERS = np.array([[10.0, 31.0], [20.0, 8.0], [5.0, 40.0], [16.0, 24.0]])


def make_views(scale, shift, is_mirrored, count=4):
    return views_lib.Views(
        CANVAS,
        tf.fill([count], scale),
        tf.tile(tf.constant([shift], tf.float32), [count, 1]),
        tf.fill([count], is_mirrored),
    )


def sample(images):
    return images[:, ::4, ::4]


def predict_maps(images):
    """Returns what a network computes from each pixel of its own."""
    x = tf.convert_to_tensor(images)
    return {
        "semantic_logits": tf.sin(5.0 * x),
        "center_heatmap": tf.cos(3.0 * x[..., :1]),
    }


def make_offsets(centers):
    grid = np.stack(np.meshgrid(*map(np.arange, SIZE), indexing="ij"), -1)
    return (centers[:, None, None] / 4.0 - grid).astype(np.float32)


def move_centers(centers, scale, shift, is_mirrored):
    moved = centers * scale + np.array(shift)
    if is_mirrored:
        moved[:, 1] = CANVAS[1] - 1 - moved[:, 1]
    return moved


def make_outputs(seed, count=4):
    rng = np.random.default_rng(seed)

    def draw(channels, factor):
        return tf.constant(
            factor * rng.normal(size=[count, *SIZE, channels]), tf.float32
        )

    return {
        "semantic_logits": draw(3, 2.0),
        "center_heatmap": draw(1, 0.5),
        "offset_map": draw(2, 1.5),
    }


@pytest.fixture
def padded():
    """Returns which pixels of four canvases are image, not padding."""
    valid = np.zeros([4, *CANVAS], bool)
    for index, (height, width) in enumerate(
        [(33, 49), (27, 49), (33, 30), (20, 37)]
    ):
        valid[index, :height, :width] = True
    return tf.constant(valid)


@pytest.mark.parametrize("has_boxes", [False, True])
@pytest.mark.parametrize("is_mirrored", [False, True])
@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_a_network_that_does_what_the_view_does_has_no_loss(
    scale, is_mirrored, has_boxes, padded
):
    # Each pixel of these views is one of the canvas.
    shift = [8.0, 4.0] if scale < 1.0 else [0.0, 0.0]
    views = make_views(scale, shift, is_mirrored)
    images = np.random.default_rng(1).random([4, *CANVAS, 3], np.float32)
    shown = views_lib.show_images(images, views, (0.5, 0.5, 0.5))
    offset = tf.constant(
        make_offsets(move_centers(CENTERS, scale, shift, is_mirrored))
    )
    boxes = None
    if has_boxes:
        boxes = tf.constant(
            [[4, 4, 21, 33], [0, 0, 0, 0], [12, 0, 33, 17], [0, 8, 20, 48]],
            tf.float32,
        )
        is_in_box = views_lib.find_in_boxes(boxes, CANVAS, CANVAS)
        shown = views_lib.mix_pairs(shown, is_in_box)
        is_in_box = views_lib.find_in_boxes(boxes, SIZE, CANVAS)
        offset = views_lib.mix_pairs(offset, is_in_box)
    teacher = predict_maps(sample(images))
    teacher["offset_map"] = tf.constant(make_offsets(CENTERS))
    student = {**predict_maps(sample(shown)), "offset_map": offset}
    targets = consistency.make_targets(teacher, padded, views, boxes)
    assert targets.is_valid_bhw.numpy().mean() > 0.1
    losses = consistency.compute_losses(student, targets, CANVAS, SOFT)
    assert len(losses) == 3
    for name, loss in losses.items():
        np.testing.assert_allclose(loss, 0.0, atol=2e-5, err_msg=name)
    found = consistency.compute_statistics(student, targets, SOFT)
    np.testing.assert_allclose(found["agreement"], 1.0)


def test_other_weights_or_another_view_have_a_loss(padded):
    views = make_views(0.5, [8.0, 4.0], True)
    images = np.random.default_rng(1).random([4, *CANVAS, 3], np.float32)
    teacher = predict_maps(sample(images))
    teacher["offset_map"] = tf.constant(make_offsets(CENTERS))
    targets = consistency.make_targets(teacher, padded, views)
    losses = consistency.compute_losses(teacher, targets, CANVAS, SOFT)
    for name, loss in losses.items():
        assert np.mean(loss.numpy()) > 1e-3, name


@pytest.mark.parametrize("rules", [SOFT, HARD])
def test_losses_are_those_of_a_numpy_twin(rules, padded, run_in):
    teacher, student = make_outputs(2), make_outputs(3)
    views = make_views(1.0, [0.0, 0.0], False)

    def compute(teacher, student, valid):
        targets = consistency.make_targets(teacher, valid, views)
        losses = consistency.compute_losses(student, targets, CANVAS, rules)
        return losses | consistency.compute_statistics(student, targets, rules)

    found = run_in(compute)(teacher, student, padded)
    valid = padded.numpy()[:, ::4, ::4]
    target = {name: x.numpy().astype(np.float64) for name, x in teacher.items()}
    own = {name: x.numpy().astype(np.float64) for name, x in student.items()}

    def softmax(x):
        x = np.exp(x - x.max(-1, keepdims=True))
        return x / x.sum(-1, keepdims=True)

    p, q = softmax(target["semantic_logits"]), softmax(own["semantic_logits"])
    best = p.argmax(-1)
    confident = valid & (p.max(-1) >= rules.confidence_threshold)
    divergence = (p * np.log(p / q)).sum(-1)
    if rules.takes_best_class:
        divergence = -np.log(np.take_along_axis(q, best[..., None], -1))[..., 0]
    heat = (target["center_heatmap"] - own["center_heatmap"])[..., 0] ** 2
    shift = 4 * np.abs(target["offset_map"] - own["offset_map"]).mean(-1)
    reached = np.zeros_like(valid)
    for b, y, x in np.ndindex(valid.shape):
        dy, dx = target["offset_map"][b, y, x]
        row, column = round(y + dy), round(x + dx)
        is_inside = 0 <= row < SIZE[0] and 0 <= column < SIZE[1]
        reached[b, y, x] = is_inside and valid[b, row, column]
    things = valid & reached & (best > 0)
    for index in range(4):
        count = valid[index].sum()
        mask = confident[index]
        expected = {
            consistency.CLASS_LOSS: divergence[index][mask].sum() / count,
            consistency.CENTER_LOSS: heat[index][mask].sum() / count,
            consistency.OFFSET_LOSS: (
                shift[index][mask & things[index]].sum() / things[index].sum()
            ),
            "confident": mask.sum() / count,
            "agreement": (best == q.argmax(-1))[index][valid[index]].mean(),
        }
        assert expected.keys() == found.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(
                found[name][index], value, rtol=1e-4, err_msg=name
            )


def test_an_image_without_valid_or_confident_pixels_has_no_loss():
    views = make_views(1.0, [0.0, 0.0], False)
    teacher, student = make_outputs(2), make_outputs(3)
    nothing = tf.zeros([4, *CANVAS], tf.bool)
    sure = consistency.Rules(1.0, takes_best_class=True, thing_ids=(1,))
    for valid, rules in ((nothing, SOFT), (~nothing, sure)):
        targets = consistency.make_targets(teacher, valid, views)
        losses = consistency.compute_losses(student, targets, CANVAS, rules)
        for loss in losses.values():
            np.testing.assert_array_equal(loss, np.zeros(4))
    found = consistency.compute_statistics(student, targets, sure)
    np.testing.assert_array_equal(found["confident"], np.zeros(4))


def test_an_offset_to_a_center_that_a_box_covers_does_not_count():
    views = make_views(1.0, [0.0, 0.0], False, count=2)
    teacher = make_outputs(2, count=2)
    teacher["semantic_logits"] = tf.constant([0.0, 9.0, 0.0]) + tf.zeros(
        [2, *SIZE, 3]
    )
    centers = np.array([[16.0, 12.0], [16.0, 40.0]])
    teacher["offset_map"] = tf.constant(make_offsets(centers))
    boxes = tf.constant([[0, 0, 33, 25], [0, 0, 0, 0]], tf.float32)
    targets = consistency.make_targets(
        teacher, tf.ones([2, *CANVAS], tf.bool), views, boxes
    )
    is_shown = targets.is_center_shown_bhw.numpy()
    # In the first view the own center is covered, and the center of the image
    # in the box is outside of the box.
    assert not is_shown[0].any()
    assert is_shown[1].all()


def test_the_teacher_gets_no_gradient():
    views = make_views(0.7, [3.0, 2.0], True)
    teacher = {name: tf.Variable(x) for name, x in make_outputs(2).items()}
    student = {name: tf.Variable(x) for name, x in make_outputs(3).items()}
    valid = tf.ones([4, *CANVAS], tf.bool)
    boxes = views_lib.draw_boxes(tf.fill([4, 5], 0.4), 1.0, CANVAS)
    with tf.GradientTape(persistent=True) as tape:
        targets = consistency.make_targets(
            {name: tf.identity(x) for name, x in teacher.items()},
            valid,
            views,
            boxes,
        )
        losses = consistency.compute_losses(
            {name: tf.identity(x) for name, x in student.items()},
            targets,
            CANVAS,
            SOFT,
        )
        total = tf.add_n([tf.reduce_sum(x) for x in losses.values()])
    assert tape.gradient(total, list(teacher.values())) == [None] * 3
    for gradient in tape.gradient(total, list(student.values())):
        assert np.abs(gradient.numpy()).max() > 0


def test_systems_without_instances_have_the_loss_of_classes_only(padded):
    views = make_views(0.5, [8.0, 4.0], True)
    logits = {"semantic_logits": make_outputs(2)["semantic_logits"]}
    targets = consistency.make_targets(logits, padded, views)
    losses = consistency.compute_losses(logits, targets, CANVAS, SOFT)
    assert list(losses) == [consistency.CLASS_LOSS]


def test_the_losses_rise_with_the_steps():
    ramp = [float(consistency.compute_ramp(step, 100)) for step in range(150)]
    np.testing.assert_allclose(ramp[0], np.exp(-5))
    assert np.all(np.diff(ramp[:101]) > 0)
    assert ramp[100:] == [1.0] * 50
    assert float(consistency.compute_ramp(tf.constant(0), 0)) == 1.0
