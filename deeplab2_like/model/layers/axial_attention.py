# SPDX-License-Identifier: Apache-2.0
"""Position-sensitive axial attention.

Wang et al., "Axial-DeepLab", ECCV 2020, arXiv:2003.07853, sections 3.2, 3.3:
self-attention along rows and along columns, with encodings of the relative
position for queries, keys and values.

Shapes in this module: B images; R independent lines (rows or columns) of
length L; M = L the position that is attended to; N heads; K and V depths of
keys and values of a head; C channels.

In reading order: relative positions, attention along one axis, both axes.
"""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from deeplab2_like.model.layers.activations import activation_of
from deeplab2_like.model.layers.batch_norm import BatchNorm
from deeplab2_like.model.layers.normalized_sum import NormalizedSum

# Positions further apart than MAX_DISTANCE share an encoding.
MAX_DISTANCE = 254


def compute_relative_positions(length) -> tf.Tensor:
    """Returns the row of a table of encodings for each pair of positions.

    Args:
        length: Length of the line, a Python number or an int32 scalar.

    Returns:
        int32 [L, M], m - l + MAX_DISTANCE, clipped to 0..2 * MAX_DISTANCE.
    """
    position = tf.range(length)
    distance_lm = position[None, :] - position[:, None]
    return (
        tf.clip_by_value(distance_lm, -MAX_DISTANCE, MAX_DISTANCE)
        + MAX_DISTANCE
    )


def _look_up(table, position_lm) -> tf.Tensor:
    """Returns the rows of a table, float [L, M, depth].

    Along axis 1, because the gradient of a look-up along axis 0 is sparse,
    and has a row for each pair of positions.
    """
    return tf.gather(table[None], position_lm, axis=1)[0]


@keras.saving.register_keras_serializable("deeplab2_like")
class AxialAttention(keras.layers.Layer):
    """Attention along the third axis of [B, R, L, C].

    A similarity of two positions is the sum of three normalized terms: query
    and key, query and its encoding of the relative position, key and its
    encoding. What is retrieved is the sum of two: values, and encodings of
    values. Batch norm takes the place of the usual 1 / sqrt(depth). Keys have
    half the depth of values, as in all published networks. Encodings are shared
    by the heads.

    deeplab2 limits lines to a length of 129; here they may have any
    length (see `MAX_DISTANCE`). Normalization and softmax are float32 in every
    dtype policy. Each map of similarities takes B * R * N * L * L numbers.

    Differs from deeplab2 in the moving variance of queries, keys and values:
    see `BatchNorm`.

    Args:
        filters: Channels of the output, N * V.
        num_heads: N, a divisor of half of `filters`.
        batch_norm: Keyword arguments of `BatchNorm` (None: its defaults).
    """

    def __init__(
        self,
        filters: int,
        num_heads: int = 8,
        *,
        batch_norm: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if filters % (2 * num_heads):
            raise ValueError(
                f"filters is {filters} - axial attention with {num_heads} "
                f"heads needs a multiple of {2 * num_heads}."
            )
        self.filters = filters
        self.num_heads = num_heads
        self.batch_norm = dict(batch_norm or {})
        options = {"dtype": self.dtype_policy, **self.batch_norm}
        self.qkv_bn = BatchNorm(name="qkv_bn", **options)
        self.similarity_bn = NormalizedSum(
            3, keep_depth=False, name="similarity_bn", **options
        )
        self.retrieved_bn = NormalizedSum(
            2, keep_depth=True, name="retrieved_bn", **options
        )

    def build(self, input_shape):
        """Makes the variables for `input_shape` [B, R, L, C]."""
        channels = input_shape[-1]
        heads, value_depth = self.num_heads, self.filters // self.num_heads
        key_depth = value_depth // 2
        projected = 2 * self.filters
        self.qkv_kernel = self.add_weight(
            name="qkv_kernel",
            shape=(channels, projected),
            initializer=keras.initializers.TruncatedNormal(
                stddev=channels**-0.5
            ),
        )
        for name, depth in (
            ("query_rpe", key_depth),
            ("key_rpe", key_depth),
            ("value_rpe", value_depth),
        ):
            table = self.add_weight(
                name=name,
                shape=(2 * MAX_DISTANCE + 1, depth),
                initializer=keras.initializers.TruncatedNormal(stddev=1.0),
            )
            setattr(self, name, table)
        self.qkv_bn.build((None, None, None, projected))
        self.similarity_bn.build((None, None, heads, None, None))
        self.retrieved_bn.build((None, None, heads, None, value_depth))

    def call(self, inputs, training=None):
        """Returns float [B, R, L, filters] from float [B, R, L, C]."""
        qkv_brld = tf.einsum("brlc,cd->brld", inputs, self.qkv_kernel)
        qkv_brld = self.qkv_bn(qkv_brld, training=training)
        keys = self.filters // 2
        query, key, value = (
            self._split_heads(part)
            for part in tf.split(qkv_brld, [keys, keys, self.filters], axis=-1)
        )
        length = inputs.shape[2]
        if length is None:
            length = tf.shape(inputs)[2]
        position_lm = compute_relative_positions(length)
        similarity_brnlm = self._compute_similarity(
            query, key, position_lm, training
        )
        weight_brnlm = tf.cast(tf.nn.softmax(similarity_brnlm), value.dtype)
        retrieved_brnlv = self._retrieve(
            weight_brnlm, value, position_lm, training
        )
        return self._join_heads(tf.cast(retrieved_brnlv, value.dtype))

    def _compute_similarity(self, query, key, position_lm, training):
        """Returns float32 [B, R, N, L, M] of queries, keys [B, R, L, N, K]."""
        query_rpe = _look_up(self.query_rpe, position_lm)
        key_rpe = _look_up(self.key_rpe, position_lm)
        return self.similarity_bn(
            [
                tf.einsum("brlnk,brmnk->brnlm", query, key),
                tf.einsum("brlnk,lmk->brnlm", query, query_rpe),
                tf.einsum("brmnk,lmk->brnlm", key, key_rpe),
            ],
            training=training,
        )

    def _retrieve(self, weight_brnlm, value, position_lm, training):
        """Returns float32 [B, R, N, L, V] from values [B, R, L, N, V]."""
        value_rpe = _look_up(self.value_rpe, position_lm)
        return self.retrieved_bn(
            [
                tf.einsum("brnlm,brmnv->brnlv", weight_brnlm, value),
                tf.einsum("brnlm,lmv->brnlv", weight_brnlm, value_rpe),
            ],
            training=training,
        )

    def _split_heads(self, x_brld):
        """Returns [B, R, L, N, D / N]; a head's channels lie together."""
        depth = x_brld.shape[-1] // self.num_heads
        shape = tf.concat(
            [tf.shape(x_brld)[:3], [self.num_heads, depth]], axis=0
        )
        x = tf.reshape(x_brld, shape)
        return tf.ensure_shape(x, [*x_brld.shape[:3], self.num_heads, depth])

    def _join_heads(self, x_brnlv):
        """Returns [B, R, L, N * V]."""
        x_brlnv = tf.transpose(x_brnlv, [0, 1, 3, 2, 4])
        shape = tf.concat([tf.shape(x_brlnv)[:3], [self.filters]], axis=0)
        x = tf.reshape(x_brlnv, shape)
        return tf.ensure_shape(x, [*x_brlnv.shape[:3], self.filters])

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "filters": self.filters,
            "num_heads": self.num_heads,
            "batch_norm": dict(self.batch_norm),
        }


