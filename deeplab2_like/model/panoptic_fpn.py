# SPDX-License-Identifier: Apache-2.0
"""Panoptic FPN: backbone, pyramid, semantic branch, instance branch."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from deeplab2_like.model.encoder_input import (
    backbone_from_config,
    backbone_to_config,
    endpoint_shapes,
    normalize_images,
)
from deeplab2_like.model.feature_pyramid import (
    STRIDES,
    FeaturePyramid,
    SemanticBranch,
)
from deeplab2_like.model.instance_branch import InstanceBranch
from deeplab2_like.model.layers.log_variances import LogVariances
from deeplab2_like.model.layers.resize import spatial_size
from deeplab2_like.model.outputs import Output

LOG_VARIANCES = "log_variances"


@keras.saving.register_keras_serializable("deeplab2_like")
class PanopticFPN(keras.Model):
    """Semantic logits, and boxes, classes and masks of objects.

    Kirillov et al., CVPR 2019, arXiv:1901.02446. With the instance branch
    alone it is Mask R-CNN, with the semantic branch alone semantic FPN.

    Args of the constructor:
        backbone: a network that gives {"res2" ...: feature map} at strides
            4 to 32; not built yet.
        pyramid_filters: channels of the pyramid.
        semantic: arguments of `SemanticBranch`; None: no such branch.
        instance: fields of `InstanceOptions`; None: no such branch.
        weighed_losses: names of the losses whose weights are learned
            (`losses.uncertainty`).
    """

    def __init__(
        self,
        backbone: keras.Model,
        *,
        pyramid_filters: int = 256,
        semantic: Mapping[str, Any] | None = None,
        instance: Mapping[str, Any] | None = None,
        weighed_losses: Sequence[str] = (),
        name: str = "panoptic_fpn",
        **kwargs: Any,
    ) -> None:
        # Images must not be rounded to bfloat16 before normalisation.
        super().__init__(name=name, autocast=False, **kwargs)
        if semantic is None and instance is None:
            raise ValueError("A model needs a semantic or an instance branch.")
        self._config = {
            "pyramid_filters": pyramid_filters,
            "semantic": None if semantic is None else dict(semantic),
            "instance": None if instance is None else dict(instance),
            "weighed_losses": list(weighed_losses),
        }
        self.backbone = backbone
        policy = {"dtype": self.dtype_policy}
        self.pyramid = FeaturePyramid(pyramid_filters, name="pyramid", **policy)
        self.semantic_branch = None
        self.instance_branch = None
        self.log_variances = None
        if semantic is not None:
            self.semantic_branch = SemanticBranch(
                **semantic, name="semantic_branch", **policy
            )
        if instance is not None:
            self.instance_branch = InstanceBranch(
                instance, name="instance_branch", **policy
            )
        if weighed_losses:
            self.log_variances = LogVariances(
                weighed_losses, name=LOG_VARIANCES
            )

    def build(self, input_shape):
        """Makes the variables for `input_shape` [B, H, W, 3]."""
        shapes = endpoint_shapes(self.backbone, input_shape)
        self.pyramid.build(shapes)
        level = (None, None, None, self.pyramid.filters)
        levels = dict.fromkeys(STRIDES, level)
        for part in (self.semantic_branch, self.instance_branch):
            if part is not None:
                part.build(levels)
        if self.log_variances is not None:
            self.log_variances.build()

    def call(self, images, targets=None, training=None):
        """Gives the outputs of both branches.

        Args:
            images: uint8 or float32 [B, H, W, 3], RGB, 0..255.
            targets: what the instance branch learns from, see
                `InstanceBranch`; without them its losses cannot be computed.
            training: batch statistics; and no objects are looked for.

        Returns:
            * semantic_logits: float32 [B, h, w, channels] at stride 4;
            * what `InstanceBranch` gives;
            * log_variances: float32 [number of weighed losses].
        """
        x = normalize_images(images, self.compute_dtype)
        features = self.backbone(x, training=training)
        levels = self.pyramid(features)
        outputs: dict[str, tf.Tensor] = {}
        if self.semantic_branch is not None:
            outputs[Output.SEMANTIC_LOGITS.value] = self.semantic_branch(levels)
        if self.instance_branch is not None:
            size = spatial_size(images)
            size = size if isinstance(size, tuple) else tf.unstack(size)
            outputs |= self.instance_branch(
                levels, size=size, targets=targets, training=training
            )
        if self.log_variances is not None:
            outputs[LOG_VARIANCES] = self.log_variances.read()
        return outputs

    def get_config(self) -> dict[str, Any]:
        """Gives the constructor's arguments."""
        config = super().get_config() | self._config
        config["backbone"] = backbone_to_config(self.backbone)
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Makes the model from what `get_config` gave."""
        config = dict(config)
        config["backbone"] = backbone_from_config(
            config["backbone"], custom_objects
        )
        return cls(**config)
