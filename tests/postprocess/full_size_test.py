# SPDX-License-Identifier: Apache-2.0
"""Post-processing at full size: against a NumPy twin, and its properties."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.postprocess import options, panoptic_deeplab

CENTER_RULES = options.CenterRules(0.2, 3, 6)


def _stack(scenes):
    return [
        tf.constant(np.stack([getattr(scene, name) for scene in scenes]))
        for name in ("semantic", "heatmap", "offset", "valid_size")
    ]


def _full_size(class_rules, center_rules, mode):
    def process(semantic, heatmap, offset, valid_size):
        return panoptic_deeplab.postprocess_full_size(
            semantic,
            heatmap,
            offset,
            valid_size=valid_size,
            class_rules=class_rules,
            center_rules=center_rules,
        )

    return tf.function(process, jit_compile=mode == "xla", autograph=False)


@pytest.fixture
def assert_equal(twin, read_table):
    """Returns a check that results equal those of the twin."""

    def check(process, scenes, class_rules, center_rules):
        prediction, instances = process(*_stack(scenes))
        for index, scene in enumerate(scenes):
            expected = twin(scene, class_rules, center_rules)
            actual = {
                "semantic": prediction.semantic,
                "panoptic": prediction.panoptic,
                "instance": instances.instance,
                "instance_score": instances.score,
                "num_dropped": prediction.num_dropped,
            }
            for name, value in actual.items():
                np.testing.assert_array_equal(
                    value[index], expected[name], name
                )
            assert read_table(prediction, index) == {
                i: segment[:2] for i, segment in expected["segments"].items()
            }

    return check


@pytest.mark.parametrize(
    ("mode", "label_divisor", "batches"),
    [
        ("graph", 1000, 2),
        ("xla", 4, 2),
        *(
            pytest.param(mode, divisor, 10, marks=pytest.mark.slow)
            for mode in ("graph", "xla")
            for divisor in (1000, 4)
        ),
    ],
)
def test_many_scenes_equal_the_twin(
    mode, label_divisor, batches, assert_equal, random_scenes, class_rules
):
    class_rules = dataclasses.replace(class_rules, label_divisor=label_divisor)
    process = _full_size(class_rules, CENTER_RULES, mode)
    for seed in range(batches):
        scenes = random_scenes(seed, 100, 15, 22)
        assert_equal(process, scenes, class_rules, CENTER_RULES)


@pytest.mark.parametrize(
    "mode", ["graph", pytest.param("xla", marks=pytest.mark.slow)]
)
def test_scenes_of_several_tiles_equal_the_twin(
    mode, assert_equal, random_scenes, class_rules
):
    center_rules = options.CenterRules(0.2, 5, 150)
    process = _full_size(class_rules, center_rules, mode)
    scenes = random_scenes(0, 12, 131, 259)
    assert_equal(process, scenes, class_rules, center_rules)


@pytest.mark.parametrize("size", [(1, 1), (9, 1), (65, 129)])
def test_any_size_works(size, assert_equal, random_scenes, class_rules):
    process = _full_size(class_rules, CENTER_RULES, "graph")
    scenes = random_scenes(1, 5, *size)
    assert_equal(process, scenes, class_rules, CENTER_RULES)


@pytest.mark.slow
def test_unlimited_centers(assert_equal, random_scenes, class_rules):
    center_rules = options.CenterRules(0.2, 1, -1)
    process = _full_size(class_rules, center_rules, "graph")
    scenes = random_scenes(2, 10, 30, 30)
    assert_equal(process, scenes, class_rules, center_rules)


def test_void_may_be_a_class(assert_equal, random_scenes, class_rules):
    class_rules = dataclasses.replace(class_rules, ignore_label=0)
    process = _full_size(class_rules, CENTER_RULES, "graph")
    scenes = random_scenes(3, 30, 15, 22)
    assert_equal(process, scenes, class_rules, CENTER_RULES)


def test_padding_never_counts(random_scenes, class_rules, read_table):
    process = _full_size(class_rules, CENTER_RULES, "graph")
    for scene in random_scenes(4, 20, 40, 50):
        height, width = 31, 27
        scene.valid_size = (height, width)
        padded, _ = process(*_stack([scene]))
        cropped, _ = process(
            *(x[:, :height, :width] for x in _stack([scene])[:3]),
            tf.constant([[height, width]]),
        )
        np.testing.assert_array_equal(
            padded.panoptic[:, :height, :width], cropped.panoptic
        )
        assert read_table(padded, 0) == read_table(cropped, 0)
        outside = np.ones((40, 50), bool)
        outside[:height, :width] = False
        assert np.all(padded.panoptic[0].numpy()[outside] == 255000)
        assert np.all(padded.semantic[0].numpy()[outside] == 255)


def test_offsets_that_are_no_numbers_harm_no_other_pixel(
    random_scenes, class_rules
):
    process = _full_size(class_rules, CENTER_RULES, "xla")
    (scene,) = random_scenes(5, 1, 15, 22)
    scene.valid_size = (15, 22)
    scene.semantic[:] = 3
    scene.heatmap[3, 4] = scene.heatmap[9, 15] = 2.0
    _, expected = process(*_stack([scene]))
    scene.offset[7, 7] = np.nan
    scene.offset[8, 8] = np.inf
    scene.offset[9, 9] = -1e30
    _, actual = process(*_stack([scene]))
    is_same = np.ones((15, 22), bool)
    is_same[[7, 8, 9], [7, 8, 9]] = False
    np.testing.assert_array_equal(
        actual.instance[0].numpy()[is_same],
        expected.instance[0].numpy()[is_same],
    )
    assert np.all(actual.instance.numpy() > 0)
