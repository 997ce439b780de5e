# SPDX-License-Identifier: Apache-2.0
"""Systems that find objects in each tile: their parts are merged.

Each tile is post-processed by itself. The rules of the whole:

* A pixel belongs to the tile whose middle is nearer: what tiles share is cut
  in the middle, down and across.
* Objects of a class in a tile and in the one to the right of it or below are
  one object if their masks, in all that the two tiles share, have an IoU above
  1/2. So an object has at most one partner in each neighbor. Parts that are
  merged through others are one object too.
* Stuff is that of the tile that a pixel belongs to. Its area limit counts for
  the whole image.
* A score is the mean of those of the parts, by the pixels that each has.

Files, besides those of `tile_segments`:

    links.npz                which parts are one object
    bands/000012.slots       uint32 [H, W], see `slots`
    bands/000012.table.npz   the pixels of each slot and part; it notes the band
"""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like.console import progress
from deeplab2_like.large_images import bands as bands_lib
from deeplab2_like.large_images import (
    grouping,
    slots,
    tile_segments,
    validity,
    work_folder,
)
from deeplab2_like.large_images import tiling as tiling_lib
from deeplab2_like.large_images.result import Segments
from deeplab2_like.large_images.source import Box

_Ints = npt.NDArray[np.int64]
_LINKS = "links.npz"
_TABLE = ".table.npz"


@dataclasses.dataclass(frozen=True)
class Parts:
    """The segments of all tiles; P parts, from 1 on.

    Attributes:
        first: int64 [tiles], number of the part before the first of each tile.
        category: int64 [P + 1].
        is_thing: bool [P + 1].
        score: float64 [P + 1].
    """

    first: _Ints
    category: _Ints
    is_thing: npt.NDArray[np.bool_]
    score: npt.NDArray[np.float64]

    @classmethod
    def load(cls, folder: work_folder.WorkFolder, count: int) -> "Parts":
        """Loads the tables of the tiles."""
        tables = [
            tile_segments.read_table(folder, index) for index in range(count)
        ]
        sizes = [len(table["score"]) for table in tables]
        empty: dict[str, npt.NDArray[Any]] = {
            "category": np.zeros(1, np.int64),
            "is_thing": np.zeros(1, bool),
            "score": np.zeros(1, np.float64),
        }
        return cls(
            np.cumsum([0, *sizes[:-1]]),
            **{
                name: np.concatenate([value, *(t[name] for t in tables)])
                for name, value in empty.items()
            },
        )


class Tiles:
    """The parts of the pixels of tiles, which are read by rows."""

    def __init__(
        self,
        tiling: tiling_lib.Tiling,
        folder: work_folder.WorkFolder,
        first: _Ints,
    ):
        """Stores where they are; see `Parts` for `first`."""
        self.tiling = tiling
        self._folder, self._first = folder, first

    def read(self, index: int, box: Box) -> _Ints:
        """Reads the parts of a piece of the image, which a tile shows.

        Returns:
            int64 [H, W] in 0..P.
        """
        tile = self.tiling.box(index)
        width = tile.right - tile.left
        parts = self._folder.read_array(
            tile_segments.name_tile(index, tile_segments.PARTS),
            "<u4",
            (box.bottom - box.top) * width,
            (box.top - tile.top) * width,
        ).reshape(-1, width)
        parts = parts[:, box.left - tile.left : box.right - tile.left]
        return np.where(parts > 0, parts + self._first[index], 0)


def merge(
    tiles: Tiles,
    parts: Parts,
    folder: work_folder.WorkFolder,
    report: progress.Progress,
) -> tuple[_Ints, int]:
    """Finds which parts are one object.

    Args:
        tiles: The parts of the pixels.
        parts: The segments of all tiles.
        folder: The work files.
        report: Display of the progress.

    Returns:
        int64 [P + 1], the least part of the object of each part, and the
        number of parts that became part of another one.
    """
    tiling = tiles.tiling
    if not folder.has(_LINKS):
        root = np.arange(len(parts.category))
        with report.phase(
            "Merging objects", len(tiling), unit="tiles"
        ) as phase:
            for index in range(len(tiling)):
                row, column = tiling.place(index)
                if column + 1 < len(tiling.columns.starts):
                    _link(tiles, parts, root, (index, index + 1))
                if row + 1 < len(tiling.rows.starts):
                    below = tiling.index(row + 1, column)
                    _link(tiles, parts, root, (index, below))
                phase.advance(index + 1)
        for part in range(len(root)):
            root[part] = _find(root, part)
        folder.write_table(_LINKS, {"root": root})
    root = folder.read_table(_LINKS)["root"]
    return root, int(np.count_nonzero(root != np.arange(len(root))))


def _link(
    tiles: Tiles, parts: Parts, root: _Ints, pair: tuple[int, int]
) -> None:
    """Links the objects of two tiles that are one."""
    boxes = [tiles.tiling.box(index) for index in pair]
    shared = Box(
        *(max(box[i] for box in boxes) for i in (0, 1)),
        *(min(box[i] for box in boxes) for i in (2, 3)),
    )
    if shared.top >= shared.bottom or shared.left >= shared.right:
        return
    some, others = (tiles.read(index, shared).ravel() for index in pair)
    areas = [np.unique(x, return_counts=True) for x in (some, others)]
    both = (some > 0) & (others > 0)
    if not both.any():
        return
    pairs, counts = np.unique(
        np.stack([some[both], others[both]]), axis=1, return_counts=True
    )
    union = -counts
    for found, (known, area) in zip(pairs, areas, strict=True):
        union = union + area[np.searchsorted(known, found)]
    first, second = pairs
    is_one = (
        (2 * counts > union)
        & parts.is_thing[first]
        & parts.is_thing[second]
        & (parts.category[first] == parts.category[second])
    )
    for one, other in zip(first[is_one], second[is_one], strict=True):
        roots = _find(root, one), _find(root, other)
        root[max(roots)] = min(roots)


