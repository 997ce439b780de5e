# SPDX-License-Identifier: Apache-2.0
r"""Draws the labels or predictions of COCO-panoptic files.

    deeplab2-draw --panoptic_json=out/panoptic.json --panoptic_folder=out \
        --image_folder=images --output_folder=pictures

writes a picture with a legend for each image. With --truth_json each picture
contains image, ground truth, prediction and difference.
"""

import pathlib
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from absl import flags
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.console import path_flags, program
from deeplab2_like.labels import coco_format, coco_json, image_ids
from deeplab2_like.results import coco_reader
from deeplab2_like.results.panoptic_result import PanopticResult
from deeplab2_like.storage import (
    exif_convention,
    image_decoding,
    image_files,
)
from deeplab2_like.visualize import visualizer

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()

_PANOPTIC_JSON = path_flags.define(
    "panoptic_json",
    None,
    "COCO-panoptic JSON file of labels or predictions. Required.",
    flag_values=_FLAGS,
)
_PANOPTIC_FOLDER = path_flags.define(
    "panoptic_folder",
    None,
    "Folder of its PNGs. Default: the path of --panoptic_json without .json.",
    flag_values=_FLAGS,
)
_IMAGE_FOLDER = path_flags.define(
    "image_folder", None, "Folder of the images. Required.", flag_values=_FLAGS
)
_OUTPUT_FOLDER = path_flags.define(
    "output_folder",
    None,
    "Folder of the pictures; created if it does not exist. Required.",
    flag_values=_FLAGS,
)
_TRUTH_JSON = path_flags.define(
    "truth_json",
    None,
    "COCO-panoptic JSON file of the ground truth.",
    flag_values=_FLAGS,
)
_TRUTH_FOLDER = path_flags.define(
    "truth_folder",
    None,
    "Folder of its PNGs. Default: the path of --truth_json without .json.",
    flag_values=_FLAGS,
)
_EXIF = flags.DEFINE_enum(
    "exif",
    exif_convention.AUTO,
    exif_convention.RULES,
    "On which pixels labels were drawn: on photos turned upright as their EXIF "
    "orientation says (apply), or on those that the file stores (ignore). "
    "Where the size of a label shows it, the size decides; auto: it decides "
    "for the other photos, too.",
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
    for warning in (*predicted.warnings, *(truth.warnings if truth else ())):
        _warn(warning)
    descriptor = coco_reader.make_descriptor(truth or predicted)
    folder.mkdir(parents=True, exist_ok=True)
    paths = _find_images(predicted, truth)
    prefers_upright = exif_convention.prefers_upright(
        _list_photos(paths, predicted, truth), _EXIF.value, _warn
    )
    # Images of other folders or with other extensions are other images.
    names = image_files.name_uniquely(
        entry.file_name for entry in predicted.annotations.values()
    )
    count = 0
    drawn_ids = list(predicted.annotations)[: _MAX_IMAGES.value]
    for image_id, name in zip(drawn_ids, names, strict=False):
        if image_id not in paths:
            raise errors.DataError(
                f"{predicted.path} does not list the file of image {image_id}. "
                "Give the ground truth's file, which has `images`, as "
                "--truth_json."
            )
        result = coco_reader.load_result(
            image_id, predicted, _PANOPTIC_FOLDER.value, descriptor
        )
        drawn = result
        if truth is not None:
            drawn = coco_reader.load_result(
                image_id, truth, _TRUTH_FOLDER.value, descriptor
            )
        image_hw3 = _load_image(
            image_id, paths[image_id], drawn, prefers_upright
        )
        if truth is None:
            picture = visualizer.visualize(image_hw3, result, descriptor)
        else:
            picture = visualizer.visualize_comparison(
                image_hw3, drawn, result, descriptor
            )
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
        count += 1
    print(f"{count} pictures are in {folder}")


def _find_images(
    predicted: coco_json.PanopticJson, truth: coco_json.PanopticJson | None
) -> dict[int | str, pathlib.Path]:
    """Returns the path of the image of each annotation that has one."""
    folder = pathlib.Path(_IMAGE_FOLDER.value)
    index = image_ids.IdIndex(truth.images if truth else ())
    paths: dict[int | str, pathlib.Path] = {}
    for image_id in predicted.annotations:
        entry = predicted.images.get(image_id)
        found = index.find(image_id)
        if entry is None and truth is not None and found is not None:
            entry = truth.images[found]
        if entry is not None:
            name = image_ids.find_photo(folder, entry.file_name)
            paths[image_id] = folder / name
    return paths


def _list_photos(
    paths: Mapping[int | str, pathlib.Path],
    predicted: coco_json.PanopticJson,
    truth: coco_json.PanopticJson | None,
) -> list[exif_convention.Photo]:
    """Lists the images with the labels that they are drawn with."""
    labels = truth or predicted
    folder = _TRUTH_FOLDER.value if truth else _PANOPTIC_FOLDER.value
    root = pathlib.Path(folder or labels.path.with_suffix(""))
    index = image_ids.IdIndex(labels.annotations)
    photos = []
    for image_id, path in paths.items():
        found = index.find(image_id)
        if found is not None:
            label = root / labels.annotations[found].file_name
            photos.append(
                exif_convention.Photo(path.name, str(path), str(label))
            )
    return photos


def _load_image(
    image_id: int | str,
    path: pathlib.Path,
    drawn: PanopticResult,
    prefers_upright: bool,
) -> npt.NDArray[np.uint8]:
    """Loads the image of a result, turned upright where that is."""
    try:
        content = image_files.read_file(path)
    except errors.DataError as error:
        raise errors.DataError(
            f"Image {image_id}: {error} Check --image_folder."
        ) from error
    image = image_decoding.open_image(content, str(path))
    if image.note:
        _warn(image.note)
    upright = exif_convention.is_upright(
        image, (drawn.height, drawn.width), prefers_upright
    )
    return image.decode(upright=upright)


def _warn(sentence: str) -> None:
    print(f"Warning: {sentence}", file=sys.stderr)


def cli() -> None:
    """Draws COCO-panoptic files (console command deeplab2-draw)."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
