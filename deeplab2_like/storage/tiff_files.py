# SPDX-License-Identifier: Apache-2.0
"""Opens TIFF files by tifffile: stacks, large images and label maps."""

import os
from typing import Any

from deeplab2_like import errors
from deeplab2_like.storage import any_files, optional_packages

SUFFIXES = (".tif", ".tiff")
# What tifffile needs for LZW, JPEG and other compressed pages.
_CODECS = "imagecodecs"
# Of TIFF and of BigTIFF, in both byte orders.
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def is_tiff(path: str | os.PathLike[str]) -> bool:
    """Returns whether a file begins as TIFF files do, whatever its name."""
    try:
        with any_files.open_read(path) as file:
            return file.read(4) in _MAGIC
    except OSError:
        return False


def load_tifffile(what: str, extra: str) -> Any:
    """Imports tifffile; see `optional_packages.load`."""
    return optional_packages.load("tifffile", what, extra)


def describe_error(error: BaseException) -> str:
    """Returns the first line of the text of an error, shortened."""
    return str(error).splitlines()[0][:200] if str(error) else ""


def refuse(path: str, error: BaseException) -> errors.DataError:
    """Returns the error of a file that cannot be opened."""
    return errors.DataError(
        f"{path} cannot be read as a TIFF file ({describe_error(error)}). It "
        "is none, or was cut off or damaged: copy or save it again."
    )


def refuse_part(
    path: str, part: str, error: BaseException
) -> errors.DataError | errors.InstallError:
    """Returns the error of a part that cannot be decoded.

    Args:
        path: The file.
        part: The part of it in messages, for example "slice 3".
        error: What the decoder raised.
    """
    if _CODECS in str(error) and not optional_packages.is_installed(_CODECS):
        return errors.InstallError(
            f"{path} is compressed in a way that needs the package {_CODECS}. "
            f"Install it with: pip install {_CODECS}. Or save the file without "
            "compression."
        )
    return errors.DataError(
        f"{path}, {part}: it cannot be decoded ({describe_error(error)})."
    )
