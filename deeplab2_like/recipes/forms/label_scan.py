# SPDX-License-Identifier: Apache-2.0
"""Reads all label images once: which classes, how many instances.

What label images mean depends on all of them, such as which classes have
instances at all.
"""

import concurrent.futures
import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.labels import label_map
from deeplab2_like.labels import layers as layers_lib
from deeplab2_like.labels.pixel_maps import Kind, PixelMap
from deeplab2_like.recipes.forms.pairing import Pair
from deeplab2_like.storage import in_order

# Of Cityscapes' instance numbers.
CODE_DIVISOR = 1000
_AHEAD = 64
_GREY = 1 + 256 + 65536


@dataclasses.dataclass(frozen=True, slots=True)
class LabelScan:
    """What the label images of one image contain.

    Attributes:
        kind: How classes are stored; None without an image of classes.
        numbers: Number of instances by number of the class.
        without: Numbers of classes with pixels of no instance.
        has_instances: Whether there is an image of instances.
        fits_code: Whether instances may be class * 1000 + n.
        coded: Numbers of classes with one of 1000 or more.
    """

    kind: Kind | None
    numbers: Mapping[int, int]
    without: frozenset[int]
    has_instances: bool
    fits_code: bool
    coded: frozenset[int]


def read_numbers(
    semantic: PixelMap | None, instances: PixelMap | None, by_color: bool
) -> npt.NDArray[np.int64]:
    """Returns the number of the class of each pixel: int64 [H, W].

    Args:
        semantic: The label image of classes; None where there is none: then
            instances are of class 1, and the rest of class 0.
        instances: The label image of instances.
        by_color: Whether numbers are encoded colors.
    """
    if semantic is None:
        if instances is None:
            raise ValueError("There is no label image.")
        return (read_instances(instances) > 0).astype(np.int64)
    if by_color:
        return semantic.to_colors()
    if is_grey(semantic):
        return semantic.values & 255
    return semantic.values


def is_grey(one: PixelMap) -> bool:
    """Returns whether colors of a label image are all grey."""
    if one.kind not in (Kind.COLOR, Kind.FOUR_CHANNELS):
        return False
    colors = one.to_colors()
    return bool((colors == (colors & 255) * _GREY).all())


def read_instances(instances: PixelMap) -> npt.NDArray[np.int64]:
    """Returns the number of the instance of each pixel: int64 [H, W]."""
    if instances.kind is Kind.FOUR_CHANNELS:
        return instances.to_colors()
    return instances.values


def scan(
    pairs: Sequence[Pair | None],
    load_maps: Callable[[Pair], tuple[PixelMap | None, PixelMap | None]],
    *,
    by_color: bool,
    counts_regions: bool,
) -> list[LabelScan | None]:
    """Reads the label images of a data set.

    Args:
        pairs: The images; None for those without a label.
        load_maps: Function that loads the label images of instances and of
            classes.
        by_color: Whether numbers of classes are encoded colors.
        counts_regions: Whether connected regions of a class that belong to no
            instance count as instances.

    Returns:
        For each image what it contains; None where it has no label, or where
        this is damaged, which is reported when it is loaded.

    Raises:
        errors.DataError: All labels are damaged.
    """
    failures: list[errors.DataError] = []

    def scan_one(one: Pair | None) -> LabelScan | None:
        if one is None:
            return None
        try:
            instances, semantic = load_maps(one)
        except errors.DataError as error:
            failures.append(error)
            return None
        return _scan_maps(instances, semantic, by_color, counts_regions)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as executor:
        scans = list(in_order.call(executor, scan_one, pairs, _AHEAD))
    if failures and not any(scans):
        raise failures[0]
    return scans


def _scan_maps(
    instances: PixelMap | None,
    semantic: PixelMap | None,
    by_color: bool,
    counts_regions: bool,
) -> LabelScan:
    numbers = read_numbers(semantic, instances, by_color)
    ids = np.zeros_like(numbers)
    if instances is not None:
        ids = read_instances(instances)
    values, rows = label_map.number_values(ids)
    pairs, _ = label_map.number_values(numbers * len(values) + rows)
    classes, places = np.divmod(pairs, len(values))
    found = values[places]
    counts = {number: 0 for number in classes.tolist()}
    for number in classes[found > 0].tolist():
        counts[number] += 1
    if counts_regions:
        _add_regions(numbers, ids, counts)
    kind = semantic.kind if semantic else None
    if semantic is not None and is_grey(semantic):
        kind = Kind.GREY
    is_code = found >= CODE_DIVISOR
    return LabelScan(
        kind=kind,
        numbers=counts,
        without=frozenset(classes[found == 0].tolist()),
        has_instances=instances is not None,
        fits_code=bool(
            (np.where(is_code, found // CODE_DIVISOR, found) == classes).all()
        ),
        coded=frozenset(classes[is_code].tolist()),
    )


def _add_regions(
    numbers: npt.NDArray[np.int64],
    ids: npt.NDArray[np.int64],
    counts: dict[int, int],
) -> None:
    _, index = label_map.number_values(numbers)
    regions = layers_lib.number_regions(
        np.where(ids == 0, index, layers_lib.VOID).astype(np.int32)
    )
    _, first = np.unique(regions, return_index=True)
    for place in first.tolist():
        if regions.flat[place]:
            counts[int(numbers.flat[place])] += 1


def are_coded(scans: Sequence[LabelScan | None]) -> bool:
    """Returns whether all instances are class * 1000 + n, as in Cityscapes.

    A number below 1000 is that of the class there, and no instance.

    Args:
        scans: What the images contain.
    """
    good = [one for one in scans if one is not None and one.has_instances]
    return all(one.fits_code for one in good) and any(one.coded for one in good)


def count_most(scans: Sequence[LabelScan | None]) -> int:
    """Counts the most instances of a class in an image."""
    return max(
        (
            count
            for one in scans
            if one is not None
            for count in one.numbers.values()
        ),
        default=0,
    )
