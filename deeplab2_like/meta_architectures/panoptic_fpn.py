# SPDX-License-Identifier: Apache-2.0
"""Panoptic FPN; Mask R-CNN and semantic FPN as its single branches."""

from collections.abc import Callable

import keras
import tensorflow as tf

from deeplab2_like.config.decimals import read_decimal
from deeplab2_like.data import descriptor as descriptor_lib
from deeplab2_like.losses import (
    cross_entropy,
    detection,
    soft_panoptic_quality,
    uncertainty,
)
from deeplab2_like.meta_architectures import contract
from deeplab2_like.model import build_pyramid, weight_decay
from deeplab2_like.model.layers.log_variances import LOG_VARIANCES
from deeplab2_like.model.layers.resize import resize_align_corners
from deeplab2_like.postprocess import heuristic_merge
from deeplab2_like.postprocess import panoptic_fpn as postprocess_lib
from deeplab2_like.postprocess import prediction as prediction_lib
from deeplab2_like.postprocess import rules as rules_lib
from deeplab2_like.protos import config_pb2, model_pb2
from deeplab2_like.targets import boxes_masks, dropped_instances

# Field of the loss options -> name of the loss.
_LOSSES = {
    "semantic_loss": "semantic_loss",
    "proposal_loss": "proposal_loss",
    "proposal_box_loss": "proposal_box_loss",
    "class_loss": "class_loss",
    "box_loss": "box_loss",
    "mask_loss": "mask_loss",
    "soft_panoptic_quality_loss": "soft_panoptic_quality_loss",
}


def channel_classes(
    options: model_pb2.ModelOptions.PanopticFpnOptions,
    descriptor: descriptor_lib.DatasetDescriptor,
) -> tuple[int, ...]:
    """Gives the class of each channel of the semantic logits.

    All things share the first channel where there is an instance branch,
    unless the config separates them; it stands for the first thing class.
    """
    if options.instance.enable and not options.semantic.separate_things:
        return (descriptor.thing_ids[0], *descriptor.stuff_ids)
    return tuple(range(descriptor.num_classes))


