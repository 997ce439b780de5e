# SPDX-License-Identifier: Apache-2.0
"""Convolution + batch normalization + activation, in three forms.

In reading order: the padding rule, the base class, `ConvBNAct`,
`DepthwiseConvBNAct`, `SeparableConvBNAct`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from deeplab2_like.model.layers import atrous
from deeplab2_like.model.layers.activations import activation_of
from deeplab2_like.model.layers.batch_norm import BatchNorm

PADDINGS = ("symmetric", "same")


def pad_for_stride(
    x: tf.Tensor, kernel_size: int, dilation_rate: int
) -> tf.Tensor:
    """Pads height and width by zeros for a strided 'valid' convolution.

    Both sides get (k - 1) // 2 zeros, k the dilated kernel size, so that the
    first output sits on the first pixel for every size, and the output size
    is (size - 1) // stride + 1. TensorFlow's "same" gives that size too, but
    pads an even size by one zero less at the top and left, which moves the
    outputs by a pixel. deeplab2: `Conv2DSame`.
    """
    pad = dilation_rate * (kernel_size - 1) // 2
    if pad == 0:
        return x
    return tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]])


def _to_rate(rate: int | Sequence[int]) -> int | tuple[int, int]:
    """Returns a dilation rate, (height, width) only where they differ."""
    if isinstance(rate, int):
        return rate
    height, width = rate
    return height if height == width else (height, width)


def _to_json(rate: int | tuple[int, int]) -> int | list[int]:
    return rate if isinstance(rate, int) else list(rate)


class _ConvBase(keras.layers.Layer):
    """Base of the two single convolutions: padding, BN, activation.

    Args:
        kernel_size: See `ConvBNAct`.
        strides: See `ConvBNAct`.
        dilation_rate: Atrous rate, a number or (height, width).
        activation: See `ConvBNAct`.
        batch_norm: See `ConvBNAct`.
        gamma_initializer: See `ConvBNAct`.
        padding: See `ConvBNAct`.
    """

    def __init__(
        self,
        kernel_size: int,
        *,
        strides: int,
        dilation_rate: int | tuple[int, int],
        activation: str,
        batch_norm: Mapping[str, Any] | None,
        gamma_initializer: str,
        padding: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if kernel_size % 2 == 0:
            raise ValueError(
                f"kernel_size is {kernel_size} - it must be odd, so that "
                "outputs sit on input pixels."
            )
        if strides > 1 and dilation_rate != 1:
            raise ValueError(
                f"strides is {strides} and dilation_rate is {dilation_rate} "
                "- one of them must be 1."
            )
        if padding not in PADDINGS:
            raise ValueError(
                f"padding is {padding!r} - known are {', '.join(PADDINGS)}."
            )
        self.kernel_size = kernel_size
        self.strides = strides
        self.dilation_rate = dilation_rate
        self.activation = activation
        self.batch_norm = dict(batch_norm or {})
        self.gamma_initializer = gamma_initializer
        self.padding = padding
        self._pads = strides > 1 and padding == "symmetric"
        self.bn = BatchNorm(
            **self.batch_norm,
            gamma_initializer=gamma_initializer,
            dtype=self.dtype_policy,
            name="bn",
        )
        self._activate = activation_of(activation)

    def _convolution_options(self) -> dict[str, Any]:
        return {
            "strides": self.strides,
            "padding": "valid" if self._pads else "same",
            "dilation_rate": self.dilation_rate,
            "use_bias": False,
            "dtype": self.dtype_policy,
        }

    def _apply(self, convolution, inputs, training):
        x = inputs
        if self._pads:
            x = pad_for_stride(x, self.kernel_size, 1)
        return self.normalize(convolution(x), training)

    def normalize(self, x, training=None):
        """Returns batch norm and activation of a convolution's output."""
        return self._activate(self.bn(x, training=training))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "dilation_rate": _to_json(self.dilation_rate),
            "activation": self.activation,
            "batch_norm": dict(self.batch_norm),
            "gamma_initializer": self.gamma_initializer,
            "padding": self.padding,
        }


