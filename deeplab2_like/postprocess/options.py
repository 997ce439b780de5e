# SPDX-License-Identifier: Apache-2.0
"""What classes, centers and segments are: the constants of post-processing."""

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from deeplab2_like import errors

# The number of centers that are kept when a config does not limit them.
# Times and table sizes are in proportion to it.
MAX_CENTERS = 2048


@dataclasses.dataclass(frozen=True)
class CenterRules:
    """What counts as a center.

    Attributes:
        threshold: The heatmap must be higher there.
        nms_kernel: Side of the square in which it is the highest, in pixels.
        keep_k_centers: How many are kept; MAX_CENTERS if not positive.
    """

    threshold: float
    nms_kernel: int
    keep_k_centers: int

    def __post_init__(self):
        if self.nms_kernel < 1:
            raise errors.ConfigError(
                f"nms_kernel is {self.nms_kernel}. It must be 1 or more "
                "pixels; odd numbers are symmetric."
            )

    @property
    def limit(self) -> int:
        """K, the most centers of an image."""
        return self.keep_k_centers if self.keep_k_centers > 0 else MAX_CENTERS


@dataclasses.dataclass(frozen=True)
class ClassRules:
    """What the classes are and how segments are named.

    Attributes:
        num_classes: C; classes are 0..C-1.
        thing_ids: Classes with instances.
        ignore_label: Class of void pixels, in 0..C-1 or not.
        label_divisor: Panoptic id = class * label_divisor + instance.
        stuff_area_limit: Smaller stuff regions become void, in pixels.
    """

    num_classes: int
    thing_ids: tuple[int, ...]
    ignore_label: int
    label_divisor: int
    stuff_area_limit: int

    def __post_init__(self):
        wrong = [c for c in self.thing_ids if not 0 <= c < self.num_classes]
        if wrong:
            raise errors.ConfigError(
                f"thing_ids contains {wrong}. Classes are 0 to "
                f"{self.num_classes - 1}: correct the data set's description."
            )
        if self.label_divisor < 2:
            raise errors.ConfigError(
                f"label_divisor is {self.label_divisor}. It must be at least "
                "2, one more than the most instances of a class."
            )

    @property
    def known_ids(self) -> tuple[int, ...]:
        """Classes that are not void."""
        return tuple(
            c for c in range(self.num_classes) if c != self.ignore_label
        )

    @property
    def stuff_ids(self) -> tuple[int, ...]:
        """Classes without instances that are not void."""
        return tuple(c for c in self.known_ids if c not in self.thing_ids)

    @property
    def void_id(self) -> int:
        """Panoptic id of pixels without a segment."""
        return self.ignore_label * self.label_divisor

    def are_things(self, category: tf.Tensor) -> tf.Tensor:
        """Says which classes, int32 [...], have instances: bool [...]."""
        # A few comparisons are faster than a table lookup for each pixel.
        is_thing = tf.zeros_like(category, tf.bool)
        for first, last in _find_ranges(self.thing_ids):
            is_thing |= (category >= first) & (category <= last)
        return is_thing


def _find_ranges(ids: Sequence[int]) -> list[tuple[int, int]]:
    """Returns the first and last of each series of successive numbers."""
    ranges: list[tuple[int, int]] = []
    for number in sorted(set(ids)):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ranges
