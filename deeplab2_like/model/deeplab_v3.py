# SPDX-License-Identifier: Apache-2.0
"""DeepLabV3 and DeepLabV3+: semantic segmentation only."""

from collections.abc import Mapping
from typing import Any

import keras

from deeplab2_like.model.decoders.aspp_decoder import Decoder
from deeplab2_like.model.encoder_input import (
    EncoderModel,
    endpoint_shapes,
)
from deeplab2_like.model.heads.dense_head import Head
from deeplab2_like.model.outputs import Output


@keras.saving.register_keras_serializable("deeplab2_like")
class DeepLabV3(EncoderModel):
    """Semantic logits from the ASPP's output.

    Chen et al., arXiv:1706.05587, 3.3. The logits have the resolution of the
    backbone's deepest features.

    Args:
        backbone: See `EncoderModel`.
        num_classes: Channels of the semantic logits.
        decoder: Arguments of `Decoder` other than `batch_norm`.
        head: Arguments of `Head` other than `output_channels` and
            `batch_norm`; in the paper it has one 3x3 convolution.
        batch_norm: Keyword arguments of `BatchNorm` (None: its defaults).
    """

    num_low_level = 0

    def __init__(
        self,
        backbone: keras.Model,
        num_classes: int,
        *,
        decoder: Mapping[str, Any],
        head: Mapping[str, Any],
        batch_norm: Mapping[str, Any] | None = None,
        name: str = "deeplab_v3",
        **kwargs: Any,
    ) -> None:
        config = {
            "num_classes": num_classes,
            "decoder": dict(decoder),
            "head": dict(head),
            "batch_norm": dict(batch_norm or {}),
        }
        super().__init__(backbone, config, name=name, **kwargs)
        levels = len(decoder.get("low_level", ()))
        if levels != self.num_low_level:
            raise ValueError(
                f"decoder has {levels} low levels - {type(self).__name__} "
                f"takes {self.num_low_level}."
            )
        self.num_classes = num_classes
        options = {"batch_norm": batch_norm, "dtype": self.dtype_policy}
        self.semantic_decoder = Decoder(
            **decoder, name="semantic_decoder", **options
        )
        self.semantic_head = Head(
            num_classes, **head, name="semantic_head", **options
        )
        self.instance_decoder = None
        self.center_head = None
        self.offset_head = None

    def build(self, input_shape):
        """Makes the variables for `input_shape` [B, H, W, 3]."""
        self.semantic_decoder.build(endpoint_shapes(self.backbone, input_shape))
        channels = self.semantic_decoder.output_channels
        self.semantic_head.build((None, None, None, channels))

    def call(
        self,
        images,
        training=None,
        image_scale=1.0,
        feature_factors=None,
    ):
        """Returns {"semantic_logits": float32 [B, h, w, classes]}.

        The arguments are those of `PanopticDeepLab.call`.
        """
        features = self.compute_features(images, training, feature_factors)
        x = self.semantic_decoder(
            features, training=training, image_scale=image_scale
        )
        logits = self.semantic_head(x, training=training)
        return {Output.SEMANTIC_LOGITS.value: logits}


@keras.saving.register_keras_serializable("deeplab2_like")
class DeepLabV3Plus(DeepLabV3):
    """Semantic logits from the ASPP's output fused with one finer level.

    Chen et al., ECCV 2018, arXiv:1802.02611, 3.1: the finer level is
    projected (48 channels), then two 3x3 convolutions, of which the first
    fuses (in `decoder`) and the second is the head's. The logits have the
    resolution of the finer level.

    Args:
        backbone: See `EncoderModel`.
        num_classes: Channels of the semantic logits.
        name: Name of the model.
        **kwargs: Other arguments of `DeepLabV3`.
    """

    num_low_level = 1

    def __init__(
        self,
        backbone: keras.Model,
        num_classes: int,
        *,
        name: str = "deeplab_v3_plus",
        **kwargs: Any,
    ) -> None:
        super().__init__(backbone, num_classes, name=name, **kwargs)
