# SPDX-License-Identifier: Apache-2.0
"""Areas and overlaps of the masks that kernels make of features.

Masks are kept as bits, 64 pixels in a number, and the pixels that two masks
share are counted as bits of these numbers: exact, and in a fraction of the time
of a matrix product. Candidates are processed in blocks, without those that are
unused.

K masks in blocks of M; E channels of the features; h, w: their size; P pixels
that are computed at once: G groups of W numbers of 64 pixels.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from deeplab2_like.graph import compilation
from deeplab2_like.graph.compilation import Size

# The largest P and M.
_CHUNK = 8192
_BLOCK = 128
# M is a multiple of it, so that vectors have no remainder.
_LANES = 16
_BITS = 64
# W: so small that two blocks of masks fit into the cache.
_WORDS = 32


class Measures(NamedTuple):
    """Areas, sums and overlaps of masks.

    Attributes:
        area: float32 [K], number of pixels.
        total: float32 [K], sum of the probabilities of these pixels.
        shared: float32 [K, K], pixels that two masks have in common.
    """

    area: tf.Tensor
    total: tf.Tensor
    shared: tf.Tensor


def measure_masks(
    kernels_ke: tf.Tensor,
    features_hwe: tf.Tensor,
    valid_size: tf.Tensor,
    mask_logit: float,
    count: tf.Tensor | None = None,
) -> Measures:
    """Measures masks, a chunk of pixels of a block of masks at a time.

    Args:
        kernels_ke: float32 [K, E].
        features_hwe: float [h, w, E].
        valid_size: int32 [2], rows and columns of the features, at the top
            left, that are image; masks are empty in the rest.
        mask_logit: Logits above it belong to a mask.
        count: int32, number of masks that are used, the first ones; the
            results of others are undefined. If None, all are used.
    """
    bits = draw_bits(kernels_ke, features_hwe, valid_size, mask_logit, count)
    shared = count_shared(bits)
    return Measures(tf.linalg.diag_part(shared), bits.total, shared)


class Bits(NamedTuple):
    """Masks as bits; N blocks.

    Attributes:
        words: int64 [N, chunks, G, M, W], zeros in unused blocks.
        total: float32 [K], as in `Measures`.
        active: int32, number of blocks that are used, the first ones.
    """

    words: tf.Tensor
    total: tf.Tensor
    active: tf.Tensor


def draw_bits(
    kernels_ke: tf.Tensor,
    features_hwe: tf.Tensor,
    valid_size: tf.Tensor,
    mask_logit: float,
    count: tf.Tensor | None = None,
) -> Bits:
    """Draws masks as bits; arguments as in `measure_masks`."""
    number, filters = kernels_ke.shape
    num_blocks = compilation.ceil_divide(number, _BLOCK)
    size = compilation.ceil_divide(number, num_blocks * _LANES) * _LANES
    kernels = tf.pad(kernels_ke, [[0, num_blocks * size - number], [0, 0]])
    active = tf.constant(num_blocks)
    if count is not None:
        active = compilation.ceil_divide(count, size)
    words, total = _draw_blocks(
        tf.reshape(kernels, [num_blocks, size, filters]),
        active,
        _Pixels.of(features_hwe, valid_size),
        mask_logit,
    )
    return Bits(words, tf.reshape(total, [-1])[:number], active)


class _Pixels(NamedTuple):
    """The features by pixels, in chunks.

    Attributes:
        features: float32 [h * w, E], at least P rows.
        width: Width w of the features.
        valid_size: As in `measure_masks`.
        chunk: P, pixels of a chunk.
        num_chunks: Number of chunks.
    """

    features: tf.Tensor
    width: Size
    valid_size: tf.Tensor
    chunk: Size
    num_chunks: Size

    @classmethod
    def of(cls, features_hwe: tf.Tensor, valid_size: tf.Tensor) -> "_Pixels":
        height, width, filters = compilation.sizes(features_hwe)
        number = height * width
        step = _WORDS * _BITS
        chunk = compilation.ceil_divide(number, step) * step
        if isinstance(number, int):
            chunk = min(chunk, _CHUNK)
            missing = max(chunk - number, 0)
        else:
            chunk = tf.minimum(chunk, _CHUNK)
            missing = tf.maximum(chunk - number, 0)
        features = tf.reshape(features_hwe, [number, filters])
        features = tf.cast(features, tf.float32)
        if not compilation.are_known_equal([missing], [0]):
            features = tf.pad(features, [[0, missing], [0, 0]])
        return cls(
            features,
            width,
            valid_size,
            chunk,
            compilation.ceil_divide(number, chunk),
        )

    def take(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns a chunk; the last one overlaps the one before it.

        Args:
            index: int32, number of the chunk.

        Returns:
            float32 [P, E], the features; bool [P], pixels that are in the
            valid part and in no earlier chunk.
        """
        number, filters = compilation.sizes(self.features)
        start = tf.minimum(index * self.chunk, number - self.chunk)
        pixel = start + tf.range(self.chunk)
        is_new = pixel >= index * self.chunk
        row, column = pixel // self.width, pixel % self.width
        is_new &= (row < self.valid_size[0]) & (column < self.valid_size[1])
        rows = tf.slice(self.features, [start, 0], [self.chunk, filters])
        return rows, is_new


