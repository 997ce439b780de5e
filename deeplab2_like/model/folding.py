# SPDX-License-Identifier: Apache-2.0
"""Batch norms folded into the convolutions in front of them, for inference.

A batch norm with known statistics multiplies and shifts each channel. The
factor goes into the kernel of the convolution, so that only the shift is left,
which is computed together with the convolution and the activation. Depthwise
convolutions, whose batch norms TensorFlow does not fuse by itself, gain most.
"""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from deeplab2_like.model.layers.batch_norm import BatchNorm
from deeplab2_like.model.layers.convolution import (
    ConvBNAct,
    DepthwiseConvBNAct,
)


def fold_batch_norms(model: keras.Model) -> keras.Model:
    """Makes a copy of a model whose batch norms are folded, where possible.

    The copy computes what the model computes in inference, up to rounding:
    the products are rounded in another order. It has the same variables: a
    folded batch norm has a beta, and otherwise the values of the identity.

    Batch norms that do not follow a convolution directly (in attention, behind
    the context of switchable atrous convolutions) stay as they are.

    Args:
        model: Built model with loaded weights; it is not changed.
    """
    copy = copy_network(model)
    for layer in iterate_layers(copy):
        if isinstance(layer, ConvBNAct):
            _fold(layer.conv.kernel, layer.bn, [1, 1, 1, -1])
        elif isinstance(layer, DepthwiseConvBNAct):
            # [height, width, channels, 1]
            _fold(layer.depthwise_conv.kernel, layer.bn, [1, 1, -1, 1])
    return copy


def copy_network(model: keras.Model) -> keras.Model:
    """Makes a copy of a built model, with variables and values of its own."""
    copy = type(model).from_config(model.get_config())
    copy.build((None, None, None, 3))
    for target, source in zip(copy.variables, model.variables, strict=True):
        target.assign(source)
    return copy


def iterate_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Returns all layers of a model, including those within layers.

    Keras has no public way to those within layers: they are the attributes.
    """
    found: dict[int, keras.layers.Layer] = {}
    pending: list[Any] = list(vars(model).values())
    while pending:
        value = pending.pop()
        if isinstance(value, keras.layers.Layer):
            if id(value) not in found and value is not model:
                found[id(value)] = value
                pending.extend(vars(value).values())
        elif isinstance(value, Mapping):
            pending.extend(value.values())
        elif isinstance(value, list | tuple):
            pending.extend(value)
    return list(found.values())


def _fold(kernel: keras.Variable, bn: BatchNorm, shape: list[int]) -> None:
    """Moves the factor of a batch norm into a kernel.

    Args:
        kernel: Kernel of the convolution in front.
        bn: Batch norm behind the convolution.
        shape: Shape of the factors that broadcasts to the kernel, with one -1.
    """
    deviation = tf.sqrt(tf.cast(bn.moving_variance, tf.float64) + bn.epsilon)
    factor = tf.cast(bn.gamma, tf.float64) / deviation
    shift = tf.cast(bn.moving_mean, tf.float64) * factor
    beta = tf.cast(bn.beta, tf.float64) - shift
    product = tf.cast(kernel, tf.float64) * tf.reshape(factor, shape)
    kernel.assign(tf.cast(product, kernel.dtype))
    bn.fold(beta)
