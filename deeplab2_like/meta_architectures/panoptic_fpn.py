# SPDX-License-Identifier: Apache-2.0
"""Panoptic FPN, and its branches alone: Mask R-CNN and semantic FPN."""

from typing import Any

import tensorflow as tf

from deeplab2_like.config.rules import pyramid as pyramid_rules
from deeplab2_like.losses import (
    cross_entropy,
    detection,
    soft_panoptic_quality,
)
from deeplab2_like.meta_architectures import contract, pyramid_system
from deeplab2_like.postprocess import options as postprocess_options
from deeplab2_like.postprocess import panoptic_fpn as postprocess_lib
from deeplab2_like.postprocess import prediction, semantic_only
from deeplab2_like.targets import boxes_masks

# Losses of the branches.
_LOSSES = (*pyramid_rules.SEMANTIC_LOSSES, *pyramid_rules.MASK_RCNN_LOSSES)
_QUALITY_LOSS = "soft_panoptic_quality_loss"


class PanopticFPN(pyramid_system.PyramidSystem):
    """Objects by Mask R-CNN and classes, on one feature pyramid.

    Kirillov et al., CVPR 2019 (arXiv:1901.02446).
    """

    def _read_options(self) -> None:
        """Reads the options of this system."""
        self._instance = self._system.instance
        self._instance_path = "model_options.panoptic_fpn.instance"
        self.has_instances = self._system.instance.enable
        self._mask_rules = postprocess_options.MaskRules(
            **self._merge_thresholds()
        )
        # See `canvas_remainder` in protos/dataset.proto.
        self._is_half_pixel = (
            not self._options.eval_dataset_options.canvas_remainder
        )
        classes = self.descriptor
        self._channel_classes = tuple(range(classes.num_classes))
        if pyramid_rules.shares_thing_channel(self._options.model_options):
            # All things share a channel, which stands for the first of them.
            self._channel_classes = (classes.thing_ids[0], *classes.stuff_ids)

    def _loss_names(self) -> list[str]:
        """Lists the losses of the config, except the soft quality."""
        return [name for name in _LOSSES if self._loss_options.HasField(name)]

    def _compute_parts(
        self, outputs: contract.Tensors, targets: contract.Tensors
    ) -> dict[str, tf.Tensor]:
        """Computes the losses of both branches that the config has."""
        losses: dict[str, tf.Tensor] = {}
        logits = None
        if self._has_semantic:
            logits = pyramid_system.resize_to_labels(
                outputs, targets, is_half_pixel=self._is_half_pixel
            )
            losses["semantic_loss"] = cross_entropy.compute_mean_cross_entropy(
                logits,
                targets["semantic"],
                ignore_label=boxes_masks.NO_CHANNEL,
                class_weights=self._channel_weights(),
            )
        if self.has_instances:
            losses |= detection.compute_instance_losses(outputs)
        names = self._loss_names()
        losses = {name: losses[name] for name in names if name in losses}
        if self._loss_options.HasField(_QUALITY_LOSS):
            losses[_QUALITY_LOSS] = _compute_quality_loss(
                logits,
                outputs,
                targets,
                self._segment_channels(),
                self.has_instances,
            )
        return losses

    def _segment_channels(self) -> list[int]:
        """Lists the channels that stand for one segment each."""
        things = self.descriptor.thing_ids if self.has_instances else ()
        return [
            channel
            for channel, category in enumerate(self._channel_classes)
            if category not in things
        ]

    def _postprocess(
        self,
        outputs: contract.Tensors,
        thresholds: contract.Tensors | None,
        **shared: Any,
    ) -> prediction.Prediction:
        """Pastes the masks of objects and merges them with the classes."""
        logits = outputs.get("semantic_logits")
        if not self.has_instances:
            return semantic_only.postprocess(
                logits, is_half_pixel=self._is_half_pixel, **shared
            )
        return postprocess_lib.postprocess(
            logits,
            self._name_objects(outputs),
            **shared,
            mask_rules=self._apply_thresholds(self._mask_rules, thresholds),
            channel_classes=self._channel_classes,
            is_half_pixel=self._is_half_pixel,
        )


def _compute_quality_loss(
    logits: tf.Tensor | None,
    outputs: contract.Tensors,
    targets: contract.Tensors,
    segment_channels: list[int],
    has_instances: bool,
) -> tf.Tensor:
    """Computes the soft panoptic quality loss of stuff and sampled regions.

    Args:
        logits: float32 [B, H, W, channels]; None without a semantic branch.
        outputs: Outputs of the model.
        targets: Targets with a batch axis.
        segment_channels: Channels of the logits whose classes are one segment
            each.
        has_instances: Whether there is an instance branch.

    Returns:
        float32 [B].
    """
    overlaps, exist = [], []
    false_positive = None
    if logits is not None:
        overlap, occurs, false_positive = (
            soft_panoptic_quality.compute_semantic_overlap(
                logits,
                targets["semantic"],
                ignore_label=boxes_masks.NO_CHANNEL,
            )
        )
        overlaps.append(tf.gather(overlap, segment_channels, axis=1))
        exist.append(tf.gather(occurs, segment_channels, axis=1))
    if has_instances:
        is_object = outputs["mask_is_object"]
        number = is_object.shape[1]
        probability = tf.nn.softmax(outputs["region_logits"][:, :number])
        true_class = tf.minimum(
            outputs["region_class"][:, :number],
            outputs["region_logits"].shape[2] - 1,
        )
        overlaps.append(
            soft_panoptic_quality.compute_mask_overlap(
                outputs["mask_logits"],
                outputs["mask_targets"],
                tf.gather(probability, true_class, batch_dims=2),
            )
        )
        exist.append(is_object)
    return soft_panoptic_quality.compute_soft_quality_loss(
        tf.concat(overlaps, axis=1), tf.concat(exist, axis=1), false_positive
    )