def _draw_blocks(
    kernels_nme: tf.Tensor,
    active: tf.Tensor,
    pixels: _Pixels,
    mask_logit: float,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws the masks of the first `active` blocks of kernels.

    Returns:
        int64 [N, chunks, G, M, W], the bits of the masks; float32 [N, M], sums
        of the probabilities of their pixels.
    """
    num_blocks, size, _ = kernels_nme.shape
    groups = pixels.chunk // (_WORDS * _BITS)
    shape = [groups, size, _WORDS]

    def visit(step, bits, total):
        block, chunk = step // pixels.num_chunks, step % pixels.num_chunks
        features, is_new = pixels.take(chunk)
        kernels = tf.gather(kernels_nme, block)
        # Masks last: the faster order of the product.
        logits = tf.matmul(features, kernels, transpose_b=True)
        is_mask = is_new[:, tf.newaxis] & (logits > mask_logit)
        soft = tf.where(is_mask, tf.sigmoid(logits), 0.0)
        packed = _pack(tf.reshape(is_mask, [groups * _WORDS, _BITS, size]))
        packed = tf.reshape(packed, [groups, _WORDS, size])
        packed = tf.transpose(packed, [0, 2, 1])
        return (
            step + 1,
            tf.tensor_scatter_nd_update(bits, [[step]], packed[tf.newaxis]),
            tf.tensor_scatter_nd_add(
                total, [[block]], tf.reduce_sum(soft, axis=0)[tf.newaxis]
            ),
        )

    _, bits, total = tf.while_loop(
        lambda step, *_: step < active * pixels.num_chunks,
        visit,
        (
            0,
            tf.zeros([num_blocks * pixels.num_chunks, *shape], tf.int64),
            tf.zeros([num_blocks, size]),
        ),
        parallel_iterations=1,
    )
    return tf.reshape(bits, [num_blocks, pixels.num_chunks, *shape]), total


def _pack(flags: tf.Tensor) -> tf.Tensor:
    """Packs bool [N, 64, M] to int64 [N, M]."""
    place = tf.range(_BITS, dtype=tf.int64)[:, tf.newaxis]
    bits = tf.bitwise.left_shift(tf.cast(flags, tf.int64), place)
    return compilation.reduce_middle(bits, tf.bitwise.bitwise_or)


def count_shared(bits: Bits) -> tf.Tensor:
    """Counts the pixels that masks share: float32 [K, K].

    Masks of unused blocks share none.
    """
    words = bits.words
    num_blocks, num_chunks, groups, size, _ = compilation.sizes(words)
    # Both orders of two blocks give the same.
    pairs = [(i, j) for i in range(num_blocks) for j in range(i + 1)]
    first, second = np.array(pairs, np.int32).T
    num_pairs = bits.active * (bits.active + 1) // 2
    (number,) = bits.total.shape

    def visit(step, counts):
        pair, chunk = step // num_chunks, step % num_chunks
        a, b = (
            tf.gather_nd(words, [tf.gather(block, pair), chunk])
            for block in (first, second)
        )
        both = tf.bitwise.bitwise_and(a[:, :, tf.newaxis], b[:, tf.newaxis])
        ones = tf.cast(tf.raw_ops.PopulationCount(x=both), tf.int64)
        counted = tf.cast(tf.reduce_sum(ones, axis=-1), tf.int32)
        return step + 1, tf.tensor_scatter_nd_add(
            counts, [[pair]], counted[tf.newaxis]
        )

    _, counts = tf.while_loop(
        lambda step, _: step < num_pairs * num_chunks,
        visit,
        (0, tf.zeros([len(pairs), groups, size, size], tf.int32)),
        parallel_iterations=1,
    )
    counts = tf.reduce_sum(counts, axis=1)
    blocks = [
        [
            counts[pairs.index((i, j))]
            if j <= i
            else tf.transpose(counts[pairs.index((j, i))])
            for j in range(num_blocks)
        ]
        for i in range(num_blocks)
    ]
    rows = [tf.concat(row, axis=1) for row in blocks]
    shared = tf.concat(rows, axis=0)[:number, :number]
    return tf.cast(shared, tf.float32)