@keras.saving.register_keras_serializable("deeplab2_like")
class AxialAttention2D(keras.layers.Layer):
    """Attention along the columns, then along the rows; activation.

    With a stride, rows are left out after the first attention, and columns
    after the second.

    Args:
        filters: Channels of the output.
        num_heads: Number of heads, a divisor of half of `filters`.
        strides: Stride of the output.
        activation: A key of `activations.ACTIVATIONS`.
        batch_norm: Keyword arguments of `BatchNorm` (None: its defaults).
    """

    def __init__(
        self,
        filters: int,
        num_heads: int = 8,
        *,
        strides: int = 1,
        activation: str = "relu",
        batch_norm: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.num_heads = num_heads
        self.strides = strides
        self.activation = activation
        self.batch_norm = dict(batch_norm or {})
        options = {"batch_norm": self.batch_norm, "dtype": self.dtype_policy}
        self.height_axis = AxialAttention(
            filters, num_heads, name="height_axis", **options
        )
        self.width_axis = AxialAttention(
            filters, num_heads, name="width_axis", **options
        )
        self._activate = activation_of(activation)

    def build(self, input_shape):
        """Makes the variables for `input_shape` [B, H, W, C]."""
        self.height_axis.build((None, None, None, input_shape[-1]))
        self.width_axis.build((None, None, None, self.filters))

    def call(self, inputs, training=None):
        """Returns float [B, (H-1)//strides+1, (W-1)//strides+1, filters]."""
        x_bwhc = tf.transpose(inputs, [0, 2, 1, 3])
        x_bwhc = self.height_axis(x_bwhc, training=training)
        x_bhwc = tf.transpose(x_bwhc, [0, 2, 1, 3])[:, :: self.strides]
        x_bhwc = self.width_axis(x_bhwc, training=training)
        return self._activate(x_bhwc[:, :, :: self.strides])

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "filters": self.filters,
            "num_heads": self.num_heads,
            "strides": self.strides,
            "activation": self.activation,
            "batch_norm": dict(self.batch_norm),
        }
