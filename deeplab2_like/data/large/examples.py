# SPDX-License-Identifier: Apache-2.0
"""Windows of a large image with panoptic labels."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.data.large.lists import LargeEntry
from deeplab2_like.labels import json_documents, json_values, label_map
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.rasters import opening

_LAYOUT = (
    "A table of segments is an object with `segments`: [{id, category_id}, "
    "...], as deeplab2-predict writes it for large images."
)
_LARGEST_ID = 2**32 - 1
# More than any id of a table.
WIDE_DIVISOR = 1 << 32
_MAX_NAMED = 20


class Example(NamedTuple):
    """A window.

    Attributes:
        image: uint8 [h, w, 3].
        panoptic: int32 [h, w], class * label_divisor + instance.
    """

    image: npt.NDArray[np.uint8]
    panoptic: npt.NDArray[np.int32]


class Segments:
    """The classes of the labels of a map.

    Attributes:
        ids: uint32 [S], the labels, ascending; 0 is void and not among them.
        classes: int64 [S], class index of each.
        is_crowd: bool [S], whether each is a group of objects.
    """

    def __init__(self, path: str, descriptor: DatasetDescriptor):
        """Loads the table of a file.

        Args:
            path: The JSON file.
            descriptor: The data set, whose categories the table names.

        Raises:
            DataError: The file is no such table.
        """
        content = json_documents.load(path, "table of segments", _LAYOUT)
        rows: Any = content.get("segments") if isinstance(content, dict) else 0
        class_of = descriptor.class_of_category()
        found: dict[int, tuple[int, bool]] = {}
        try:
            for row in rows:
                number = json_values.read_integer(row["id"])
                if number in found:
                    raise errors.DataError(
                        f"{path} has the segment {number} twice. Remove one."
                    )
                if not 0 < number <= _LARGEST_ID:
                    raise errors.DataError(
                        f"{path} has a segment of the id {number}. Ids are 1 "
                        f"to {_LARGEST_ID}."
                    )
                category = json_values.read_integer(row["category_id"])
                if category not in class_of:
                    raise errors.DataError(
                        f"{path}: segment {number} has the category_id "
                        f"{category}, which the data set {descriptor.name!r} "
                        "does not have. Correct the table or the descriptor."
                    )
                is_crowd = json_values.read_flag(row.get("iscrowd"))
                found[number] = class_of[category], bool(is_crowd)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, errors.UserError):
                raise
            raise errors.DataError(
                f"{path} is no table of segments ({error!r}). {_LAYOUT}"
            ) from error
        order = sorted(found)
        self.ids = np.array(order, np.uint32)
        self.classes = np.array([found[n][0] for n in order], np.int64)
        self.is_crowd = np.array([found[n][1] for n in order], bool)


class LargeExample:
    """An open image with its label map.

    Attributes:
        height: Rows of pixels.
        width: Columns of pixels.
    """

    def __init__(
        self,
        entry: LargeEntry,
        descriptor: DatasetDescriptor,
        *,
        cache_bytes: int = opening.CACHE_BYTES,
        log: Any = lambda _: None,
    ):
        """Opens both files and compares their sizes.

        Args:
            entry: The files.
            descriptor: The data set of the labels.
            cache_bytes: Most bytes of decoded chunks, of each of both.
            log: Function that is called with sentences.

        Raises:
            DataError: A file cannot be used, or the sizes differ.
            InstallError: A package that reads them is not installed.
        """
        if not entry.labels:
            raise errors.DataError(
                f"The list of large images names no labels for {entry.image}. "
                'Add "labels": the path of its label map.'
            )
        self._descriptor = descriptor
        self._segments = None
        if entry.segments:
            self._segments = Segments(entry.segments, descriptor)
        self.image = opening.open_large(
            entry.image,
            value_range=entry.value_range,
            channels=entry.channels,
            cache_bytes=cache_bytes,
            log=log,
        )
        try:
            self.labels = opening.open_labels(
                entry.labels, cache_bytes=cache_bytes
            )
        except BaseException:
            self.image.close()
            raise
        self.height, self.width = self.image.height, self.image.width
        size = (self.labels.height, self.labels.width)
        if size != (self.height, self.width):
            self.close()
            raise errors.DataError(
                f"{entry.labels} has {size[0]} x {size[1]} pixels (height x "
                f"width), its image {entry.image} {self.height} x "
                f"{self.width}. Both must be equal."
            )

    @property
    def void_class(self) -> int:
        """Class of pixels without a label."""
        return self._descriptor.ignore_label

    @property
    def problems(self) -> list[str]:
        """A sentence for each damaged part that was met so far."""
        return [*self.image.problems, *self.labels.problems]

    def describe_damaged_labels(self) -> list[str]:
        """Returns sentences about damaged labels that were met so far."""
        named = self.labels.problems[:_MAX_NAMED]
        sentences = [f"{problem} Its pixels are void." for problem in named]
        more = len(self.labels.problems) - len(named)
        if more:
            sentences.append(
                f"{self.labels.path}: {more} more parts cannot be decoded. "
                "Their pixels are void."
            )
        return sentences

    def read(self, top: int, left: int, bottom: int, right: int) -> Example:
        """Reads a window, which lies within the image.

        Damaged parts and pixels without a value are void. Where the labels
        have a table, the things of each class are numbered from 1 in the
        window.

        Raises:
            DataError: A label has no class of the data set, or the window has
                more things of a class than panoptic ids can tell apart.
        """
        window = self.image.read(top, left, bottom, right)
        dataset = self._descriptor
        if self._segments is None:
            labels = self.read_labels(top, left, bottom, right)
        else:
            labels = self._number_anew(
                self.read_labels(top, left, bottom, right, WIDE_DIVISOR)
            )
        panoptic = labels.astype(np.int32)
        for box in window.damaged:
            panoptic[
                box.top - top : box.bottom - top,
                box.left - left : box.right - left,
            ] = dataset.void_id
        if window.void is not None:
            panoptic[window.void] = dataset.void_id
        return Example(window.image, panoptic)

    def _number_anew(
        self, labels: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Numbers the things of each class in a window from 1."""
        divisor = self._descriptor.label_divisor
        values, place = label_map.number_values(labels)
        classes, numbers = np.divmod(values, WIDE_DIVISOR)
        # The rank of each value among those of its class, which are sorted.
        is_numbered = numbers > 0
        count = np.cumsum(is_numbered)
        before = np.searchsorted(classes, classes)
        rank: npt.NDArray[np.int64] = count - (count - is_numbered)[before]
        if rank.max(initial=0) >= divisor:
            raise errors.DataError(
                f"A window of {labels.shape[0]} x {labels.shape[1]} pixels of "
                f"{self.labels.path} has {rank.max()} things of a class. The "
                f"label_divisor {divisor} of the data set "
                f"{self._descriptor.name!r} allows {divisor - 1}: enlarge it."
            )
        found = classes * divisor + np.where(is_numbered, rank, 0)
        return np.asarray(found[place].reshape(labels.shape))

    def read_labels(
        self,
        top: int,
        left: int,
        bottom: int,
        right: int,
        label_divisor: int | None = None,
    ) -> npt.NDArray[np.int64]:
        """Reads labels.

        Args:
            top: First row.
            left: First column.
            bottom: Row behind the last.
            right: Column behind the last.
            label_divisor: Divisor of the result; that of the data set when
                None, for which instances of a table may be too many.

        Returns:
            int64 [h, w], class * label_divisor + instance. Instances of a
            table are its ids, not numbered anew.
        """
        dataset = self._descriptor
        divisor = label_divisor or dataset.label_divisor
        found = self.labels.read(top, left, bottom, right)
        if self._segments is None:
            values = found.ids.astype(np.int64)
            classes = values // dataset.label_divisor
            self._check_classes(classes)
            result = classes * divisor + values % dataset.label_divisor
        else:
            result = self._find_classes(found.ids, divisor)
        for box in found.damaged:
            result[
                box.top - top : box.bottom - top,
                box.left - left : box.right - left,
            ] = dataset.ignore_label * divisor
        return result

    def _find_classes(
        self, ids_hw: npt.NDArray[np.uint32], divisor: int
    ) -> npt.NDArray[np.int64]:
        """Returns class * divisor + id, of stuff and crowds without the id."""
        assert self._segments is not None
        known, dataset = self._segments, self._descriptor
        values, place = label_map.number_values(ids_hw)
        row = np.searchsorted(known.ids, values.astype(np.uint32))
        row = np.minimum(row, max(len(known.ids) - 1, 0))
        is_known = np.zeros(len(values), bool)
        if len(known.ids):
            is_known = known.ids[row] == values
        unknown = values[~is_known & (values != 0)]
        if len(unknown):
            raise errors.DataError(
                f"{self.labels.path} has the label {unknown[0]}, which its "
                "table of segments does not list. Give the table of this map."
            )
        table = np.full(len(values), dataset.ignore_label * divisor)
        row = row[is_known]
        is_thing = np.isin(known.classes[row], dataset.thing_ids)
        is_thing &= ~known.is_crowd[row]
        table[is_known] = known.classes[row] * divisor + np.where(
            is_thing, values[is_known], 0
        )
        return np.asarray(table[place].reshape(ids_hw.shape))

    def close(self) -> None:
        """Closes both files."""
        self.image.close()
        self.labels.close()

    def _check_classes(self, classes: npt.NDArray[np.int64]) -> None:
        dataset = self._descriptor
        is_wrong = classes >= dataset.num_classes
        is_wrong &= classes != dataset.ignore_label
        if is_wrong.any():
            raise errors.DataError(
                f"{self.labels.path} has the class {classes[is_wrong][0]}. "
                f"Classes are 0..{dataset.num_classes - 1} and "
                f"{dataset.ignore_label} (void), and labels class * "
                f"{dataset.label_divisor} + instance. Correct the labels, or "
                'name the table of their classes: "segments".'
            )
