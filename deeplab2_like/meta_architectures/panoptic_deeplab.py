# SPDX-License-Identifier: Apache-2.0
"""Panoptic-DeepLab, and the semantic-only DeepLabV3 and DeepLabV3+."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from deeplab2_like.losses import pixelwise, uncertainty
from deeplab2_like.meta_architectures import contract, system
from deeplab2_like.model import build as model_build
from deeplab2_like.model import multi_scale
from deeplab2_like.model import outputs as outputs_lib
from deeplab2_like.model.layers.log_variances import LOG_VARIANCES
from deeplab2_like.model.layers.resize import spatial_size
from deeplab2_like.postprocess import options as postprocess_options
from deeplab2_like.postprocess import panoptic_deeplab as postprocess_lib
from deeplab2_like.postprocess import prediction, semantic_only, true_maps
from deeplab2_like.protos import dataset_pb2, model_pb2
from deeplab2_like.targets import center_offset

_PIXEL_ERRORS: dict[str, pixelwise.PixelError] = {
    "mse": pixelwise.compute_squared_error,
    "l1": pixelwise.compute_absolute_error,
}
_CENTER_THRESHOLD = "evaluator_options.center_score_threshold"
# Values that are worth trying.
_CENTER_THRESHOLDS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
_NMS_KERNELS = (3, 5, 7, 9, 13, 17, 25, 41)
# Loss option -> output, target and weight of the two regressions.
_REGRESSIONS = {
    "center_loss": ("center_heatmap", "center_heatmap", "center_weight"),
    "regression_loss": ("offset_map", "offset_map", "offset_weight"),
}


class PanopticDeepLab(system.System):
    """Semantic classes, instance centers and offsets to them.

    Cheng et al., CVPR 2020 (arXiv:1911.10194). Implements
    `contract.MetaArchitecture`.
    """

    def _read_options(self) -> None:
        """Reads the options of this system."""
        panoptic = model_pb2.ModelOptions.PanopticDeeplabOptions
        self.has_instances = (
            isinstance(self._system, panoptic) and self._system.instance.enable
        )
        self.oracles = true_maps.ORACLES if self.has_instances else ()
        evaluator = self._options.evaluator_options
        self._views = multi_scale.make_views(
            evaluator.eval_scales, evaluator.add_flipped_images
        )
        self._center_rules = postprocess_options.CenterRules(
            center_threshold=evaluator.center_score_threshold,
            nms_kernel=evaluator.nms_kernel,
            keep_k_centers=evaluator.keep_k_centers,
        )
        self.pixel_rules = postprocess_options.PixelRules(
            self._class_rules,
            self._center_rules if self.has_instances else None,
        )

    def target_maker(self, *, is_training: bool) -> contract.MakeTargets:
        """Returns the function from a label to packed maps of targets."""
        data = (
            self._options.train_dataset_options
            if is_training
            else self._options.eval_dataset_options
        )
        return self._bind_targets(data)

    def _bind_targets(
        self, data: dataset_pb2.DatasetOptions
    ) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
        descriptor = self.descriptor
        is_weighted = data.increase_small_instance_weights

        def make_targets(panoptic_hw: tf.Tensor) -> dict[str, tf.Tensor]:
            targets = center_offset.compute_packed_targets(
                panoptic_hw,
                thing_ids=descriptor.thing_ids,
                ignore_label=descriptor.ignore_label,
                label_divisor=descriptor.label_divisor,
                sigma=data.sigma,
                small_instance_threshold=(
                    data.small_instance_threshold if is_weighted else 0
                ),
                small_instance_weight=data.small_instance_weight,
                max_class=max(
                    descriptor.num_classes - 1, descriptor.ignore_label
                ),
            )
            if not self.has_instances:
                del targets["center_heatmap"], targets["packed_offset"]
            return targets

        return make_targets

    def unpack_targets(self, targets: contract.Tensors) -> contract.Tensors:
        """Computes weights and offsets, which are packed on the host."""
        return center_offset.unpack_targets(targets)

    def build_model(self, *, synchronize_batch_norm: bool) -> keras.Model:
        """Builds the network with all its variables."""
        crop = list(self._options.train_dataset_options.crop_size)
        return model_build.build_model(
            self._options.model_options,
            self._options.trainer_options.solver_options,
            num_classes=self.descriptor.num_classes,
            train_crop_size=crop or None,
            weighed_losses=self._weighed_losses(),
            synchronize_batch_norm=synchronize_batch_norm,
        )

    def _weighed_losses(self) -> list[str]:
        """Lists the losses whose weights are learned."""
        options = self._loss_options
        if not (options.learn_weights and self.has_instances):
            return []
        names = {"semantic_loss": "semantic_loss", **_LOSS_NAMES}
        return [n for field, n in names.items() if options.HasField(field)]

    def infer(
        self,
        model: keras.Model,
        images: tf.Tensor,
        *,
        targets: contract.Tensors | None = None,
    ) -> contract.Tensors:
        """Runs the network on each view of the images."""

        def compute(view: tf.Tensor, scale: float) -> contract.Tensors:
            if scale == 1.0:
                return model(view, training=False)
            return model(view, training=False, image_scale=scale)

        outputs = multi_scale.average_views(
            compute, images, self._views, keep_logits=targets is not None
        )
        return outputs if targets is None else _add_variances(model, outputs)

    def infer_for_training(
        self,
        model: keras.Model,
        images: tf.Tensor,
        targets: contract.Tensors,
        *,
        feature_factors: contract.Tensors | None = None,
    ) -> contract.Tensors:
        """Runs the network; it needs no targets.

        `feature_factors`: see `model.encoder_input.EncoderModel`.
        """
        del targets
        if feature_factors is None:
            return _add_variances(model, model(images, training=True))
        outputs = model(images, training=True, feature_factors=feature_factors)
        return _add_variances(model, outputs)

    def compute_losses(
        self, outputs: contract.Tensors, targets: contract.Tensors
    ) -> dict[str, tf.Tensor]:
        """Computes the weighted losses of the heads at full resolution."""
        options = self._loss_options
        targets = self.unpack_targets(targets)
        size = spatial_size(targets["semantic"])
        kept = dict(outputs)
        kept.pop("semantic_probs", None)
        log_variances = kept.pop(LOG_VARIANCES, None)
        resized = outputs_lib.resize_outputs(kept, size)
        losses = {}
        if options.HasField("semantic_loss"):
            semantic = options.semantic_loss
            losses["semantic_loss"] = semantic.weight * (
                pixelwise.compute_semantic_loss(
                    resized["semantic_logits"],
                    targets["semantic"],
                    targets["semantic_weight"],
                    ignore_label=self.descriptor.ignore_label,
                    top_k_percent=semantic.top_k_percent,
                    class_weights=self._class_weights(),
                )
            )
        for field, (output, target, weight) in _REGRESSIONS.items():
            if not self.has_instances or not options.HasField(field):
                continue
            chosen = getattr(options, field)
            losses[_LOSS_NAMES[field]] = chosen.weight * (
                pixelwise.compute_regression_loss(
                    _with_channels(resized[output]),
                    _with_channels(targets[target]),
                    targets[weight],
                    pixel_error=_PIXEL_ERRORS[chosen.name],
                    top_k_percent=chosen.top_k_percent,
                )
            )
        if log_variances is None:
            return losses
        return uncertainty.weigh_losses(
            losses,
            self._weighed_losses(),
            log_variances,
            regressions=set(_LOSS_NAMES.values()),
        )

    def variable_groups(
        self, model: keras.Model
    ) -> dict[str, list[keras.Variable]]:
        """Returns variables of backbone, decoders, heads and last layers."""
        groups = {"backbone": list(model.backbone.variables)}
        for name in ("semantic", "instance"):
            decoder = getattr(model, f"{name}_decoder", None)
            if decoder is not None:
                groups[f"{name}_decoder"] = list(decoder.variables)
        for name in ("semantic", "center", "offset"):
            head = getattr(model, f"{name}_head", None)
            if head is not None:
                last = list(head.last_layer.variables)
                is_last = {id(variable) for variable in last}
                groups[f"{name}_head"] = [
                    v for v in head.variables if id(v) not in is_last
                ]
                groups[f"{name}_last_layer"] = last
        layer = getattr(model, LOG_VARIANCES, None)
        if layer is not None:
            groups[LOG_VARIANCES] = list(layer.variables)
        return groups

    def _tunable_instances(self) -> Mapping[str, Sequence[float]]:
        # A lower keep_k_centers leaves out centers as a higher threshold does.
        return {
            _CENTER_THRESHOLD: _CENTER_THRESHOLDS,
            "evaluator_options.nms_kernel": _NMS_KERNELS,
        }

    def _instance_thresholds(self) -> contract.Thresholds:
        threshold = self._center_rules.center_threshold
        return {_CENTER_THRESHOLD: np.array(threshold, np.float32)}

    def _postprocess(
        self,
        outputs: contract.Tensors,
        thresholds: contract.Tensors | None,
        **shared: Any,
    ) -> prediction.Prediction:
        """Groups pixels by centers and merges them with the classes."""
        are_probabilities = "semantic_probs" in outputs
        scores = outputs[
            "semantic_probs" if are_probabilities else "semantic_logits"
        ]
        if not self.has_instances:
            return semantic_only.postprocess(
                scores,
                **shared,
                are_probabilities=are_probabilities,
            )
        center_rules = self._center_rules
        if thresholds is not None:
            center_rules = dataclasses.replace(
                center_rules, center_threshold=thresholds[_CENTER_THRESHOLD]
            )
        return postprocess_lib.postprocess(
            scores,
            outputs["center_heatmap"],
            outputs["offset_map"],
            **shared,
            center_rules=center_rules,
            are_probabilities=are_probabilities,
        )

    def postprocess_with_truth(
        self,
        outputs: contract.Tensors,
        targets: contract.Tensors,
        semantic_bhw: tf.Tensor,
        canvas_size: tuple[int, int] | tf.Tensor,
        valid_size: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Groups and merges with true classes, centers and offsets."""
        targets = self.unpack_targets(targets)
        truth = {name: targets[name] for name in true_maps.TrueMaps._fields}
        return true_maps.postprocess_with_truth(
            semantic_bhw,
            outputs["center_heatmap"],
            outputs["offset_map"],
            true_maps.TrueMaps(**truth),
            canvas_size=canvas_size,
            valid_size=valid_size,
            class_rules=self._class_rules,
            center_rules=self._center_rules,
        )


# deeplab2's configs call the offsets "regression".
_LOSS_NAMES: Mapping[str, str] = {
    "center_loss": "center_loss",
    "regression_loss": "offset_loss",
}


def _add_variances(
    model: keras.Model, outputs: contract.Tensors
) -> contract.Tensors:
    """Adds the learned log variances of the losses, if the model has them."""
    layer = getattr(model, LOG_VARIANCES, None)
    if layer is None:
        return outputs
    return {**outputs, LOG_VARIANCES: layer.read()}


def _with_channels(values: tf.Tensor) -> tf.Tensor:
    """Adds an axis of one channel to maps [B, H, W]."""
    return values[..., tf.newaxis] if values.shape.rank == 3 else values
