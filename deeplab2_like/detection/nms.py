# SPDX-License-Identifier: Apache-2.0
"""Non-maximum suppression in fixed shapes and little memory.

L lists of N boxes; K places in the result; T boxes of a block.
"""

from collections.abc import Callable

import tensorflow as tf

from deeplab2_like.detection import boxes as boxes_lib

# Boxes that are compared with as many others at once: bounds the memory to a
# few numbers for each of L * T * T pairs.
_BLOCK = 256


def suppress_overlaps(
    boxes_ln4: tf.Tensor,
    score_ln: tf.Tensor,
    *,
    overlap_threshold: float,
    max_output: int,
    group_ln: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Keeps the boxes that do not overlap with a kept one of higher score.

    The usual greedy rule, exactly: of equal scores the first box comes first,
    and a box is suppressed if its overlap is above the threshold. It is
    computed block after block, in decreasing order of the scores, until the
    result is full.

    Args:
        boxes_ln4: float32 [L, N, 4].
        score_ln: float32 [L, N]; boxes with minus infinity do not count.
        overlap_threshold: Intersection over union.
        max_output: K.
        group_ln: int32 [L, N]; only boxes of the same group suppress each
            other. If None, all boxes of a list do.

    Returns:
        int32 [L, K], indices of the kept boxes in decreasing order of the
        scores, 0 in empty places; bool [L, K], the place holds a box.

    Raises:
        ValueError: N is not static.
    """
    number = score_ln.shape[1]
    if number is None:
        raise ValueError("The number of boxes must be static.")
    size = min(_BLOCK, number)
    ranked = tf.math.top_k(score_ln, number)
    padding = -number % size
    num_blocks = (number + padding) // size

    def cut(values: tf.Tensor) -> tf.Tensor:
        """Sorts and cuts [L, N, ...] into blocks [blocks, L, T, ...]."""
        sorted_values = tf.gather(values, ranked.indices, batch_dims=1)
        rest = [[0, 0]] * (values.shape.rank - 2)
        padded = tf.pad(sorted_values, [[0, 0], [0, padding], *rest])
        shape = tf.shape(padded)
        blocks = tf.reshape(
            padded,
            tf.concat([shape[:1], [num_blocks, size], shape[2:]], 0),
        )
        order = [1, 0, 2, *range(3, 3 + len(rest))]
        return tf.transpose(blocks, order)

    boxes = cut(boxes_ln4)
    is_box = cut(score_ln > float("-inf"))
    group = None if group_ln is None else cut(group_ln)

    def hits(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
        """Returns which boxes of two blocks suppress each other."""
        overlap = boxes_lib.compute_overlap(
            tf.gather(boxes, first), tf.gather(boxes, second)
        )
        is_hit = overlap > overlap_threshold
        if group is not None:
            first_group = tf.gather(group, first)[:, :, tf.newaxis]
            is_hit &= first_group == tf.gather(group, second)[:, tf.newaxis]
        return is_hit

    is_kept = _visit_blocks(hits, is_box, num_blocks, max_output)
    is_kept = tf.reshape(
        tf.transpose(is_kept, [1, 0, 2]), [-1, number + padding]
    )
    place, is_kept = _list_first(is_kept, max_output)
    index = tf.gather(
        ranked.indices, tf.minimum(place, number - 1), batch_dims=1
    )
    return tf.where(is_kept, index, 0), is_kept


def _visit_blocks(
    hits: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    is_box: tf.Tensor,
    num_blocks: int,
    max_output: int,
) -> tf.Tensor:
    """Decides block after block which boxes are kept.

    Args:
        hits: Takes the numbers of two blocks, and returns which of their boxes
            suppress each other: bool [L, T, T].
        is_box: bool [blocks, L, T].
        num_blocks: Number of blocks.
        max_output: Blocks are visited until each list has this many kept boxes.

    Returns:
        bool [blocks, L, T].
    """
    size = is_box.shape[2]
    is_before = tf.range(size)[:, tf.newaxis] < tf.range(size)

    def visit(block, is_kept, count):
        def compare(earlier, alive):
            keepers = tf.gather(is_kept, earlier)[:, :, tf.newaxis]
            is_hit = tf.reduce_any(hits(earlier, block) & keepers, axis=1)
            return earlier + 1, alive & ~is_hit

        _, alive = tf.while_loop(
            lambda earlier, _: earlier < block,
            compare,
            (0, tf.gather(is_box, block)),
            parallel_iterations=1,
        )
        kept = _decide_within(alive, hits(block, block) & is_before)
        is_kept = tf.tensor_scatter_nd_update(
            is_kept, [[block]], kept[tf.newaxis]
        )
        return block + 1, is_kept, count + _count(kept)

    _, is_kept, _ = tf.while_loop(
        lambda block, _, count: (
            (block < num_blocks) & (tf.reduce_min(count) < max_output)
        ),
        visit,
        (0, tf.zeros_like(is_box), tf.zeros_like(_count(is_box[0]))),
        parallel_iterations=1,
    )
    return is_kept


def _decide_within(alive: tf.Tensor, hits: tf.Tensor) -> tf.Tensor:
    """Applies the greedy rule within a block.

    A box is kept if no kept box before it suppresses it. Each pass settles at
    least one more box, and the result is reached when a pass changes nothing.

    Args:
        alive: bool [L, T], not suppressed by an earlier block.
        hits: bool [L, T, T], the box of the row comes before that of the
            column and would suppress it.

    Returns:
        bool [L, T].
    """

    def settle(kept, _):
        is_hit = tf.reduce_any(hits & kept[:, :, tf.newaxis], axis=1)
        new = alive & ~is_hit
        return new, tf.reduce_any(new != kept)

    kept, _ = tf.while_loop(
        lambda _, is_changed: is_changed,
        settle,
        (alive, tf.constant(True)),
        parallel_iterations=1,
    )
    return kept


def _list_first(
    flags_ln: tf.Tensor, number: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the places of the first true values, and which exist."""
    size = flags_ln.shape[1]
    rank = tf.where(flags_ln, size - tf.range(size), 0)
    best = tf.math.top_k(rank, min(number, size)).values
    best = tf.pad(best, [[0, 0], [0, number - min(number, size)]])
    return size - best, best > 0


def _count(flags: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(flags, tf.int32), axis=-1)
