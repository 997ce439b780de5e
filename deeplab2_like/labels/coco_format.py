# SPDX-License-Identifier: Apache-2.0
"""COCO's panoptic format: a PNG an image and one JSON file.

A pixel's segment id is R + 256 * G + 65536 * B, 0 is void. The JSON file lists
the segments of each image with their categories
(https://cocodataset.org/#format-data, "Panoptic Segmentation"). Reading:
`load_segment_ids` and `load_annotations`. Writing: `results.coco_writer`.
"""

import os
import struct
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.labels import coco_json
from deeplab2_like.labels.coco_json_types import MAX_ID

_PNG_BIT_DEPTH_BYTE = 24
# What Pillow raises for damaged files.
_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
)
_LOSSY_FORMATS = ("JPEG", "MPO")
# Of fewer ids that are not listed, the cause is not known.
_FEW_IDS = 6


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
        with open(path, "rb") as stream:
            _check_depth(path, stream)
            return _decode_file(path, stream)
    except FileNotFoundError as error:
        raise errors.DataError(
            f"{path} does not exist. The JSON file names it: check the folder "
            "of the panoptic PNGs."
        ) from error
    except errors.DataError:
        raise
    except _DECODER_ERRORS as error:
        raise errors.DataError(
            f"{path} cannot be read as a picture ({error}). Write or download "
            "it again."
        ) from error


def _check_depth(path: str | os.PathLike[str], stream: IO[bytes]) -> None:
    """Checks that a PNG has 8 bits a channel; Pillow drops further ones."""
    header = stream.read(_PNG_BIT_DEPTH_BYTE + 1)
    stream.seek(0)
    if header.startswith(b"\x89PNG") and header.endswith(b"\x10"):
        raise errors.DataError(
            f"{path} has 16 bits a channel. A COCO-panoptic PNG has 8: segment "
            "id = R + 256 * G + 65536 * B."
        )


def _decode_file(
    path: str | os.PathLike[str], stream: IO[bytes]
) -> npt.NDArray[np.int32]:
    with Image.open(stream) as image:
        if image.format in _LOSSY_FORMATS:
            raise errors.DataError(
                f"{path} is a JPEG file. JPEG changes colors and so the ids of "
                "segments: write the labels anew as PNG, not from this file."
            )
        if image.mode not in ("RGB", "RGBA"):
            raise errors.DataError(
                f"{path} has the pixel format {image.mode}. A COCO-panoptic "
                "PNG is RGB, segment id = R + 256 * G + 65536 * B: this looks "
                "like another kind of label."
            )
        # Pillow's fourth byte is not part of the id.
        four_bytes = image.convert("RGB").tobytes("raw", "RGBX")
        ids = np.frombuffer(four_bytes, "<i4") & MAX_ID
        return ids.reshape(image.height, image.width)


def load_annotations(path: str | os.PathLike[str]) -> coco_json.PanopticJson:
    """Loads a COCO-panoptic JSON file, of a ground truth or of predictions.

    Raises:
        DataError: See `coco_json.load`; `images` and `categories` may be
            missing.
    """
    return coco_json.load(path, ["annotations"], ["images", "categories"])


def describe_unlisted_ids(
    path: str | os.PathLike[str], areas: Mapping[int, int], num_listed: int
) -> str:
    """Describes ids of a PNG that its JSON file does not list.

    Args:
        path: Path of the PNG.
        areas: Pixels of each of these ids; at least one.
        num_listed: Number of segments that the JSON file lists.

    Returns:
        A sentence without a full stop. Many small ones are the trace of a PNG
        that was a JPEG, or was resized or drawn with smooth borders.
    """
    if len(areas) < max(_FEW_IDS, num_listed):
        more = f", nor {len(areas) - 1} more ids" if len(areas) > 1 else ""
        first, area = next(iter(areas.items()))
        return (
            f"segment {first} ({area} pixels) is in the PNG but not in the "
            f"JSON{more}"
        )
    return (
        f"the PNG has {len(areas)} ids that the JSON does not list "
        f"({sum(areas.values())} pixels of {path}). It looks like it was saved "
        "as JPEG, or resized or drawn with smooth borders, which mixes ids: "
        "write it without loss (PNG), resize by nearest neighbor, and draw "
        "without anti-aliasing"
    )
