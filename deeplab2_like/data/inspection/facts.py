# SPDX-License-Identifier: Apache-2.0
"""Measures one image and its label."""

import dataclasses
import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from deeplab2_like.labels import label_map

# The difference hash compares each pixel of a small gray image with the next
# one in its row.
_ROWS, _COLUMNS = 8, 9
# At least half of the pixels must differ by two gray values, or else the image
# is too even for its hash to say something.
_LEAST_STEP = 2
_LEAST_STEPS = 32


@dataclasses.dataclass(frozen=True)
class ImageFacts:
    """What one image and its label contain.

    Attributes:
        size: (height, width) in pixels.
        digest: Checksum of the content, 64 bits: of the decoded pixels, or of
            the file where pixels were not decoded.
        difference_hash: 64 bits that hardly change when an image is stored
            anew or made smaller; None where the image is too even, or was not
            decoded.
        is_uniform: Whether all pixels have one color.
        classes: int64 [N], class of each segment; None without a label.
        instances: int64 [N], instance number of each segment.
        areas: int64 [N], pixels of each segment.
        label_digest: Checksum of class, area and box of the segments, 64 bits;
            0 without a label.
        note: Sentence about what is left out; "" if nothing is.
        is_turned: Whether the file has an EXIF orientation.
    """

    size: tuple[int, int]
    digest: int
    difference_hash: int | None = None
    is_uniform: bool = False
    classes: npt.NDArray[np.int64] | None = None
    instances: npt.NDArray[np.int64] | None = None
    areas: npt.NDArray[np.int64] | None = None
    label_digest: int = 0
    note: str = ""
    is_turned: bool = False


def measure(
    image_hw3: npt.NDArray[np.uint8],
    panoptic_hw: npt.NDArray[Any] | None,
    label_divisor: int,
    *,
    note: str = "",
    is_turned: bool = False,
) -> ImageFacts:
    """Measures an image and its label.

    Args:
        image_hw3: uint8 [H, W, 3], RGB.
        panoptic_hw: Integers [H, W], class * label_divisor + instance; None
            without a label.
        label_divisor: That of the data set.
        note: See `ImageFacts`.
        is_turned: See `ImageFacts`.
    """
    classes = instances = areas = None
    label_digest = 0
    if panoptic_hw is not None:
        found = label_map.compute_segments(panoptic_hw)
        classes, instances = np.divmod(found.ids, label_divisor)
        areas = found.areas
        # Without instance numbers, which may be in any order.
        rows = np.column_stack([classes, instances > 0, areas, found.boxes])
        rows = rows[np.lexsort(rows.T)]
        label_digest = compute_digest(rows.tobytes(), "label")
    height, width = image_hw3.shape[:2]
    return ImageFacts(
        size=(height, width),
        digest=compute_digest(image_hw3.tobytes(), f"{height} x {width}"),
        difference_hash=compute_difference_hash(image_hw3),
        is_uniform=_is_uniform(image_hw3),
        classes=classes,
        instances=instances,
        areas=areas,
        label_digest=label_digest,
        note=note,
        is_turned=is_turned,
    )


def compute_digest(content: bytes, kind: str) -> int:
    """Computes a checksum of 64 bits.

    Args:
        content: A file, or pixels.
        kind: What makes equal bytes different contents, such as a size.
    """
    digest = hashlib.blake2b(kind.encode(), digest_size=8)
    digest.update(content)
    return int.from_bytes(digest.digest(), "big")


def compute_difference_hash(image_hw3: npt.NDArray[np.uint8]) -> int | None:
    """Computes the difference hash of an image.

    The image is made gray and 9 x 8 pixels small; each bit says whether a pixel
    is darker than the one to its right.

    Args:
        image_hw3: uint8 [H, W, 3], RGB.

    Returns:
        64 bits; None where fewer than half of the pairs differ by two gray
        values or more.
    """
    if 0 in image_hw3.shape:
        return None
    small = Image.fromarray(image_hw3).convert("L")
    small = small.resize(
        (_COLUMNS, _ROWS), Image.Resampling.BILINEAR, reducing_gap=4.0
    )
    steps = np.diff(np.asarray(small).astype(int), axis=1)
    if (np.abs(steps) >= _LEAST_STEP).sum() < _LEAST_STEPS:
        return None
    return int.from_bytes(np.packbits(steps > 0).tobytes(), "big")


def _is_uniform(image_hw3: npt.NDArray[np.uint8]) -> bool:
    if 0 in image_hw3.shape:
        return True
    first = image_hw3[0, 0]
    # Most images are known by a few of their pixels.
    if (image_hw3[:: max(1, len(image_hw3) // 8)] != first).any():
        return False
    return not (image_hw3 != first).any()
