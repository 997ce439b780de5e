# SPDX-License-Identifier: Apache-2.0
"""What is found in a large image: labels that are read in bands, a table."""

import dataclasses
from typing import Protocol

import numpy as np
import numpy.typing as npt


class LabelMap(Protocol):
    """The segment of each pixel.

    Attributes:
        height: Rows of pixels.
        width: Columns of pixels.
    """

    height: int
    width: int

    def read(self, top: int, bottom: int) -> npt.NDArray[np.uint32]:
        """Reads rows.

        Args:
            top: First row.
            bottom: Row behind the last.

        Returns:
            uint32 [bottom - top, W], ids of segments; 0 is void.
        """


@dataclasses.dataclass(frozen=True, eq=False)
class Segments:
    """The table of the S segments, a row for each.

    Attributes:
        id: uint32 [S], 1 to S, as in the label map.
        category: int32 [S], class of the model.
        is_thing: bool [S], whether the segment is one object.
        area: int64 [S], pixels.
        bbox: int64 [S, 4], (top, left, bottom, right) in pixels; the last two
            are one behind the segment.
        score: float32 [S], 0 or more, and rarely above 1; see `Prediction`.
    """

    id: npt.NDArray[np.uint32]
    category: npt.NDArray[np.int32]
    is_thing: npt.NDArray[np.bool_]
    area: npt.NDArray[np.int64]
    bbox: npt.NDArray[np.int64]
    score: npt.NDArray[np.float32]

    def __len__(self) -> int:
        """Returns S."""
        return len(self.id)


@dataclasses.dataclass(frozen=True, eq=False)
class LargeResult:
    """The segments of a large image.

    Attributes:
        labels: The segment of each pixel; it reads files of the work folder,
            which must remain until then.
        segments: The table.
        problems: Sentences about parts of the image that could not be read.
        num_merged: How many objects of tiles became part of another one,
            where objects are found in each tile; 0 where they are found in
            the whole image.
    """

    labels: LabelMap
    segments: Segments
    problems: tuple[str, ...] = ()
    num_merged: int = 0
