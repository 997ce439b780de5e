# SPDX-License-Identifier: Apache-2.0
"""Channels of a semantic head, and the classes that they stand for.

Each class may have a channel of its own, or all things together have one.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.postprocess.options import ClassRules


def find_channel_classes(
    scores_bhwc: tf.Tensor,
    class_rules: ClassRules,
    channel_classes: Sequence[int] | None = None,
) -> tuple[int, ...]:
    """Returns the class of each channel, and checks their number.

    Args:
        scores_bhwc: [B, h, w, channels], logits or probabilities.
        class_rules: The classes.
        channel_classes: Class of each channel. If None, each class has one.

    Raises:
        ConfigError: The head has another number of channels.
    """
    channels = scores_bhwc.shape[-1]
    if channel_classes is None:
        channel_classes = range(class_rules.num_classes)
        if channels != class_rules.num_classes:
            raise errors.ConfigError(
                f"The semantic head has {channels} channels but the data set "
                f"{class_rules.num_classes} classes. They must be equal: build "
                "the model for this data set."
            )
    if channels != len(channel_classes):
        raise errors.ConfigError(
            f"The semantic head has {channels} channels but channel_classes "
            f"names the classes of {len(channel_classes)}. Give the class of "
            "each channel."
        )
    return tuple(channel_classes)


def name_channels(
    channel_hw: tf.Tensor, channel_classes: Sequence[int]
) -> tf.Tensor:
    """Returns the class of each channel: int32 [H, W].

    Args:
        channel_hw: int32 [H, W].
        channel_classes: Class of each channel.
    """
    # A few comparisons are faster than a table lookup for each pixel.
    shifts = [c - channel for channel, c in enumerate(channel_classes)]
    named = channel_hw + shifts[0]
    for channel in range(1, len(shifts)):
        if shifts[channel] != shifts[channel - 1]:
            named = tf.where(
                channel_hw >= channel, channel_hw + shifts[channel], named
            )
    return named


def list_stuff_channels(
    channel_classes: Sequence[int], class_rules: ClassRules
) -> list[int]:
    """Lists the channels that stand for no things."""
    return [
        channel
        for channel, category in enumerate(channel_classes)
        if category not in class_rules.thing_ids
    ]


def find_class_channels(
    channel_classes: Sequence[int], class_rules: ClassRules
) -> np.ndarray:
    """Returns the channel of each class: int32 [C]; things may share one."""
    channels = list(channel_classes)
    things = class_rules.thing_ids
    shared = [i for i, c in enumerate(channels) if c in things]
    return np.array(
        [
            channels.index(c) if c in channels else (shared or [0])[0]
            for c in range(class_rules.num_classes)
        ],
        np.int32,
    )
