# SPDX-License-Identifier: Apache-2.0
"""Images that are decoded as a whole: PNG, JPEG and others."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.rasters.chunks import Chunks, Decoded
from deeplab2_like.storage import any_files, image_files

# Pillow refuses files of more pixels than these, which may be made to fill
# the memory.
MAX_PIXELS = 178_956_970
_PNG = b"\x89PNG\r\n\x1a\n"
_HEADER = 33
_BIT_DEPTH = 24
_DEEP = 16


class PlainChunks(Chunks):
    """An image file, decoded when it is opened."""

    def __init__(
        self,
        path: str,
        *,
        upright: bool = True,
        log: Callable[[str], None] = lambda _: None,
    ):
        """Decodes the file, to the values that programs without tiles see.

        PNG files of 16 bits, which those refuse, are read with all bits.

        Args:
            path: Path of the file.
            upright: Whether the EXIF orientation is applied.
            log: See `image_files.load_image`.

        Raises:
            DataError: It is missing, damaged, too large or no image.
        """
        self.path = path
        self._values = _load(path, upright, log)
        self.height, self.width, self.channels = self._values.shape
        self.dtype = self._values.dtype
        self.chunk = (self.height, self.width)
        self.chunk_channels = self.channels

    def check(self) -> None:
        """Checks nothing: the image is decoded."""

    def decode(
        self, box: tuple[int, int, int, int], channels: Sequence[int]
    ) -> Decoded:
        """Returns the image; see `Chunks.decode`."""
        top, left, bottom, right = box
        return Decoded(self._values[top:bottom, left:right, list(channels)])

    def close(self) -> None:
        """Does nothing."""


def _load(
    path: str, upright: bool, log: Callable[[str], None]
) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    if not _is_deep_png(path):
        return image_files.load_image(
            path, MAX_PIXELS, upright=upright, warn=log
        )
    data = image_files.read_file(path)
    width, height = np.frombuffer(data, ">u4", 2, 16).tolist()
    if width * height > MAX_PIXELS:
        raise errors.DataError(
            f"{path} has {width} x {height} pixels; the limit of a PNG is "
            f"{MAX_PIXELS} in all. Save it as a tiled TIFF."
        )
    import tensorflow as tf

    try:
        found = tf.io.decode_png(data, dtype=tf.uint16).numpy()
    except tf.errors.InvalidArgumentError as error:
        raise errors.DataError(
            f"{path} is damaged or incomplete: it begins as a PNG of {width} x "
            f"{height} pixels but cannot be decoded. Copy or save it again."
        ) from error
    # Gray or colors; transparency is left out, as of 8 bits.
    count = found.shape[-1]
    return np.asarray(found[..., : count - (count in (2, 4))])


def _is_deep_png(path: str) -> bool:
    """Returns whether a file is a PNG of 16 bits a channel."""
    try:
        with any_files.open_read(path) as file:
            header = file.read(_HEADER)
    except OSError:
        return False
    return (
        header.startswith(_PNG)
        and len(header) == _HEADER
        and header[_BIT_DEPTH] == _DEEP
    )
