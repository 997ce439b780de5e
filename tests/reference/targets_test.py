# SPDX-License-Identifier: Apache-2.0
"""The training targets equal deeplab2's."""

import tensorflow as tf

from deeplab2_like.targets import center_offset

FAMILY = "targets"

# deeplab2's names and ours; the heatmap may differ by rounding.
_EXACT = {
    "semantic_gt": "semantic",
    "panoptic_gt": "panoptic",
    "is_crowd_gt": "is_crowd",
    "instance_regression_gt": "offset_map",
    "semantic_loss_weight": "semantic_weight",
    "center_loss_weight": "center_weight",
    "regression_loss_weight": "offset_weight",
    "thing_id_mask_gt": "thing_id_mask",
    "thing_id_class_gt": "thing_id_class",
}


def _compute_targets(panoptic, meta):
    first, last = meta["things"]
    options = meta["options"]
    small = options["small_instance"] or {"threshold": 0, "weight": 1.0}
    return center_offset.compute_center_offset_targets(
        panoptic,
        thing_ids=range(first, last + 1),
        ignore_label=meta["ignore_label"],
        label_divisor=meta["label_divisor"],
        sigma=options["sigma"],
        small_instance_threshold=small["threshold"],
        small_instance_weight=small["weight"],
        max_thing_id=options.get("max_thing_id"),
    )


def test_targets_equal_the_reference(reference_case):
    with reference_case() as case:
        panoptic = tf.constant(case.input("panoptic_in"))
        raw = _compute_targets(panoptic, case.meta)
        targets = raw
        for name, ours in _EXACT.items():
            if name in case:
                case.compare(name, targets[ours])
        case.compare("instance_center_gt", targets["center_heatmap"], atol=1e-6)
        case.compare("semantic_raw", raw["semantic"])
        case.compare("is_crowd_raw", raw["is_crowd"])
        case.compare("size_raw", panoptic.shape)
