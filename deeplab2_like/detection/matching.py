# SPDX-License-Identifier: Apache-2.0
"""Which true box each box stands for.

B images, N boxes, M slots for true boxes of which some are filled.
"""

from typing import NamedTuple

import tensorflow as tf

from deeplab2_like.detection import boxes as boxes_lib

POSITIVE = 1
NEGATIVE = 0
NEITHER = -1

# True boxes that are compared with all others at once: bounds the memory.
_BLOCK = 8


class Matches(NamedTuple):
    """What each box stands for.

    Attributes:
        index: int32 [B, N], the true box with the largest overlap, the first
            of several; 0 where there is no overlap.
        overlap: float32 [B, N], that overlap, intersection over union.
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

    Faster R-CNN (arXiv:1506.01497), section 3.1.2; as detectron2's matcher,
    except that a true box that overlaps with nothing takes nothing (there, it
    takes everything that does not overlap with it).

    Args:
        boxes_bn4: float32 [B, N, 4], or [1, N, 4] for the same in each image.
        true_boxes_bm4: float32 [B, M, 4].
        is_true_bm: bool [B, M], the slot is filled.
        positive_overlap: Boxes with this overlap or more are positive.
        negative_overlap: Boxes with less are negative.
        takes_best: Whether the boxes that overlap most with a true box are
            positive too, all of them where several do. Their `index` may
            nevertheless be another one.
    """
    batch, num_true = true_boxes_bm4.shape[0], true_boxes_bm4.shape[1]
    if batch is None:
        batch = tf.shape(true_boxes_bm4)[0]
    padding = -num_true % _BLOCK
    true_boxes = tf.pad(true_boxes_bm4, [[0, 0], [0, padding], [0, 0]])
    is_true = tf.pad(is_true_bm, [[0, 0], [0, padding]])
    slots = tf.range(num_true + padding)
    last = tf.reduce_max(tf.where(is_true, slots + 1, 0))
    num_blocks = (last + _BLOCK - 1) // _BLOCK

    def compute_block(block: tf.Tensor) -> tf.Tensor:
        """Overlaps with the true boxes of a block: float32 [B, N, 8]."""
        part = block * _BLOCK + tf.range(_BLOCK)
        overlap = boxes_lib.compute_overlap(
            boxes_bn4, tf.gather(true_boxes, part, axis=1)
        )
        is_part = tf.gather(is_true, part, axis=1)[:, tf.newaxis]
        return tf.where(is_part, overlap, 0.0)

    def visit(block, index, overlap, best):
        new = compute_block(block)
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

    shape = tf.stack([batch, tf.shape(boxes_bn4)[1]])
    blocks = (num_true + padding) // _BLOCK
    _, index, overlap, best = tf.while_loop(
        lambda block, *_: block < num_blocks,
        visit,
        (
            0,
            tf.zeros(shape, tf.int32),
            tf.zeros(shape, tf.float32),
            tf.zeros(tf.stack([blocks, batch, _BLOCK]), tf.float32),
        ),
        parallel_iterations=1,
    )
    label = tf.where(overlap < negative_overlap, NEGATIVE, NEITHER)
    label = tf.where(overlap >= positive_overlap, POSITIVE, label)
    if takes_best:
        is_best = _find_best(compute_block, best, num_blocks, shape)
        label = tf.where(is_best, POSITIVE, label)
    static = tf.broadcast_static_shape(
        boxes_bn4.shape[:2], true_boxes_bm4.shape[:1].concatenate([1])
    )
    return Matches(
        *(tf.ensure_shape(value, static) for value in (index, overlap, label))
    )


def _find_best(compute_block, best, num_blocks, shape) -> tf.Tensor:
    """Marks the boxes that overlap most with some true box: bool [B, N].

    Args:
        compute_block: Returns the overlaps of a block.
        best: float32 [blocks, B, 8], largest overlap of each true box.
        num_blocks: int32, blocks to look at.
        shape: int32 [2], (B, N).
    """

    def visit(block, is_best):
        overlap = compute_block(block)
        largest = tf.gather(best, block)[:, tf.newaxis]
        is_largest = (overlap == largest) & (largest > 0.0)
        return block + 1, is_best | tf.reduce_any(is_largest, axis=2)

    _, is_best = tf.while_loop(
        lambda block, _: block < num_blocks,
        visit,
        (0, tf.zeros(shape, tf.bool)),
        parallel_iterations=1,
    )
    return is_best
