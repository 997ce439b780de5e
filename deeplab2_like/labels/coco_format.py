# SPDX-License-Identifier: Apache-2.0
"""COCO's panoptic format: a PNG an image and one JSON file.

A pixel's segment id is R + 256 * G + 65536 * B, 0 is void. The JSON file lists
the segments of each image with their categories
(https://cocodataset.org/#format-data, "Panoptic Segmentation"). Reading:
`load_segment_ids` and `load_annotations`. Writing: `results.coco_writer`.
"""

import dataclasses
import json
import os
import pathlib
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from deeplab2_like import errors

# Ids have three bytes.
MAX_ID = 2**24 - 1


def encode_ids(ids_hw: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Encodes segment ids as colours: uint8 [H, W, 3].

    Args:
        ids_hw: Integers [H, W] in 0..2**24-1.

    Raises:
        DataError: An id needs more than three bytes or is negative.
    """
    ids_hw = np.asarray(ids_hw)
    if ids_hw.size and not 0 <= ids_hw.min() <= ids_hw.max() <= MAX_ID:
        raise errors.DataError(
            f"Segment ids {ids_hw.min()}..{ids_hw.max()} do not fit into a "
            f"COCO-panoptic PNG. Ids are 0..{MAX_ID}: number the segments anew."
        )
    bytes_hwn = np.ascontiguousarray(ids_hw, "<u4").view(np.uint8)
    return bytes_hwn.reshape(*ids_hw.shape, 4)[..., :3].copy()


def decode_ids(rgb_hw3: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """Decodes the colours of a panoptic PNG into segment ids: int32 [H, W].

    Args:
        rgb_hw3: uint8 [H, W, 3].
    """
    height, width, _ = rgb_hw3.shape
    bytes_hw4 = np.zeros((height, width, 4), np.uint8)
    bytes_hw4[..., :3] = rgb_hw3
    return bytes_hw4.view("<i4").reshape(height, width)


def load_segment_ids(path: str | os.PathLike[str]) -> npt.NDArray[np.int32]:
    """Loads the segment ids of a panoptic PNG: int32 [H, W], 0 is void.

    Raises:
        DataError: The file is missing, damaged, or no RGB picture.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in ("RGB", "RGBA"):
                raise errors.DataError(
                    f"{path} has the pixel format {image.mode}. A "
                    "COCO-panoptic PNG is RGB, segment id = R + 256 * G + "
                    "65536 * B: this looks like another kind of label."
                )
            # Pillow's fourth byte is not part of the id.
            four_bytes = image.convert("RGB").tobytes("raw", "RGBX")
            ids = np.frombuffer(four_bytes, "<i4") & MAX_ID
            return ids.reshape(image.height, image.width)
    except FileNotFoundError as error:
        raise errors.DataError(
            f"{path} does not exist. The JSON file names it: check the folder "
            "of the panoptic PNGs."
        ) from error
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise errors.DataError(
            f"{path} cannot be read as a picture ({error}). Write or download "
            "it again."
        ) from error


@dataclasses.dataclass(frozen=True)
class CocoAnnotations:
    """The content of a COCO-panoptic JSON file.

    Attributes:
        path: The file.
        images: Entry of each image by image id; empty when the file has none.
        annotations: Entry of each annotated image by image id, in file order.
        categories: Entry of each category by category id, in file order;
            empty when the file has none (files of predictions).
    """

    path: pathlib.Path
    images: dict[int | str, dict[str, Any]]
    annotations: dict[int | str, dict[str, Any]]
    categories: dict[int, dict[str, Any]]


def load_annotations(path: str | os.PathLike[str]) -> CocoAnnotations:
    """Loads a COCO-panoptic JSON file, of a ground truth or of predictions.

    Raises:
        DataError: The file is missing, is not JSON, is JSON of another kind,
            or lists an image twice.
    """
    path = pathlib.Path(path)
    content = _load_json(path)
    if not isinstance(content, dict) or not isinstance(
        content.get("annotations"), list
    ):
        raise errors.DataError(
            f"{path} has no list `annotations`. A COCO-panoptic file is an "
            "object with `annotations` and, for a ground truth, `images` and "
            "`categories`."
        )
    annotations: dict[int | str, dict[str, Any]] = {}
    for number, annotation in enumerate(content["annotations"]):
        _check_annotation(path, number, annotation)
        image_id = annotation["image_id"]
        if image_id in annotations:
            raise errors.DataError(
                f"{path} annotates image {image_id} twice. Each image has one "
                "entry with all of its segments: remove one of them."
            )
        annotations[image_id] = annotation
    return CocoAnnotations(
        path,
        {image["id"]: image for image in content.get("images", [])},
        annotations,
        {entry["id"]: entry for entry in content.get("categories", [])},
    )


def _load_json(path: pathlib.Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise errors.DataError(
            f"{path} does not exist. Give the COCO-panoptic JSON file."
        ) from error
    except UnicodeDecodeError as error:
        raise errors.DataError(
            f"{path} is not a text file. Give the COCO-panoptic JSON file."
        ) from error
    except json.JSONDecodeError as error:
        raise errors.DataError(
            f"{path}:{error.lineno}:{error.colno}: not JSON ({error.msg}). "
            "Write or download the file again."
        ) from error


def _check_annotation(
    path: pathlib.Path, number: int, annotation: dict[str, Any]
) -> None:
    keys = ("image_id", "file_name", "segments_info")
    missing = [key for key in keys if key not in annotation]
    if not missing:
        return
    if "segmentation" in annotation or "bbox" in annotation:
        raise errors.DataError(
            f"{path} is COCO *instances* JSON (annotations[{number}] has one "
            "object). Panoptic files have one annotation an image, with "
            "`segments_info`: take the panoptic_*.json of the data set."
        )
    raise errors.DataError(
        f"{path}: annotations[{number}] lacks {', '.join(missing)}. Each "
        f"annotation of a COCO-panoptic file has {', '.join(keys)}."
    )
