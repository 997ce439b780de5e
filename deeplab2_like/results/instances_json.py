# SPDX-License-Identifier: Apache-2.0
"""Things of results as a COCO instances JSON with run lengths."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from deeplab2_like.labels import masks
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.results import coco_writer
from deeplab2_like.results.panoptic_result import PanopticResult
from deeplab2_like.storage import json_files


class InstancesJson:
    """The objects of images, for one JSON file.

    The file has `images`, `annotations` and `categories`, as annotation tools
    import them; each annotation has its `score`, so that the list
    `annotations` alone is what `COCO.loadRes` of pycocotools takes.
    """

    def __init__(self, descriptor: DatasetDescriptor):
        """Begins with no image.

        Args:
            descriptor: The data set.
        """
        self._categories = list_categories(descriptor)
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def add(
        self, result: PanopticResult, image_name: str, image_id: int | str
    ) -> None:
        """Adds the things of an image; crowds are left out.

        Args:
            result: The result at the size of the image.
            image_name: Path of the image below the folder of the images.
            image_id: Its id in the data set.
        """
        size = [result.height, result.width]
        self._images.append(
            {
                "id": image_id,
                "file_name": image_name,
                "height": size[0],
                "width": size[1],
            }
        )
        for info in result.segments_info:
            if not info["isthing"] or info["iscrowd"]:
                continue
            counts = masks.count_runs(result.mask(info["id"]))
            number = len(self._annotations) + 1
            self._annotations.append(
                make_annotation(number, image_id, info, size, counts)
            )

    def write(self, path: pathlib.Path) -> None:
        """Writes the file, completely or not at all."""
        json_files.write_json(
            path,
            {
                "images": self._images,
                "annotations": self._annotations,
                "categories": self._categories,
            },
        )


def list_categories(descriptor: DatasetDescriptor) -> list[dict[str, Any]]:
    """Returns the entries of `categories`: the things of a data set."""
    return [
        {"id": category["id"], "name": category["name"]}
        for category in coco_writer.make_categories(descriptor)
        if category["isthing"]
    ]


def make_annotation(
    number: int,
    image_id: int | str,
    info: Mapping[str, Any],
    size: list[int],
    counts: Sequence[int],
) -> dict[str, Any]:
    """Returns the entry of an object.

    Args:
        number: Id of the annotation, from 1.
        image_id: Id of the image.
        info: `category_id`, `area`, `bbox` ([x, y, width, height]) and `score`
            of the object.
        size: [height, width] of the image.
        counts: Run lengths of its mask.
    """
    return {
        "id": number,
        "image_id": image_id,
        "category_id": info["category_id"],
        "segmentation": {
            "size": size,
            "counts": masks.write_compressed_counts(counts),
        },
        "area": info["area"],
        "bbox": info["bbox"],
        "iscrowd": 0,
        "score": info["score"],
    }