class PanopticFPN:
    """Objects by Mask R-CNN and classes, on one feature pyramid.

    Kirillov et al., CVPR 2019 (arXiv:1901.02446). Implements
    `contract.MetaArchitecture`.
    """

    def __init__(
        self,
        options: config_pb2.ExperimentOptions,
        descriptor: descriptor_lib.DatasetDescriptor,
    ):
        """Takes a checked config and the data set that it is for."""
        self.descriptor = descriptor
        self._options = options
        self._system = options.model_options.panoptic_fpn
        self.output_stride = options.model_options.backbone.output_stride
        self.has_instances = self._system.instance.enable
        self._has_semantic = self._system.semantic.enable
        self._channel_classes = channel_classes(self._system, descriptor)

    def target_maker(self, *, is_training: bool) -> contract.MakeTargets:
        """Gives the function that makes channels, boxes and instances."""
        del is_training
        return self._bind_targets()

    def _bind_targets(self) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
        channels = [boxes_masks.NO_CHANNEL] * self.descriptor.num_classes
        for channel, category in enumerate(self._channel_classes):
            channels[category] = channel
        if len(self._channel_classes) < self.descriptor.num_classes:
            for category in self.descriptor.thing_ids:
                channels[category] = 0
        names = ["semantic"] if self._has_semantic else []
        if self.has_instances:
            names += ["instance", "boxes", "box_class"]

        notice = dropped_instances.DroppedInstancesNotice(
            self._system.instance.max_instances
        )

        def make_targets(panoptic_hw: tf.Tensor) -> dict[str, tf.Tensor]:
            targets = boxes_masks.compute_box_mask_targets(
                panoptic_hw,
                thing_ids=self.descriptor.thing_ids,
                ignore_label=self.descriptor.ignore_label,
                label_divisor=self.descriptor.label_divisor,
                max_instances=self._system.instance.max_instances,
                channels=channels,
            )
            if not self.has_instances:
                return {name: targets[name] for name in names}
            with tf.control_dependencies(
                [notice.watch(targets["num_dropped"])]
            ):
                return {name: tf.identity(targets[name]) for name in names}

        return make_targets

    def build_model(self, *, synchronize_batch_norm: bool) -> keras.Model:
        """Builds the network with all its variables."""
        loss_options = self._options.trainer_options.loss_options
        return build_pyramid.build_pyramid_model(
            self._options.model_options,
            self._options.trainer_options.solver_options,
            num_channels=len(self._channel_classes),
            num_things=len(self.descriptor.thing_ids),
            weighed_losses=(
                self._loss_names() if loss_options.learn_weights else ()
            ),
            synchronize_batch_norm=synchronize_batch_norm,
        )

    def _loss_names(self) -> list[str]:
        """Lists the losses that the config has, but the soft quality."""
        loss_options = self._options.trainer_options.loss_options
        return [
            name
            for field, name in _LOSSES.items()
            if loss_options.HasField(field)
            and field != "soft_panoptic_quality_loss"
        ]

    def infer(
        self,
        model: keras.Model,
        images: tf.Tensor,
        *,
        targets: contract.Tensors | None = None,
    ) -> contract.Tensors:
        """Finds objects and classes."""
        return model(images, targets=targets, training=False)

    def infer_for_training(
        self,
        model: keras.Model,
        images: tf.Tensor,
        targets: contract.Tensors,
    ) -> contract.Tensors:
        """Runs the network, and chooses anchors and regions to learn from."""
        return model(images, targets=targets, training=True)

    def compute_losses(
        self, outputs: contract.Tensors, targets: contract.Tensors
    ) -> dict[str, tf.Tensor]:
        """Computes the losses of both branches that the config has."""
        options = self._options.trainer_options.loss_options
        losses: dict[str, tf.Tensor] = {}
        logits = None
        if self._has_semantic:
            size = targets["semantic"].shape[1:3]
            if None in size:
                size = tf.shape(targets["semantic"])[1:3]
            logits = resize_align_corners(outputs["semantic_logits"], size)
            losses["semantic_loss"] = cross_entropy.compute_mean_cross_entropy(
                logits,
                targets["semantic"],
                ignore_label=boxes_masks.NO_CHANNEL,
            )
        if self.has_instances:
            losses |= compute_instance_losses(outputs)
        if options.HasField("soft_panoptic_quality_loss"):
            losses["soft_panoptic_quality_loss"] = _compute_quality_loss(
                logits,
                outputs,
                targets,
                self._segment_channels(),
                self.has_instances,
            )
        weighed = {
            name: getattr(options, field).weight * losses[name]
            for field, name in _LOSSES.items()
            if options.HasField(field) and name in losses
        }
        if LOG_VARIANCES not in outputs:
            return weighed
        return uncertainty.weigh_losses(
            weighed,
            self._loss_names(),
            outputs[LOG_VARIANCES],
            regressions={"proposal_box_loss", "box_loss"},
        )

    def _segment_channels(self) -> list[int]:
        """Lists the channels that stand for one segment each."""
        things = self.descriptor.thing_ids if self.has_instances else ()
        return [
            channel
            for channel, category in enumerate(self._channel_classes)
            if category not in things
        ]

    def variable_groups(
        self, model: keras.Model
    ) -> dict[str, list[keras.Variable]]:
        """Gives the variables of backbone, pyramid, branches, last layers."""
        groups = {
            "backbone": list(model.backbone.variables),
            "pyramid": list(model.pyramid.variables),
        }
        branch = model.semantic_branch
        if branch is not None:
            groups["semantic_last_layer"] = list(branch.last_layer.variables)
        instance = model.instance_branch
        if instance is not None:
            last = (
                instance.box_head.classes,
                instance.box_head.codes,
                instance.mask_head.last_layer,
            )
            groups["instance_last_layer"] = [
                v for layer in last for v in layer.variables
            ]
        taken = {id(v) for group in groups.values() for v in group}
        groups["branches"] = [v for v in model.variables if id(v) not in taken]
        return groups

    def decayed_variables(self, model: keras.Model) -> list[keras.Variable]:
        """Gives the kernels of convolutions and dense layers."""
        return weight_decay.decayed_variables(model)

    def postprocess(
        self,
        outputs: contract.Tensors,
        canvas_size: tuple[int, int] | tf.Tensor,
        valid_size: tf.Tensor | None = None,
    ) -> prediction_lib.Prediction:
        """Pastes masks and merges them with the classes."""
        size = postprocess_lib.unpack_size(canvas_size)
        class_rules = rules_lib.ClassRules(
            num_classes=self.descriptor.num_classes,
            thing_ids=tuple(self.descriptor.thing_ids),
            ignore_label=self.descriptor.ignore_label,
            label_divisor=self.descriptor.label_divisor,
            stuff_area_limit=self._options.evaluator_options.stuff_area_limit,
        )
        logits = outputs.get("semantic_logits")
        if not self.has_instances:
            return postprocess_lib.postprocess_classes(
                logits,
                size=size,
                valid_size=valid_size,
                class_rules=class_rules,
            )
        instance = self._system.instance
        return postprocess_lib.postprocess(
            logits,
            postprocess_lib.Objects(
                boxes=outputs["boxes"],
                category=tf.gather(
                    list(self.descriptor.thing_ids), outputs["box_class"]
                ),
                score=outputs["box_score"],
                is_valid=outputs["is_box"],
                masks=outputs["masks"],
            ),
            channel_classes=self._channel_classes,
            size=size,
            valid_size=valid_size,
            class_rules=class_rules,
            mask_rules=heuristic_merge.MaskRules(
                score_threshold=read_decimal(instance.merge_score_threshold),
                overlap_threshold=read_decimal(
                    instance.merge_overlap_threshold
                ),
            ),
        )


