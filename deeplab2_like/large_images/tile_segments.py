# SPDX-License-Identifier: Apache-2.0
"""Tiles of systems whose outputs are no maps: each is segmented by itself.

tiles/000012.parts       uint32 [H, W], 0 void, else 1 + row of the table
tiles/000012.parts.npz   the table; it notes that the tile is done
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from deeplab2_like.large_images import tiling, work_folder
from deeplab2_like.meta_architectures import contract

_STUFF_AREA_LIMIT = "evaluator_options.stuff_area_limit"
PARTS, TABLE = ".parts", work_folder.TABLE_ENDING
# Tiles share a quarter of their side, where they can.
_SHARE = 4


def choose_overlap(tile: int, stride: int, remainder: int) -> int:
    """Chooses how many pixels tiles share.

    Objects are no maps that could be compared position by position, so that
    nothing can be measured.

    Args:
        tile: Side of the tiles.
        stride: Output stride of the network.
        remainder: `Preprocessing.canvas_remainder`, 1 or 0.
    """
    largest = tiling.find_largest_overlap(tile, stride, remainder)
    return min(tile // _SHARE, largest)


def name_tile(index: int, ending: str) -> str:
    """Names a file of a tile."""
    return f"{work_folder.TILES}/{index:06d}{ending}"


def has_tile(folder: work_folder.WorkFolder, index: int) -> bool:
    """Returns whether a tile is done."""
    return folder.has(name_tile(index, TABLE))


def read_table(
    folder: work_folder.WorkFolder, index: int
) -> dict[str, npt.NDArray[Any]]:
    """Reads the table of a tile that is done; see `TileSegmenter.segment`."""
    return folder.read_table(name_tile(index, TABLE))


class TileSegmenter:
    """The post-processing of a tile."""

    def __init__(self, system: contract.MetaArchitecture, tile: int):
        """Stores the rules.

        Args:
            system: The system.
            tile: Side of the tiles.
        """
        self._system, self._tile = system, tile
        thresholds = dict(system.thresholds())
        limit = thresholds.get(_STUFF_AREA_LIMIT, np.array(0, np.int32))
        self.stuff_area_limit = int(limit)
        if thresholds:
            thresholds[_STUFF_AREA_LIMIT] = np.zeros_like(limit)
        self._thresholds = {
            name: tf.constant(value) for name, value in thresholds.items()
        }
        self._postprocess = tf.function(self._run, autograph=False)

    def _run(
        self, outputs: contract.Tensors, size: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        found = self._system.postprocess(
            outputs,
            (self._tile, self._tile),
            size[tf.newaxis],
            thresholds=self._thresholds or None,
        )
        return found.as_dict()

    def segment(
        self, outputs: contract.Tensors, size: tuple[int, int]
    ) -> tuple[npt.NDArray[np.uint32], dict[str, npt.NDArray[Any]]]:
        """Segments a tile.

        Args:
            outputs: Outputs of the network.
            size: (height, width) of the part of the image in it.

        Returns:
            uint32 [height, width], 0 void, else 1 + row of the table, and the
            table of R rows: "category" int32 [R], "is_thing" bool [R], "score"
            float32 [R].
        """
        found = {
            name: value.numpy()[0]
            for name, value in self._postprocess(
                dict(outputs), tf.constant(size)
            ).items()
        }
        divisor = self._system.descriptor.label_divisor
        ids = found.get("panoptic", found["semantic"] * divisor)
        ids = ids[: size[0], : size[1]]
        rows = np.flatnonzero(found["segment_is_valid"])
        rows = rows[np.argsort(found["segment_id"][rows], kind="stable")]
        known = found["segment_id"][rows]
        table = {
            "category": found["segment_category"][rows],
            "is_thing": known % divisor > 0,
            "score": found["segment_score"][rows],
        }
        if not len(rows):
            return np.zeros(size, np.uint32), table
        place = np.minimum(np.searchsorted(known, ids), len(known) - 1)
        return np.where(known[place] == ids, place + 1, 0).astype(
            np.uint32
        ), table


def write_tile(
    folder: work_folder.WorkFolder,
    index: int,
    parts_hw: npt.NDArray[np.uint32],
    table: Mapping[str, npt.NDArray[Any]],
) -> None:
    """Writes the result of `TileSegmenter.segment`."""
    folder.write_array(name_tile(index, PARTS), parts_hw)
    folder.write_table(name_tile(index, TABLE), table)
