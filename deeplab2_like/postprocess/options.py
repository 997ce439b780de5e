# SPDX-License-Identifier: Apache-2.0
"""Rules of post-processing: what classes, centers, masks and cells count as.

Frozen dataclasses of plain Python values; the defaults are those of the
configs. Every system takes `ClassRules`, and rules of its own: Panoptic-DeepLab
`CenterRules`, Panoptic FPN `MaskRules`, EfficientPS `FusionRules`, with SOLOv2
also `CellRules`.

Four thresholds may be scalar tensors instead, so that a function that is
compiled once takes them as inputs: `stuff_area_limit`, `center_threshold`,
`score_threshold` and `overlap_threshold`. The results are the same as with the
numbers if the tensors have the values of `stuff_area_limit` as int32,
`center_threshold` as float32, `lowest_score`, and `largest_overlap`.
"""

import dataclasses
import fractions
import math
from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.config.names import MAX_CENTERS
from deeplab2_like.config.solov2_grids import GRIDS, SMALLEST_MASKS
from deeplab2_like.labels.descriptor import DatasetDescriptor


@dataclasses.dataclass(frozen=True)
class ClassRules:
    """The classes, and how segments are named.

    Attributes:
        num_classes: C; classes are 0..C-1.
        thing_ids: Classes with instances.
        ignore_label: Class of void pixels, in 0..C-1 or not.
        label_divisor: Panoptic id = class * label_divisor + instance.
        stuff_area_limit: Smaller stuff regions become void, in pixels; a
            number, or int32 []. Not used without instances.
    """

    num_classes: int
    thing_ids: Sequence[int]
    ignore_label: int
    label_divisor: int
    stuff_area_limit: int | tf.Tensor = 0

    def __post_init__(self):
        things = tuple(int(c) for c in self.thing_ids)
        object.__setattr__(self, "thing_ids", things)
        wrong = [c for c in things if not 0 <= c < self.num_classes]
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

    @classmethod
    def from_descriptor(
        cls, descriptor: DatasetDescriptor, stuff_area_limit: int = 0
    ) -> Self:
        """Returns the rules for the classes of a data set.

        Args:
            descriptor: The data set.
            stuff_area_limit: See `ClassRules`.
        """
        return cls(
            num_classes=descriptor.num_classes,
            thing_ids=descriptor.thing_ids,
            ignore_label=descriptor.ignore_label,
            label_divisor=descriptor.label_divisor,
            stuff_area_limit=stuff_area_limit,
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
        """Returns which classes, int32 [...], have instances: bool [...]."""
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


@dataclasses.dataclass(frozen=True)
class CenterRules:
    """Which pixels are instance centers.

    Attributes:
        center_threshold: Centers have a higher heatmap value than this; a
            number, or float32 [].
        nms_kernel: Side of the square in which a center is highest, in pixels
            of the canvas. Published: 7 or 13 (Cityscapes), 41 (COCO).
        keep_k_centers: K, the most centers of an image: those of the highest
            values. `MAX_CENTERS` if not positive.
    """

    center_threshold: float | tf.Tensor = 0.1
    nms_kernel: int = 3
    keep_k_centers: int = 400

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


class PixelRules(NamedTuple):
    """How maps of classes, centers and offsets become segments.

    Attributes:
        classes: The classes.
        centers: Which pixels are centers; None without instances.
    """

    classes: ClassRules
    centers: CenterRules | None


class Ratio(NamedTuple):
    """A share as a ratio of integers, which are compared without rounding.

    Attributes:
        numerator: A number, or int64 [].
        denominator: A positive number, or int64 [].
    """

    numerator: int | tf.Tensor
    denominator: int | tf.Tensor


@dataclasses.dataclass(frozen=True)
class MaskRules:
    """Which masks become instances.

    Attributes:
        score_threshold: Masks with a lower score are left out; a number, or
            float32 [].
        overlap_threshold: A mask is left out when more than this share of its
            pixels belongs to instances with higher scores; a number, which
            stands for the nearest ratio with a denominator up to 1000, or a
            ratio.
        mask_threshold: Least probability of the pixels of a mask.
    """

    score_threshold: float | tf.Tensor = 0.5
    overlap_threshold: float | Ratio = 0.5
    mask_threshold: float = 0.5

    def __post_init__(self):
        if not 0.0 < self.mask_threshold <= 1.0:
            raise errors.ConfigError(
                f"The mask threshold is {self.mask_threshold}. It must be "
                "above 0 and at most 1."
            )

    @property
    def lowest_score(self) -> np.float32 | tf.Tensor:
        """The smallest float32 number that is not below the threshold."""
        if tf.is_tensor(self.score_threshold):
            return self.score_threshold
        lowest = np.float32(self.score_threshold)
        if float(lowest) < self.score_threshold:
            lowest = np.nextafter(lowest, np.float32(np.inf))
        return lowest

    @property
    def largest_overlap(self) -> Ratio:
        """The overlap threshold as a ratio of small numbers."""
        if isinstance(self.overlap_threshold, Ratio):
            return self.overlap_threshold
        share = fractions.Fraction(self.overlap_threshold)
        return Ratio(*share.limit_denominator(1000).as_integer_ratio())


@dataclasses.dataclass(frozen=True)
class FusionRules(MaskRules):
    """Which masks become instances, and how they compete for pixels.

    Unlike in `MaskRules`, pixels of a mask have a *higher* probability than
    `mask_threshold`. Configs with SOLOv2 have a `score_threshold` of 0.3.

    Attributes:
        mask_logit_scale: Mask logits are multiplied by it before they are
            fused. 1 in the paper, 4 in its published code.
        zero_outside: A mask, and the logit of its class, count as 0 outside of
            the box, as in the published code, so that a mask can win pixels
            anywhere in the image from stuff with negative logits. It takes
            time for the whole image for each mask.
    """

    mask_logit_scale: float = 1.0
    zero_outside: bool = False

    @property
    def mask_logit(self) -> float:
        """The logit of the mask threshold."""
        if self.mask_threshold >= 1.0:
            return math.inf
        return math.log(self.mask_threshold / (1.0 - self.mask_threshold))


@dataclasses.dataclass(frozen=True)
class CellRules:
    """Which cells of SOLOv2 become objects.

    Attributes:
        grids: Cells on a side of each grid.
        smallest_masks: For each grid; masks with no more pixels are dropped.
        score_threshold: Pairs of cell and class with a higher probability are
            candidates.
        mask_threshold: Pixels of a mask have a higher probability.
        candidates: K, the most candidates: those of the highest probabilities.
        decay: "gaussian" or "linear", how scores decay by overlap.
        sigma: Factor in the exponent of the Gaussian decay.
        final_threshold: Least score, after the decay, of an object.
        max_objects: D, the most objects of an image.
    """

    grids: Sequence[int] = GRIDS
    smallest_masks: Sequence[int] = SMALLEST_MASKS
    score_threshold: float = 0.1
    mask_threshold: float = 0.5
    candidates: int = 500
    decay: str = "gaussian"
    sigma: float = 2.0
    final_threshold: float = 0.05
    max_objects: int = 100

    def __post_init__(self):
        if self.decay not in ("gaussian", "linear"):
            raise errors.ConfigError(
                f'The decay of Matrix NMS is "{self.decay}". It must be '
                '"gaussian" or "linear".'
            )
        if not 0.0 < self.mask_threshold < 1.0:
            raise errors.ConfigError(
                f"The mask threshold is {self.mask_threshold}. It must be "
                "above 0 and below 1."
            )

    @property
    def mask_logit(self) -> float:
        """The logit of the mask threshold."""
        return math.log(self.mask_threshold / (1.0 - self.mask_threshold))

    @property
    def cell_limits(self) -> np.ndarray:
        """float32 [G], `smallest_masks` of each cell."""
        counts = [side * side for side in self.grids]
        return np.repeat(np.array(self.smallest_masks, np.float32), counts)
