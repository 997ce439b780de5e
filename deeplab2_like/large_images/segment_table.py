# SPDX-License-Identifier: Apache-2.0
"""Tables of segments as JSON and Parquet files."""

import dataclasses
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.large_images.result import Segments
from deeplab2_like.results import coco_writer
from deeplab2_like.storage import json_files, optional_packages, whole_files

_ROWS = 1 << 16


def describe_segments(
    segments: Segments, descriptor: DatasetDescriptor
) -> Iterator[dict[str, Any]]:
    """Yields what is known of each segment, by the keys of COCO's panoptic.

    Args:
        segments: The table.
        descriptor: The data set of the model.

    Yields:
        `id`, `category_id` of the data set, `isthing` (0 or 1), `area`, `bbox`
        ([x, y, width, height]) and `score`, of JSON's types.
    """
    category_ids = np.array(descriptor.category_ids, np.int64)
    for start in range(0, len(segments), _ROWS):
        part = slice(start, start + _ROWS)
        top, left, bottom, right = segments.bbox[part].T
        boxes = np.stack([left, top, right - left, bottom - top], axis=-1)
        columns = (
            segments.id[part].tolist(),
            category_ids[segments.category[part]].tolist(),
            segments.is_thing[part].astype(int).tolist(),
            segments.area[part].tolist(),
            boxes.tolist(),
            np.nan_to_num(segments.score[part]).astype(float).tolist(),
        )
        for number, category, is_thing, area, box, score in zip(
            *columns, strict=True
        ):
            yield {
                "id": number,
                "category_id": category,
                "isthing": is_thing,
                "area": area,
                "bbox": box,
                # Eight digits say all of a float32, fewer than of a float64.
                "score": float(f"{score:.8g}"),
            }


class SegmentLookup:
    """What `describe_segments` yields, by id, without keeping all of it."""

    def __init__(self, segments: Segments, descriptor: DatasetDescriptor):
        """Stores the table.

        Args:
            segments: The table.
            descriptor: The data set of the model.
        """
        self._segments, self._descriptor = segments, descriptor
        self._row = np.full(int(segments.id.max(initial=0)) + 1, -1)
        self._row[segments.id] = np.arange(len(segments))

    def find(self, number: int) -> dict[str, Any]:
        """Returns what is known of a segment."""
        rows = slice(self._row[number], self._row[number] + 1)
        one = Segments(
            **{
                field.name: getattr(self._segments, field.name)[rows]
                for field in dataclasses.fields(Segments)
            }
        )
        return next(describe_segments(one, self._descriptor))

    def is_thing(self, ids: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
        """Returns which of some ids are things."""
        return np.asarray(self._segments.is_thing[self._row[ids]])


def write_json_table(
    path: str | os.PathLike[str],
    segments: Segments,
    descriptor: DatasetDescriptor,
    size: tuple[int, int],
    image_name: str,
) -> None:
    """Writes the table as JSON, a segment in each line.

    Args:
        path: Path of the file, in an existing folder.
        segments: The table.
        descriptor: The data set of the model.
        size: (height, width) of the image.
        image_name: Its name.
    """
    with whole_files.open_whole(path, "w") as file:
        file.write('{"image": ')
        file.write(
            json_files.to_line(
                {"file_name": image_name, "height": size[0], "width": size[1]}
            )
        )
        file.write(',\n"categories": ')
        file.write(json_files.to_line(coco_writer.make_categories(descriptor)))
        file.write(',\n"segments": [')
        separator = "\n"
        for entry in describe_segments(segments, descriptor):
            file.write(separator + json_files.plain_to_line(entry))
            separator = ",\n"
        file.write("\n]}\n")


def load_pyarrow() -> Any:
    """Imports pyarrow; raises `InstallError`."""
    return optional_packages.load("pyarrow", "Parquet files", "parquet")


def write_parquet_table(
    path: str | os.PathLike[str],
    segments: Segments,
    descriptor: DatasetDescriptor,
) -> None:
    """Writes the table as a Parquet file, completely or not at all.

    Its columns are id (uint32), category_id (int32), category_name, is_thing,
    area (int64), top, left, bottom and right (int64, pixels; the last two are
    one behind the segment), and score (float32).

    Args:
        path: Path of the file, in an existing folder.
        segments: The table.
        descriptor: The data set of the model.

    Raises:
        InstallError: pyarrow is not installed.
    """
    arrow = load_pyarrow()
    parquet = optional_packages.load("pyarrow.parquet", "Tables", "parquet")
    category_ids = np.array(descriptor.category_ids, np.int32)
    top, left, bottom, right = segments.bbox.T
    table = arrow.table(
        {
            "id": segments.id.astype(np.uint32),
            "category_id": category_ids[segments.category],
            "category_name": arrow.DictionaryArray.from_arrays(
                arrow.array(segments.category.astype(np.int32)),
                arrow.array(list(descriptor.class_names), arrow.string()),
            ),
            "is_thing": segments.is_thing,
            "area": segments.area,
            "top": np.ascontiguousarray(top),
            "left": np.ascontiguousarray(left),
            "bottom": np.ascontiguousarray(bottom),
            "right": np.ascontiguousarray(right),
            "score": segments.score.astype(np.float32),
        }
    )
    with whole_files.open_whole(path) as file:
        parquet.write_table(table, file, row_group_size=_ROWS)
