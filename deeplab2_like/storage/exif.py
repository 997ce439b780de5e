# SPDX-License-Identifier: Apache-2.0
"""The EXIF orientation of image files: found in the header, and applied.

Read are the EXIF segment of a JPEG, the chunk eXIf of a PNG before its pixels
and the chunk EXIF of a WEBP; Pillow reads the other kinds. What cannot be read
counts as no orientation. `exports.orientation` is the same in the graph.
"""

import dataclasses
import io
from collections.abc import Iterator
from typing import BinaryIO, Literal

import numpy as np
import numpy.typing as npt

JPEG_START = b"\xff\xd8"
PNG_START = b"\x89PNG\r\n\x1a\n"
TIFF_STARTS = (b"II*\0", b"MM\0*")
EXIF_START = b"Exif\0\0"
ORIENTATION_TAG = 0x0112
SHORT, LONG = 3, 4
# An entry of a TIFF directory: tag, type, count, value.
ENTRY_BYTES = 12
# Segments or chunks that are looked at: files have a few, and no file may keep
# a server busy.
MAX_PARTS = 64
_JPEG_SCAN, _JPEG_END, _JPEG_APP1 = 0xDA, 0xD9, 0xE1
# Markers of a frame header, with the size and the bits of the samples.
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}

# Orientations whose image is mirrored at its main diagonal, then upside down,
# then left to right.
TRANSPOSED = (5, 6, 7, 8)
FLIPPED_ROWS = (3, 4, 7, 8)
FLIPPED_COLUMNS = (2, 3, 6, 7)


@dataclasses.dataclass(frozen=True)
class JpegSegment:
    """A segment of a JPEG before its pixels.

    Attributes:
        marker: Kind of the segment.
        length: Bytes of its data.
    """

    marker: int
    length: int


def read_orientation(file: BinaryIO | bytes) -> int | None:
    """Reads the orientation in the header of a JPEG, PNG or WEBP.

    Args:
        file: A file opened for reading at its beginning, or its content.

    Returns:
        1..8, see `turn_upright`; 1, as stored, where there is none or where
        it cannot be read; None for other kinds of files.
    """
    stream = io.BytesIO(file) if isinstance(file, bytes) else file
    start = stream.read(12)
    stream.seek(0)
    if start.startswith(JPEG_START):
        block = _find_in_jpeg(stream)
    elif start.startswith(PNG_START):
        block = _find_in_png(stream)
    elif start[:4] == b"RIFF" and start[8:] == b"WEBP":
        block = _find_in_webp(stream)
    else:
        return None
    return parse_orientation(block)


def parse_orientation(block: bytes) -> int:
    """Reads the orientation in EXIF data, a TIFF header and its directory.

    Args:
        block: The data, from "II" or "MM" on.

    Returns:
        1..8; 1 where there is none or where it cannot be read.
    """
    if not block.startswith(TIFF_STARTS):
        return 1
    order: Literal["little", "big"] = "big"
    if block.startswith(b"II"):
        order = "little"

    def read(place: int, size: int) -> int:
        # Bytes beyond the end are 0.
        part = block[place : place + size].ljust(size, b"\0")
        return int.from_bytes(part, order)

    first = read(4, 4)
    last = min(first + 2 + ENTRY_BYTES * read(first, 2), len(block))
    for entry in range(first + 2, last, ENTRY_BYTES):
        if read(entry, 2) == ORIENTATION_TAG:
            kind, count = read(entry + 2, 2), read(entry + 4, 4)
            if kind not in (SHORT, LONG) or count != 1:
                return 1
            value = read(entry + 8, 2 if kind == SHORT else 4)
            return value if 1 <= value <= 8 else 1
    return 1


def find_jpeg_bits(data: bytes) -> int:
    """Returns the bits of a JPEG's samples; 8 where none are found."""
    stream = io.BytesIO(data)
    for segment in _list_jpeg_segments(stream):
        if segment.marker in _JPEG_FRAMES:
            return stream.read(1)[0] if segment.length else 8
    return 8


def _list_jpeg_segments(stream: BinaryIO) -> Iterator[JpegSegment]:
    """Lists the segments; the stream is at the data of each."""
    stream.seek(len(JPEG_START))
    for _ in range(MAX_PARTS):
        head = stream.read(4)
        if len(head) < 4 or head[0] != 0xFF:
            return
        if head[1] == 0xFF:  # Bytes of 0xFF may precede a marker.
            stream.seek(-3, io.SEEK_CUR)
            continue
        length = int.from_bytes(head[2:], "big") - 2
        if head[1] in (_JPEG_SCAN, _JPEG_END) or length < 0:
            return
        end = stream.tell() + length
        yield JpegSegment(head[1], length)
        stream.seek(end)


def _find_in_jpeg(stream: BinaryIO) -> bytes:
    for segment in _list_jpeg_segments(stream):
        if segment.marker == _JPEG_APP1:
            data = stream.read(segment.length)
            if data.startswith(EXIF_START):
                return data[len(EXIF_START) :]
    return b""


def _find_in_png(stream: BinaryIO) -> bytes:
    stream.seek(len(PNG_START))
    for _ in range(MAX_PARTS):
        head = stream.read(8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if len(head) < 8 or kind == b"IDAT":
            break
        if kind == b"eXIf":
            return stream.read(length)
        stream.seek(length + 4, io.SEEK_CUR)  # The checksum has 4 bytes.
    return b""


def _find_in_webp(stream: BinaryIO) -> bytes:
    stream.seek(12)
    for _ in range(MAX_PARTS):
        head = stream.read(8)
        if len(head) < 8:
            break
        length = int.from_bytes(head[4:], "little")
        if head[:4] == b"EXIF":
            return stream.read(length).removeprefix(EXIF_START)
        stream.seek(length + length % 2, io.SEEK_CUR)
    return b""


def turn_upright(
    pixels_hwc: npt.NDArray[np.uint8], orientation: int
) -> npt.NDArray[np.uint8]:
    """Turns stored pixels upright.

    Args:
        pixels_hwc: uint8 [H, W, C], as stored.
        orientation: 1 as stored, 2 mirrored left to right, 3 upside down, 4
            mirrored top to bottom; 5 to 8 are turned by 90 degrees.

    Returns:
        uint8 [H, W, C], or [W, H, C] for the orientations `TRANSPOSED`.
    """
    if orientation in TRANSPOSED:
        pixels_hwc = pixels_hwc.swapaxes(0, 1)
    if orientation in FLIPPED_ROWS:
        pixels_hwc = pixels_hwc[::-1]
    if orientation in FLIPPED_COLUMNS:
        pixels_hwc = pixels_hwc[:, ::-1]
    return np.ascontiguousarray(pixels_hwc)


def turn_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Returns the (height, width) of an image after `turn_upright`."""
    return size[::-1] if orientation in TRANSPOSED else size


def turn_back(
    pixels_hwc: npt.NDArray[np.uint8], orientation: int
) -> npt.NDArray[np.uint8]:
    """Undoes `turn_upright`."""
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    return turn_upright(pixels_hwc, inverse)
