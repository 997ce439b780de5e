# SPDX-License-Identifier: Apache-2.0
"""Measures images and labels: what the choices of a config depend on.

`Surveyor` takes the images one by one, `DataSurvey` is what it found.
"""

import array
import dataclasses
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from deeplab2_like.labels import label_map
from deeplab2_like.labels.descriptor import DatasetDescriptor

_PERCENTS = (0, 10, 25, 50, 75, 90, 100)


@dataclasses.dataclass(frozen=True)
class Spread:
    """How numbers are distributed: percentiles.

    Attributes:
        least: The smallest number.
        p10: A tenth of the numbers is smaller.
        p25: A quarter is smaller.
        median: Half is smaller.
        p75: A quarter is larger.
        p90: A tenth is larger.
        most: The largest number.
    """

    least: float
    p10: float
    p25: float
    median: float
    p75: float
    p90: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float] | npt.NDArray[Any]) -> Self:
        """Returns the percentiles of one number or more."""
        array = np.asarray(values, np.float64)
        return cls(*(float(v) for v in np.percentile(array, _PERCENTS)))


@dataclasses.dataclass(frozen=True)
class ClassSurvey:
    """A class in the data; counts are (train, val).

    Attributes:
        name: Its name.
        is_thing: Whether it has instances.
        pixels: Pixels, those of crowds included.
        images: Images that contain it.
        instances: Instances, crowds not counted; 0 for stuff.
    """

    name: str
    is_thing: bool
    pixels: tuple[int, int]
    images: tuple[int, int]
    instances: tuple[int, int] = (0, 0)


@dataclasses.dataclass(frozen=True)
class DataSurvey:
    """What the images and labels of a data set are like.

    Attributes:
        name: Name of the data set.
        num_images: (train, val).
        heights: Heights of the images, pixels.
        widths: Widths of the images, pixels.
        num_sizes: Number of different (height, width).
        classes: The classes, except one that stands for void.
        instance_sizes: Roots of the areas of instances, pixels; None without
            instances.
        instances_per_image: Instances in an image.
        center_distances: Distance of an instance's center to the nearest other
            one in the image, pixels; None where no image has two.
        stuff_areas: Areas of a stuff class in an image that has it, pixels;
            None without stuff.
        num_crowds: Crowd segments.
        void_share: Share of the pixels that has no label, in 0..1.
    """

    name: str
    num_images: tuple[int, int]
    heights: Spread
    widths: Spread
    num_sizes: int
    classes: tuple[ClassSurvey, ...]
    instance_sizes: Spread | None
    instances_per_image: Spread
    center_distances: Spread | None
    stuff_areas: Spread | None
    num_crowds: int = 0
    void_share: float = 0.0

    @property
    def things(self) -> list[ClassSurvey]:
        """The classes with instances that occur in training."""
        return [c for c in self.classes if c.is_thing and c.pixels[0]]

    @property
    def stuff(self) -> list[ClassSurvey]:
        """The classes without instances that occur in training."""
        return [c for c in self.classes if not c.is_thing and c.pixels[0]]

    @property
    def has_things(self) -> bool:
        """Whether the data set has classes with instances at all."""
        return any(c.is_thing for c in self.classes)

    @property
    def shares(self) -> dict[str, float]:
        """Share of the labeled pixels of training, by class that occurs."""
        total = sum(c.pixels[0] for c in self.classes)
        return {c.name: c.pixels[0] / total for c in self.things + self.stuff}

    def describe(self) -> list[str]:
        """Describes the data in a few lines."""
        train, val = self.num_images
        heights, widths = self.heights, self.widths
        size = f"{heights.most:.0f} x {widths.most:.0f} pixels"
        if self.num_sizes > 1:
            size = (
                f"{heights.least:.0f} to {heights.most:.0f} x "
                f"{widths.least:.0f} to {widths.most:.0f} pixels"
            )
        things = [c for c in self.classes if c.is_thing]
        lines = [
            f"Images    {train} to train, {val} to evaluate, {size}",
            f"Classes   {len(self.classes)}: {len(things)} things, "
            f"{len(self.classes) - len(things)} stuff; "
            f"{100 * self.void_share:.1f} % of the pixels have no label",
        ]
        sizes = self.instance_sizes
        if sizes is not None:
            total = sum(sum(c.instances) for c in things)
            lines.append(
                f"Objects   {total}, at most "
                f"{self.instances_per_image.most:.0f} in an image; side of a "
                f"square of their area {sizes.p10:.0f}, {sizes.median:.0f}, "
                f"{sizes.p90:.0f} pixels (10, 50, 90 %), "
                f"{self.num_crowds} crowds"
            )
        return lines


