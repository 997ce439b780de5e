# SPDX-License-Identifier: Apache-2.0
"""Post-processing of Panoptic-DeepLab with true maps for predicted ones.

With the true classes, centers or offsets in place of the predicted ones, one at
a time and together, the quality of the result tells which of them limits it
(oracle experiments, for the maps of Panoptic-DeepLab, arXiv:1911.10194).

B images; O results; h, w: size of the head outputs; H, W: size of the result.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from deeplab2_like.postprocess import batch, options

PARTS = ("semantic", "centers", "offsets")
# Which maps are true in each result.
ORACLES = (
    ("semantic",),
    ("centers",),
    ("offsets",),
    ("centers", "offsets"),
    ("semantic", "centers", "offsets"),
)


class TrueMaps(NamedTuple):
    """Maps of full size, as `targets.center_offset` draws them.

    Attributes:
        semantic: int32 [B, H, W], classes; the ignore label where void.
        center_heatmap: float32 [B, H, W] in 0..1.
        center_weight: float32 [B, H, W], 0 where the label has no centers
            (void, crowd).
        offset_map: float32 [B, H, W, 2], (dy, dx) in pixels.
        offset_weight: float32 [B, H, W], 0 where the label has no offsets.
    """

    semantic: tf.Tensor
    center_heatmap: tf.Tensor
    center_weight: tf.Tensor
    offset_map: tf.Tensor
    offset_weight: tf.Tensor


def postprocess_with_truth(
    semantic_bhw: tf.Tensor,
    center_heatmap_bhw1: tf.Tensor,
    offset_map_bhw2: tf.Tensor,
    truth: TrueMaps,
    *,
    canvas_size: batch.CanvasSize,
    valid_size: tf.Tensor | None = None,
    class_rules: options.ClassRules,
    center_rules: options.CenterRules,
) -> tf.Tensor:
    """Turns maps into segments, with some of the maps replaced by true ones.

    Where the truth says nothing, predictions stay: classes of void pixels,
    centers on void and crowd (at most 1, as the true ones), and offsets outside
    of true things.

    Args:
        semantic_bhw: int32 [B, H, W], predicted classes, those of the result of
            `panoptic_deeplab.postprocess`.
        center_heatmap_bhw1: float [B, h, w, 1], predicted.
        offset_map_bhw2: float [B, h, w, 2], predicted, (dy, dx) in pixels of
            the head resolution.
        truth: The true maps.
        canvas_size: (H, W).
        valid_size: As in `semantic_only.postprocess`.
        class_rules: The classes.
        center_rules: Which pixels are centers.

    Returns:
        int32 [B, O, H, W], panoptic ids for each of `ORACLES`.
    """
    size = batch.unpack_size(canvas_size)
    shape = [n if isinstance(n, int) else None for n in size]
    is_true = np.array([[p in oracle for p in PARTS] for oracle in ORACLES])

    def process(
        valid_size: tf.Tensor,
        semantic_hw: tf.Tensor,
        heatmap_hw1: tf.Tensor,
        offset_hw2: tf.Tensor,
        *true: tf.Tensor,
    ) -> batch.Fields:
        predicted = batch.upsample_instance_maps(
            heatmap_hw1, offset_hw2, size, valid_size[0]
        )
        is_valid = batch.mask_valid(size, valid_size)
        # Outside of the image the class is void, which may be no index.
        semantic_hw = tf.where(is_valid, semantic_hw, 0)

        def segment(is_true: tf.Tensor) -> tf.Tensor:
            maps = _replace(
                semantic_hw,
                predicted,
                TrueMaps(*true),
                is_true,
                class_rules.ignore_label,
            )
            fields, _ = batch.segment_instances(
                *maps, is_valid, class_rules, center_rules
            )
            return fields["panoptic"]

        panoptic = tf.map_fn(
            segment,
            tf.constant(is_true),
            fn_output_signature=tf.TensorSpec(shape, tf.int32),
            parallel_iterations=1,
        )
        return {"panoptic": panoptic}

    maps = [
        tf.cast(values, tf.int32 if index in (0, 3) else tf.float32)
        for index, values in enumerate(
            (semantic_bhw, center_heatmap_bhw1, offset_map_bhw2, *truth)
        )
    ]
    description = {"panoptic": tf.TensorSpec([len(ORACLES), *shape], tf.int32)}
    fields = batch.map_images(process, maps, valid_size, size, description)
    return fields["panoptic"]


def _replace(
    semantic_hw: tf.Tensor,
    predicted: batch.InstanceInputs,
    truth: TrueMaps,
    is_true: tf.Tensor,
    ignore_label: int,
) -> tuple[tf.Tensor, batch.InstanceInputs]:
    """Replaces the maps of an image that `is_true`, bool [3], names."""
    is_known = truth.semantic != ignore_label
    semantic_hw = tf.where(is_true[0] & is_known, truth.semantic, semantic_hw)
    heatmap = tf.where(
        truth.center_weight > 0.0,
        truth.center_heatmap,
        tf.minimum(predicted.heatmap, 1.0),
    )
    offset = tf.where(
        truth.offset_weight > 0.0,
        tf.transpose(truth.offset_map, [2, 0, 1]),
        predicted.offset,
    )
    return semantic_hw, batch.InstanceInputs(
        tf.where(is_true[1], heatmap, predicted.heatmap),
        tf.where(is_true[2], offset, predicted.offset),
    )
