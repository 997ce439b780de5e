# SPDX-License-Identifier: Apache-2.0
"""The instance branch of SOLOv2: grid cells predict objects.

Wang et al., "SOLOv2" (arXiv:2003.10152).

B images; G grid cells of all grids; C thing classes; E channels of the mask
features; P slots for masks to learn from; h, w size of the features.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from deeplab2_like.model.heads.solov2_heads import (
    GRIDS,
    GridHead,
    MaskFeatureBranch,
    apply_kernels,
)


@keras.saving.register_keras_serializable("deeplab2_like")
class GridBranch(keras.layers.Layer):
    """Classes and kernels of grid cells, and the features of the masks.

    Args:
        num_classes: C, number of thing classes.
        kernel_filters: E, channels of the mask features.
        grids: Grid cells on a side of each grid.
        filters: Channels of the towers of `GridHead`.
        num_convs: Number of convolutions of each tower.
        feature_filters: Channels of the branch of the mask features.
        groups: Number of groups of the group normalizations.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        kernel_filters: int = 256,
        grids: Sequence[int] = GRIDS,
        filters: int = 512,
        num_convs: int = 4,
        feature_filters: int = 128,
        groups: int = 32,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        head: dict[str, Any] = {
            "num_classes": num_classes,
            "kernel_filters": kernel_filters,
            "grids": list(grids),
            "filters": filters,
            "num_convs": num_convs,
        }
        self._config = {
            **head,
            "feature_filters": feature_filters,
            "groups": groups,
        }
        policy = {"groups": groups, "dtype": self.dtype_policy}
        self.cells = GridHead(**head, name="cells", **policy)
        self.features = MaskFeatureBranch(
            kernel_filters, feature_filters, name="features", **policy
        )

    @property
    def last_layers(self) -> tuple[keras.layers.Layer, ...]:
        """The layers whose shape depends on the classes."""
        return (self.cells.classes,)

    def build(self, input_shape):
        """Makes the variables for shapes [B, h, w, channels] of all levels."""
        self.cells.build(input_shape)
        self.features.build(input_shape)

    def call(self, levels, size=None, targets=None, training=None):
        """Returns the predictions of the grid cells, and masks to learn from.

        Args:
            levels: float [B, h, w, channels] of each level of the pyramid.
            size: Not used; other instance branches need it.
            targets: {"mask_cell": int32 [B, P]}; other keys are ignored. None:
                no masks.
            training: Not used; both modes are the same.

        Returns:
            * cell_logits: float32 [B, G, C];
            * cell_kernels: float32 [B, G, E];
            * mask_features: float32 [B, h, w, E], at stride 4;
            * with targets, mask_logits: float32 [B, P, h, w].
        """
        del size, training
        logits, kernels = self.cells(levels)
        features = self.features(levels)
        outputs = {
            "cell_logits": logits,
            "cell_kernels": kernels,
            "mask_features": tf.cast(features, tf.float32),
        }
        if targets is not None:
            chosen = tf.gather(kernels, targets["mask_cell"], batch_dims=1)
            outputs["mask_logits"] = apply_kernels(features, chosen)
        return outputs

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | self._config
