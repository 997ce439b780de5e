# SPDX-License-Identifier: Apache-2.0
"""Large images at the scale at which a model was trained.

Models whose config has an `input_scale_factor` see enlarged or reduced images.
`ScaledImage` scales an image where it is read, and `restore` brings the result
back to the size of the file. Both lay the first and the last pixel of a side
upon those of the other, as preprocessing does for images that fit in memory.
"""

import numpy as np
import numpy.typing as npt

from deeplab2_like.large_images import slots
from deeplab2_like.large_images.result import LabelMap, LargeResult, Segments
from deeplab2_like.large_images.source import (
    Box,
    LargeImage,
    Reading,
    Window,
)
from deeplab2_like.storage.file_identity import Source

_BAND_PIXELS = 1 << 22


class ScaledImage(LargeImage):
    """An image that is scaled where it is read.

    Its pixels are interpolated bilinearly, as in preprocessing, but rounded to
    whole numbers.

    Attributes:
        path: Path of the file.
        height: Rows of the scaled image.
        width: Columns of the scaled image.
        original: The image as it is.
    """

    def __init__(self, image: LargeImage, factor: float):
        """Reads nothing.

        Args:
            image: The image.
            factor: What its sides are multiplied by, positive.
        """
        self.original = image
        self.path = image.path
        self.height = _scale(image.height, factor)
        self.width = _scale(image.width, factor)

    @property
    def reading(self) -> Reading:
        """What the image is read as."""
        return self.original.reading

    def read(self, top: int, left: int, bottom: int, right: int) -> Window:
        """Reads a part of the scaled image; see `LargeImage`."""
        rows = _Axis(self.height, self.original.height, top, bottom)
        columns = _Axis(self.width, self.original.width, left, right)
        window = self.original.read(
            rows.first, columns.first, rows.last, columns.last
        )
        values = rows.interpolate(window.image.astype(np.float32))
        values = columns.interpolate(values.swapaxes(0, 1)).swapaxes(0, 1)
        damaged = []
        for box in window.damaged:
            y = rows.find_touched(box.top, box.bottom)
            x = columns.find_touched(box.left, box.right)
            if y is not None and x is not None:
                damaged.append(Box(y[0], x[0], y[1], x[1]))
        void = window.void
        if void is not None:
            void = void[rows.nearest - rows.first]
            void = void[:, columns.nearest - columns.first]
        image = np.ascontiguousarray(np.rint(values).astype(np.uint8))
        return Window(image, tuple(damaged), void)

    def describe(self) -> Source:
        """Returns the identity of the file."""
        return self.original.describe()

    def locate(self, box: Box) -> Box:
        """Returns the pixels of the file of which a part is made."""
        rows = _Axis(self.height, self.original.height, box.top, box.bottom)
        columns = _Axis(self.width, self.original.width, box.left, box.right)
        return Box(rows.first, columns.first, rows.last, columns.last)


class ScaledLabels:
    """A label map at another size, of the nearest pixels; a `LabelMap`.

    Attributes:
        height: Rows of pixels.
        width: Columns of pixels.
    """

    def __init__(
        self,
        labels: LabelMap,
        size: tuple[int, int],
        new_id: npt.NDArray[np.uint32],
    ):
        """Reads nothing.

        Args:
            labels: The label map.
            size: (height, width) that it gets.
            new_id: uint32, what each of its ids becomes.
        """
        self.height, self.width = size
        self._labels, self._new_id = labels, new_id
        self._columns = _Axis(self.width, labels.width, 0, self.width).nearest

    def read(self, top: int, bottom: int) -> npt.NDArray[np.uint32]:
        """Reads rows: uint32 [bottom - top, W]; see `LabelMap`."""
        if not 0 <= top < bottom <= self.height:
            raise ValueError(f"There are no rows {top} to {bottom}.")
        rows = _Axis(self.height, self._labels.height, top, bottom).nearest
        first = int(rows[0])
        found = self._labels.read(first, int(rows[-1]) + 1)
        return self._new_id[found[rows - first][:, self._columns]]


def restore(result: LargeResult, image: ScaledImage) -> LargeResult:
    """Brings the result of a scaled image to the size of the file.

    Areas and boxes are those of the pixels of the file; segments that have none
    there are left out.

    Args:
        result: The result; all labels are read once, band by band.
        image: The image that it is of.
    """
    size = (image.original.height, image.original.width)
    found = result.segments
    same = np.arange(len(found) + 1, dtype=np.uint32)
    labels = ScaledLabels(result.labels, size, same)
    step = max(1, _BAND_PIXELS // size[1])
    tables = []
    for top in range(0, size[0], step):
        ids = labels.read(top, min(top + step, size[0]))
        zeros = np.zeros(ids.shape, np.int64)
        tables.append(slots.tabulate(ids, zeros, zeros, top, num_classes=1))
    table = slots.add_up(tables, num_classes=1)
    kept = table.slot - 1
    ids = np.arange(1, len(kept) + 1, dtype=np.uint32)
    new_id = np.zeros(len(found) + 1, np.uint32)
    new_id[table.slot] = ids
    segments = Segments(
        id=ids,
        category=found.category[kept],
        is_thing=found.is_thing[kept],
        area=table.count,
        bbox=np.stack(
            [table.top, table.left, table.bottom, table.right], axis=1
        ),
        score=found.score[kept],
    )
    return LargeResult(
        ScaledLabels(result.labels, size, new_id),
        segments,
        result.problems,
        result.num_merged,
    )


def _scale(side: int, factor: float) -> int:
    """Scales a side as `augmentation.compute_scaled_size` does, in float32."""
    return max(1, int(np.floor(np.float32(side) * np.float32(factor))))


class _Axis:
    """Where some positions of a scaled side lie on the other side.

    Attributes:
        first: The first pixel that they are made of.
        last: The pixel behind the last.
        nearest: int64 [N], the nearest pixel, halves rounded up.
    """

    def __init__(self, scaled: int, source: int, begin: int, end: int):
        """Finds the pixels.

        Args:
            scaled: Number of positions.
            source: Number of pixels.
            begin: First of the N positions.
            end: The position behind the last.
        """
        scale = (source - 1) / max(scaled - 1, 1)
        exact = np.arange(begin, end) * scale
        before = np.floor(exact)
        self._begin = begin
        self._weight = (exact - before).astype(np.float32)
        lower = before.astype(np.int64)
        self._lower = np.minimum(lower, source - 1)
        self._upper = np.minimum(lower + 1, source - 1)
        self.nearest = np.minimum(lower + (self._weight >= 0.5), source - 1)
        self.first, self.last = int(self._lower[0]), int(self._upper[-1]) + 1

    def interpolate(
        self, values: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Interpolates the first axis of the pixels `first` to `last`."""
        lower = values[self._lower - self.first]
        upper = values[self._upper - self.first]
        weight = self._weight.reshape(-1, *[1] * (values.ndim - 1))
        return np.asarray(lower + (upper - lower) * weight, np.float32)

    def find_touched(self, begin: int, end: int) -> tuple[int, int] | None:
        """Returns the positions that some pixels have a part in, if any."""
        is_touched = (self._upper >= begin) & (self._lower < end)
        found = np.flatnonzero(is_touched)
        if not len(found):
            return None
        return self._begin + int(found[0]), self._begin + int(found[-1]) + 1
