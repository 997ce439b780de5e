# SPDX-License-Identifier: Apache-2.0
"""Matching of boxes with true boxes.

B images, N boxes, M slots for true boxes of which some are filled.
"""

from typing import NamedTuple

import tensorflow as tf

from deeplab2_like.detection import boxes as boxes_lib

POSITIVE = 1
NEGATIVE = 0
NEITHER = -1

# True boxes that are compared with all boxes at once: bounds the memory.
_BLOCK = 8


class Matches(NamedTuple):
    """The true boxes that boxes are matched with.

    Attributes:
        index: int32 [B, N], the true box with the largest overlap, the first
            of several; 0 where there is no overlap.
        overlap: float32 [B, N], intersection over union with that true box.
        label: int32 [B, N], POSITIVE, NEGATIVE or NEITHER.
    """

    index: tf.Tensor
    overlap: tf.Tensor
    label: tf.Tensor


def match_boxes(
    boxes_bn4: tf.Tensor,
    true_boxes_bm4: tf.Tensor,
    is_true_bm: tf.Tensor,
    *,
    positive_overlap: float,
    negative_overlap: float,
    takes_best: bool,
) -> Matches:
    """Matches boxes with true boxes.

    Faster R-CNN (arXiv:1506.01497), section 3.1.2; as in detectron2's matcher,
    except that a true box that overlaps with no box has no best boxes (there,
    all boxes that do not overlap with it).

    Args:
        boxes_bn4: float32 [B, N, 4], or [1, N, 4] for the same in each image.
        true_boxes_bm4: float32 [B, M, 4].
        is_true_bm: bool [B, M], the slot is filled.
        positive_overlap: Boxes with this overlap or more are positive.
        negative_overlap: Boxes with less overlap are negative.
        takes_best: Whether the boxes that overlap most with a true box are
            positive too, all of them if several overlap equally. Their `index`
            may nevertheless be another true box.
    """
    batch = true_boxes_bm4.shape[0]
    if batch is None:
        batch = tf.shape(true_boxes_bm4)[0]
    shape = (batch, tf.shape(boxes_bn4)[1])
    blocks = _split_into_blocks(true_boxes_bm4, is_true_bm)
    index, overlap, best = _find_largest(boxes_bn4, blocks, shape)
    label = tf.where(overlap < negative_overlap, NEGATIVE, NEITHER)
    label = tf.where(overlap >= positive_overlap, POSITIVE, label)
    if takes_best:
        is_best = _find_best(boxes_bn4, blocks, best, shape)
        label = tf.where(is_best, POSITIVE, label)
    static = tf.broadcast_static_shape(
        boxes_bn4.shape[:2], true_boxes_bm4.shape[:1].concatenate([1])
    )
    return Matches(
        *(tf.ensure_shape(value, static) for value in (index, overlap, label))
    )


class _TrueBlocks(NamedTuple):
    """True boxes, padded to whole blocks of `_BLOCK` slots.

    Attributes:
        boxes: float32 [B, M', 4].
        is_true: bool [B, M'], the slot is filled.
        number: int32 scalar, number of blocks up to the last filled slot.
    """

    boxes: tf.Tensor
    is_true: tf.Tensor
    number: tf.Tensor


def _split_into_blocks(
    true_boxes_bm4: tf.Tensor, is_true_bm: tf.Tensor
) -> _TrueBlocks:
    """Pads true boxes to whole blocks, and counts the blocks that are used."""
    num_true = true_boxes_bm4.shape[1]
    padding = -num_true % _BLOCK
    is_true = tf.pad(is_true_bm, [[0, 0], [0, padding]])
    slots = tf.range(num_true + padding)
    last = tf.reduce_max(tf.where(is_true, slots + 1, 0))
    return _TrueBlocks(
        boxes=tf.pad(true_boxes_bm4, [[0, 0], [0, padding], [0, 0]]),
        is_true=is_true,
        number=(last + _BLOCK - 1) // _BLOCK,
    )


def _compute_block(
    boxes_bn4: tf.Tensor, blocks: _TrueBlocks, block: tf.Tensor
) -> tf.Tensor:
    """Computes overlaps with the true boxes of a block: float32 [B, N, 8]."""
    part = block * _BLOCK + tf.range(_BLOCK)
    overlap = boxes_lib.compute_overlap(
        boxes_bn4, tf.gather(blocks.boxes, part, axis=1)
    )
    is_part = tf.gather(blocks.is_true, part, axis=1)[:, tf.newaxis]
    return tf.where(is_part, overlap, 0.0)


def _find_largest(
    boxes_bn4: tf.Tensor, blocks: _TrueBlocks, shape: tuple
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Finds the largest overlap of each box and of each true box.

    Args:
        boxes_bn4: float32 [B, N, 4], or [1, N, 4].
        blocks: The true boxes.
        shape: (B, N), integers or int32 scalars.

    Returns:
        int32 [B, N], the true box of the largest overlap of each box;
        float32 [B, N], that overlap; float32 [blocks, B, 8], the largest
        overlap of each true box.
    """

    def visit(block, index, overlap, best):
        new = _compute_block(boxes_bn4, blocks, block)
        largest = tf.reduce_max(new, axis=2)
        place = tf.argmax(new, axis=2, output_type=tf.int32) + block * _BLOCK
        is_better = largest > overlap
        best = tf.tensor_scatter_nd_update(
            best, [[block]], tf.reduce_max(new, axis=1)[tf.newaxis]
        )
        return (
            block + 1,
            tf.where(is_better, place, index),
            tf.where(is_better, largest, overlap),
            best,
        )

    num_blocks = blocks.boxes.shape[1] // _BLOCK
    _, index, overlap, best = tf.while_loop(
        lambda block, *_: block < blocks.number,
        visit,
        (
            0,
            tf.zeros(tf.stack(shape), tf.int32),
            tf.zeros(tf.stack(shape), tf.float32),
            tf.zeros(tf.stack([num_blocks, shape[0], _BLOCK]), tf.float32),
        ),
        parallel_iterations=1,
    )
    return index, overlap, best


def _find_best(
    boxes_bn4: tf.Tensor,
    blocks: _TrueBlocks,
    best: tf.Tensor,
    shape: tuple,
) -> tf.Tensor:
    """Finds the boxes that overlap most with some true box: bool [B, N].

    Args:
        boxes_bn4: float32 [B, N, 4], or [1, N, 4].
        blocks: The true boxes.
        best: float32 [blocks, B, 8], largest overlap of each true box.
        shape: (B, N), integers or int32 scalars.
    """

    def visit(block, is_best):
        overlap = _compute_block(boxes_bn4, blocks, block)
        largest = tf.gather(best, block)[:, tf.newaxis]
        is_largest = (overlap == largest) & (largest > 0.0)
        return block + 1, is_best | tf.reduce_any(is_largest, axis=2)

    _, is_best = tf.while_loop(
        lambda block, _: block < blocks.number,
        visit,
        (0, tf.zeros(tf.stack(shape), tf.bool)),
        parallel_iterations=1,
    )
    return is_best
