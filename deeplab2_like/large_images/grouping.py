# SPDX-License-Identifier: Apache-2.0
"""Classes and instances of a large image, band by band.

First each band gets its classes, and its pixels their slots; what the pixels of
a slot are is counted. When all bands are done, the class of each instance is
known. A second pass replaces, in the sums of probabilities, those of pixels
whose most probable class is another one than that of their instance. Files:

    bands/000012.slots       uint32 [H, W], see `slots`
    bands/000012.packed.f4   float32 [H, W], see `semantic.SemanticMap`
    bands/000012.table.npz   `slots.Table`; it notes that the band is done
    bands/000012.sums.npz    what the second pass found
"""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like.console import progress
from deeplab2_like.large_images import bands as bands_lib
from deeplab2_like.large_images import (
    blending,
    nearest,
    peaks,
    slots,
    validity,
    work_folder,
)
from deeplab2_like.postprocess.options import ClassRules

OFFSETS = "offset_map"
# Names of the map of the classes: logits, or probabilities.
SCORES = ("semantic_logits", "semantic_probs")
SLOTS, _PACKED = ".slots", ".packed.f4"
_TABLE, _SUMS = ".table.npz", ".sums.npz"


def name_file(band: bands_lib.Band, ending: str) -> str:
    """Names a file of a band."""
    return f"{work_folder.BANDS}/{band.index:06d}{ending}"


@dataclasses.dataclass(frozen=True)
class Parts:
    """What both passes read.

    Attributes:
        maps: The head outputs.
        bands: Bands of the image.
        valid: Which pixels count.
        width: Columns of the image.
        folder: The work files.
        rules: The classes.
        centers: The centers; None for systems without instances.
    """

    maps: blending.HeadMaps
    bands: bands_lib.Bands
    valid: validity.ValidPixels
    width: int
    folder: work_folder.WorkFolder
    rules: ClassRules
    centers: peaks.Centers | None

    @property
    def num_instances(self) -> int:
        """K, the number of centers."""
        return 0 if self.centers is None else len(self.centers)

    @property
    def scores(self) -> str:
        """Name of the map of the classes."""
        return next(name for name in SCORES if name in self.maps.names)

    @property
    def are_probabilities(self) -> bool:
        """Whether the map of the classes has probabilities."""
        return self.scores == SCORES[1]


def group(parts: Parts, report: progress.Progress) -> slots.Table:
    """Finds the slot of each pixel, and what the pixels of each slot are.

    Args:
        parts: The image.
        report: Display of the progress.

    Returns:
        The table of the whole image.
    """
    grid = None
    if parts.num_instances and parts.centers is not None:
        grid = nearest.CenterGrid(parts.centers.y, parts.centers.x)
    with report.phase(
        "Grouping pixels", len(parts.bands), unit="bands"
    ) as phase:
        for band in parts.bands:
            if not parts.folder.has(name_file(band, _TABLE)):
                _group_band(parts, band, grid)
            phase.advance(band.index + 1)
    return _load_tables(parts)


def _load_tables(parts: Parts) -> slots.Table:
    """Adds the tables of all bands up, a few at a time."""
    number = parts.rules.num_classes
    total = slots.add_up([], number)
    waiting: list[slots.Table] = []
    size = 0
    for band in parts.bands:
        columns = parts.folder.read_table(name_file(band, _TABLE))
        waiting.append(slots.Table(**columns))
        size += len(waiting[-1].slot)
        is_last = band.index + 1 == len(parts.bands)
        if is_last or size > len(total.slot):
            total = slots.add_up([total, *waiting], number)
            waiting, size = [], 0
    return total