def _find(root: _Ints, part: int) -> int:
    """Returns the least part of an object, and shortens the way to it."""
    while root[part] != part:
        root[part] = root[root[part]]
        part = int(root[part])
    return int(part)


@dataclasses.dataclass(frozen=True)
class Objects:
    """The slots of parts; see `slots`.

    Attributes:
        slot: int64 [P + 1], the slot of each part.
        category: int64 [K + 1 + C], class of each slot.
        num_instances: K.
    """

    slot: _Ints
    category: _Ints
    num_instances: int

    @classmethod
    def number(cls, parts: Parts, root: _Ints, num_classes: int) -> "Objects":
        """Numbers the objects, by their first parts."""
        heads = np.flatnonzero(parts.is_thing & (root == np.arange(len(root))))
        rank = np.zeros(len(root), np.int64)
        rank[heads] = np.arange(1, len(heads) + 1)
        stuff = len(heads) + 1 + parts.category
        slot = np.where(parts.is_thing, rank[root], stuff)
        slot[0] = 0
        category = np.concatenate(
            [[0], parts.category[heads], np.arange(num_classes)]
        )
        return cls(slot, category, len(heads))


def join(
    tiles: Tiles,
    objects: Objects,
    valid: validity.ValidPixels,
    bands: bands_lib.Bands,
    folder: work_folder.WorkFolder,
    report: progress.Progress,
) -> tuple[slots.Table, _Ints]:
    """Writes the slot of each pixel.

    Args:
        tiles: The parts of the pixels.
        objects: The slots of the parts.
        valid: Which pixels count.
        bands: Bands of the image.
        folder: The work files.
        report: Display of the progress.

    Returns:
        What the pixels of the slots are, all of class 0, and the number of
        pixels of each part, int64 [P + 1].
    """
    tables = []
    pixels = np.zeros(len(objects.slot), np.int64)
    with report.phase("Joining tiles", len(bands), unit="bands") as phase:
        for band in bands:
            name = grouping.name_file(band, _TABLE)
            if not folder.has(name):
                _join_band(tiles, objects, valid, band, folder)
            columns = folder.read_table(name)
            np.add.at(pixels, columns.pop("part"), columns.pop("pixels"))
            tables.append(slots.Table(**columns))
            phase.advance(band.index + 1)
    return slots.add_up(tables, 1), pixels


def _join_band(
    tiles: Tiles,
    objects: Objects,
    valid: validity.ValidPixels,
    band: bands_lib.Band,
    folder: work_folder.WorkFolder,
) -> None:
    tiling = tiles.tiling
    width = tiling.columns.length
    part = np.zeros((band.bottom - band.top, width), np.int64)
    for row in range(len(tiling.rows.starts)):
        top, bottom = tiling.rows.find_own(row)
        top, bottom = max(top, band.top), min(bottom, band.bottom)
        for column in range(len(tiling.columns.starts)):
            left, right = tiling.columns.find_own(column)
            if top < bottom and left < right:
                part[top - band.top : bottom - band.top, left:right] = (
                    tiles.read(
                        tiling.index(row, column),
                        Box(top, left, bottom, right),
                    )
                )
    part[~valid.mask(band.top, band.bottom, width)] = 0
    slot = objects.slot[part].astype(np.uint32)
    none = np.zeros_like(part)
    table = slots.tabulate(slot, none, none, band.top, 1)
    known, pixels = np.unique(part, return_counts=True)
    folder.write_array(grouping.name_file(band, grouping.SLOTS), slot)
    folder.write_table(
        grouping.name_file(band, _TABLE),
        {**table.as_dict(), "part": known, "pixels": pixels},
    )


def average_scores(
    parts: Parts, objects: Objects, pixels: _Ints
) -> npt.NDArray[np.float32]:
    """Returns the score of each slot: float32 [K + 1 + C]."""
    count = len(objects.category)
    total = np.bincount(objects.slot, parts.score * pixels, count)
    area = np.bincount(objects.slot, pixels, count)
    return (total / np.maximum(area, 1)).astype(np.float32)


def name_segments(
    table: slots.Table,
    objects: Objects,
    score: npt.NDArray[np.float32],
    stuff_area_limit: int,
) -> tuple[Segments, npt.NDArray[np.uint32]]:
    """Makes the table of segments: objects, then stuff by class.

    Args:
        table: Result of `join`.
        objects: The slots.
        score: float32 [K + 1 + C].
        stuff_area_limit: Smaller stuff is void, in pixels.

    Returns:
        The segments, and the id of each slot, uint32 [K + 1 + C].
    """
    slot_id = np.zeros(len(score), np.uint32)
    is_thing = table.slot <= objects.num_instances
    rows = np.flatnonzero(is_thing | (table.count >= stuff_area_limit))
    slot = table.slot[rows]
    ids = np.arange(1, len(rows) + 1, dtype=np.uint32)
    slot_id[slot] = ids
    sides = (table.top, table.left, table.bottom, table.right)
    segments = Segments(
        id=ids,
        category=objects.category[slot].astype(np.int32),
        is_thing=is_thing[rows],
        area=table.count[rows],
        bbox=np.stack([side[rows] for side in sides], axis=1),
        score=score[slot],
    )
    return segments, slot_id
