# SPDX-License-Identifier: Apache-2.0
"""Common parts of the models: image scaling, endpoint shapes, config."""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf


def normalize_images(images_bhw3: tf.Tensor, dtype: str) -> tf.Tensor:
    """Returns images scaled from 0..255 to -1..1, in `dtype`.

    Args:
        images_bhw3: uint8 or float32 [B, H, W, 3], RGB, 0..255.
        dtype: Dtype of the result.
    """
    x = tf.cast(images_bhw3, tf.float32) / 127.5 - 1.0
    return tf.cast(x, dtype)


def build_encoder(
    backbone: keras.Model, input_shape: tuple[int | None, ...]
) -> None:
    """Builds a backbone; its parts are frozen if it is not trainable.

    Keras leaves that to whoever sets `trainable` after the building.
    """
    backbone.build(input_shape)
    if backbone.trainable:
        return
    # Keras sets layers and variables that were made since when it changes.
    backbone.trainable = True
    backbone.trainable = False


def endpoint_shapes(
    backbone: keras.Model, input_shape: tuple[int | None, ...]
) -> dict[str, tuple[int | None, ...]]:
    """Builds the backbone and returns the shapes of its endpoints.

    Raises:
        ValueError: The backbone was built before, on its own. Its variables
            would be named without the model's name, and checkpoints are
            keyed by names.
    """
    if backbone.built:
        raise ValueError(
            f"backbone {backbone.name!r} is already built - give the model a "
            "new one, and load weights into model.backbone afterwards."
        )
    build_encoder(backbone, input_shape)
    return {
        key: (None, None, None, channels)
        for key, channels in backbone.output_channels.items()
    }


class EncoderModel(keras.Model):
    """Base of models with a backbone; its config is the constructor's.

    Args:
        backbone: Network that returns {"res2" ...: feature map}. It is not
            built yet, so that its variables are named below this model's name.
        config: All other arguments of the model's constructor.
    """

    def __init__(
        self, backbone: keras.Model, config: Mapping[str, Any], **kwargs: Any
    ) -> None:
        # Images must not be rounded to bfloat16 before normalization.
        super().__init__(autocast=False, **kwargs)
        self._config = dict(config)
        self.backbone = backbone

    def compute_features(
        self,
        images: tf.Tensor,
        training: bool | None,
        feature_factors: Mapping[str, tf.Tensor] | None = None,
    ) -> dict[str, tf.Tensor]:
        """Returns what the backbone computes, as in inference if it is frozen.

        Args:
            images: uint8 or float32 [B, H, W, 3], RGB, 0..255.
            training: Batch statistics and drop path.
            feature_factors: Factors of the features by endpoint, each float
                [B, 1, 1, C], as `draw_feature_factors` returns; None: 1.

        Returns:
            Feature maps [B, h, w, C] by endpoint.
        """
        x = normalize_images(images, self.compute_dtype)
        training = training and self.backbone.trainable
        features = self.backbone(x, training=training)
        if feature_factors is None:
            return features
        return {
            name: value * tf.cast(feature_factors[name], value.dtype)
            for name, value in features.items()
        }

    def draw_feature_factors(
        self, seeds_b2: tf.Tensor, rate: float
    ) -> dict[str, tf.Tensor]:
        """Draws factors that set a share of the features' channels to zero.

        The others become larger, so that the mean stays.

        Args:
            seeds_b2: int64 [B, 2], seeds of the images; B is static.
            rate: Share of the channels, in [0, 1).

        Returns:
            float32 [B, 1, 1, C] by endpoint of the backbone.
        """
        factors = {}
        channels = self.backbone.output_channels
        for index, (name, count) in enumerate(sorted(channels.items())):
            own = tf.constant([index << 48, 0], tf.int64)
            drawn = [
                tf.random.stateless_uniform(
                    [1, 1, count], seed=seed_2 + own, alg="philox"
                )
                for seed_2 in tf.unstack(seeds_b2)
            ]
            is_kept = tf.stack(drawn) >= rate
            factors[name] = tf.cast(is_kept, tf.float32) / (1.0 - rate)
        return factors

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        backbone = keras.saving.serialize_keras_object(self.backbone)
        # It is built as a part of this model only.
        backbone.pop("build_config", None)
        return super().get_config() | self._config | {"backbone": backbone}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Makes the model from what `get_config` returned."""
        backbone = keras.saving.deserialize_keras_object(
            config["backbone"], custom_objects=custom_objects
        )
        return cls(**(config | {"backbone": backbone}))
