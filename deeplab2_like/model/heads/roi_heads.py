# SPDX-License-Identifier: Apache-2.0
"""The three heads of Mask R-CNN: proposals, boxes and masks.

He et al., ICCV 2017 (arXiv:1703.06870), with the sizes and initial weights of
detectron2. Maps or RoIs are the batch of a head; the last layers are float32
in every dtype policy.

With `separable`, the 3x3 convolutions are depthwise separable, with batch norms
and leaky ReLU, as in EfficientPS (arXiv:2004.02307), section 3.4.

C thing classes; A anchors of a pixel; R RoIs.
"""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from deeplab2_like.model.decoders.feature_pyramid import (
    msra_initializer,
    xavier_initializer,
)
from deeplab2_like.model.layers.convolution import SeparableConvBNAct


def _normal(stddev: float) -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(stddev=stddev)


def _last(stddev: float, name: str) -> dict[str, Any]:
    """Returns options of a last layer: initial weights, float32, its name."""
    return {
        "kernel_initializer": _normal(stddev),
        "dtype": "float32",
        "name": name,
    }


def _make_separable(
    layer: "ProposalHead | MaskHead", name: str
) -> SeparableConvBNAct:
    return SeparableConvBNAct(
        layer.filters,
        activation="leaky_relu",
        batch_norm=layer.batch_norm,
        dtype=layer.dtype_policy,
        name=name,
    )


@keras.saving.register_keras_serializable("deeplab2_like")
class ProposalHead(keras.layers.Layer):
    """Objectness and box codes of the anchors of each pixel, at all levels.

    Args:
        num_anchors: A, number of anchors of a pixel.
        filters: Channels of the 3x3 convolution.
        separable: Whether the 3x3 convolution is depthwise separable.
        batch_norm: Keyword arguments of `BatchNorm` (None: its defaults), if
            separable.
    """

    def __init__(
        self,
        num_anchors: int,
        filters: int = 256,
        *,
        separable: bool = False,
        batch_norm: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_anchors = num_anchors
        self.filters = filters
        self.separable = separable
        self.batch_norm = dict(batch_norm or {})
        if separable:
            self.conv = _make_separable(self, "conv")
        else:
            self.conv = keras.layers.Conv2D(
                filters,
                3,
                padding="same",
                activation="relu",
                kernel_initializer=_normal(0.01),
                dtype=self.dtype_policy,
                name="conv",
            )
        self.objectness = keras.layers.Conv2D(
            num_anchors, 1, **_last(0.01, "objectness")
        )
        self.codes = keras.layers.Conv2D(
            4 * num_anchors, 1, **_last(0.01, "codes")
        )

    def build(self, input_shape):
        """Makes the variables for shapes [B, h, w, channels] of levels."""
        self.conv.build(next(iter(input_shape.values())))
        for layer in (self.objectness, self.codes):
            layer.build((None, None, None, self.filters))

    def call(self, inputs, training=None):
        """Returns logits and codes of the anchors of each level.

        Args:
            inputs: float [B, h, w, channels] of each level, by name.
            training: Batch statistics, of all levels together, if separable.

        Returns:
            For each level float32 [B, h, w, A], objectness logits; and float32
            [B, h, w, 4 * A], (dy, dx, dh, dw) of each anchor.
        """
        maps = list(inputs.values())
        if self.separable:
            maps = self.conv(maps, training=training)
        else:
            maps = [self.conv(x) for x in maps]
        maps = [tf.cast(x, tf.float32) for x in maps]
        outputs = [(self.objectness(x), self.codes(x)) for x in maps]
        return dict(zip(inputs, outputs, strict=True))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "num_anchors": self.num_anchors,
            "filters": self.filters,
            "separable": self.separable,
            "batch_norm": dict(self.batch_norm),
        }


