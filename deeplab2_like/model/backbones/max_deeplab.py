# SPDX-License-Identifier: Apache-2.0
"""The backbone of MaX-DeepLab-L: Axial-SWideRNet and a stacked decoder.

Wang et al., CVPR 2021, arXiv:2012.00759. The backbone of MaX-DeepLab-S has no
such decoder: see `axial_resnet.py`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras

from deeplab2_like.model.backbones.axial_resnet import axial_swidernet
from deeplab2_like.model.backbones.stacked_decoder import StackedDecoder
from deeplab2_like.model.backbones.variation import UNVARIED, Variation
from deeplab2_like.model.backbones.wide_resnet import DROP_PATH_BEYOND_STRIDE


@keras.saving.register_keras_serializable("deeplab2_like")
class MaXDeepLabL(keras.Model):
    """Axial-SWideRNet with a stacked decoder behind it.

    Panoptic-DeepLab reads the features in front of the decoder. Its weights
    are part of the published checkpoints.

    Args:
        output_stride: 8, 16 or 32.
        variation: `Variation`, or a dictionary of its fields (None: its
            defaults).
        compute_decoder: Whether the decoder is computed; if not, its weights
            exist, but are not trained.
        recompute: See `ResNet`.
        batch_norm: Keyword arguments of `BatchNorm` (None: its defaults).
    """

    def __init__(
        self,
        output_stride: int = 32,
        variation: Variation | Mapping[str, Any] | None = None,
        *,
        compute_decoder: bool = True,
        recompute: bool = False,
        batch_norm: Mapping[str, Any] | None = None,
        name: str = "backbone",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        if not isinstance(variation, Variation):
            variation = Variation(**(variation or {}))
        self.output_stride = output_stride
        self.variation = variation
        self.compute_decoder = compute_decoder
        self.recompute = recompute
        self.batch_norm = dict(batch_norm or {})
        options = {
            "recompute": recompute,
            "batch_norm": self.batch_norm,
            "dtype": self.dtype_policy,
        }
        self.resnet = axial_swidernet(
            output_stride, variation, name="resnet", **options
        )
        self.stacked_decoder = StackedDecoder(
            output_stride,
            variation.scale_channels((64, 128, 256, 512)),
            block_options=variation.block_options(DROP_PATH_BEYOND_STRIDE),
            name="stacked_decoder",
            **options,
        )

    @property
    def output_channels(self) -> dict[str, int]:
        """Channels of each endpoint."""
        channels = self.resnet.output_channels
        if self.compute_decoder:
            channels["backbone_output"] = channels["res5"]
        return channels

    def build(self, input_shape):
        """Makes the variables for `input_shape` [B, H, W, C]."""
        self.resnet.build(input_shape)
        self.stacked_decoder.build(
            {
                key: (None, None, None, channels)
                for key, channels in self.resnet.output_channels.items()
            }
        )
        # Takes effect on variables that exist.
        self.stacked_decoder.trainable = self.compute_decoder

    def call(self, inputs, training=None):
        """Returns the feature maps.

        Args:
            inputs: float [B, H, W, 3], normalized to -1..1.
            training: Batch statistics and drop path.

        Returns:
            The endpoints of `ResNet`, and "backbone_output" of the size of
            "res5": the decoder's output, activated; absent when it is not
            computed.
        """
        endpoints = self.resnet(inputs, training=training)
        if self.compute_decoder:
            endpoints["backbone_output"] = self.stacked_decoder(
                endpoints, training=training
            )
        return endpoints

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "output_stride": self.output_stride,
            "variation": dataclasses.asdict(self.variation),
            "compute_decoder": self.compute_decoder,
            "recompute": self.recompute,
            "batch_norm": dict(self.batch_norm),
        }


def max_deeplab_l_backbone(
    output_stride: int = 32, variation: Variation = UNVARIED, **kwargs: Any
) -> MaXDeepLabL:
    """Returns the backbone of MaX-DeepLab-L as Panoptic-DeepLab uses it.

    The decoder is not computed. The other arguments are those of
    `MaXDeepLabL`.
    """
    return MaXDeepLabL(
        output_stride, variation, compute_decoder=False, **kwargs
    )
