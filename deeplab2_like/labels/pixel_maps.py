# SPDX-License-Identifier: Apache-2.0
"""Reads label images: grey of 8 or 16 bits, palettes, colors, four channels.

The number of a pixel is its grey value, the index into the palette, or
R + 256 * G + 65536 * B (+ 2**24 * A) of its color.
"""

import dataclasses
import enum
import io
import os
import pathlib

import numpy as np
import numpy.typing as npt
from PIL import Image

from deeplab2_like import errors

_LOSSY = ("JPEG", "MPO", "WEBP", "AVIF", "HEIF")
_PNG_START = b"\x89PNG"
_PNG_BIT_DEPTH_BYTE, _PNG_COLOR_BYTE = 24, 25
_PNG_HAS_COLOR = 2
_CHANNELS = {"RGB": 3, "RGBA": 4}


class Kind(enum.Enum):
    """How the pixels of a label image are stored."""

    GREY = "grey values"
    PALETTE = "indices into a palette"
    COLOR = "colors"
    FOUR_CHANNELS = "colors with a fourth channel"


@dataclasses.dataclass(frozen=True, eq=False)
class PixelMap:
    """A label image.

    Attributes:
        values: int64 [H, W], the number of each pixel.
        kind: How they are stored.
        palette: uint8 [N, 3], colors of a palette; None for other kinds.
    """

    values: npt.NDArray[np.int64]
    kind: Kind
    palette: npt.NDArray[np.uint8] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        height, width = self.values.shape
        return height, width

    def to_colors(self) -> npt.NDArray[np.int64]:
        """Returns R + 256 * G + 65536 * B of each pixel: int64 [H, W]."""
        if self.kind is Kind.GREY:
            return self.values * (1 + 256 + 65536)
        if self.palette is None:
            return self.values & 0xFFFFFF
        table = np.zeros((256, 3), np.int64)
        table[: len(self.palette)] = self.palette
        return (table @ np.array([1, 256, 65536]))[self.values]


def encode_color(color: tuple[int, int, int]) -> int:
    """Returns R + 256 * G + 65536 * B."""
    red, green, blue = color
    return red + 256 * green + 65536 * blue


def decode_color(value: int) -> tuple[int, int, int]:
    """Returns (R, G, B) of a number."""
    return value & 255, value >> 8 & 255, value >> 16 & 255


def load(path: str | os.PathLike[str]) -> PixelMap:
    """Loads a label image.

    Args:
        path: The file: PNG, or another kind without loss.

    Raises:
        errors.DataError: The file is missing, damaged, of a kind that changes
            colors, or has colors of more than 8 bits a channel.
    """
    try:
        data = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise errors.DataError(
            f"The label {path} cannot be read "
            f"({error.strerror or 'no file'}). Check its folder."
        ) from error
    if (
        data.startswith(_PNG_START)
        and len(data) > _PNG_COLOR_BYTE
        and data[_PNG_BIT_DEPTH_BYTE] > 8
        and data[_PNG_COLOR_BYTE] & _PNG_HAS_COLOR
    ):
        raise errors.DataError(
            f"The label {path} has colors of 16 bits a channel. Write colors "
            "of 8 bits, or grey values of 16."
        )
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.format in _LOSSY:
                raise errors.DataError(
                    f"The label {path} is of the kind {image.format}, which "
                    "changes colors and so the classes. Write the labels anew "
                    "as PNG, not from this file."
                )
            return _read_pixels(image, path)
    except errors.DataError:
        raise
    except Exception as error:  # Decoders raise a dozen kinds.
        raise errors.DataError(
            f"The label {path} cannot be read as a picture "
            f"({len(data)} bytes). Write or download it again."
        ) from error


def _read_pixels(image: Image.Image, path: str | os.PathLike[str]) -> PixelMap:
    mode = image.mode
    if mode in _CHANNELS:
        channels = np.asarray(image).astype(np.int64)
        factors = 256 ** np.arange(_CHANNELS[mode])
        kind = Kind.COLOR if mode == "RGB" else Kind.FOUR_CHANNELS
        return PixelMap(channels @ factors, kind)
    if mode == "P":
        colors = np.array(image.getpalette("RGB") or [], np.uint8)
        indices = np.asarray(image).astype(np.int64)
        return PixelMap(indices, Kind.PALETTE, colors.reshape(-1, 3))
    if mode == "LA":
        image = image.getchannel("L")
    elif mode not in ("1", "L", "I", "I;16", "I;16B", "I;16L"):
        raise errors.DataError(
            f"The label {path} has the pixel format {mode}. It must be grey, "
            "a palette, RGB or RGBA."
        )
    return PixelMap(np.asarray(image).astype(np.int64), Kind.GREY)
