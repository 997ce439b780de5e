# SPDX-License-Identifier: Apache-2.0
"""Decodes the labels of records of TensorFlow Datasets, in the graph."""

import dataclasses

import numpy as np
import tensorflow as tf

from deeplab2_like.data.records import images
from deeplab2_like.data.records.tfds_features import SEGMENTS
from deeplab2_like.graph import checks

# Classes of TFDS are those of the data set `coco_panoptic` without void.
COCO_CLASSES, COCO_THINGS = 134, 80
# Class index by id of the label; the others are void.
CITYSCAPES_IDS = (
    7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33,
)  # fmt: skip
_NUM_CITYSCAPES_IDS = 34


@dataclasses.dataclass(frozen=True)
class LabelRules:
    """What a label must fit.

    Attributes:
        num_classes: See `decoding.check_label_range`.
        ignore_label: See `decoding.check_label_range`.
        label_divisor: See `decoding.check_label_range`.
        allows_damage: Whether a damaged PNG gives a label without pixels.
    """

    num_classes: int
    ignore_label: int
    label_divisor: int
    allows_damage: bool


def _check_classes(
    num_classes: int, expected: int, name: tf.Tensor, data: str, dataset: str
) -> tf.Tensor:
    return checks.check(
        tf.constant(num_classes == expected),
        lambda: checks.sentence(
            "Image '",
            name,
            f"' is of {data} in TensorFlow Datasets, whose labels are those of"
            f" the data set {dataset} with {expected} classes, but the data set"
            f" here has {num_classes}. Set dataset to {dataset!r}.",
        ),
    )


def _decode_png(
    encoded: tf.Tensor, name: tf.Tensor, channels: int, allows_damage: bool
) -> tf.Tensor:
    """Decodes a PNG of 8 bits to int32 [H, W, channels]."""
    decoded = images.decode_or_empty(
        lambda data: tf.io.decode_png(data, channels, tf.uint8),
        encoded,
        channels,
    )
    is_whole = images.check_not_empty(
        decoded, "The label PNG of image", name, allows_damage
    )
    with checks.after(is_whole):
        return tf.cast(decoded, tf.int32)


def decode_panoptic(
    parsed: dict[str, tf.Tensor], rules: LabelRules
) -> tf.Tensor:
    """Decodes the label of `coco/2017_panoptic`.

    Instances of a class are numbered from 1 in the order of the table; crowds
    and stuff have number 0. Pixels of id 0 are void.

    Args:
        parsed: Result of `tfds_features.merge`.
        rules: Rules of the label.

    Returns:
        int32 [H, W], class * rules.label_divisor + instance.

    Raises:
        tf.errors.InvalidArgumentError: The PNG and the table do not agree, or
            the data set has other classes.
    """
    name = parsed["name"]
    are_equal = _check_classes(
        rules.num_classes,
        COCO_CLASSES,
        name,
        "coco/2017_panoptic",
        "coco_panoptic",
    )
    with checks.after(are_equal):
        rgb_hw3 = _decode_png(parsed["label"], name, 3, rules.allows_damage)
    ids_hw = rgb_hw3[..., 0] + 256 * rgb_hw3[..., 1] + 65536 * rgb_hw3[..., 2]
    order = tf.argsort(parsed[SEGMENTS][:, 0])
    segments = parsed[SEGMENTS]
    classes = segments[:, 1] + 1
    is_counted = (segments[:, 1] < COCO_THINGS) & (segments[:, 2] == 0)
    # [i, j]: segment j is counted, of the class of i, and not behind it.
    is_before = (classes[:, None] == classes) & is_counted[None]
    counts = tf.reduce_sum(
        tf.linalg.band_part(tf.cast(is_before, tf.int64), -1, 0), axis=1
    )
    counts = tf.where(is_counted, counts, 0)
    fits = checks.check(
        tf.reduce_all(counts < rules.label_divisor),
        lambda: checks.sentence(
            "Image '",
            name,
            "' has ",
            tf.reduce_max(counts),
            " instances of one class, but label_divisor "
            f"{rules.label_divisor} allows {rules.label_divisor - 1}.",
        ),
    )
    with checks.after(fits):
        values = tf.gather(classes * rules.label_divisor + counts, order)
    # Id 0 is void; it also is the place of ids below all others.
    void = tf.constant([rules.ignore_label * rules.label_divisor], tf.int64)
    keys = tf.concat(
        [tf.zeros([1], tf.int64), tf.gather(segments[:, 0], order)], 0
    )
    values = tf.concat([void, values], 0)
    flat = tf.reshape(tf.cast(ids_hw, tf.int64), [-1])
    places = tf.searchsorted(keys, flat, side="right") - 1
    is_listed = tf.gather(keys, places) == flat
    are_listed = checks.check(
        tf.reduce_all(is_listed),
        lambda: checks.sentence(
            "The label PNG of image '",
            name,
            "' has ids that the table of its segments does not list, in ",
            tf.reduce_sum(tf.cast(~is_listed, tf.int32)),
            " pixels. Prepare the data set again.",
        ),
    )
    with checks.after(are_listed):
        label = tf.cast(tf.gather(values, places), tf.int32)
    return tf.reshape(label, tf.shape(ids_hw))


def decode_label_ids(
    parsed: dict[str, tf.Tensor], rules: LabelRules
) -> tf.Tensor:
    """Decodes the label of `cityscapes`: classes, without instances.

    Args:
        parsed: Result of `tfds_features.merge`.
        rules: Rules of the label.

    Returns:
        int32 [H, W], class * rules.label_divisor.

    Raises:
        tf.errors.InvalidArgumentError: The PNG has other numbers, or the data
            set has other classes.
    """
    name = parsed["name"]
    are_equal = _check_classes(
        rules.num_classes,
        len(CITYSCAPES_IDS),
        name,
        "cityscapes",
        "cityscapes_panoptic",
    )
    with checks.after(are_equal):
        ids_hw = _decode_png(parsed["label"], name, 1, rules.allows_damage)[
            ..., 0
        ]
    most = tf.reduce_max(
        tf.concat([tf.zeros([1], tf.int32), tf.reshape(ids_hw, [-1])], 0)
    )
    are_known = checks.check(
        most < _NUM_CITYSCAPES_IDS,
        lambda: checks.sentence(
            "The label PNG of image '",
            name,
            "' has the number ",
            most,
            f". Ids of labels are 0 to {_NUM_CITYSCAPES_IDS - 1}.",
        ),
    )
    table = np.full(_NUM_CITYSCAPES_IDS, rules.ignore_label, np.int32)
    table[list(CITYSCAPES_IDS)] = np.arange(len(CITYSCAPES_IDS))
    with checks.after(are_known):
        return tf.gather(table * rules.label_divisor, ids_hw)
