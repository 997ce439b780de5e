# SPDX-License-Identifier: Apache-2.0
"""Post-processing equals deeplab2's, compiled and not."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.postprocess import options as options_lib
from deeplab2_like.postprocess import panoptic_deeplab
from deeplab2_like.postprocess.pixels import centers, semantic

FAMILY = "postprocess"


def _make_rules(options):
    class_rules = options_lib.ClassRules(
        num_classes=options["num_classes"],
        thing_ids=tuple(options["thing_class_ids"]),
        ignore_label=options["void_label"],
        label_divisor=options["label_divisor"],
        stuff_area_limit=options["stuff_area_limit"],
    )
    center_rules = options_lib.CenterRules(
        options["center_threshold"],
        options["nms_kernel"],
        options["keep_k_centers"],
    )
    return class_rules, center_rules


def _compare_centers(case, heatmap, center_rules):
    peaks = centers.suppress_non_maxima(
        heatmap, center_rules.center_threshold, center_rules.nms_kernel
    ).numpy()
    places = np.argwhere(peaks > 0)
    case.compare("center_yx", places)
    case.compare("center_value", peaks[tuple(places.T)])


def _compare_segments(case, prediction, instances):
    actual = {
        "panoptic": prediction.panoptic[0],
        "instance": instances.instance[0],
        "instance_scores": instances.score[0],
    }
    for name, value in actual.items():
        expected = name
        if f"exact_topk_{name}" in case:
            expected = f"exact_topk_{name}"
            case.information(name, "records a defect of an unsorted top-k")
            case.information(
                f"sorted_topk_{name}", "keeps one center less than asked"
            )
        tolerance = 0.0
        if name == "instance_scores":
            is_half = case.input(expected).dtype == np.float16
            tolerance = 1e-3 if is_half else 1e-6
        case.compare(expected, value, rtol=tolerance, atol=tolerance)
    case.information("panoptic_custom_op", "numbers instances by chance")


@pytest.mark.parametrize(
    "jit_compile", [True, pytest.param(False, marks=pytest.mark.slow)]
)
def test_postprocessing_equals_the_reference(reference_case, jit_compile):
    with reference_case() as case:
        class_rules, center_rules = _make_rules(case.meta["options"])
        scores = case.input("semantic_u8").astype("f4") / np.float32(255)
        classes = semantic.compute_semantic_map(
            semantic.Scores(tf.constant(scores), are_probabilities=True),
            scores.shape[:2],
            tf.constant(scores.shape[0]),
        )
        case.compare("semantic", classes.category)
        heatmap = tf.constant(case.input("center_heatmap").astype("f4"))
        _compare_centers(case, heatmap, center_rules)
        offset_map = tf.constant(case.input("offset_map").astype("f4"))

        @tf.function(jit_compile=jit_compile, autograph=False)
        def process(*maps):
            return panoptic_deeplab.postprocess_full_size(
                *maps, class_rules=class_rules, center_rules=center_rules
            )

        maps = (classes.category, heatmap, offset_map)
        prediction, instances = process(*(x[tf.newaxis] for x in maps))
        np.testing.assert_array_equal(prediction.semantic[0], classes.category)
        _compare_segments(case, prediction, instances)
