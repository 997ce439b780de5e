# SPDX-License-Identifier: Apache-2.0
"""Reads image files: one rule for each kind, for all programs.

`open_image` checks the header, `EncodedImage.decode` returns the pixels. What
is read and what is refused is listed in docs/data.md. In graphs, where only
JPEG and PNG are read, `data.records.decoding` and `exports.byte_guard` have the
same rules.
"""

import contextlib
import io
import re
import threading
import warnings
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.storage import exif

# What all programs look for in folders.
SUFFIXES = (
    ".avif",
    ".bmp",
    ".gif",
    ".heic",
    ".heif",
    ".jpeg",
    ".jpg",
    ".png",
    ".tif",
    ".tiff",
    ".webp",
)
_PNG_BIT_DEPTH_BYTE = 24
_MAX_BITS = 8
_TIFF_BITS, _TIFF_WIDTH, _TIFF_HEIGHT = 258, 256, 257
# Bits of Pillow's modes that are no bytes.
_BITS_OF_MODE = {"I": 32, "F": 32}
# Pillow's decoders that keep the upper 8 of 16 bits.
_HALVED = re.compile(r";16[BLN]")
# Kinds that may hold several pictures of which one is meant. (A JPEG of a
# phone, Pillow's MPO, holds the same photo again.)
_SERIES = {"GIF", "PNG", "WEBP", "AVIF", "HEIF", "TIFF"}
# Files of the "ISO base media" family name their brand behind "ftyp".
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF"}
_BRANDS |= dict.fromkeys((b"heic", b"heix", b"hevc", b"heim", b"mif1"), "HEIC")
_FIXES = {
    "AVIF": "Install a Pillow that reads it (11.3 or later), or save the image "
    "as JPEG or PNG.",
    "HEIC": "Install pillow-heif (pip install pillow-heif), or save the image "
    "as JPEG or PNG.",
}
# The filters of warnings belong to all threads.
_FILTERS = threading.Lock()


class EncodedImage:
    """An image file with a good header, not decoded yet.

    Attributes:
        format: Kind of the file, Pillow's name: "JPEG", "PNG", "TIFF" ...
        mode: Pillow's mode of the pixels: "RGB", "L", "P" ...
        stored_size: (height, width) of the pixels as stored.
        orientation: EXIF orientation, 1..8; see `exif.turn_upright`.
        num_pictures: Pages of a TIFF, frames of an animation; usually 1.
    """

    def __init__(self, header: Image.Image, data: bytes, subject: str):
        """Reads facts from a header.

        Args:
            header: The file as Pillow opened it, not loaded.
            data: Content of the file.
            subject: The image in messages.

        Raises:
            errors.DataError: It has more than 8 bits a channel.
        """
        self._header = header
        self._subject = subject
        self._data = data
        self.format = str(header.format)
        if self.format == "MPO":
            self.format = "JPEG"
        self.mode = header.mode
        _check_bits(header, data, subject)
        self.stored_size = _read_stored_size(header)
        found = exif.read_orientation(data)
        if found is None:
            found = _ask_for_orientation(header)
        self.orientation = found
        self.num_pictures = _count_pictures(self.format, data)

    @property
    def size(self) -> tuple[int, int]:
        """The (height, width) of the image when it is upright."""
        return exif.turn_size(self.stored_size, self.orientation)

    @property
    def is_plain(self) -> bool:
        """Whether every reader of the file finds the same RGB values."""
        return self.format in ("JPEG", "PNG") and self.mode in ("L", "RGB")

    @property
    def note(self) -> str:
        """A sentence about what is passed over in the file; "" if nothing."""
        if self.num_pictures == 1:
            return ""
        kind = "pages" if self.format == "TIFF" else "frames (it is animated)"
        return (
            f"{self._subject} has {self.num_pictures} {kind}: the first is "
            "read, the others are not."
        )

    def decode(
        self, *, upright: bool = True, as_in_training: bool = False
    ) -> npt.NDArray[np.uint8]:
        """Decodes the first picture of the file.

        Args:
            upright: Whether the orientation is applied.
            as_in_training: Whether JPEG and PNG are decoded by TensorFlow, to
                the very values that training and evaluation see. Pillow's
                values of a JPEG differ by a few of 255.

        Returns:
            uint8 [H, W, 3], RGB. Grey is repeated, a palette applied, alpha
            dropped, CMYK converted.

        Raises:
            errors.DataError: The file is damaged.
        """
        try:
            if as_in_training and self.format in ("JPEG", "PNG"):
                stored_hw3 = _decode_by_tensorflow(self._data)
            else:
                stored_hw3 = self._decode_by_pillow()
        except Exception as error:  # Decoders raise a dozen kinds.
            height, width = self.stored_size
            raise errors.DataError(
                f"{self._subject} is damaged or incomplete: it begins as a "
                f"{self.format} of {width} x {height} pixels but cannot be "
                "decoded. Copy or save it again."
            ) from error
        if upright:
            return exif.turn_upright(stored_hw3, self.orientation)
        return stored_hw3

    def _decode_by_pillow(self) -> npt.NDArray[np.uint8]:
        self._header.load()
        pixels_hw3 = _to_rgb(self._header)
        if self.format == "TIFF" and _ask_for_orientation(self._header) == 1:
            # Pillow has turned it itself, if there was an orientation.
            return exif.turn_back(pixels_hw3, self.orientation)
        return pixels_hw3


