# SPDX-License-Identifier: Apache-2.0
"""Reads the JSON files of LabelMe and makes masks of their shapes."""

import base64
import binascii
import dataclasses
import io
import math
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.labels import (
    coco_json,
    json_documents,
    json_values,
    masks,
)

_SIGNS = (b'"shapes"', b'"imagePath"')
_KIND = "LabelMe JSON"
_LAYOUT = (
    "A LabelMe JSON is an object with `shapes` (label, points, shape_type) and "
    "`imagePath`."
)
# Fewest points of each type of shape that has an area.
_LEAST_POINTS = {"polygon": 3, "rectangle": 2, "circle": 2, "mask": 2}
_WITHOUT_AREA = ("line", "linestrip", "point", "points")


@dataclasses.dataclass(frozen=True, eq=False)
class Shape:
    """A shape.

    Attributes:
        where: The shape in messages, such as "shapes[3]".
        label: Name of its class.
        kind: `shape_type`.
        points: Floats [N, 2], (x, y) in pixels.
        group: `group_id`, which shapes of one object have in common; None
            where it has none.
        bitmap: PNG of a mask in base64; "" for other types.
    """

    where: str
    label: str
    kind: str
    points: npt.NDArray[np.float64]
    group: int | None = None
    bitmap: str = ""

    @property
    def has_area(self) -> bool:
        """Whether it covers pixels."""
        return self.kind in _LEAST_POINTS


@dataclasses.dataclass(frozen=True)
class LabelmeFile:
    """The content of a file.

    Attributes:
        image: `imagePath`.
        size: (height, width) of the image; None where the file has none.
        shapes: The shapes, in the order of the file.
    """

    image: str
    size: tuple[int, int] | None
    shapes: Sequence[Shape]


def has_sign(path: pathlib.Path) -> bool:
    """Returns whether a file looks like such a JSON file."""
    try:
        data = path.read_bytes()
    except OSError:
        return False
    return all(sign in data for sign in _SIGNS)


def load(path: str | os.PathLike[str]) -> LabelmeFile:
    """Loads a file.

    Args:
        path: The file.

    Raises:
        errors.DataError: It cannot be used; the text names file and shape.
    """
    content = json_documents.load(path, _KIND, _LAYOUT)
    if not isinstance(content, dict) or not isinstance(
        content.get("shapes"), list
    ):
        raise errors.DataError(f"{path} has no list `shapes`. {_LAYOUT}")
    problems: list[str] = []
    shapes = []
    for number, entry in enumerate(content["shapes"]):
        where = f"shapes[{number}]"
        try:
            shapes.append(_read_shape(entry, where))
        except ValueError as error:
            problems.append(f"{where} {error}")
    image = content.get("imagePath")
    if not isinstance(image, str) or not image or "\0" in image:
        problems.append(
            f"imagePath is {json_values.describe(image)}. It must be the name "
            "of the image."
        )
        image = ""
    coco_json.raise_problems(str(path), problems)
    return LabelmeFile(image, _read_size(content), shapes)


def _read_size(content: dict[str, Any]) -> tuple[int, int] | None:
    try:
        height = json_values.read_integer(content.get("imageHeight"))
        width = json_values.read_integer(content.get("imageWidth"))
    except ValueError:
        return None
    return (height, width) if min(height, width) > 0 else None


def _read_shape(entry: Any, where: str) -> Shape:
    if not isinstance(entry, dict):
        raise ValueError(
            f"is {json_values.describe(entry)}. It must be an object."
        )
    try:
        label = json_values.read_text(entry.get("label")).strip()
    except ValueError as error:
        raise ValueError(f"has a label that {error}") from None
    if not label or not label.isprintable():
        raise ValueError(
            f"has the label {label!r}. It must be a name that can be printed."
        )
    kind = entry.get("shape_type") or "polygon"
    if kind not in (*_LEAST_POINTS, *_WITHOUT_AREA):
        raise ValueError(
            f"({label}) has the shape_type {json_values.describe(kind)}. Known "
            f"are {', '.join((*_LEAST_POINTS, *_WITHOUT_AREA))}."
        )
    points = _read_points(entry.get("points"), label)
    least = _LEAST_POINTS.get(kind, 0)
    if len(points) < least:
        raise ValueError(
            f"({label}) has {len(points)} points. A {kind} has {least} or more."
        )
    group = entry.get("group_id")
    if group is not None:
        try:
            group = json_values.read_integer(group)
        except ValueError as error:
            raise ValueError(f"({label}) has a group_id that {error}") from None
    bitmap = entry.get("mask") if kind == "mask" else ""
    if not isinstance(bitmap, str):
        raise ValueError(
            f"({label}) has the mask {json_values.describe(bitmap)}. It must "
            "be a PNG in base64."
        )
    return Shape(where, label, kind, points, group, bitmap)


def _read_points(value: Any, label: str) -> npt.NDArray[np.float64]:
    if not isinstance(value, list) or not all(
        isinstance(point, list) and len(point) == 2 for point in value
    ):
        raise ValueError(
            f"({label}) has the points {json_values.describe(value)}. They "
            "must be a list of [x, y]."
        )
    try:
        numbers = [
            [json_values.read_number(number) for number in point]
            for point in value
        ]
    except ValueError as error:
        raise ValueError(
            f"({label}) has a point with a number that {error}"
        ) from None
    return np.array(numbers, np.float64).reshape(-1, 2)


def fill(shape: Shape, size: tuple[int, int]) -> masks.Mask:
    """Makes the mask of a shape.

    Args:
        shape: The shape, one with an area.
        size: (height, width) of its image.

    Raises:
        ValueError: Its bitmap is damaged; the text is the end of a sentence
            that begins with the shape.
    """
    (x0, y0), (x1, y1) = shape.points[0], shape.points[1]
    if shape.kind == "rectangle":
        corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
        if len(shape.points) == 4:  # The four corners, as LabelMe 6 has them.
            corners = [(float(x), float(y)) for x, y in shape.points]
        return masks.fill_polygon(corners, size)
    if shape.kind == "circle":
        radius = math.hypot(x1 - x0, y1 - y0)
        return masks.fill_ellipse((x0, y0), (radius, radius), size)
    if shape.kind == "mask":
        return _place_bitmap(shape, (math.floor(y0), math.floor(x0)), size)
    return masks.fill_polygon(shape.points, size)


def _place_bitmap(
    shape: Shape, corner: tuple[int, int], size: tuple[int, int]
) -> masks.Mask:
    """Places the bitmap of a mask with its top left corner at (y, x)."""
    try:
        data = base64.b64decode(shape.bitmap, validate=True)
        with Image.open(io.BytesIO(data)) as image:
            bitmap = np.asarray(image.convert("L")) > 0
    except (binascii.Error, ValueError) as error:
        raise ValueError("has a mask that is no PNG in base64.") from error
    except Exception as error:  # Decoders raise a dozen kinds.
        raise ValueError("has a mask that is a damaged PNG.") from error
    (height, width), (top, left) = size, corner
    rows = slice(max(0, top), min(height, top + bitmap.shape[0]))
    columns = slice(max(0, left), min(width, left + bitmap.shape[1]))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return masks.Mask.empty()
    inner = bitmap[
        rows.start - top : rows.stop - top,
        columns.start - left : columns.stop - left,
    ]
    return masks.Mask(rows.start, columns.start, inner)
