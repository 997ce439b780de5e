# SPDX-License-Identifier: Apache-2.0
"""Classes, instances and crowds of an image, and how they become one label.

What a data set has, polygons, masks or maps of pixels, becomes `Layers`
(`paint` does it for objects that overlap), and `to_panoptic` numbers them.
NumPy only.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.labels import label_map
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.labels.masks import Mask

# Class of pixels without one.
VOID = -1

# What becomes of a thing's pixels that belong to no instance.
AS_VOID, AS_COMPONENTS = "void", "components"
LOOSE_RULES = (AS_VOID, AS_COMPONENTS)

# Which of two objects is on top where they overlap.
SMALLER, LATER = "smaller", "later"


@dataclasses.dataclass(frozen=True, eq=False)
class Layers:
    """What is known about each pixel of an image.

    Attributes:
        classes: int32 [H, W], index of the class, or `VOID`.
        instances: int64 [H, W], number of the object, from 1; 0 where there
            is none. Numbers of two classes are independent.
        crowds: bool [H, W], whether the pixel is of a group of things.
    """

    classes: npt.NDArray[np.int32]
    instances: npt.NDArray[np.int64]
    crowds: npt.NDArray[np.bool_]

    @classmethod
    def empty(cls, size: tuple[int, int], fill: int = VOID) -> "Layers":
        """Makes the layers of an image without objects.

        Args:
            size: (height, width).
            fill: Class of all pixels.
        """
        return cls(
            np.full(size, fill, np.int32),
            np.zeros(size, np.int64),
            np.zeros(size, bool),
        )

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        height, width = self.classes.shape
        return height, width


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """A form that a user drew.

    Attributes:
        class_index: Its class, or `VOID` for pixels that are not scored.
        mask: Its pixels.
        instance: Number of the object that it is a part of, from 1; 0 for
            stuff.
        is_crowd: Whether it is a group of things.
    """

    class_index: int
    mask: Mask
    instance: int = 0
    is_crowd: bool = False


def paint(
    parts: Sequence[Part],
    below: Layers,
    order: str | Sequence[int] = SMALLER,
) -> tuple[Layers, int]:
    """Paints forms over each other.

    Args:
        parts: The forms, in the order of the file.
        below: What is seen where there is none; not changed.
        order: `SMALLER`: objects of more pixels are below those of fewer, of
            equal ones the later is on top. `LATER`: those that come later are
            on top. Or indices of classes, from the lowest to the one on top,
            with `SMALLER` within a class; those that it lacks are below.
            Except for `LATER`, crowds are below everything else.

    Returns:
        The layers, and the number of objects with pixels of which none is
        seen.
    """
    areas: Counter[tuple[int, int]] = Counter()
    for index, part in enumerate(parts):
        areas[_key(part, index)] += part.mask.area

    def rank(index: int) -> tuple[int, ...]:
        part = parts[index]
        level = 0
        if isinstance(order, str):
            if order == LATER:
                return (index,)
        elif part.class_index in order:
            level = 1 + order.index(part.class_index)
        key = _key(part, index)
        return (int(not part.is_crowd), level, -areas[key], index)

    classes = below.classes.copy()
    instances = below.instances.copy()
    crowds = below.crowds.copy()
    owners = np.zeros(below.size, np.int32)
    for index in sorted(range(len(parts)), key=rank):
        part = parts[index]
        window, pixels = part.mask.window, part.mask.pixels
        classes[window][pixels] = part.class_index
        instances[window][pixels] = part.instance
        crowds[window][pixels] = part.is_crowd
        owners[window][pixels] = index + 1
    seen = {
        _key(parts[owner - 1], owner - 1)
        for owner in label_map.number_values(owners)[0].tolist()
        if owner
    }
    hidden = [key for key, area in areas.items() if area and key not in seen]
    return Layers(classes, instances, crowds), len(hidden)


def _key(part: Part, index: int) -> tuple[int, int]:
    """Returns what the parts of one object have in common."""
    return (part.instance, -1) if part.instance else (0, index)


def to_panoptic(
    layers: Layers,
    descriptor: DatasetDescriptor,
    *,
    loose: str = AS_VOID,
    where: str = "The image",
) -> tuple[npt.NDArray[np.int32], Counter[int], int]:
    """Makes the panoptic label of an image.

    Instances of a class are numbered from 1, in the order of their numbers in
    `layers`. Stuff and crowds have instance 0.

    Args:
        layers: The image.
        descriptor: The data set.
        loose: What becomes of a thing's pixels that are neither of an instance
            nor of a crowd: void, or each connected region an instance, numbered
            behind the others.
        where: The image in messages, the first words of a sentence.

    Returns:
        int32 [H, W], class * label_divisor + instance; the number of instances
        by class; and the number of classes with crowds.

    Raises:
        errors.DataError: A class has more instances than the divisor allows.
    """
    classes, instances = layers.classes, layers.instances
    is_thing = np.isin(classes, descriptor.thing_ids)
    is_loose = is_thing & (instances == 0) & ~layers.crowds
    if loose == AS_COMPONENTS and is_loose.any():
        regions = number_regions(np.where(is_loose, classes, VOID))
        high = int(instances.max(initial=0))
        instances = np.where(is_loose, regions + high, instances)
        is_loose = np.zeros_like(is_loose)
    ignored = (classes == VOID) | (classes == descriptor.ignore_label)
    is_void = ignored | is_loose
    has_number = is_thing & ~layers.crowds & ~is_void
    numbers, index = label_map.number_values(np.where(has_number, instances, 0))
    # Ids of one class are neighbors, in the order of their instances.
    size = len(numbers)
    ids, place = label_map.number_values(
        np.where(is_void, VOID, classes).astype(np.int64) * size + index
    )
    counts: Counter[int] = Counter()
    values = np.full(len(ids), descriptor.void_id, np.int64)
    for row, key in enumerate(ids.tolist()):
        if key < 0:
            continue
        class_index, rest = divmod(key, size)
        instance = 0
        if numbers[rest] > 0:
            counts[class_index] += 1
            instance = counts[class_index]
        values[row] = class_index * descriptor.label_divisor + instance
    for class_index, count in counts.items():
        if count >= descriptor.label_divisor:
            raise errors.DataError(
                f"{where} has {count} instances of "
                f"{descriptor.class_names[class_index]!r}, but label_divisor "
                f"{descriptor.label_divisor} of data set {descriptor.name!r} "
                f"allows {descriptor.label_divisor - 1}. Raise label_divisor "
                "in the data set description."
            )
    crowds = np.unique(classes[is_thing & layers.crowds & ~is_void])
    return values[place].astype(np.int32), counts, len(crowds)


def number_regions(labels_hw: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Numbers the connected regions of equal labels.

    Pixels are connected by their sides, not by their corners.

    Args:
        labels_hw: Integers [H, W]; negative ones belong to no region.

    Returns:
        int64 [H, W], from 1 in the order of the first pixels, row by row; 0
        where there is no region.
    """
    height, width = labels_hw.shape
    if not labels_hw.size:
        return np.zeros(labels_hw.shape, np.int64)
    is_start = np.ones((height, width), bool)
    np.not_equal(labels_hw[:, 1:], labels_hw[:, :-1], out=is_start[:, 1:])
    runs = np.cumsum(is_start).reshape(height, width) - 1
    is_equal = labels_hw[1:] == labels_hw[:-1]
    pairs = np.stack([runs[:-1][is_equal], runs[1:][is_equal]], axis=1)
    parents = _join(np.unique(pairs, axis=0), int(runs[-1, -1]) + 1)
    roots = np.where(labels_hw.reshape(-1)[is_start.reshape(-1)] >= 0, 1, 0)
    is_root = (parents == np.arange(len(parents))) & (roots == 1)
    numbers = np.where(is_root, np.cumsum(is_root), 0)
    return numbers[parents][runs]


def _join(pairs: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Returns for each of `count` runs the first one that it is joined to."""
    parents = np.arange(count)
    while len(pairs):
        low = parents[pairs].min(axis=1)
        high = parents[pairs].max(axis=1)
        is_open = low != high
        if not is_open.any():
            break
        pairs = pairs[is_open]
        np.minimum.at(parents, high[is_open], low[is_open])
        while True:
            above = parents[parents]
            if np.array_equal(above, parents):
                break
            parents = above
    return parents