def open_image(
    data: bytes, subject: str, *, max_pixels: int | None = None
) -> EncodedImage:
    """Reads the header of an image file.

    Args:
        data: Content of the file.
        subject: The image in messages, the first words of a sentence.
        max_pixels: Most pixels of an image; None: as many as Pillow allows.

    Raises:
        errors.DataError: The file is no image that can be read here, has more
            than 8 bits a channel or too many pixels.
    """
    try:
        if data[4:8] == b"ftyp":
            _add_heif()
        with _quiet_pillow():
            header = Image.open(io.BytesIO(data))
        # Pillow would turn images by their XMP data, too.
        for key in ("xmp", "XML:com.adobe.xmp"):
            header.info.pop(key, None)
        encoded = EncodedImage(header, data, subject)
    except Image.DecompressionBombError:
        limit = max_pixels or 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise errors.DataError(
            f"{subject} has far more than the {limit} pixels that are "
            f"allowed. {_reduce(max_pixels)}"
        ) from None
    except errors.DataError:
        raise
    except Exception as error:  # Decoders raise a dozen kinds.
        raise errors.DataError(_refuse(data, subject)) from error
    height, width = encoded.stored_size
    if max_pixels is not None and width * height > max_pixels:
        raise errors.DataError(
            f"{subject} has {width} x {height} pixels. The limit is "
            f"{max_pixels} in all. {_reduce(max_pixels)}"
        )
    return encoded


def _reduce(max_pixels: int | None) -> str:
    """Says what to do with an image that is too large, here or for a model."""
    if max_pixels is None:
        return "Reduce it."
    return (
        "Reduce it, predict it in tiles (deeplab2-predict --tile=1025), or "
        "export the model with a higher --max_pixels."
    )


