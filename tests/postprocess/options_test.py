# SPDX-License-Identifier: Apache-2.0
"""Rules of post-processing: defaults, derived values, refused values."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.labels import descriptor
from deeplab2_like.postprocess import options
from deeplab2_like.protos import evaluator_pb2, model_pb2


def test_thing_classes_need_not_be_in_a_row(class_rules):
    class_rules = dataclasses.replace(
        class_rules, num_classes=9, thing_ids=np.array([8, 1, 2, 5])
    )
    assert class_rules.thing_ids == (8, 1, 2, 5)
    are_things = class_rules.are_things(tf.range(9))
    assert np.nonzero(are_things)[0].tolist() == [1, 2, 5, 8]


def test_class_rules_are_those_of_the_data_set():
    scenes = descriptor.load("scenes")
    class_rules = options.ClassRules.from_descriptor(scenes, 20)
    assert class_rules.thing_ids == scenes.thing_ids
    assert class_rules.stuff_ids == scenes.stuff_ids
    assert class_rules.void_id == scenes.void_id
    assert class_rules.stuff_area_limit == 20


def test_a_score_on_the_threshold_counts():
    for threshold in (0.5, 0.7, 0.3):
        lowest = options.MaskRules(score_threshold=threshold).lowest_score
        assert float(lowest) >= threshold
        assert float(np.nextafter(lowest, np.float32(0))) < threshold


def test_an_overlap_is_the_ratio_that_was_written():
    for share, ratio in ((0.3, (3, 10)), (0.5, (1, 2)), (0.0, (0, 1))):
        assert options.MaskRules(overlap_threshold=share).largest_overlap == (
            ratio
        )


def test_thresholds_may_be_tensors():
    score = tf.constant(0.3)
    ratio = options.Ratio(*tf.unstack(tf.constant([3, 10], tf.int64)))
    for kind in (options.MaskRules, options.FusionRules):
        rules = kind(score_threshold=score, overlap_threshold=ratio)
        assert rules.lowest_score is score
        assert rules.largest_overlap is ratio


def test_defaults_are_those_of_the_configs():
    centers, evaluator = options.CenterRules(), evaluator_pb2.EvaluatorOptions()
    assert np.float32(centers.center_threshold) == np.float32(
        evaluator.center_score_threshold
    )
    assert centers.nms_kernel == evaluator.nms_kernel
    assert centers.keep_k_centers == evaluator.keep_k_centers
    systems = model_pb2.ModelOptions
    branch = systems.PanopticFpnOptions.InstanceBranchOptions()
    for masks in (options.MaskRules(), options.FusionRules()):
        assert masks.score_threshold == branch.merge_score_threshold
        assert masks.overlap_threshold == branch.merge_overlap_threshold
    scale = systems.EfficientPsOptions().mask_logit_scale
    assert options.FusionRules().mask_logit_scale == scale
    cells = options.CellRules()
    branch = systems.EfficientPsOptions.GridBranchOptions()
    for value, expected in (
        (cells.score_threshold, branch.cell_score_threshold),
        (cells.final_threshold, branch.detection_score_threshold),
    ):
        assert np.float32(value) == np.float32(expected)
    assert cells.candidates == branch.candidates
    assert cells.decay == branch.decay
    assert cells.max_objects == branch.max_detections


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"thing_ids": (3, 9)}, r"thing_ids contains \[9\]"),
        ({"label_divisor": 1}, "label_divisor is 1"),
    ],
)
def test_wrong_class_rules_are_refused(changes, text, class_rules):
    with pytest.raises(errors.ConfigError, match=text):
        dataclasses.replace(class_rules, **changes)


@pytest.mark.parametrize(
    ("rules", "values", "text"),
    [
        (options.CenterRules, {"nms_kernel": 0}, "nms_kernel is 0"),
        (options.MaskRules, {"mask_threshold": 0.0}, "above 0"),
        (options.FusionRules, {"mask_threshold": 0.0}, "above 0"),
        (options.CellRules, {"mask_threshold": 1.0}, "below 1"),
        (options.CellRules, {"decay": "cubic"}, "gaussian"),
    ],
)
def test_wrong_rules_are_refused(rules, values, text):
    with pytest.raises(errors.ConfigError, match=text):
        rules(**values)