class Surveyor:
    """Measures images one by one."""

    def __init__(self, descriptor: DatasetDescriptor):
        """Begins with no image.

        Args:
            descriptor: The data set.
        """
        self._descriptor = descriptor
        count = descriptor.num_classes
        self._pixels = np.zeros((2, count), np.int64)
        self._images = np.zeros((2, count), np.int64)
        self._instances = np.zeros((2, count), np.int64)
        # Plain numbers: there may be very many images.
        self._heights, self._widths = array.array("q"), array.array("q")
        self._num_images = [0, 0]
        self._instance_sizes = array.array("d")
        self._counts = array.array("q")
        self._distances = array.array("d")
        self._stuff_areas = array.array("d")
        self._num_crowds = 0
        self._void = 0

    def add(self, panoptic_hw: npt.NDArray[Any], *, is_val: bool) -> None:
        """Measures one label.

        Args:
            panoptic_hw: Integers [H, W], class * label_divisor + instance.
            is_val: Whether the image is for evaluation.
        """
        data = self._descriptor
        found = label_map.compute_segments(panoptic_hw)
        classes, instances = np.divmod(found.ids, data.label_divisor)
        is_void = classes == data.ignore_label
        is_thing = np.isin(classes, data.thing_ids)
        is_instance = is_thing & (instances > 0)
        split = int(is_val)
        labeled = classes[~is_void]
        np.add.at(self._pixels[split], labeled, found.areas[~is_void])
        self._images[split][np.unique(labeled)] += 1
        np.add.at(self._instances[split], classes[is_instance], 1)
        self._num_images[split] += 1
        height, width = panoptic_hw.shape
        self._heights.append(height)
        self._widths.append(width)
        self._void += int(found.areas[is_void].sum())
        self._num_crowds += int((is_thing & (instances == 0)).sum())
        _extend(self._stuff_areas, found.areas[~is_thing & ~is_void])
        _extend(self._instance_sizes, np.sqrt(found.areas[is_instance]))
        self._counts.append(int(is_instance.sum()))
        boxes = found.boxes[is_instance]
        _extend(
            self._distances,
            _compute_distances(boxes[:, :2] + boxes[:, 2:] / 2),
        )

    def finish(self) -> DataSurvey:
        """Returns what was found in one image or more."""
        data = self._descriptor
        heights, widths = np.array(self._heights), np.array(self._widths)
        return DataSurvey(
            name=data.name,
            num_images=(self._num_images[0], self._num_images[1]),
            heights=Spread.of(heights),
            widths=Spread.of(widths),
            num_sizes=len({*zip(self._heights, self._widths, strict=True)}),
            classes=tuple(
                ClassSurvey(
                    name,
                    data.is_thing(index),
                    _pair(self._pixels[:, index]),
                    _pair(self._images[:, index]),
                    _pair(self._instances[:, index]),
                )
                for index, name in enumerate(data.class_names)
                if index != data.ignore_label
            ),
            instance_sizes=_spread_of_all(self._instance_sizes),
            instances_per_image=Spread.of(np.array(self._counts)),
            center_distances=_spread_of_all(self._distances),
            stuff_areas=_spread_of_all(self._stuff_areas),
            num_crowds=self._num_crowds,
            void_share=self._void / int((heights * widths).sum()),
        )


def _pair(counts: npt.NDArray[np.int64]) -> tuple[int, int]:
    return int(counts[0]), int(counts[1])


def _extend(kept: "array.array[float]", values_n: npt.NDArray[Any]) -> None:
    kept.frombytes(values_n.astype(np.float64).tobytes())


def _spread_of_all(values: "array.array[float]") -> Spread | None:
    return Spread.of(np.array(values)) if len(values) else None


def _compute_distances(
    centers: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Computes the distance of each center, [N, 2], to the nearest other."""
    if len(centers) < 2:
        return np.zeros(0)
    nearest = np.empty(len(centers))
    for index, center in enumerate(centers):
        squares = ((centers - center) ** 2).sum(axis=1)
        squares[index] = np.inf
        nearest[index] = np.sqrt(squares.min())
    return nearest
