# SPDX-License-Identifier: Apache-2.0
"""Reads results from files in COCO's panoptic format."""

import os
import pathlib

from deeplab2_like import errors
from deeplab2_like.labels import coco_format, coco_json, image_ids
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.results.panoptic_result import PanopticResult


def make_descriptor(
    annotations: coco_json.PanopticJson,
) -> descriptor_lib.DatasetDescriptor:
    """Makes the descriptor of a data set from the categories of a file.

    Args:
        annotations: The file; categories without a kind are things.

    Raises:
        DataError: The file has no categories.
    """
    entries = list(annotations.categories.values())
    if not entries:
        raise errors.DataError(
            f"{annotations.path} has no `categories`, so the segments have no "
            "names. Give the ground truth's file as --truth_json."
        )
    is_thing = [entry.is_thing is not False for entry in entries]
    return descriptor_lib.DatasetDescriptor(
        name=annotations.path.stem,
        num_classes=len(entries),
        thing_ids=tuple(i for i, thing in enumerate(is_thing) if thing),
        stuff_ids=tuple(i for i, thing in enumerate(is_thing) if not thing),
        ignore_label=len(entries),
        label_divisor=1 << 16,
        class_names=tuple(entry.name or str(entry.id) for entry in entries),
        # The visualizer chooses colors for classes without one.
        colors=tuple(entry.color or () for entry in entries),  # type: ignore[misc]
        category_ids=tuple(entry.id for entry in entries),
    )


def load_result(
    image_id: int | str,
    annotations: coco_json.PanopticJson,
    folder: str | os.PathLike[str] | None,
    descriptor: descriptor_lib.DatasetDescriptor,
) -> PanopticResult:
    """Loads the result of an image.

    Args:
        image_id: Id of the image.
        annotations: The JSON file.
        folder: Folder of its PNGs; the path of the file without ".json" when
            None or empty.
        descriptor: The data set.

    Raises:
        DataError: The file does not have the image, or its PNG cannot be used.
    """
    found = image_ids.IdIndex(annotations.annotations).find(image_id)
    if found is None:
        raise errors.DataError(
            f"{annotations.path} has no annotation of image {image_id}. Ids "
            "of images must be the same in both files."
        )
    annotation = annotations.annotations[found]
    root = pathlib.Path(folder or annotations.path.with_suffix(""))
    ids_hw = coco_format.load_segment_ids(root / annotation.file_name)
    return PanopticResult.from_coco(ids_hw, annotation, descriptor)
