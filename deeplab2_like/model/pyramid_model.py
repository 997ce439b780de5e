# SPDX-License-Identifier: Apache-2.0
"""Base of models with a backbone, a pyramid and branches on it."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from deeplab2_like.model.decoders.feature_pyramid import STRIDES, level_size
from deeplab2_like.model.encoder_input import (
    EncoderModel,
    endpoint_shapes,
)
from deeplab2_like.model.layers.log_variances import (
    LOG_VARIANCES,
    LogVariances,
)
from deeplab2_like.model.outputs import Output


class PyramidModel(EncoderModel):
    """Semantic logits, and objects, from the levels of a pyramid.

    A pyramid computes levels of strides 4 to 64 from the endpoints of the
    backbone; a semantic branch computes logits at stride 4 from the levels; an
    instance branch takes levels, `size`, `targets` and `training`, and returns
    named outputs.

    All constructors take `backbone`, as in `EncoderModel`, with feature maps
    at strides 4 to 32, and `weighed_losses`, the names of the losses whose
    weights are learned (`losses.uncertainty`).
    """

    def set_parts(
        self,
        pyramid: keras.layers.Layer,
        semantic_branch: keras.layers.Layer | None,
        instance_branch: keras.layers.Layer | None,
        weighed_losses: Sequence[str],
    ) -> None:
        """Sets the parts, in the order of their variables.

        Args:
            pyramid: Layer from endpoints to levels.
            semantic_branch: Layer from levels to logits; None: no such branch.
            instance_branch: Layer that finds objects; None: no such branch.
            weighed_losses: Names of the losses whose weights are learned.

        Raises:
            ValueError: There is no branch.
        """
        if semantic_branch is None and instance_branch is None:
            raise ValueError("A model needs a semantic or an instance branch.")
        self.pyramid = pyramid
        self.semantic_branch = semantic_branch
        self.instance_branch = instance_branch
        self.log_variances = None
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
        """Returns the outputs of both branches.

        Args:
            images: uint8 or float32 [B, H, W, 3], RGB, 0..255.
            targets: Targets of the instance branch by name; None: no outputs
                for its losses.
            training: Batch statistics, and no detection of objects.

        Returns:
            * semantic_logits: float32 [B, h, w, channels] at stride 4;
            * the outputs of the instance branch;
            * log_variances: float32 [number of weighed losses].
        """
        features = self.compute_features(images, training)
        levels = self.pyramid(features)
        outputs: dict[str, tf.Tensor] = {}
        if self.semantic_branch is not None:
            outputs[Output.SEMANTIC_LOGITS.value] = self.semantic_branch(levels)
        if self.instance_branch is not None:
            outputs |= self.instance_branch(
                levels,
                size=level_size(images),
                targets=targets,
                training=training,
            )
        if self.log_variances is not None:
            outputs[LOG_VARIANCES] = self.log_variances.read()
        return outputs
