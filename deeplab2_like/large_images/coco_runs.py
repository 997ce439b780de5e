# SPDX-License-Identifier: Apache-2.0
"""Objects as COCO instances JSON with run lengths.

Run lengths have the pixels exactly; COCO's polygons know no holes.
"""

from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.large_images import outlines
from deeplab2_like.results import instances_json
from deeplab2_like.storage import json_files


class CocoRunsWriter:
    """Writes the file of one image, object by object."""

    def __init__(
        self,
        file: IO[str],
        descriptor: DatasetDescriptor,
        image_name: str,
        size: tuple[int, int],
    ):
        """Begins the file.

        Args:
            file: The open file.
            descriptor: The data set of the model.
            image_name: Name of the image, whose id is 1.
            size: Its (height, width).
        """
        self._file, self._size = file, list(size)
        self._count = 0
        image = {
            "id": 1,
            "file_name": image_name,
            "height": size[0],
            "width": size[1],
        }
        file.write('{"images": [' + json_files.to_line(image) + "],\n")
        file.write('"categories": ')
        file.write(
            json_files.to_line(instances_json.list_categories(descriptor))
        )
        file.write(',\n"annotations": [')

    def add(
        self,
        info: Mapping[str, Any],
        parts: Sequence[npt.NDArray[np.int64]],
    ) -> None:
        """Writes an object.

        Args:
            info: The segment, see `segment_table.describe_segments`.
            parts: See `outlines.count_runs`.
        """
        counts = outlines.count_runs(parts)
        rest = self._size[0] * self._size[1] - sum(counts)
        if rest:
            counts.append(rest)
        self._file.write(",\n" if self._count else "\n")
        self._count += 1
        entry = instances_json.make_annotation(
            self._count, 1, info, self._size, counts
        )
        entry["segment_id"] = info["id"]
        self._file.write(json_files.plain_to_line(entry))

    def close(self) -> None:
        """Ends the file."""
        self._file.write("\n]}\n")
