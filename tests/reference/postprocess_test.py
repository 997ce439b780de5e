# SPDX-License-Identifier: Apache-2.0
"""Post-processing equals deeplab2's, compiled and not."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.postprocess import centers, panoptic_deeplab, rules

FAMILY = "postprocess"


def _make_rules(options):
    class_rules = rules.ClassRules(
        num_classes=options["num_classes"],
        thing_ids=tuple(options["thing_class_ids"]),
        ignore_label=options["void_label"],
        label_divisor=options["label_divisor"],
        stuff_area_limit=options["stuff_area_limit"],
    )
    center_rules = rules.CenterRules(
        options["center_threshold"],
        options["nms_kernel"],
        options["keep_k_centers"],
    )
    return class_rules, center_rules


def _postprocess(scores, heatmap, offsets, options):
    """From probabilities of all classes at full size."""
    class_rules, center_rules = _make_rules(options)
    prediction = panoptic_deeplab.postprocess(
        scores,
        heatmap[..., tf.newaxis],
        offsets,
        canvas_size=scores.shape[1:3],
        num_classes=class_rules.num_classes,
        thing_ids=class_rules.thing_ids,
        label_divisor=class_rules.label_divisor,
        ignore_label=class_rules.ignore_label,
        center_threshold=center_rules.threshold,
        nms_kernel=center_rules.nms_kernel,
        keep_k_centers=center_rules.keep_k_centers,
        stuff_area_limit=class_rules.stuff_area_limit,
        are_probabilities=True,
    )
    _, instances = panoptic_deeplab.postprocess_full_size(
        prediction.semantic,
        heatmap,
        offsets,
        class_rules=class_rules,
        center_rules=center_rules,
    )
    peaks = centers.suppress_non_maxima(
        heatmap[0], center_rules.threshold, center_rules.nms_kernel
    )
    return prediction, instances, peaks


def _compare(case, prediction, instances, peaks):
    case.compare("semantic", prediction.semantic[0])
    places = np.argwhere(peaks.numpy() > 0)
    case.compare("center_yx", places)
    case.compare("center_value", peaks.numpy()[tuple(places.T)])
    expected = {
        "panoptic": prediction.panoptic[0],
        "instance": instances.instance[0],
        "instance_scores": instances.score[0],
    }
    for name, actual in expected.items():
        rtol = {"instance_scores": 1e-6}.get(name, 0.0)
        if f"exact_topk_{name}" in case:
            case.information(name, "records a defect of an unsorted top-k")
            case.information(
                f"sorted_topk_{name}", "keeps one center less than asked"
            )
            name = f"exact_topk_{name}"
        if case.input(name).dtype == np.float16:
            rtol = 1e-3
        case.compare(name, actual, rtol=rtol, atol=rtol)
    case.information("panoptic_custom_op", "numbers instances by chance")


@pytest.mark.parametrize("jit_compile", [False, True])
def test_postprocessing_equals_the_reference(reference_case, jit_compile):
    with reference_case() as case:
        scores = case.input("semantic_u8").astype("f4") / np.float32(255)
        compute = tf.function(
            lambda *maps: _postprocess(*maps, case.meta["options"]),
            jit_compile=jit_compile,
            autograph=False,
        )
        results = compute(
            tf.constant(scores[np.newaxis]),
            tf.constant(case.input("center_heatmap").astype("f4")[np.newaxis]),
            tf.constant(case.input("offset_map").astype("f4")[np.newaxis]),
        )
        _compare(case, *results)
