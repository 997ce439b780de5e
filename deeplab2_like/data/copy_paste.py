# SPDX-License-Identifier: Apache-2.0
"""Pastes things of one training crop onto another, with a consistent label.

Ghiasi et al., "Simple Copy-Paste is a Strong Data Augmentation for Instance
Segmentation" (CVPR 2021, arXiv:2012.07177), section 3: a random subset of the
objects, hard edges (smooth ones made no difference there, section 4.2), hidden
objects removed. Differences: the label is panoptic, so that stuff loses the
pixels that are covered too; both images are the crops that the rest of the
augmentation made, with its range of scales.

In reading order: `CopyPaste`, the options; `choose_instances`,
`paste_instances`, and `paste_at_random`, which does both. All are pure; random
numbers come in as arguments. A thing with instance 0 is a crowd.
"""

import dataclasses

import tensorflow as tf

NUM_DRAWS = 2  # Uniform random numbers that one example uses.
_NOT_PASTED = -1


@dataclasses.dataclass(frozen=True)
class CopyPaste:
    """What is pasted.

    Attributes:
        probability: Share of the images onto which things are pasted; 0..1.
        max_instances: Most instances that are pasted onto an image; > 0.
        thing_ids: Classes with instances.
    """

    probability: float = 0.0
    max_instances: int = 100
    thing_ids: tuple[int, ...] = ()

    @property
    def is_active(self) -> bool:
        """Whether anything is ever pasted."""
        return self.probability > 0 and bool(self.thing_ids)


