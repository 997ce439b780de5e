# SPDX-License-Identifier: Apache-2.0
"""Finds image files in folders and reads them safely.

JPEG and PNG are decoded by TensorFlow, as in training and evaluation, other
formats by Pillow. The EXIF orientation is applied, as in image viewers.
"""

import dataclasses
import io
import os
import pathlib
import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from deeplab2_like import errors

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
# Outputs of programs of this package, which are not found as images.
OUTPUT_ENDINGS = (".panoptic.png", ".overlay.png")
OUTPUT_FOLDERS = ("raw_semantic", "raw_panoptic")
_ORIENTATION = 0x0112


@dataclasses.dataclass(frozen=True)
class ImageFile:
    """An image file to read.

    Attributes:
        path: Path of the file.
        relative_path: Path below the folder that was searched, with "/"; the
            file name when the file itself was given.
        name: Name for outputs: `relative_path` without extension, with a
            number where that is not unique.
    """

    path: pathlib.Path
    relative_path: str
    name: str


def find_images(
    inputs: Sequence[str | os.PathLike[str]],
) -> list[ImageFile]:
    """Finds the images in files and folders.

    Args:
        inputs: Files of any extension, and folders, which are searched
            recursively for the extensions `SUFFIXES`.

    Returns:
        The files in the order of `inputs`, those of a folder sorted by name.

    Raises:
        DataError: An input does not exist, or a folder contains no image.
    """
    found: list[tuple[pathlib.Path, pathlib.PurePath]] = []
    missing = [str(entry) for entry in inputs if not os.path.exists(entry)]
    if missing:
        more = f" and {len(missing) - 1} more" * (len(missing) > 1)
        verb = "do" if len(missing) > 1 else "does"
        raise errors.DataError(
            f"{missing[0]}{more} {verb} not exist. Give image files or folders "
            "with images."
        )
    for entry in map(pathlib.Path, inputs):
        if entry.is_dir():
            files = _search(entry)
            found += [(file, file.relative_to(entry)) for file in files]
        else:
            found.append((entry, pathlib.PurePath(entry.name)))
    names = _name_uniquely([relative for _, relative in found])
    return [
        ImageFile(path, relative.as_posix(), name)
        for (path, relative), name in zip(found, names, strict=True)
    ]


def _search(folder: pathlib.Path) -> list[pathlib.Path]:
    files = sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in SUFFIXES
        and not file.name.endswith(OUTPUT_ENDINGS)
        and not file.name.startswith(".")
        and not {*OUTPUT_FOLDERS}.intersection(file.relative_to(folder).parts)
        and file.is_file()
    )
    if not files:
        raise errors.DataError(
            f"The folder {folder} holds no image. Looked for are files that "
            f"end in {', '.join(SUFFIXES)}, also in its folders."
        )
    return files


def _name_uniquely(paths: Sequence[pathlib.PurePath]) -> list[str]:
    """Returns names without extension, numbered where they are equal."""
    names: list[str] = []
    used: set[str] = set()
    for path in paths:
        stem = name = path.with_suffix("").as_posix()
        number = 2
        while name.casefold() in used:
            name = f"{stem}-{number}"
            number += 1
        used.add(name.casefold())
        names.append(name)
    return names


def load_image(
    path: str | os.PathLike[str], max_pixels: int
) -> npt.NDArray[np.uint8]:
    """Reads an image file.

    Args:
        path: Path of the file.
        max_pixels: Most pixels of an image; larger ones are refused before
            they are decoded.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        DataError: The file is missing, damaged, too large or not an image.
    """
    try:
        data = pathlib.Path(path).read_bytes()
    except IsADirectoryError:
        raise errors.DataError(
            f"{path} is a folder. Give an image file."
        ) from None
    except FileNotFoundError:
        raise errors.DataError(
            f"{path} does not exist. Give an image file."
        ) from None
    header = _read_header(path, data, max_pixels)
    try:
        if header.format in ("JPEG", "PNG"):
            return _decode(data, header.getexif().get(_ORIENTATION, 1))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # About the size, checked above.
            return from_pillow(header)
    except errors.DataError as error:
        raise errors.DataError(f"{path}: {error}") from error
    except (OSError, SyntaxError, ValueError, MemoryError) as error:
        raise errors.DataError(
            f"{path} is damaged or incomplete: it begins as a "
            f"{header.format} of {header.width} x {header.height} pixels but "
            "cannot be decoded. Copy or save it again."
        ) from error


def from_pillow(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Returns the pixels of a Pillow image, upright: uint8 [H, W, 3], RGB.

    Of 16 bits the upper 8 are taken, as in TensorFlow's decoder.

    Raises:
        DataError: The image has 32 bits a pixel, whose range is not known.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise errors.DataError(
            f"The image has 32 bits a pixel (Pillow mode {image.mode}). "
            "Convert it to 8 bits first."
        )
    return np.asarray(image.convert("RGB"))


def _read_header(
    path: str | os.PathLike[str], data: bytes, max_pixels: int
) -> Image.Image:
    """Opens an image without decoding it; checks its size."""
    try:
        with warnings.catch_warnings():
            # About Pillow's own limit; `max_pixels` is checked below.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            header = Image.open(io.BytesIO(data))
        width, height = header.size
    except Image.DecompressionBombError:
        raise errors.DataError(
            f"{path} has far more than the {max_pixels} pixels that are "
            "allowed. Reduce it."
        ) from None
    except (OSError, SyntaxError, ValueError) as error:
        size = f"{len(data)} bytes" if data else "no bytes"
        raise errors.DataError(
            f"{path} is not an image, or of an unknown kind ({size}). Give "
            f"files such as {', '.join(SUFFIXES)}."
        ) from error
    if width * height > max_pixels:
        raise errors.DataError(
            f"{path} has {width} x {height} pixels. The limit is {max_pixels}"
            " in all: reduce it, or export the model with a higher "
            "--max_pixels."
        )
    return header


def _decode(data: bytes, orientation: int) -> npt.NDArray[np.uint8]:
    """Decodes a JPEG or PNG as the input pipeline does; turns it upright.

    Raises:
        ValueError: The data is damaged.
    """
    import tensorflow as tf

    try:
        image = tf.io.decode_image(
            data, channels=3, expand_animations=False
        ).numpy()
    except tf.errors.InvalidArgumentError as error:
        raise ValueError("damaged") from error
    # The eight orientations of EXIF: mirrored, then turned.
    if orientation in (2, 4, 5, 7):
        image = image[:, ::-1]
    turns = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(orientation, 0)
    return np.ascontiguousarray(np.rot90(image, turns))
