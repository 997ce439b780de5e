# SPDX-License-Identifier: Apache-2.0
r"""Draws the labels or predictions of COCO-panoptic files.

    python -m deeplab2_like.visualize.coco_main --panoptic_json=out/pred.json \
        --image_folder=images --output_folder=pictures

writes a picture with a legend for each image. With --truth_json each picture
contains image, ground truth, prediction and difference.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from absl import flags
from PIL import Image, UnidentifiedImageError

from deeplab2_like import errors
from deeplab2_like.console import program
from deeplab2_like.labels import coco_format
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.results.panoptic_result import PanopticResult
from deeplab2_like.visualize import visualizer

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()

_PANOPTIC_JSON = flags.DEFINE_string(
    "panoptic_json",
    None,
    "COCO-panoptic JSON file of labels or predictions.",
    flag_values=_FLAGS,
)
_PANOPTIC_FOLDER = flags.DEFINE_string(
    "panoptic_folder",
    None,
    "Folder of its PNGs. Default: the path of --panoptic_json without .json.",
    flag_values=_FLAGS,
)
_IMAGE_FOLDER = flags.DEFINE_string(
    "image_folder", None, "Folder of the images.", flag_values=_FLAGS
)
_OUTPUT_FOLDER = flags.DEFINE_string(
    "output_folder",
    None,
    "Folder of the pictures; created if it does not exist.",
    flag_values=_FLAGS,
)
_TRUTH_JSON = flags.DEFINE_string(
    "truth_json",
    None,
    "COCO-panoptic JSON file of the ground truth.",
    flag_values=_FLAGS,
)
_TRUTH_FOLDER = flags.DEFINE_string(
    "truth_folder",
    None,
    "Folder of its PNGs. Default: the path of --truth_json without .json.",
    flag_values=_FLAGS,
)
_MAX_IMAGES = flags.DEFINE_integer(
    "max_images",
    None,
    "Number of images to draw, the first ones; all by default.",
    lower_bound=1,
    flag_values=_FLAGS,
)


def _main(arguments: Sequence[str]) -> None:
    program.refuse_arguments(arguments)
    panoptic_json = program.require(
        _PANOPTIC_JSON, "a COCO-panoptic file", "out/panoptic.json"
    )
    program.require(_IMAGE_FOLDER, "the folder of the images", "images")
    folder = pathlib.Path(
        program.require(_OUTPUT_FOLDER, "the folder to write", "pictures")
    )
    predicted = coco_format.load_annotations(panoptic_json)
    truth = None
    if _TRUTH_JSON.value:
        truth = coco_format.load_annotations(_TRUTH_JSON.value)
    descriptor = make_descriptor(truth or predicted)
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for image_id in list(predicted.annotations)[: _MAX_IMAGES.value]:
        image_hw3 = _load_image(image_id, predicted, truth)
        result = _load_result(
            image_id, predicted, _PANOPTIC_FOLDER.value, descriptor
        )
        if truth is None:
            picture = visualizer.visualize(image_hw3, result, descriptor)
        else:
            picture = visualizer.visualize_comparison(
                image_hw3,
                _load_result(image_id, truth, _TRUTH_FOLDER.value, descriptor),
                result,
                descriptor,
            )
        name = predicted.annotations[image_id]["file_name"]
        Image.fromarray(picture).save(folder / f"{pathlib.Path(name).stem}.png")
        count += 1
    print(f"{count} pictures are in {folder}")


def make_descriptor(
    annotations: coco_format.CocoAnnotations,
) -> descriptor_lib.DatasetDescriptor:
    """Makes the descriptor of a data set from the categories of a file.

    Raises:
        DataError: The file has no categories.
    """
    entries = list(annotations.categories.values())
    if not entries:
        raise errors.DataError(
            f"{annotations.path} has no `categories`, so the segments have no "
            "names. Give the ground truth's file as --truth_json."
        )
    is_thing = [bool(entry.get("isthing", 1)) for entry in entries]
    return descriptor_lib.DatasetDescriptor(
        name=annotations.path.stem,
        num_classes=len(entries),
        thing_ids=tuple(i for i, thing in enumerate(is_thing) if thing),
        stuff_ids=tuple(i for i, thing in enumerate(is_thing) if not thing),
        ignore_label=len(entries),
        label_divisor=1 << 16,
        class_names=tuple(
            str(entry.get("name", entry["id"])) for entry in entries
        ),
        # The visualizer chooses colors for classes without one.
        colors=tuple(tuple(entry.get("color", ())) for entry in entries),
        category_ids=tuple(entry["id"] for entry in entries),
    )


def _load_result(
    image_id: int | str,
    annotations: coco_format.CocoAnnotations,
    folder: str | None,
    descriptor: descriptor_lib.DatasetDescriptor,
) -> PanopticResult:
    if image_id not in annotations.annotations:
        raise errors.DataError(
            f"{annotations.path} has no annotation of image {image_id}. Ids "
            "of images must be the same in both files."
        )
    annotation = annotations.annotations[image_id]
    root = pathlib.Path(folder or annotations.path.with_suffix(""))
    ids_hw = coco_format.load_segment_ids(root / annotation["file_name"])
    return PanopticResult.from_coco(ids_hw, annotation, descriptor)


def _load_image(
    image_id: int | str,
    predicted: coco_format.CocoAnnotations,
    truth: coco_format.CocoAnnotations | None,
) -> npt.NDArray[np.uint8]:
    entry: dict[str, Any] | None = predicted.images.get(image_id)
    if entry is None and truth is not None:
        entry = truth.images.get(image_id)
    if entry is None:
        raise errors.DataError(
            f"{predicted.path} does not list the file of image {image_id}. "
            "Give the ground truth's file, which has `images`, as "
            "--truth_json."
        )
    path = pathlib.Path(_IMAGE_FOLDER.value, entry["file_name"])
    try:
        with Image.open(path) as image:
            return np.array(image.convert("RGB"))
    except (FileNotFoundError, UnidentifiedImageError) as error:
        raise errors.DataError(
            f"Image {image_id}: {path} does not exist or is not a picture. "
            "Check --image_folder."
        ) from error


def cli() -> None:
    """Draws pictures of COCO-panoptic files."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
