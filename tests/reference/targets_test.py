# SPDX-License-Identifier: Apache-2.0
"""The training targets equal deeplab2's."""

import tensorflow as tf

from deeplab2_like.data import preprocessing
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


def _read_size(values):
    """Returns a size from a field of one or two sides; 0 means none."""
    return None if not values or 0 in values else (values[0], values[-1])


def _prepare(case, panoptic):
    """Resizes and pads image and label as for evaluation; the label of it."""
    options = case.meta["options"]
    crop_size = tuple(options["crop_size"])
    image, panoptic, valid_size = preprocessing.make_evaluation_canvas(
        tf.constant(case.input("image_in")),
        panoptic,
        preprocessing.Preprocessing(
            crop_size=crop_size,
            min_resize=_read_size(options.get("min_resize_value")),
            max_resize=_read_size(options.get("max_resize_value", crop_size)),
            resize_factor=options.get("resize_factor"),
        ),
        case.meta["ignore_label"] * case.meta["label_divisor"],
    )
    case.compare("image", image, atol=1e-3)
    if "resized_image_shape" in case:
        case.compare("resized_image_shape", [*valid_size.numpy(), 3])
    return panoptic


def test_targets_equal_the_reference(reference_case):
    with reference_case() as case:
        original = tf.constant(case.input("panoptic_in"))
        raw = _compute_targets(original, case.meta)
        targets = raw
        if "image_in" in case:
            targets = _compute_targets(_prepare(case, original), case.meta)
        for name, ours in _EXACT.items():
            if name in case:
                case.compare(name, targets[ours])
        case.compare("instance_center_gt", targets["center_heatmap"], atol=1e-6)
        case.compare("semantic_raw", raw["semantic"])
        case.compare("is_crowd_raw", raw["is_crowd"])
        case.compare("size_raw", original.shape)
