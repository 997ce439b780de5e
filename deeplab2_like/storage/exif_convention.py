# SPDX-License-Identifier: Apache-2.0
"""Finds out on which pixels the labels of a data set were drawn.

A tool shows a photo either turned upright as its EXIF orientation says, or as
stored. Where the two have different sizes, that of the label shows which it
was; photos that are upside down, mirrored or square follow the others of the
set, because one tool drew them all.
"""

import concurrent.futures
import dataclasses
import enum
from collections.abc import Callable, Sequence

from PIL import Image

from deeplab2_like.storage import (
    exif,
    image_decoding,
    image_files,
    in_order,
)

AUTO, APPLY, IGNORE = "auto", "apply", "ignore"
RULES = (AUTO, APPLY, IGNORE)
_THREADS = 8
_AHEAD = 64
_MAX_NAMED = 3


@dataclasses.dataclass(frozen=True)
class Photo:
    """An image with a label.

    Attributes:
        name: Name of the image in messages.
        path: Path of the image.
        label_path: Path of the label, an image file; "" where there is none.
        size: (height, width) of the image according to the data set, used
            where there is no label; None where that is not known either.
    """

    name: str
    path: str
    label_path: str = ""
    size: tuple[int, int] | None = None


class _Sign(enum.Enum):
    """What the size of a label shows."""

    NO_ORIENTATION = enum.auto()
    UPRIGHT = enum.auto()
    STORED = enum.auto()
    NOTHING = enum.auto()


def prefers_upright(
    photos: Sequence[Photo], rule: str, warn: Callable[[str], None]
) -> bool:
    """Returns whether photos are turned whose sizes do not show it.

    Args:
        photos: All photos of a data set.
        rule: `APPLY` or `IGNORE`; or `AUTO`: as the sizes of other photos
            show, and upright where none does.
        warn: Function that is called with a sentence where that is not certain
            for some photos, or where photos contradict each other.
    """
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as executor:
        signs = list(in_order.call(executor, _read_sign, photos, _AHEAD))

    def list_names(sign: _Sign) -> list[str]:
        pairs = zip(photos, signs, strict=True)
        return [photo.name for photo, found in pairs if found is sign]

    upright, stored = list_names(_Sign.UPRIGHT), list_names(_Sign.STORED)
    doubtful = list_names(_Sign.NOTHING)
    chooses_upright = rule == APPLY
    if rule == AUTO:
        chooses_upright = bool(upright) or not stored
    sentences = []
    if upright and stored:
        sentences.append(
            f"The labels of {_describe(upright)} were drawn on the photo turned"
            " upright, as its EXIF orientation says, those of"
            f" {_describe(stored)} on the photo as stored. Each is read as its"
            " size shows."
        )
    elif stored if chooses_upright else upright:
        sentences.append(
            f"--exif={rule} is given, but the labels of"
            f" {_describe(stored or upright)} were drawn on the photo"
            f" {'turned upright' if upright else 'as stored'}, as their sizes"
            " show. Each is read as its size shows."
        )
    if doubtful and rule == AUTO and bool(upright) == bool(stored):
        sentences.append(
            f"For {_describe(doubtful)} with an EXIF orientation the size does"
            " not show whether the label was drawn on the photo as stored or"
            " turned upright. They are turned, as viewers do; --exif=ignore"
            " takes them as stored."
        )
    if sentences:
        warn(" ".join(sentences))
    return chooses_upright


def is_upright(
    image: image_decoding.EncodedImage,
    label_size: tuple[int, ...] | None,
    prefers: bool,
) -> bool:
    """Returns whether an image is turned upright for its label.

    Args:
        image: The image.
        label_size: (height, width) of the label; None where there is none.
        prefers: Result of `prefers_upright`, for an image whose size does not
            show it.
    """
    fits = label_size in (None, image.size)
    fits_stored = label_size in (None, image.stored_size)
    return fits if fits != fits_stored else prefers


def _read_sign(photo: Photo) -> _Sign:
    """Compares the sizes of photo and label, by their headers."""
    try:
        with open(photo.path, "rb") as stream:
            if exif.read_orientation(stream) == 1:
                return _Sign.NO_ORIENTATION
        image = image_decoding.open_image(
            image_files.read_file(photo.path), photo.name
        )
        label_size = photo.size
        if photo.label_path:
            with Image.open(photo.label_path) as label:
                label_size = label.height, label.width
    except Exception:  # It is reported when the image is loaded.
        return _Sign.NO_ORIENTATION
    if image.orientation == 1:
        return _Sign.NO_ORIENTATION
    if image.size == image.stored_size or label_size is None:
        return _Sign.NOTHING
    if label_size == image.size:
        return _Sign.UPRIGHT
    return _Sign.STORED if label_size == image.stored_size else _Sign.NOTHING


def _describe(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:_MAX_NAMED]))
    if len(names) > _MAX_NAMED:
        shown += f" and {len(names) - _MAX_NAMED} more"
    return f"{len(names)} photo{'s' * (len(names) > 1)} ({shown})"
