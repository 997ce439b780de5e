# SPDX-License-Identifier: Apache-2.0
"""Base of the systems with two branches on a feature pyramid."""

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import keras
import numpy as np
import tensorflow as tf

from deeplab2_like.config.decimals import read_decimal
from deeplab2_like.losses import uncertainty
from deeplab2_like.meta_architectures import contract, system
from deeplab2_like.model import build_pyramid
from deeplab2_like.model.layers.log_variances import LOG_VARIANCES
from deeplab2_like.model.layers.resize import (
    resize_align_corners,
    resize_half_pixel,
    spatial_size,
)
from deeplab2_like.postprocess import objects
from deeplab2_like.postprocess import options as postprocess_options
from deeplab2_like.protos import model_pb2
from deeplab2_like.targets import boxes_masks, dropped_instances

_BranchOptions = (
    model_pb2.ModelOptions.PanopticFpnOptions.InstanceBranchOptions
    | model_pb2.ModelOptions.EfficientPsOptions.GridBranchOptions
)
# Values that are worth trying.
_MERGE_SCORES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_MERGE_OVERLAPS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
_Rules = TypeVar("_Rules", bound=postprocess_options.MaskRules)
_REGRESSIONS = frozenset({"proposal_box_loss", "box_loss"})


class PyramidSystem(system.System):
    """Objects and classes, by two branches on one pyramid.

    Implements `contract.MetaArchitecture`, except for `postprocess` and for the
    losses, which subclasses define. They set three attributes when they read
    their options:

    Attributes:
        _instance: Options of the instance branch.
        _instance_path: Path of these options in the config.
        _channel_classes: Class of each channel of the semantic logits. Things
            without a channel share the first one.
    """

    _instance: _BranchOptions
    _instance_path: str
    _channel_classes: tuple[int, ...]

    @property
    def _has_semantic(self) -> bool:
        return self._system.semantic.enable

    def _merge_thresholds(self) -> dict[str, Any]:
        """Reads the thresholds of `postprocess_options.MaskRules`."""
        score = self._instance.merge_score_threshold
        overlap = self._instance.merge_overlap_threshold
        return {
            "score_threshold": read_decimal(score),
            "overlap_threshold": read_decimal(overlap),
        }

    def _tunable_instances(self) -> Mapping[str, Sequence[float]]:
        score, overlap = self._merge_paths()
        return {score: _MERGE_SCORES, overlap: _MERGE_OVERLAPS}

    def _instance_thresholds(self) -> contract.Thresholds:
        score, overlap = self._merge_paths()
        rules = postprocess_options.MaskRules(**self._merge_thresholds())
        return {
            score: np.array(rules.lowest_score, np.float32),
            overlap: np.array(rules.largest_overlap, np.int64),
        }

    def _merge_paths(self) -> tuple[str, str]:
        """Returns the paths of the fields of `_merge_thresholds`."""
        path = self._instance_path
        return (
            f"{path}.merge_score_threshold",
            f"{path}.merge_overlap_threshold",
        )

    def _apply_thresholds(
        self, rules: _Rules, thresholds: contract.Tensors | None
    ) -> _Rules:
        """Returns the rules with the thresholds of `postprocess`, if any."""
        if thresholds is None:
            return rules
        score, overlap = self._merge_paths()
        return dataclasses.replace(
            rules,
            score_threshold=thresholds[score],
            overlap_threshold=postprocess_options.Ratio(
                *tf.unstack(thresholds[overlap], 2)
            ),
        )

    def target_maker(self, *, is_training: bool) -> contract.MakeTargets:
        """Returns the function from a label to channels, boxes, instances."""
        del is_training
        names = ["semantic"] if self._has_semantic else []
        if self.has_instances:
            names += ["instance", "boxes", "box_class"]
        max_instances = self._instance.max_instances
        notice = dropped_instances.DroppedInstancesNotice(max_instances)
        channels = self._list_channels()

        def make_targets(panoptic_hw: tf.Tensor) -> dict[str, tf.Tensor]:
            targets = boxes_masks.compute_box_mask_targets(
                panoptic_hw,
                thing_ids=self.descriptor.thing_ids,
                ignore_label=self.descriptor.ignore_label,
                label_divisor=self.descriptor.label_divisor,
                max_instances=max_instances,
                channels=channels,
            )
            if not self.has_instances:
                return {name: targets[name] for name in names}
            with tf.control_dependencies(
                [notice.watch(targets["num_dropped"])]
            ):
                return {name: tf.identity(targets[name]) for name in names}

        return make_targets

    def _list_channels(self) -> list[int]:
        """Lists the channel of each class."""
        channels = [boxes_masks.NO_CHANNEL] * self.descriptor.num_classes
        for channel, category in enumerate(self._channel_classes):
            channels[category] = channel
        if len(self._channel_classes) < self.descriptor.num_classes:
            for category in self.descriptor.thing_ids:
                channels[category] = 0
        return channels

    def _channel_weights(self) -> list[float] | None:
        """Returns the weight of each channel in the semantic loss, if any."""
        weights = self._class_weights()
        if weights is None:
            return None
        return [weights[category] for category in self._channel_classes]

    def build_model(self, *, synchronize_batch_norm: bool) -> keras.Model:
        """Builds the network with all its variables."""
        learns_weights = self._loss_options.learn_weights
        return build_pyramid.build_pyramid_model(
            self._options.model_options,
            self._options.trainer_options.solver_options,
            num_channels=len(self._channel_classes),
            num_things=len(self.descriptor.thing_ids),
            weighed_losses=self._loss_names() if learns_weights else (),
            synchronize_batch_norm=synchronize_batch_norm,
        )

    def infer(
        self,
        model: keras.Model,
        images: tf.Tensor,
        *,
        targets: contract.Tensors | None = None,
    ) -> contract.Tensors:
        """Runs the network, up to the objects."""
        return model(images, targets=targets, training=False)

    def infer_for_training(
        self, model: keras.Model, images: tf.Tensor, targets: contract.Tensors
    ) -> contract.Tensors:
        """Runs the network and samples boxes or cells to learn from."""
        return model(images, targets=targets, training=True)

    @abc.abstractmethod
    def _loss_names(self) -> list[str]:
        """Lists the losses whose weights can be learned."""

    @abc.abstractmethod
    def _compute_parts(
        self, outputs: contract.Tensors, targets: contract.Tensors
    ) -> dict[str, tf.Tensor]:
        """Computes the losses of the config without their weights."""

    def compute_losses(
        self, outputs: contract.Tensors, targets: contract.Tensors
    ) -> dict[str, tf.Tensor]:
        """Computes the weighted losses of the branches."""
        weighed = {
            name: getattr(self._loss_options, name).weight * loss
            for name, loss in self._compute_parts(outputs, targets).items()
        }
        if LOG_VARIANCES not in outputs:
            return weighed
        return uncertainty.weigh_losses(
            weighed,
            self._loss_names(),
            outputs[LOG_VARIANCES],
            regressions=_REGRESSIONS,
        )

    def variable_groups(
        self, model: keras.Model
    ) -> dict[str, list[keras.Variable]]:
        """Returns variables of backbone, pyramid, branches and last layers."""
        groups = {
            "backbone": list(model.backbone.variables),
            "pyramid": list(model.pyramid.variables),
        }
        if model.semantic_branch is not None:
            last = model.semantic_branch.last_layer
            groups["semantic_last_layer"] = list(last.variables)
        if model.instance_branch is not None:
            layers = model.instance_branch.last_layers
            groups["instance_last_layer"] = [
                v for layer in layers for v in layer.variables
            ]
        taken = {id(v) for group in groups.values() for v in group}
        groups["branches"] = [v for v in model.variables if id(v) not in taken]
        return groups

    def _name_objects(self, outputs: contract.Tensors) -> objects.Objects:
        """Returns the objects of Mask R-CNN with classes of the data set."""
        return objects.Objects(
            boxes=outputs["boxes"],
            category=tf.gather(
                list(self.descriptor.thing_ids), outputs["box_class"]
            ),
            score=outputs["box_score"],
            is_valid=outputs["is_box"],
            masks=outputs["masks"],
        )


def resize_to_labels(
    outputs: contract.Tensors,
    targets: contract.Tensors,
    *,
    is_half_pixel: bool = False,
) -> tf.Tensor:
    """Returns the semantic logits, upsampled to the size of the labels.

    Args:
        outputs: Outputs of the model.
        targets: Targets with a batch axis.
        is_half_pixel: Whether with half-pixel centers, not aligned corners.
    """
    resize = resize_half_pixel if is_half_pixel else resize_align_corners
    size = spatial_size(targets["semantic"])
    return resize(outputs["semantic_logits"], size)