def _group_band(
    parts: Parts, band: bands_lib.Band, grid: nearest.CenterGrid | None
) -> None:
    rows = bands_lib.Rows(parts.maps, band.top, band.bottom)
    shown = slice(rows.skipped, rows.skipped + band.bottom - band.top)
    part = (shown, slice(0, parts.width))
    found = bands_lib.find_classes(
        rows.read(parts.maps, parts.scores), parts.are_probabilities, rows.size
    )
    category, packed = found.category[part], found.packed[part]
    is_valid = parts.valid.mask(band.top, band.bottom, parts.width)
    slot = np.where(is_valid, category + (parts.num_instances + 1), 0)
    slot = slot.astype(np.uint32)
    if grid is not None:
        is_thing = is_valid & np.isin(category, parts.rules.thing_ids)
        y, x = np.nonzero(is_thing)
        if len(y):
            offset = bands_lib.upsample_offsets(
                rows.read(parts.maps, OFFSETS), rows.size
            )[:, shown, : parts.width]
            votes = (
                nearest.vote(place.astype(np.float32), moved[y, x])
                for place, moved in zip((y + band.top, x), offset, strict=True)
            )
            slot[y, x] = grid.find_nearest(*votes) + 1
    units = bands_lib.count_units(found.probability[part])
    table = slots.tabulate(
        slot, category, units, band.top, parts.rules.num_classes
    )
    parts.folder.write_array(name_file(band, SLOTS), slot)
    parts.folder.write_array(name_file(band, _PACKED), packed)
    parts.folder.write_table(name_file(band, _TABLE), table.as_dict())


def correct_sums(
    parts: Parts,
    slot_category: npt.NDArray[np.int64],
    report: progress.Progress,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Finds how sums of probabilities of winners become those of the classes.

    Args:
        parts: The image, whose bands are grouped.
        slot_category: int64 [K + 1], class of each instance by its slot.
        report: Display of the progress.

    Returns:
        Slots, int64 [N], of which some may be equal, and what their sums
        change by, int64 [N], in units.
    """
    if not parts.num_instances:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    with report.phase(
        "Scoring segments", len(parts.bands), unit="bands"
    ) as phase:
        found = []
        for band in parts.bands:
            name = name_file(band, _SUMS)
            if not parts.folder.has(name):
                sums = _correct_band(parts, band, slot_category)
                parts.folder.write_table(name, sums)
            found.append(parts.folder.read_table(name))
            phase.advance(band.index + 1)
    return (
        np.concatenate([sums["slot"] for sums in found]),
        np.concatenate([sums["units"] for sums in found]),
    )


def _correct_band(
    parts: Parts, band: bands_lib.Band, slot_category: npt.NDArray[np.int64]
) -> dict[str, npt.NDArray[Any]]:
    number = parts.rules.num_classes
    shape = (band.bottom - band.top, parts.width)
    size = shape[0] * shape[1]
    slot, packed = (
        parts.folder.read_array(name_file(band, ending), dtype, size)
        for ending, dtype in ((SLOTS, "<u4"), (_PACKED, "<f4"))
    )
    # As in `semantic.SemanticMap.category`.
    winner = number - (packed * np.float32(0.5)).astype(np.int32)
    winner = np.clip(winner, 0, number - 1)
    is_instance = (slot > 0) & (slot <= parts.num_instances)
    category = slot_category[np.where(is_instance, slot, 0)]
    place = np.flatnonzero(is_instance & (winner != category))
    if not len(place):
        return {"slot": np.zeros(0, np.int64), "units": np.zeros(0, np.int64)}
    rows = bands_lib.Rows(parts.maps, band.top, band.bottom)
    probability = bands_lib.compute_probability(
        rows.read(parts.maps, parts.scores),
        parts.are_probabilities,
        rows.size,
        (place // shape[1] + rows.skipped, place % shape[1]),
        packed[place],
        category[place],
    )
    before = bands_lib.Classes(packed[place], winner[place], number)
    units = bands_lib.count_units(probability)
    units -= bands_lib.count_units(before.probability)
    found, inverse = np.unique(slot[place], return_inverse=True)
    sums = np.bincount(inverse, units)  # Exact: whole numbers below 2**53.
    return {"slot": found.astype(np.int64), "units": sums.astype(np.int64)}
