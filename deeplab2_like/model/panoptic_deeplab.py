# SPDX-License-Identifier: Apache-2.0
"""Panoptic-DeepLab: backbone, two decoders, three heads."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from deeplab2_like.model.decoders.aspp_decoder import Decoder
from deeplab2_like.model.encoder_input import (
    EncoderModel,
    endpoint_shapes,
)
from deeplab2_like.model.heads.dense_head import Head
from deeplab2_like.model.layers.log_variances import (
    LOG_VARIANCES,
    LogVariances,
)
from deeplab2_like.model.outputs import Output


@dataclasses.dataclass(frozen=True)
class InstanceBranchOptions:
    """Arguments of the parts of the instance branch.

    Attributes:
        decoder: Arguments of `Decoder` other than `batch_norm`.
        center_head: Arguments of `Head` other than `output_channels` (1) and
            `batch_norm`.
        offset_head: Arguments of `Head` other than `output_channels` (2) and
            `batch_norm`.
    """

    decoder: Mapping[str, Any]
    center_head: Mapping[str, Any]
    offset_head: Mapping[str, Any]


# Key of the model's config -> field of `InstanceBranchOptions`. The config is
# flat, so that files from before the fields were grouped can be read.
_INSTANCE_KEYS: Mapping[str, str] = {
    "instance_decoder": "decoder",
    "center_head": "center_head",
    "offset_head": "offset_head",
}


@keras.saving.register_keras_serializable("deeplab2_like")
class PanopticDeepLab(EncoderModel):
    """Semantic logits, center heatmap and center offsets of images.

    Cheng et al., CVPR 2020, arXiv:1911.10194. The instance branch is
    optional; without it the model is a semantic one.

    Args:
        backbone: See `EncoderModel`.
        num_classes: Channels of the semantic logits.
        semantic_decoder: Arguments of `Decoder` other than `batch_norm`.
        semantic_head: Arguments of `Head` other than `output_channels` and
            `batch_norm`.
        instance: Arguments of the instance branch; None: no such branch.
        batch_norm: Keyword arguments of `BatchNorm` (None: its defaults).
        weighed_losses: Names of the losses whose weights are learned
            (`losses.uncertainty`); `log_variances` holds them.
    """

    def __init__(
        self,
        backbone: keras.Model,
        num_classes: int,
        *,
        semantic_decoder: Mapping[str, Any],
        semantic_head: Mapping[str, Any],
        instance: InstanceBranchOptions | None = None,
        batch_norm: Mapping[str, Any] | None = None,
        weighed_losses: Sequence[str] = (),
        name: str = "panoptic_deeplab",
        **kwargs: Any,
    ) -> None:
        config = {
            "num_classes": num_classes,
            "semantic_decoder": dict(semantic_decoder),
            "semantic_head": dict(semantic_head),
            **_flatten(instance),
            "batch_norm": dict(batch_norm or {}),
            "weighed_losses": list(weighed_losses),
        }
        super().__init__(backbone, config, name=name, **kwargs)
        self.num_classes = num_classes
        self.log_variances = None
        if weighed_losses:
            self.log_variances = LogVariances(
                weighed_losses, name=LOG_VARIANCES
            )
        options = {"batch_norm": batch_norm, "dtype": self.dtype_policy}
        self.semantic_decoder = Decoder(
            **semantic_decoder, name="semantic_decoder", **options
        )
        self.semantic_head = Head(
            num_classes, **semantic_head, name="semantic_head", **options
        )
        self.instance_decoder = None
        self.center_head = None
        self.offset_head = None
        if instance is not None:
            self.instance_decoder = Decoder(
                **instance.decoder, name="instance_decoder", **options
            )
            self.center_head = Head(
                1, **instance.center_head, name="center_head", **options
            )
            self.offset_head = Head(
                2, **instance.offset_head, name="offset_head", **options
            )

    def build(self, input_shape):
        """Makes the variables for `input_shape` [B, H, W, 3]."""
        shapes = endpoint_shapes(self.backbone, input_shape)
        branches = [(self.semantic_decoder, [self.semantic_head])]
        if self.instance_decoder is not None:
            heads = [self.center_head, self.offset_head]
            branches.append((self.instance_decoder, heads))
        for decoder, heads in branches:
            decoder.build(shapes)
            for head in heads:
                head.build((None, None, None, decoder.output_channels))
        if self.log_variances is not None:
            self.log_variances.build()

    def call(
        self,
        images,
        training=None,
        image_scale=1.0,
        feature_factors=None,
    ):
        """Returns the outputs at head resolution.

        Args:
            images: uint8 or float32 [B, H, W, 3], RGB, 0..255.
            training: Batch statistics and dropout.
            image_scale: Factor by which the images were enlarged, for
                test-time averages over scales; see `ASPP.call`.
            feature_factors: See `EncoderModel.compute_features`.

        Returns:
            float32 maps under the keys that `Output` describes.
        """
        features = self.compute_features(images, training, feature_factors)
        x = self.semantic_decoder(
            features, training=training, image_scale=image_scale
        )
        outputs = {
            Output.SEMANTIC_LOGITS.value: self.semantic_head(
                x, training=training
            )
        }
        if self.instance_decoder is not None:
            x = self.instance_decoder(
                features, training=training, image_scale=image_scale
            )
            outputs[Output.CENTER_HEATMAP.value] = self.center_head(
                x, training=training
            )
            outputs[Output.OFFSET_MAP.value] = self.offset_head(
                x, training=training
            )
        return outputs

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Makes the model from what `get_config` returned."""
        flat = {key: config.get(key) for key in _INSTANCE_KEYS}
        rest = {k: value for k, value in config.items() if k not in flat}
        rest["instance"] = _group(flat)
        return super().from_config(rest, custom_objects)


def _flatten(instance: InstanceBranchOptions | None) -> dict[str, Any]:
    """Returns the keys of the config for the instance branch."""
    if instance is None:
        return dict.fromkeys(_INSTANCE_KEYS)
    return {
        key: dict(getattr(instance, field))
        for key, field in _INSTANCE_KEYS.items()
    }


def _group(flat: Mapping[str, Any]) -> InstanceBranchOptions | None:
    """Returns the options that `_flatten` made the keys from."""
    if flat["instance_decoder"] is None:
        return None
    fields = {field: flat[key] for key, field in _INSTANCE_KEYS.items()}
    return InstanceBranchOptions(**fields)