@keras.saving.register_keras_serializable("deeplab2_like")
class ConvBNAct(_ConvBase):
    """2-D convolution without bias, batch norm, activation.

    Args:
        filters: Output channels.
        kernel_size: Odd side of the kernel.
        strides: 1, padded 'same', or more, padded as `padding` says.
        dilation_rate: Atrous rate; strides must be 1 when it is more than 1.
        activation: A key of `ACTIVATIONS`.
        batch_norm: Keyword arguments of `BatchNorm` (None: its defaults).
        gamma_initializer: Initializer of the factors of the batch norm;
            "zeros" starts a residual block as the identity.
        padding: How a convolution with a stride is padded by zeros: a key of
            `PADDINGS`, "symmetric" by `pad_for_stride`, "same" as TensorFlow
            does, according to the size of the input.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 1,
        *,
        strides: int = 1,
        dilation_rate: int = 1,
        activation: str = "relu",
        batch_norm: Mapping[str, Any] | None = None,
        gamma_initializer: str = "ones",
        padding: str = "symmetric",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            kernel_size,
            strides=strides,
            dilation_rate=dilation_rate,
            activation=activation,
            batch_norm=batch_norm,
            gamma_initializer=gamma_initializer,
            padding=padding,
            **kwargs,
        )
        self.filters = filters
        self.conv = keras.layers.Conv2D(
            filters,
            kernel_size,
            kernel_initializer="he_normal",
            name="conv",
            **self._convolution_options(),
        )

    def build(self, input_shape):
        """Makes the variables for `input_shape` [B, H, W, C]."""
        self.conv.build((None, None, None, input_shape[-1]))
        self.bn.build((None, None, None, self.filters))

    def call(self, inputs, training=None):
        """Returns float [B, (H-1)//strides+1, (W-1)//strides+1, filters]."""
        if self.dilation_rate == 1:
            return self._apply(self.conv, inputs, training)
        return self._apply(
            lambda x: atrous.convolve(
                x, self.conv.kernel, self.dilation_rate, training
            ),
            inputs,
            training,
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {"filters": self.filters}


@keras.saving.register_keras_serializable("deeplab2_like")
class DepthwiseConvBNAct(_ConvBase):
    """Depthwise 2-D convolution without bias, batch norm, activation.

    Args:
        kernel_size: Odd side of the kernel.
        strides: See `ConvBNAct`.
        dilation_rate: Atrous rate, a number or (height, width).
        activation: A key of `ACTIVATIONS`.
        batch_norm: Keyword arguments of `BatchNorm` (None: its defaults).
        padding: See `ConvBNAct`.
    """

    def __init__(
        self,
        kernel_size: int = 3,
        *,
        strides: int = 1,
        dilation_rate: int | Sequence[int] = 1,
        activation: str = "relu",
        batch_norm: Mapping[str, Any] | None = None,
        padding: str = "symmetric",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            kernel_size,
            strides=strides,
            dilation_rate=_to_rate(dilation_rate),
            activation=activation,
            batch_norm=batch_norm,
            gamma_initializer="ones",
            padding=padding,
            **kwargs,
        )
        self.depthwise_conv = keras.layers.DepthwiseConv2D(
            kernel_size, name="depthwise_conv", **self._convolution_options()
        )

    def build(self, input_shape):
        """Makes the variables for `input_shape` [B, H, W, C]."""
        shape = (None, None, None, input_shape[-1])
        self.depthwise_conv.build(shape)
        self.bn.build(shape)

    def call(self, inputs, training=None):
        """Returns float [B, (H-1)//strides+1, (W-1)//strides+1, C]."""
        return self._apply(self.depthwise_conv, inputs, training)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config = super().get_config()
        del config["gamma_initializer"]
        return config


@keras.saving.register_keras_serializable("deeplab2_like")
class SeparableConvBNAct(keras.layers.Layer):
    """Depthwise conv-BN-activation, then pointwise (1x1) the same.

    Xception (arXiv:1610.02357) as in DeepLabv3+ (arXiv:1802.02611): with a
    batch norm and an activation between the two.

    Args:
        filters: Output channels.
        kernel_size: Odd side of the depthwise kernel.
        dilation_rate: Atrous rate of the depthwise kernel, a number or
            (height, width).
        activation: A key of `ACTIVATIONS`.
        batch_norm: Keyword arguments of `BatchNorm` (None: its defaults).
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        *,
        dilation_rate: int | Sequence[int] = 1,
        activation: str = "relu",
        batch_norm: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.dilation_rate = _to_rate(dilation_rate)
        self.activation = activation
        self.batch_norm = dict(batch_norm or {})
        options = {
            "activation": activation,
            "batch_norm": self.batch_norm,
            "dtype": self.dtype_policy,
        }
        self.depthwise = DepthwiseConvBNAct(
            kernel_size,
            dilation_rate=dilation_rate,
            name="depthwise",
            **options,
        )
        self.pointwise = ConvBNAct(filters, 1, name="pointwise", **options)

    def build(self, input_shape):
        """Makes the variables for `input_shape` [B, H, W, C]."""
        self.depthwise.build(input_shape)
        self.pointwise.build(input_shape)

    def call(self, inputs, training=None):
        """Returns float [B, H, W, filters], of one map or each of several.

        Args:
            inputs: float [B, H, W, C], or a list of them, which share the
                weights. In training, all maps of a list have common batch
                statistics, as they have common moving ones in inference.
            training: Batch statistics.
        """
        if not isinstance(inputs, list | tuple):
            return self._apply(inputs, training)
        if not training:
            return [self._apply(x, training) for x in inputs]
        maps = [self.depthwise.depthwise_conv(x) for x in inputs]
        x = self.depthwise.normalize(_join(maps), training=True)
        return _split(self.pointwise(x, training=True), maps)

    def _apply(self, x, training):
        return self.pointwise(
            self.depthwise(x, training=training), training=training
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "dilation_rate": _to_json(self.dilation_rate),
            "activation": self.activation,
            "batch_norm": dict(self.batch_norm),
        }


def _join(maps: Sequence[tf.Tensor]) -> tf.Tensor:
    """Joins the pixels of maps [B, h, w, C] into one: [B, 1, pixels, C]."""
    rows = [tf.reshape(x, [tf.shape(x)[0], 1, -1, x.shape[-1]]) for x in maps]
    return tf.concat(rows, axis=2)


def _split(joined: tf.Tensor, maps: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Undoes `_join` of the maps; the channels may differ."""
    sizes = [
        known if None not in known else tf.unstack(tf.shape(x)[1:3])
        for x in maps
        for known in [x.shape[1:3].as_list()]
    ]
    parts = tf.split(joined, [h * w for h, w in sizes], axis=2)
    return [
        tf.reshape(part, [-1, h, w, joined.shape[-1]])
        for part, (h, w) in zip(parts, sizes, strict=True)
    ]


CONV_TYPES: dict[str, type[keras.layers.Layer]] = {
    "depthwise_separable_conv": SeparableConvBNAct,
    "standard_conv": ConvBNAct,
}


def conv_class(conv_type: str) -> type[keras.layers.Layer]:
    """Returns the layer class for a `*_conv_type` value of a config.

    Raises:
        ValueError: There is no such convolution type.
    """
    if conv_type not in CONV_TYPES:
        raise ValueError(
            f"conv_type is {conv_type!r} - known are {', '.join(CONV_TYPES)}."
        )
    return CONV_TYPES[conv_type]
