# SPDX-License-Identifier: Apache-2.0
"""Draws training crops with their labels and targets.

`draw_crop` draws one crop in full, `draw_sheet` several of them, small.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.visualize import boards, visualizer
from deeplab2_like.visualize import legend as legend_lib

_PANEL_SIZE = 800
_TILE_SIZE = 400
_TILES_IN_A_ROW = 2
_FONT_SIZE = 14
_PEAK = np.array([255.0, 214.0, 0.0], np.float32)
_BOX = (255, 214, 0)
_UNUSED = 0.35  # Brightness of pixels that a loss does not count.


@dataclasses.dataclass(frozen=True)
class TrainingCrop:
    """What the network and its losses get of one image.

    Attributes:
        name: Name of the image.
        image: uint8 [H, W, 3], RGB.
        panoptic: int32 [H, W], class * label_divisor + instance.
        targets: Targets of the system. Drawn are "center_heatmap" [H, W] in
            0..1 with "center_weight" [H, W], "offset_map" [H, W, 2], (dy, dx)
            in pixels, with "offset_weight" [H, W], and "boxes" [N, 4],
            (y0, x0, y1, x1) in pixels, with "box_class" [N], -1 for none.
    """

    name: str
    image: npt.NDArray[np.uint8]
    panoptic: npt.NDArray[np.int32]
    targets: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def draw_crop(
    crop: TrainingCrop, descriptor: DatasetDescriptor
) -> npt.NDArray[np.uint8]:
    """Draws a crop, its labels and its targets: uint8 [h, w, 3].

    Args:
        crop: The crop.
        descriptor: The data set.
    """
    drawn, entries = visualizer.draw_panels(
        crop.image, crop.panoptic, None, descriptor, panel_size=_PANEL_SIZE
    )
    image, labels = (picture for _, picture in drawn)
    panels = [("what the network sees", image), ("labels", labels)]
    targets = crop.targets
    maps = []
    if "center_heatmap" in targets:
        title = "centers; dark: not in the loss"
        maps.append((title, _paint_centers(crop)))
    if "offset_map" in targets:
        title = "offsets: direction as hue, length as strength"
        maps.append((title, _paint_offsets(crop)))
    if "boxes" in targets:
        maps.append(("boxes", _paint_boxes(crop)))
    panels += [(title, picture.resize(image.size)) for title, picture in maps]
    return np.asarray(boards.arrange(panels, entries, _FONT_SIZE))


def draw_sheet(
    crops: Sequence[TrainingCrop], descriptor: DatasetDescriptor
) -> npt.NDArray[np.uint8]:
    """Draws crops small, each beside its labels: uint8 [h, w, 3].

    Args:
        crops: One or more.
        descriptor: The data set.
    """
    tiles = []
    for number, crop in enumerate(crops, 1):
        panels, _ = visualizer.draw_panels(
            crop.image, crop.panoptic, None, descriptor, panel_size=_TILE_SIZE
        )
        tile = boards.join([picture for _, picture in panels], 1, 2)
        title = legend_lib.make_title(
            f"{number}  {crop.name}", tile.width, _FONT_SIZE
        )
        tiles.append(boards.join([title, tile], 0))
    rows = [
        boards.join(tiles[first : first + _TILES_IN_A_ROW], 1, 8)
        for first in range(0, len(tiles), _TILES_IN_A_ROW)
    ]
    return np.asarray(boards.join(rows, 0, 8))


def _paint_centers(crop: TrainingCrop) -> Image.Image:
    """Paints the heatmap in yellow over the image in grey."""
    gray_hw1 = _make_gray(crop.image)
    heat_hw1 = np.asarray(crop.targets["center_heatmap"])[..., None]
    painted = gray_hw1 + (_PEAK - gray_hw1) * heat_hw1
    is_used = np.asarray(crop.targets["center_weight"])[..., None] > 0
    return _to_picture(np.where(is_used, painted, painted * _UNUSED))


def _paint_offsets(crop: TrainingCrop) -> Image.Image:
    """Paints offsets in colors, and the rest of the image in grey."""
    offset_hw2 = np.asarray(crop.targets["offset_map"], np.float32)
    is_used = np.asarray(crop.targets["offset_weight"]) > 0
    length = np.hypot(offset_hw2[..., 0], offset_hw2[..., 1])
    longest = max(float(np.max(length, initial=0, where=is_used)), 1.0)
    angle = np.arctan2(offset_hw2[..., 0], offset_hw2[..., 1])
    hsv = np.stack(
        [
            (angle / (2 * np.pi) % 1) * 255,
            np.sqrt(np.minimum(length / longest, 1)) * 255,
            np.full(length.shape, 255.0),
        ],
        axis=-1,
    ).astype(np.uint8)
    colors = np.asarray(Image.fromarray(hsv, "HSV").convert("RGB"))
    gray = _make_gray(crop.image) * _UNUSED
    return _to_picture(np.where(is_used[..., None], colors, gray))


def _paint_boxes(crop: TrainingCrop) -> Image.Image:
    picture = _to_picture(_make_gray(crop.image).repeat(3, axis=2))
    draw = ImageDraw.Draw(picture)
    classes = np.asarray(crop.targets["box_class"])
    boxes = np.asarray(crop.targets["boxes"])[classes >= 0]
    width = max(1, max(picture.size) // 400)
    for y0, x0, y1, x1 in boxes.tolist():
        corners = (x0, y0, max(x0, x1 - 1), max(y0, y1 - 1))
        draw.rectangle(corners, outline=_BOX, width=width)
    return picture


def _make_gray(image_hw3: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    gray = np.asarray(Image.fromarray(image_hw3).convert("L"), np.float32)
    return gray[..., None]


def _to_picture(values_hw3: npt.NDArray[Any]) -> Image.Image:
    return Image.fromarray(np.clip(values_hw3, 0, 255).astype(np.uint8))
