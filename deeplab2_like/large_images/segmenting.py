# SPDX-License-Identifier: Apache-2.0
"""From slots to segments: classes by majority, scores, ids, areas.

The rules are those of `postprocess.pixels.merging`, but for the numbers of
instances: ids are 1 to S, so that label_divisor is no limit.
"""

import dataclasses
import os
import pathlib
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like.large_images import bands as bands_lib
from deeplab2_like.large_images import grouping, slots, work_folder
from deeplab2_like.large_images.result import Segments
from deeplab2_like.postprocess.options import ClassRules
from deeplab2_like.postprocess.pixels import averaging

_Ints = npt.NDArray[np.int64]


def choose_classes(table: slots.Table, num_instances: int) -> _Ints:
    """Returns the class of each instance by its slot: int64 [K + 1].

    The most frequent one of its pixels, the first of equal ones; 0 for
    instances without pixels.
    """
    chosen = np.zeros(num_instances + 1, np.int64)
    row = np.flatnonzero(table.slot <= num_instances)
    slot, count = table.slot[row], table.count[row]
    # The last of each slot: the largest count, and then the least class.
    order = np.lexsort((-table.category[row], count, slot))
    chosen[slot[order]] = table.category[row][order]
    return chosen


@dataclasses.dataclass(frozen=True)
class Named:
    """The segments, and which slots they are.

    Attributes:
        segments: The table.
        slot_id: uint32 [K + 1 + C], id of each slot; 0 is void.
    """

    segments: Segments
    slot_id: npt.NDArray[np.uint32]


def name_segments(
    table: slots.Table,
    slot_category: _Ints,
    changes: tuple[_Ints, _Ints],
    center_scores: npt.NDArray[np.float32] | None,
    rules: ClassRules,
) -> Named:
    """Makes the table of segments: instances in raster order, then stuff.

    Args:
        table: What the pixels of the whole image are.
        slot_category: Result of `choose_classes`.
        changes: Result of `grouping.correct_sums`.
        center_scores: float32 [K], heatmap at each center; None for systems
            without instances, whose classes are all segments.
        rules: The classes.
    """
    number = len(slot_category)
    num_slots = number + rules.num_classes
    area, units = (
        _sum(table.slot, table.count, num_slots),
        _sum(table.slot, table.units, num_slots),
    )
    np.add.at(units, *changes)
    category = np.concatenate([slot_category, np.arange(rules.num_classes)])
    is_kept = area > 0
    kinds = rules.known_ids if center_scores is None else rules.stuff_ids
    is_kept[number:] &= np.isin(category[number:], kinds)
    factor = np.ones(num_slots, np.float32)
    if center_scores is not None:
        is_kept[number:] &= area[number:] >= rules.stuff_area_limit
        factor[1:number] = center_scores
    kept = np.flatnonzero(is_kept)
    # As in `averaging.UnitSums.divide`: two roundings.
    mean = (units[kept] / averaging.UNITS).astype(np.float32)
    mean /= area[kept].astype(np.float32)
    ids = np.arange(1, len(kept) + 1, dtype=np.uint32)
    slot_id = np.zeros(num_slots, np.uint32)
    slot_id[kept] = ids
    segments = Segments(
        id=ids,
        category=category[kept].astype(np.int32),
        is_thing=kept < number,
        area=area[kept],
        bbox=_find_boxes(table, num_slots)[kept],
        score=factor[kept] * mean,
    )
    return Named(segments, slot_id)


def _sum(slot: _Ints, values: _Ints, num_slots: int) -> _Ints:
    total = np.zeros(num_slots, np.int64)
    np.add.at(total, slot, values)
    return total


def _find_boxes(table: slots.Table, num_slots: int) -> _Ints:
    """Returns (top, left, bottom, right) of each slot: int64 [slots, 4]."""
    boxes = np.zeros((num_slots, 4), np.int64)
    boxes[:, :2] = np.iinfo(np.int64).max
    np.minimum.at(boxes[:, 0], table.slot, table.top)
    np.minimum.at(boxes[:, 1], table.slot, table.left)
    np.maximum.at(boxes[:, 2], table.slot, table.bottom)
    np.maximum.at(boxes[:, 3], table.slot, table.right)
    return boxes


class FileLabels:
    """The label map of a large image, in the work files; a `LabelMap`.

    Attributes:
        height: Rows of pixels.
        width: Columns of pixels.
    """

    def __init__(
        self,
        folder: work_folder.WorkFolder,
        bands: bands_lib.Bands,
        width: int,
        slot_id: npt.NDArray[np.uint32],
        owner: Any = None,
    ):
        """Stores where the slots are.

        Args:
            folder: The work files.
            bands: Bands of the image.
            width: Columns of pixels.
            slot_id: uint32, id of each slot.
            owner: What deletes the work files when nobody has it any more.
        """
        self.height, self.width = bands.height, width
        self._folder, self._bands, self._slot_id = folder, bands, slot_id
        self._owner = owner

    @property
    def folder(self) -> pathlib.Path:
        """The folder of the work files."""
        return pathlib.Path(os.fspath(self._folder.path))

    def read(self, top: int, bottom: int) -> npt.NDArray[np.uint32]:
        """Reads rows: uint32 [bottom - top, W]; see `LabelMap`."""
        if not 0 <= top < bottom <= self.height:
            raise ValueError(f"There are no rows {top} to {bottom}.")
        rows = np.empty((bottom - top, self.width), np.uint32)
        height = self._bands.rows
        for index in range(top // height, -(-bottom // height)):
            start = index * height
            first, last = max(top, start), min(bottom, start + height)
            band = bands_lib.Band(index, start, start + height)
            slot = self._folder.read_array(
                grouping.name_file(band, grouping.SLOTS),
                "<u4",
                (last - first) * self.width,
                (first - start) * self.width,
            )
            rows[first - top : last - top] = self._slot_id[slot].reshape(
                -1, self.width
            )
        return rows
