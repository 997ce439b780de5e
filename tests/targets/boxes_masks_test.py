# SPDX-License-Identifier: Apache-2.0
"""Boxes and maps of instances, against a twin in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.targets import boxes_masks

THINGS = (2, 5, 3)
DIVISOR = 100
VOID = 255
CHANNELS = (1, 2, 0, 0, -1, 0)


def _compute_targets(panoptic, max_instances):
    return boxes_masks.compute_box_mask_targets(
        panoptic,
        thing_ids=THINGS,
        ignore_label=VOID,
        label_divisor=DIVISOR,
        max_instances=max_instances,
        channels=CHANNELS,
    )


def _compute(panoptic, max_instances=4, compute=_compute_targets):
    targets = compute(tf.constant(panoptic, tf.int32), max_instances)
    return {name: value.numpy() for name, value in targets.items()}


def _compute_twin(panoptic, max_instances):
    category = panoptic // DIVISOR
    labels, first, area = np.unique(
        panoptic, return_index=True, return_counts=True
    )
    found = [
        (f, a, label)
        for label, f, a in zip(labels, first, area, strict=True)
        if label // DIVISOR in THINGS and label % DIVISOR
    ]
    found.sort()
    kept = sorted(sorted(found, key=lambda x: -x[1])[:max_instances])
    instance = np.zeros_like(panoptic)
    boxes = np.zeros((max_instances, 4), np.float32)
    box_class = np.full(max_instances, -1)
    for slot, (_, _, label) in enumerate(kept):
        y, x = np.nonzero(panoptic == label)
        instance[panoptic == label] = slot + 1
        boxes[slot] = [y.min(), x.min(), y.max() + 1, x.max() + 1]
        box_class[slot] = THINGS.index(label // DIVISOR)
    semantic = np.full_like(panoptic, -1)
    for index, channel in enumerate(CHANNELS):
        semantic[category == index] = channel
    return {
        "semantic": semantic,
        "instance": instance,
        "boxes": boxes,
        "box_class": box_class,
        "num_dropped": len(found) - len(kept),
    }


def _make_label(rng, height=12, width=17):
    classes = rng.choice([0, 1, 2, 3, 4, 5, VOID], (height, width))
    numbers = rng.integers(0, rng.choice([1, 2, 4]), (height, width))
    panoptic = classes * DIVISOR + numbers
    cells = rng.integers(1, 6)
    panoptic = np.kron(panoptic, np.ones((cells, cells), int))
    return panoptic[:height, :width].astype(np.int32)


@pytest.mark.parametrize("max_instances", [1, 4, 20])
def test_targets_of_random_labels_equal_the_twin(max_instances):
    rng = np.random.default_rng(max_instances)
    compute = tf.function(_compute_targets, autograph=False)
    for _ in range(330):
        panoptic = _make_label(rng)
        actual = _compute(panoptic, max_instances, compute)
        expected = _compute_twin(panoptic, max_instances)
        assert set(actual) == set(expected)
        for name, value in expected.items():
            np.testing.assert_array_equal(actual[name], value, name)


@pytest.mark.parametrize(
    "label", [0, VOID * DIVISOR, 2 * DIVISOR], ids=["stuff", "void", "crowd"]
)
def test_images_without_instances_have_empty_slots(label):
    targets = _compute(np.full((3, 4), label))
    assert not targets["instance"].any()
    assert not targets["boxes"].any()
    assert (targets["box_class"] == -1).all()
    assert targets["num_dropped"] == 0
    expected = {0: 1, VOID: -1, 2: 0}[label // DIVISOR]
    assert (targets["semantic"] == expected).all()


def test_an_instance_of_one_pixel_in_the_corner_has_a_box():
    panoptic = np.zeros((3, 4), int)
    panoptic[2, 3] = 5 * DIVISOR + 7
    targets = _compute(panoptic)
    np.testing.assert_array_equal(targets["boxes"][0], [2, 3, 3, 4])
    assert targets["box_class"][0] == 1


def test_unknown_sizes_work_in_a_graph():
    function = tf.function(
        lambda label: _compute_targets(label, 4),
        input_signature=[tf.TensorSpec([None, None], tf.int32)],
    )
    panoptic = _make_label(np.random.default_rng(0))
    targets = function(tf.constant(panoptic))
    assert targets["boxes"].shape == (4, 4)
    for name, value in _compute(panoptic).items():
        np.testing.assert_array_equal(targets[name], value)


def test_a_batch_and_too_few_slots_are_refused():
    with pytest.raises(errors.DataError, match="one image"):
        _compute(np.zeros((1, 3, 4)))
    with pytest.raises(errors.DataError, match="max_instances is 0"):
        _compute(np.zeros((3, 4)), 0)