def from_pillow(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Returns the pixels of a Pillow image, upright: uint8 [H, W, 3], RGB.

    Raises:
        errors.DataError: The image has more than 8 bits a channel.
    """
    _check_bits(image, b"", "The image")
    orientation = _ask_for_orientation(image)
    image.load()
    pixels_hw3 = _to_rgb(image)
    if _ask_for_orientation(image) != orientation:
        return pixels_hw3  # Pillow has turned it, a TIFF, while it loaded.
    return exif.turn_upright(pixels_hw3, orientation)


def can_read(suffix: str) -> bool:
    """Returns whether files of one of `SUFFIXES` can be read here."""
    if suffix in (".heic", ".heif"):
        _add_heif()
    return suffix in Image.registered_extensions()


def list_fixes(suffixes: Iterable[str]) -> list[str]:
    """Lists what makes files of the suffixes readable that are not."""
    kinds = {"AVIF": {".avif"}, "HEIC": {".heic", ".heif"}}
    return [
        f"{kind}: {_FIXES[kind]}"
        for kind, endings in kinds.items()
        if endings.intersection(suffixes)
    ]


def _to_rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Returns the pixels of a loaded image: uint8 [H, W, 3]."""
    if image.mode == "P" and "transparency" in image.info:
        image = image.copy()
        del image.info["transparency"]  # Pillow would warn of losing it.
    return np.asarray(image.convert("RGB"))


def _add_heif() -> None:
    """Lets Pillow read HEIC where pillow-heif is installed."""
    if ".heic" not in Image.registered_extensions():
        with contextlib.suppress(ImportError):
            import pillow_heif

            pillow_heif.register_heif_opener()


@contextlib.contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Hides warnings of Pillow about headers: the size, EXIF data."""
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _refuse(data: bytes, subject: str) -> str:
    """Returns the sentence about a file that Pillow does not open."""
    kind = _BRANDS.get(data[8:12]) if data[4:8] == b"ftyp" else None
    if kind and not can_read(f".{kind.lower()}"):
        return (
            f"{subject} is an image of the kind {kind}, which cannot be read "
            f"here. {_FIXES[kind]}"
        )
    bits = 8
    if data.startswith(exif.JPEG_START):
        bits = exif.find_jpeg_bits(data)
    if bits > _MAX_BITS:
        return _refuse_bits(subject, bits)
    size = f"{len(data)} bytes" if data else "no bytes"
    return (
        f"{subject} is not an image, or of an unknown kind ({size}). Give "
        f"files such as {', '.join(SUFFIXES)}."
    )


def _refuse_bits(subject: str, bits: int) -> str:
    return (
        f"{subject} has more than 8 bits a channel ({bits} bits), and which of "
        "them are in use is not known. Scale it to 8 bits first."
    )


def _check_bits(image: Image.Image, data: bytes, subject: str) -> None:
    """Refuses more than 8 bits, as many tools store 10 or 12 in 16."""
    bits = _BITS_OF_MODE.get(image.mode, _MAX_BITS)
    tiles = str(getattr(image, "tile", ""))  # Empty after loading.
    if image.mode.startswith("I;") or _HALVED.search(tiles):
        bits = 16
    if data.startswith(exif.PNG_START):  # Pillow's mode of colors is RGB.
        bits = max(bits, data[_PNG_BIT_DEPTH_BYTE])
    elif hasattr(image, "tag_v2"):
        found = image.tag_v2.get(_TIFF_BITS, (1,))
        bits = max(bits, *(found if isinstance(found, tuple) else (found,)))
    if bits > _MAX_BITS:
        raise errors.DataError(_refuse_bits(subject, bits))


def _read_stored_size(header: Image.Image) -> tuple[int, int]:
    """Returns height and width before Pillow turns a TIFF."""
    tags = getattr(header, "tag_v2", {})
    height = tags.get(_TIFF_HEIGHT, header.height)
    return int(height), int(tags.get(_TIFF_WIDTH, header.width))


def _ask_for_orientation(image: Image.Image) -> int:
    """Returns the orientation that Pillow finds, 1 for what is none."""
    try:
        with _quiet_pillow():
            value = image.getexif().get(exif.ORIENTATION_TAG, 1)
    except Exception:  # Garbage.
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _count_pictures(file_format: str, data: bytes) -> int:
    if file_format not in _SERIES:
        return 1
    try:
        with _quiet_pillow(), Image.open(io.BytesIO(data)) as header:
            return max(1, int(getattr(header, "n_frames", 1)))
    except Exception:  # What follows the first picture is damaged.
        return 1


def _decode_by_tensorflow(data: bytes) -> npt.NDArray[np.uint8]:
    """Decodes a JPEG or PNG as the input pipeline does."""
    import tensorflow as tf

    return tf.io.decode_image(data, channels=3, expand_animations=False).numpy()
