# SPDX-License-Identifier: Apache-2.0
"""A picture of a few images with their labels, to be looked at."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin

from deeplab2_like import errors
from deeplab2_like.data.coco.samples import Sample
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.storage import image_decoding, whole_files
from deeplab2_like.visualize import legend, visualizer

_LONG_SIDE = 640
_LEAST_SIDE = 240
_GAP = 12
_FONT_SIZE = 14
_KEY, _SIGN = "Software", "deeplab2-prepare"


def draw(
    samples: Sequence[Sample], descriptor: DatasetDescriptor
) -> npt.NDArray[np.uint8]:
    """Draws images beside their labels, a row each: uint8 [H, W, 3].

    Args:
        samples: One image or more, with labels.
        descriptor: The data set.
    """
    rows = [_draw_row(sample, descriptor) for sample in samples]
    width = max(row.width for row in rows)
    height = sum(row.height + _GAP for row in rows) - _GAP
    sheet = Image.new("RGB", (width, height), (255, 255, 255))
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height + _GAP
    return np.asarray(sheet)


def _draw_row(sample: Sample, descriptor: DatasetDescriptor) -> Image.Image:
    image_hw3 = image_decoding.open_image(sample.image, sample.name).decode(
        upright=False
    )
    label_hw = sample.panoptic
    if label_hw is None:
        raise ValueError(f"{sample.name!r} has no label.")
    height, width = label_hw.shape
    scale = min(1.0, _LONG_SIDE / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    if scale < 1:
        small = Image.fromarray(image_hw3).resize(size[::-1])
        image_hw3 = np.asarray(small)
        rows = (np.arange(size[0]) + 0.5) * height // size[0]
        columns = (np.arange(size[1]) + 0.5) * width // size[1]
        label_hw = label_hw[rows.astype(int)][:, columns.astype(int)]
    enlarge = max(1, -(-_LEAST_SIDE // min(size)))
    enlarge = min(enlarge, max(1, _LONG_SIDE // max(size)))
    overlay = Image.fromarray(
        visualizer.visualize(image_hw3, label_hw, descriptor, scale=enlarge)
    )
    photo = Image.fromarray(image_hw3).resize(
        (size[1] * enlarge, size[0] * enlarge), Image.Resampling.NEAREST
    )
    row_width = photo.width + _GAP + overlay.width
    title = legend.make_title(sample.name, row_width, _FONT_SIZE)
    row = Image.new(
        "RGB", (row_width, title.height + overlay.height), (255, 255, 255)
    )
    row.paste(title, (0, 0))
    row.paste(photo, (0, title.height))
    row.paste(overlay, (photo.width + _GAP, title.height))
    return row


def check(path: str | os.PathLike[str]) -> None:
    """Checks that a picture may be written; changes nothing.

    Args:
        path: Path of the picture.

    Raises:
        errors.ConfigError: The file exists and is not one of `write`.
    """
    path = pathlib.Path(path)
    if not path.exists():
        return
    try:
        with Image.open(path) as image:
            if image.info.get(_KEY) == _SIGN:
                return
    except Exception:  # No picture: decoders raise a dozen kinds.
        pass
    raise errors.ConfigError(
        f"{path} was not written by {_SIGN}, and is not replaced. Move it, or "
        "give another --picture."
    )


def write(
    path: str | os.PathLike[str], picture_hw3: npt.NDArray[np.uint8]
) -> None:
    """Writes a picture as PNG, completely or not at all.

    Args:
        path: Path of the file, after `check`.
        picture_hw3: uint8 [H, W, 3].
    """
    info = PngImagePlugin.PngInfo()
    info.add_text(_KEY, _SIGN)
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    with whole_files.open_whole(path) as file:
        Image.fromarray(picture_hw3).save(file, format="PNG", pnginfo=info)
