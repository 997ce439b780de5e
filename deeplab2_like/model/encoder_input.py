# SPDX-License-Identifier: Apache-2.0
"""What every model does around its backbone: pixels in, shapes, config."""

from typing import Any

import keras
import tensorflow as tf


def normalize_images(images_bhw3: tf.Tensor, dtype: str) -> tf.Tensor:
    """Gives images scaled from 0..255 to -1..1, in `dtype`.

    Args:
        images_bhw3: uint8 or float32 [B, H, W, 3], RGB, 0..255.
        dtype: the compute dtype.
    """
    x = tf.cast(images_bhw3, tf.float32) / 127.5 - 1.0
    return tf.cast(x, dtype)


def endpoint_shapes(
    backbone: keras.Model, input_shape: tuple[int | None, ...]
) -> dict[str, tuple[int | None, ...]]:
    """Builds the backbone and gives its endpoints' shapes.

    Raises:
        ValueError: the backbone was built before, on its own. Its variables
            would be named without the model's name, and checkpoints are
            keyed by names.
    """
    if backbone.built:
        raise ValueError(
            f"backbone {backbone.name!r} is already built - give the model a "
            "new one, and load weights into model.backbone afterwards."
        )
    backbone.build(input_shape)
    return {
        key: (None, None, None, channels)
        for key, channels in backbone.output_channels.items()
    }


def backbone_to_config(backbone: keras.Model) -> dict[str, Any]:
    """Gives the backbone as plain values, without its being built."""
    config = keras.saving.serialize_keras_object(backbone)
    config.pop("build_config", None)
    return config


def backbone_from_config(
    config: dict[str, Any], custom_objects: dict[str, Any] | None = None
) -> keras.Model:
    """Makes the backbone from what `backbone_to_config` gave."""
    return keras.saving.deserialize_keras_object(
        config, custom_objects=custom_objects
    )