@keras.saving.register_keras_serializable("deeplab2_like")
class BoxHead(keras.layers.Layer):
    """Class and box of each RoI, by two dense layers.

    Args:
        num_classes: C, number of thing classes.
        units: Units of each dense layer.
    """

    def __init__(
        self, num_classes: int, units: int = 1024, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.units = units
        self.dense = [
            keras.layers.Dense(
                units,
                activation="relu",
                kernel_initializer=xavier_initializer(),
                dtype=self.dtype_policy,
                name=f"dense_{number}",
            )
            for number in range(2)
        ]
        self.classes = keras.layers.Dense(
            num_classes + 1, **_last(0.01, "classes")
        )
        self.codes = keras.layers.Dense(
            4 * num_classes, **_last(0.001, "codes")
        )

    def build(self, input_shape):
        """Makes the variables for `input_shape` [R, P, P, channels]."""
        _, height, width, channels = input_shape
        self.dense[0].build((None, height * width * channels))
        self.dense[1].build((None, self.units))
        for layer in (self.classes, self.codes):
            layer.build((None, self.units))

    def call(self, inputs):
        """Returns logits and codes of RoIs, float [R, P, P, channels].

        Returns:
            float32 [R, C + 1], class logits, background last; float32
            [R, C, 4], (dy, dx, dh, dw) for each class.
        """
        size = inputs.shape[1:].num_elements()
        x = tf.reshape(inputs, [-1, size])
        for layer in self.dense:
            x = layer(x)
        x = tf.cast(x, tf.float32)
        codes = tf.reshape(self.codes(x), [-1, self.num_classes, 4])
        return self.classes(x), codes

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "num_classes": self.num_classes,
            "units": self.units,
        }


@keras.saving.register_keras_serializable("deeplab2_like")
class MaskHead(keras.layers.Layer):
    """A mask for each class in each RoI.

    Args:
        num_classes: C, number of thing classes.
        filters: Channels of the convolutions.
        num_convs: Number of 3x3 convolutions before the upsampling.
        separable: Whether the 3x3 convolutions are depthwise separable.
        batch_norm: Keyword arguments of `BatchNorm` (None: its defaults), if
            separable.
    """

    def __init__(
        self,
        num_classes: int,
        filters: int = 256,
        *,
        num_convs: int = 4,
        separable: bool = False,
        batch_norm: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.filters = filters
        self.num_convs = num_convs
        self.separable = separable
        self.batch_norm = dict(batch_norm or {})
        options = {
            "activation": "relu",
            "kernel_initializer": msra_initializer(),
            "dtype": self.dtype_policy,
        }
        names = [f"conv_{number}" for number in range(num_convs)]
        if separable:
            self.convs = [_make_separable(self, name) for name in names]
        else:
            self.convs = [
                keras.layers.Conv2D(
                    filters, 3, padding="same", name=name, **options
                )
                for name in names
            ]
        self.upsample = keras.layers.Conv2DTranspose(
            filters, 2, strides=2, name="upsample", **options
        )
        self.last_layer = keras.layers.Conv2D(
            num_classes, 1, **_last(0.001, "last")
        )

    def build(self, input_shape):
        """Makes the variables for `input_shape` [R, h, w, channels]."""
        shape = input_shape
        inner = (None, None, None, self.filters)
        for layer in (*self.convs, self.upsample, self.last_layer):
            layer.build(shape)
            shape = inner

    def call(self, inputs, training=None):
        """Returns mask logits, float32 [R, 2 * h, 2 * w, C].

        Args:
            inputs: float [R, h, w, c], features of the RoIs.
            training: Batch statistics, if separable.
        """
        x = inputs
        for layer in self.convs:
            x = _apply(layer, x, training)
        x = self.upsample(x)
        return self.last_layer(tf.cast(x, tf.float32))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "num_classes": self.num_classes,
            "filters": self.filters,
            "num_convs": self.num_convs,
            "separable": self.separable,
            "batch_norm": dict(self.batch_norm),
        }


def _apply(
    layer: keras.layers.Layer, x: tf.Tensor, training: bool | None
) -> tf.Tensor:
    """Calls a convolution, with `training` if it is separable."""
    if isinstance(layer, SeparableConvBNAct):
        return layer(x, training=training)
    return layer(x)
