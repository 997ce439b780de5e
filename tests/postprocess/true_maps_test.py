# SPDX-License-Identifier: Apache-2.0
"""Post-processing with true maps: on drawn scenes, and on parts of them."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.labels import descriptor
from deeplab2_like.metrics import panoptic_quality
from deeplab2_like.postprocess import options, true_maps
from deeplab2_like.scenes import scene as scene_lib
from deeplab2_like.targets import center_offset

_SIZE = (65, 129)
_SCENES = descriptor.load("scenes")
_RULES = {
    "class_rules": options.ClassRules.from_descriptor(_SCENES),
    "center_rules": options.CenterRules(0.1, 3, 40),
}


@pytest.fixture(scope="module")
def labels():
    """Labels of drawn scenes, int32 [4, H, W], with void and crowd in one."""
    maps = [scene_lib.make_scene(seed, _SIZE).panoptic for seed in range(4)]
    maps[1][:10, :20] = _SCENES.void_id
    things = np.isin(maps[2] // 1000, _SCENES.thing_ids)
    crowd = maps[2][things].max()
    maps[2][maps[2] == crowd] = crowd // 1000 * 1000
    return np.stack(maps).astype(np.int32)


def _make_truth(labels):
    targets = [
        center_offset.compute_center_offset_targets(
            tf.constant(label),
            thing_ids=_SCENES.thing_ids,
            ignore_label=_SCENES.ignore_label,
            label_divisor=_SCENES.label_divisor,
            sigma=4.0,
            small_instance_threshold=0,
            small_instance_weight=1.0,
        )
        for label in labels
    ]
    return true_maps.TrueMaps(
        *(
            tf.stack([target[name] for target in targets])
            for name in true_maps.TrueMaps._fields
        )
    )


def _guess(count, size, seed=0):
    """Predictions that have nothing to do with the images."""
    rng = np.random.default_rng(seed)
    semantic = rng.integers(0, _SCENES.num_classes, (count, *_SIZE))
    heatmap = rng.random((count, *size, 1)) ** 4
    offset = rng.normal(0, 3, (count, *size, 2))
    return (
        tf.constant(semantic, tf.int32),
        tf.constant(heatmap, tf.float32),
        tf.constant(offset, tf.float32),
    )


def _process(semantic, heatmap, offset, truth, valid_size=None):
    return true_maps.postprocess_with_truth(
        semantic,
        heatmap,
        offset,
        truth,
        canvas_size=_SIZE,
        valid_size=valid_size,
        **_RULES,
    )


_in_graph = tf.function(_process, autograph=False)


def _measure(labels, found, parts):
    quality = panoptic_quality.PanopticQuality(_SCENES)
    index = true_maps.ORACLES.index(parts)
    quality.update(labels, found[:, index].numpy())
    return quality.result()


def test_all_true_maps_give_the_truth_whatever_is_predicted(labels):
    found = _in_graph(*_guess(4, (17, 33)), _make_truth(labels))
    assert found.shape == (4, len(true_maps.ORACLES), *_SIZE)
    assert found.dtype == tf.int32
    assert _measure(labels, found, true_maps.PARTS).all.pq > 0.99
    # Of noise nothing else is right.
    assert _measure(labels, found, ("centers", "offsets")).all.pq < 0.1


@pytest.mark.parametrize("part", true_maps.PARTS)
def test_a_true_map_repairs_the_prediction_that_is_wrong(labels, part):
    labels = labels[[0, 1, 3]]  # For crowds there are no true offsets.
    truth = _make_truth(labels)
    right = {
        "semantic": tf.where(truth.semantic == 255, 0, truth.semantic),
        "centers": truth.center_heatmap[..., tf.newaxis],
        "offsets": truth.offset_map,
    }
    noise = dict(zip(true_maps.PARTS, _guess(3, _SIZE), strict=True))
    maps = right | {part: noise[part]}
    found = _in_graph(*(maps[name] for name in true_maps.PARTS), truth)
    assert _measure(labels, found, (part,)).all.pq > 0.99
    for other in true_maps.PARTS:
        if other != part:
            assert _measure(labels, found, (other,)).things.pq < 0.9


def test_images_of_a_batch_do_not_change_each_other(labels):
    guess, truth = _guess(4, (17, 33)), _make_truth(labels)
    together = _in_graph(*guess, truth)
    for index in range(4):
        part = slice(index, index + 1)
        alone = _in_graph(
            *(maps[part] for maps in guess),
            true_maps.TrueMaps(*(maps[part] for maps in truth)),
        )
        np.testing.assert_array_equal(alone[0], together[index])


def test_padding_is_void_in_every_result(labels):
    valid = tf.constant([[50, 100]] * 4)
    found = _in_graph(*_guess(4, (17, 33)), _make_truth(labels), valid).numpy()
    assert (found[:, :, 50:] == _SCENES.void_id).all()
    assert (found[..., 100:] == _SCENES.void_id).all()
    assert (found[:, :, :50, :100] != _SCENES.void_id).any()


@pytest.mark.slow
def test_xla_gives_the_same_as_a_graph(labels):
    guess, truth = _guess(2, (17, 33)), _make_truth(labels[:2])
    compiled = tf.function(_process, jit_compile=True, autograph=False)
    np.testing.assert_array_equal(
        compiled(*guess, truth), _in_graph(*guess, truth)
    )