def compute_instance_losses(
    outputs: contract.Tensors, *, proposal_beta: float = 0.0
) -> dict[str, tf.Tensor]:
    """Computes the losses of Mask R-CNN with detectron2's constants.

    Args:
        outputs: What the instance branch gives in training.
        proposal_beta: Below it the error of a box code of a proposal is made
            smooth; see `detection.compute_smooth_l1`.
    """
    anchor_boxes = detection.compute_code_loss(
        outputs["anchor_codes"],
        outputs["anchor_code_targets"],
        outputs["anchor_is_object"],
        beta=proposal_beta,
    )
    return {
        "proposal_loss": detection.compute_objectness_loss(
            outputs["anchor_logits"],
            outputs["anchor_is_object"],
            outputs["anchor_is_chosen"],
        ),
        "proposal_box_loss": anchor_boxes / outputs["anchor_logits"].shape[1],
        "class_loss": detection.compute_class_loss(
            outputs["region_logits"],
            outputs["region_class"],
            outputs["region_is_chosen"],
        ),
        "box_loss": detection.compute_region_code_loss(
            outputs["region_codes"],
            outputs["region_code_targets"],
            outputs["region_is_object"],
            outputs["region_is_chosen"],
            beta=0.0,
        ),
        "mask_loss": detection.compute_mask_loss(
            outputs["mask_logits"],
            outputs["mask_targets"],
            outputs["mask_is_object"],
        ),
    }


def _compute_quality_loss(
    logits: tf.Tensor | None,
    outputs: contract.Tensors,
    targets: contract.Tensors,
    segment_channels: list[int],
    has_instances: bool,
) -> tf.Tensor:
    """Computes the soft panoptic quality of stuff and of learned regions.

    `segment_channels` are those of the logits in which a class is a segment.
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
