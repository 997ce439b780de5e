# SPDX-License-Identifier: Apache-2.0
"""Switchable atrous convolution (SAC).

Qiao et al., "DetectoRS", CVPR 2021, arXiv:2006.02334, section 4. As in
deeplab2 the two convolutions share one kernel (the paper's second kernel has
a trained difference), and the switch is not squashed.

In reading order: the global context, the convolution with the switch, and both
together: context, convolution, context, batch norm, activation.
"""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from deeplab2_like.model.layers import atrous
from deeplab2_like.model.layers.activations import activation_of
from deeplab2_like.model.layers.batch_norm import BatchNorm
from deeplab2_like.model.layers.convolution import pad_for_stride

_LARGE_RATE = 3
_SWITCH_WINDOW = 5


@keras.saving.register_keras_serializable("deeplab2_like")
class GlobalContext(keras.layers.Layer):
    """Adds to each pixel a 1x1 convolution of the mean of the whole map.

    The initial layer is the identity: kernel and bias are zeros.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.convolution: keras.layers.Conv2D | None = None

    def build(self, input_shape):
        """Makes the variables for `input_shape` [B, H, W, C]."""
        shape = (None, None, None, input_shape[-1])
        self.convolution = keras.layers.Conv2D(
            input_shape[-1],
            1,
            kernel_initializer="zeros",
            dtype=self.dtype_policy,
            name="convolution",
        )
        self.convolution.build(shape)

    def call(self, inputs):
        """Returns float [B, H, W, C]."""
        mean_b11c = tf.reduce_mean(inputs, axis=[1, 2], keepdims=True)
        return inputs + self.convolution(mean_b11c)


@keras.saving.register_keras_serializable("deeplab2_like")
class SwitchableConv2D(keras.layers.Layer):
    """s * conv(x, 3 * rate) + (1 - s) * conv(x, rate), s for each pixel.

    The convolutions share their kernel, have stride 1, padding 'same' and no
    bias. The switch s is a 1x1 convolution of the means over 5x5 pixels; it
    starts at 0.

    Args:
        filters: Output channels.
        kernel_size: Odd side of the kernel.
        dilation_rate: The smaller of the two atrous rates.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        *,
        dilation_rate: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.dilation_rate = dilation_rate
        self.kernel: keras.Variable | None = None
        self.switch = keras.layers.Conv2D(
            1,
            1,
            kernel_initializer="zeros",
            dtype=self.dtype_policy,
            name="switch",
        )

    def build(self, input_shape):
        """Makes the variables for `input_shape` [B, H, W, C]."""
        channels = input_shape[-1]
        side = self.kernel_size
        self.kernel = self.add_weight(
            name="kernel",
            shape=(side, side, channels, self.filters),
            initializer="he_normal",
        )
        self.switch.build((None, None, None, channels))

    def call(self, inputs, training=None):
        """Returns float [B, H, W, filters] from float [B, H, W, C]."""
        window = [_SWITCH_WINDOW, _SWITCH_WINDOW]
        means = tf.nn.avg_pool2d(inputs, window, 1, "SAME")
        switch_bhw1 = self.switch(means)
        near, far = (
            atrous.convolve(inputs, self.kernel, rate, training)
            for rate in (self.dilation_rate, self.dilation_rate * _LARGE_RATE)
        )
        return near + switch_bhw1 * (far - near)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "dilation_rate": self.dilation_rate,
        }


@keras.saving.register_keras_serializable("deeplab2_like")
class SwitchableConvBNAct(keras.layers.Layer):
    """Context, switchable convolution, context, batch norm, activation.

    Takes the place of `ConvBNAct`. As in deeplab2 a convolution with a stride
    has no switch; the contexts remain.

    Args:
        filters: Output channels.
        kernel_size: Odd side of the kernel.
        strides: See `ConvBNAct`.
        dilation_rate: The smaller atrous rate; must be 1 with a stride.
        activation: See `ConvBNAct`.
        batch_norm: See `ConvBNAct`.
        gamma_initializer: See `ConvBNAct`.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        *,
        strides: int = 1,
        dilation_rate: int = 1,
        activation: str = "relu",
        batch_norm: Mapping[str, Any] | None = None,
        gamma_initializer: str = "ones",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size is {kernel_size} - it must be odd.")
        if strides > 1 and dilation_rate > 1:
            raise ValueError(
                f"strides is {strides} and dilation_rate is {dilation_rate} "
                "- one of them must be 1."
            )
        self.filters = filters
        self.strides = strides
        self._config: dict[str, Any] = {
            "filters": filters,
            "kernel_size": kernel_size,
            "strides": strides,
            "dilation_rate": dilation_rate,
            "activation": activation,
            "batch_norm": dict(batch_norm or {}),
            "gamma_initializer": gamma_initializer,
        }
        options = {"dtype": self.dtype_policy}
        self.pre_context = GlobalContext(name="pre_global_context", **options)
        self.conv = self._make_convolution()
        self.post_context = GlobalContext(name="post_global_context", **options)
        self.bn = BatchNorm(
            **(batch_norm or {}),
            gamma_initializer=gamma_initializer,
            name="bn",
            **options,
        )
        self._activate = activation_of(activation)

    def _make_convolution(self) -> keras.layers.Layer:
        options = {"name": "conv", "dtype": self.dtype_policy}
        kernel_size = self._config["kernel_size"]
        if self.strides == 1:
            return SwitchableConv2D(
                self.filters,
                kernel_size,
                dilation_rate=self._config["dilation_rate"],
                **options,
            )
        return keras.layers.Conv2D(
            self.filters,
            kernel_size,
            strides=self.strides,
            padding="valid",
            use_bias=False,
            kernel_initializer="he_normal",
            **options,
        )

    def build(self, input_shape):
        """Makes the variables for `input_shape` [B, H, W, C]."""
        shape = (None, None, None, input_shape[-1])
        self.pre_context.build(shape)
        self.conv.build(shape)
        shape = (None, None, None, self.filters)
        self.post_context.build(shape)
        self.bn.build(shape)

    def call(self, inputs, training=None):
        """Returns float [B, (H-1)//strides+1, (W-1)//strides+1, filters]."""
        x = self.pre_context(inputs)
        if self.strides > 1:
            x = pad_for_stride(x, self._config["kernel_size"], 1)
        x = self.post_context(self.conv(x))
        return self._activate(self.bn(x, training=training))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | self._config