def _match_things(
    ids_n: tf.Tensor, thing_ids: tuple[int, ...], label_divisor: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns bool [N], which ids are instances, and their class's place.

    The place in `thing_ids` is int32 [N], 0 for what is no instance.
    """
    is_class_nt = (ids_n // label_divisor)[:, tf.newaxis] == thing_ids
    is_instance = ids_n % label_divisor > 0
    return (
        tf.reduce_any(is_class_nt, axis=1) & is_instance,
        tf.argmax(is_class_nt, axis=1, output_type=tf.int32),
    )


def _list_ids(panoptic_hw: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Lists the different ids, int32 [N], and which one each pixel has."""
    ids, index = tf.unique(tf.reshape(panoptic_hw, [-1]))
    return ids, tf.reshape(index, tf.shape(panoptic_hw))


def choose_instances(
    panoptic_hw: tf.Tensor,
    uniform: tf.Tensor,
    seed_2: tf.Tensor,
    options: CopyPaste,
    label_divisor: int,
) -> tf.Tensor:
    """Chooses the instances that are pasted: a random subset.

    The number is drawn from 1 to all of them, or to `max_instances`.

    Args:
        panoptic_hw: int32 [H, W], class * label_divisor + instance.
        uniform: float32 scalar in [0, 1), draws the number.
        seed_2: int64 [2], seed of the choice.
        options: What is pasted.
        label_divisor: Divisor of the panoptic ids.

    Returns:
        int32 [K], the panoptic ids in random order; K is 0 where the image has
        no instance.
    """
    ids, _ = _list_ids(panoptic_hw)
    is_thing, _ = _match_things(ids, options.thing_ids, label_divisor)
    things = tf.boolean_mask(ids, is_thing)
    order = tf.random.experimental.stateless_shuffle(
        things, seed=seed_2, alg="philox"
    )
    most = tf.minimum(tf.size(things), options.max_instances)
    number = 1 + tf.cast(uniform * tf.cast(most, tf.float32), tf.int32)
    return order[: tf.minimum(number, most)]


def _find_free_ids(
    used_n: tf.Tensor,
    chosen_k: tf.Tensor,
    thing_ids: tuple[int, ...],
    label_divisor: int,
) -> tf.Tensor:
    """Finds new ids of the same classes, the smallest that are free.

    Args:
        used_n: int32 [N], different ids that are in use.
        chosen_k: int32 [K], ids of things.
        thing_ids: Classes with instances.
        label_divisor: Divisor of the panoptic ids.

    Returns:
        int32 [K], different ids; -1 where no instance number below the divisor
        is free.
    """
    # Of so many numbers enough are free, whatever is used.
    width = tf.size(used_n) + tf.size(chosen_k) + 1
    width = tf.minimum(width, label_divisor)
    is_thing, row = _match_things(used_n, thing_ids, label_divisor)
    number = used_n % label_divisor
    cells = tf.boolean_mask(
        tf.stack([row, number], axis=1), is_thing & (number < width)
    )
    is_free_tw = tf.concat(
        [
            tf.zeros([len(thing_ids), 1], tf.int32),
            tf.ones([len(thing_ids), width - 1], tf.int32),
        ],
        axis=1,
    )
    is_free_tw = tf.tensor_scatter_nd_update(
        is_free_tw, cells, tf.zeros_like(cells[:, 0])
    )
    # The r-th of a class takes the r-th free number.
    _, row = _match_things(chosen_k, thing_ids, label_divisor)
    is_same_kk = row[:, tf.newaxis] == row
    is_same_kk = tf.linalg.band_part(tf.cast(is_same_kk, tf.int32), -1, 0)
    rank = tf.reduce_sum(is_same_kk, axis=1, keepdims=True)
    counts_kw = tf.gather(tf.cumsum(is_free_tw, axis=1), row)
    number = tf.searchsorted(counts_kw, rank)[:, 0]
    fresh = chosen_k // label_divisor * label_divisor + number
    return tf.where(number < width, fresh, _NOT_PASTED)


def paste_instances(
    base: tuple[tf.Tensor, tf.Tensor],
    source: tuple[tf.Tensor, tf.Tensor],
    chosen_k: tf.Tensor,
    *,
    thing_ids: tuple[int, ...],
    label_divisor: int,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Pastes instances at the place that they have in their own crop.

    Each gets the smallest instance number of its class that is free in `base`.
    It is left out where none below `label_divisor` is. What it covers, void,
    crowds and padding included, is gone from image and label.

    Args:
        base: Image, float32 [H, W, 3], and panoptic label, int32 [H, W].
        source: The same of another crop.
        chosen_k: int32 [K], different panoptic ids of instances in `source`.
        thing_ids: Classes with instances.
        label_divisor: Divisor of the panoptic ids.

    Returns:
        Image, float32 [H, W, 3], and panoptic label, int32 [H, W].
    """
    image, panoptic = base
    source_image, source_panoptic = source
    used, _ = _list_ids(panoptic)
    fresh = _find_free_ids(used, chosen_k, thing_ids, label_divisor)
    ids, index_hw = _list_ids(source_panoptic)
    is_chosen_nk = ids[:, tf.newaxis] == chosen_k
    fresh_n = tf.reduce_max(tf.where(is_chosen_nk, fresh, _NOT_PASTED), axis=1)
    pasted_hw = tf.gather(fresh_n, index_hw)
    is_pasted = pasted_hw >= 0
    # Whole pixels are selected: the same with a condition that is broadcast
    # over the colors takes nine times as long.
    pixels = tf.compat.v1.where(
        tf.reshape(is_pasted, [-1]),
        tf.reshape(source_image, [-1, 3]),
        tf.reshape(image, [-1, 3]),
    )
    return (
        tf.reshape(pixels, tf.shape(image)),
        tf.where(is_pasted, pasted_hw, panoptic),
    )


def paste_at_random(
    base: tuple[tf.Tensor, tf.Tensor],
    source: tuple[tf.Tensor, tf.Tensor],
    uniform_2: tf.Tensor,
    seed_2: tf.Tensor,
    *,
    options: CopyPaste,
    label_divisor: int,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Pastes a random subset of the instances, or nothing.

    Args:
        base: Image, float32 [H, W, 3], and panoptic label, int32 [H, W].
        source: The same of another crop.
        uniform_2: float32 [2] in [0, 1): whether to paste, how many.
        seed_2: int64 [2], seed of the choice.
        options: What is pasted.
        label_divisor: Divisor of the panoptic ids.

    Returns:
        Image and label, with the shapes of `base`.
    """

    def paste() -> tuple[tf.Tensor, tf.Tensor]:
        chosen = choose_instances(
            source[1], uniform_2[1], seed_2, options, label_divisor
        )
        return paste_instances(
            base,
            source,
            chosen,
            thing_ids=options.thing_ids,
            label_divisor=label_divisor,
        )

    image, panoptic = tf.cond(
        uniform_2[0] < options.probability, paste, lambda: base
    )
    return (
        tf.ensure_shape(image, base[0].shape),
        tf.ensure_shape(panoptic, base[1].shape),
    )
