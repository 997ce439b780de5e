# SPDX-License-Identifier: Apache-2.0
"""Draws a result over its image, or beside the ground truth."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.labels import label_map, palette
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.results.panoptic_result import PanopticResult
from deeplab2_like.visualize import boards
from deeplab2_like.visualize import difference as difference_lib
from deeplab2_like.visualize import legend as legend_lib

# Smaller pictures are enlarged by a whole number, so that text is legible.
_MIN_SIDE = 360
# Opacity of the colors of `visualize`.
ALPHA = 0.55
# Sides of an image for one more pixel of thickness of the lines.
BORDER_STEP = 600
# Lines are not quite white, so that small things remain visible.
BORDER_DARKEN, BORDER_LIGHT = 4, 191
# Most names that are written: of each class, of all classes.
_MAX_CLASS_NAMES = 3
_MAX_NAMES = 24


def visualize(
    image: Any,
    result: Any,
    descriptor: DatasetDescriptor,
    *,
    alpha: float = ALPHA,
    scale: int | None = None,
    borders: bool = True,
    names: bool = True,
    legend: bool = True,
) -> npt.NDArray[np.uint8]:
    """Paints a result over its image.

    Segments have the color of their class, things different shades of it, which
    depend on `track_id` where `segments_info` has it; white lines separate
    segments.

    Args:
        image: uint8 [H, W, 3], RGB.
        result: A `PanopticResult`, or integers [H, W], labels (class *
            label_divisor + instance).
        descriptor: The data set, for names and colors; classes without a
            color get one that is distinguishable with any color vision.
        alpha: Opacity of the colors, 0 (the image) to 1 (colors only).
        scale: Whole number by which to enlarge; when None, sides below 360
            pixels are enlarged, so that text is legible.
        borders: Whether to draw the lines between segments.
        names: Whether to write the names of classes into large segments.
        legend: Whether to add a panel on the right that lists the colors.

    Returns:
        uint8 [h, w, 3] with h = H * scale and w = W * scale plus the legend.

    Raises:
        DataError: The image is not uint8 [H, W, 3], or the result has another
            size.
    """
    image_hw3 = _check_image(image)
    result = _to_result(image_hw3, result, descriptor)
    if scale is None:
        scale = max(1, -(-_MIN_SIDE // max(1, min(image_hw3.shape[:2]))))
        scale = min(scale, 8)
    size = (result.height * scale, result.width * scale)
    picture = _paint(
        _resize_image(image_hw3, size),
        _resize_ids(result.segmentation, size),
        result,
        descriptor,
        alpha,
        borders,
        names,
    )
    if legend:
        entries = _list_classes([result], descriptor)
        panel = legend_lib.make_legend(
            entries, picture.height, _choose_font_size(size)
        )
        picture = boards.join([picture, panel])
    return np.asarray(picture)


def visualize_difference(
    image: Any,
    truth: Any,
    prediction: Any,
    descriptor: DatasetDescriptor,
) -> npt.NDArray[np.uint8]:
    """Draws where a prediction is wrong: uint8 [H, W, 3].

    Orange: the class is wrong (or missing). Blue: the class is right, but the
    thing is not (its IoU with the true one is 0.5 or less). Black: the ground
    truth is void. Elsewhere the picture is the image in gray.

    Args:
        image: uint8 [H, W, 3], RGB.
        truth: A `PanopticResult` or integers [H, W], labels.
        prediction: A `PanopticResult` or integers [H, W], labels.
        descriptor: The data set.

    Raises:
        DataError: The image is not uint8 [H, W, 3], or sizes differ.
    """
    image_hw3 = _check_image(image)
    truth = _to_result(image_hw3, truth, descriptor)
    prediction = _to_result(image_hw3, prediction, descriptor)
    return difference_lib.paint_difference(
        image_hw3, difference_lib.compute_errors(truth, prediction)
    )


def visualize_comparison(
    image: Any,
    truth: Any,
    prediction: Any,
    descriptor: DatasetDescriptor,
    *,
    alpha: float = 0.7,
    panel_size: int = 640,
) -> npt.NDArray[np.uint8]:
    """Draws image, ground truth, prediction and difference side by side.

    There are two pictures in a row, and one legend with the numbers of the
    prediction.

    Args:
        image: uint8 [H, W, 3], RGB.
        truth: A `PanopticResult` or integers [H, W], labels; None where there
            is no ground truth.
        prediction: A `PanopticResult` or integers [H, W], labels.
        descriptor: The data set.
        alpha: Opacity of the colors, 0..1.
        panel_size: Longer side of each picture, in pixels.

    Returns:
        uint8 [h, w, 3].

    Raises:
        DataError: The image is not uint8 [H, W, 3], or sizes differ.
    """
    panels, entries = draw_panels(
        image,
        truth,
        prediction,
        descriptor,
        alpha=alpha,
        panel_size=panel_size,
    )
    picture = panels[0][1]
    arranged = boards.arrange(
        panels, entries, _choose_font_size((picture.height, picture.width))
    )
    return np.asarray(arranged)


def draw_panels(
    image: Any,
    truth: Any,
    prediction: Any,
    descriptor: DatasetDescriptor,
    *,
    alpha: float = 0.7,
    panel_size: int = 640,
) -> tuple[list[tuple[str, Image.Image]], list[legend_lib.LegendEntry]]:
    """Draws the pictures of `visualize_comparison`, each alone.

    Args:
        image: See `visualize_comparison`, as the others.
        truth: See there.
        prediction: See there.
        descriptor: See there.
        alpha: See there.
        panel_size: See there.

    Returns:
        Title and picture of each panel, all of one size; and the legend.

    Raises:
        DataError: See `visualize_comparison`.
    """
    image_hw3 = _check_image(image)
    longest = max(1, *image_hw3.shape[:2])
    size = (
        max(1, round(image_hw3.shape[0] * panel_size / longest)),
        max(1, round(image_hw3.shape[1] * panel_size / longest)),
    )
    small_hw3 = _resize_image(image_hw3, size)
    panels = [("image", Image.fromarray(small_hw3))]
    results = []
    for title, value in (("ground truth", truth), ("prediction", prediction)):
        if value is None:
            continue
        result = _to_result(image_hw3, value, descriptor)
        ids_hw = _resize_ids(result.segmentation, size)
        results.append(result)
        painted = _paint(
            small_hw3, ids_hw, result, descriptor, alpha, True, True
        )
        panels.append((title, painted))
    entries = _list_classes(results, descriptor)
    if len(results) == 2:
        errors_hw = difference_lib.compute_errors(*results)
        difference = difference_lib.paint_difference(
            small_hw3, _resize_ids(errors_hw, size).astype(np.uint8)
        )
        panels.append(("difference", Image.fromarray(difference)))
        entries = [*entries, *difference_lib.list_errors(errors_hw)]
    return panels, entries


def _check_image(image: Any) -> npt.NDArray[np.uint8]:
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise errors.DataError(
            f"The image has the dimensions {image.shape} and the type "
            f"{image.dtype}. It must be uint8 [H, W, 3], RGB, values 0..255."
        )
    return np.asarray(image, np.uint8)


def _to_result(
    image_hw3: npt.NDArray[np.uint8],
    value: Any,
    descriptor: DatasetDescriptor,
) -> PanopticResult:
    result = (
        value
        if isinstance(value, PanopticResult)
        else PanopticResult.from_label(value, descriptor)
    )
    if result.segmentation.shape != image_hw3.shape[:2]:
        raise errors.DataError(
            f"The image has the height and width {image_hw3.shape[:2]}, the "
            f"result {result.segmentation.shape}. Both must be of one size: "
            "resize one of them."
        )
    return result


def _choose_font_size(size: Sequence[int]) -> int:
    return int(np.clip(round(min(size) / 32), 12, 30))


def _resize_image(
    image_hw3: npt.NDArray[np.uint8], size: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    if image_hw3.shape[:2] == size or 0 in image_hw3.shape:
        return image_hw3
    picture = Image.fromarray(image_hw3)
    return np.array(picture.resize(size[::-1], Image.Resampling.BICUBIC))


def _resize_ids(
    ids_hw: npt.NDArray[Any], size: tuple[int, int]
) -> npt.NDArray[Any]:
    """Resizes a map to the nearest neighbor."""
    if ids_hw.shape == size:
        return ids_hw
    y, x = (
        (2 * np.arange(new) + 1) * old // (2 * new)
        for new, old in zip(size, ids_hw.shape, strict=True)
    )
    return np.asarray(ids_hw[y[:, None], x[None]])


def _paint(
    image_hw3: npt.NDArray[np.uint8],
    ids_hw: npt.NDArray[Any],
    result: PanopticResult,
    descriptor: DatasetDescriptor,
    alpha: float,
    borders: bool,
    names: bool,
) -> Image.Image:
    """Paints the segments `ids_hw` of a result over an image of that size."""
    colors = _choose_segment_colors(result, descriptor)
    painted = np.asarray(
        Image.blend(
            Image.fromarray(image_hw3), Image.fromarray(colors[ids_hw]), alpha
        )
    ).copy()
    if borders:
        thickness = max(1, round(min(ids_hw.shape) / BORDER_STEP))
        is_border = _find_borders(ids_hw, thickness)
        painted[is_border] = painted[is_border] // BORDER_DARKEN + BORDER_LIGHT
    picture = Image.fromarray(painted)
    if names:
        _write_names(picture, ids_hw, result)
    return picture


def _choose_segment_colors(
    result: PanopticResult, descriptor: DatasetDescriptor
) -> npt.NDArray[np.uint8]:
    """Returns uint8 [max id + 1, 3], colors by segment id; 0 is void."""
    infos = result.segments_info
    count = max([0, *(info["id"] for info in infos)]) + 1
    classes = [info["label_id"] for info in infos]
    seen: Counter[int] = Counter()
    numbers = []
    for info in infos:
        seen[info["label_id"]] += 1
        number = info.get("track_id", seen[info["label_id"]])
        numbers.append(number if info["isthing"] else 0)
    colors = np.tile(np.array(palette.VOID, np.uint8), (count, 1))
    if infos:
        class_colors = palette.choose_class_colors(descriptor)[classes]
        colors[[info["id"] for info in infos]] = palette.shade_instances(
            class_colors, np.array(numbers)
        )
    return colors


def _find_borders(
    ids_hw: npt.NDArray[Any], thickness: int
) -> npt.NDArray[np.bool_]:
    """Marks the pixels above and left of a change: bool [H, W]."""
    is_border = np.zeros(ids_hw.shape, bool)
    for shift in range(1, thickness + 1):
        is_border[:-shift] |= ids_hw[shift:] != ids_hw[:-shift]
        is_border[:, :-shift] |= ids_hw[:, shift:] != ids_hw[:, :-shift]
    return is_border


def _write_names(
    picture: Image.Image, ids_hw: npt.NDArray[Any], result: PanopticResult
) -> None:
    font_size = _choose_font_size(ids_hw.shape)
    names = {i["id"]: i["category_name"] for i in result.segments_info}
    found = label_map.compute_segments(ids_hw)
    occupied: list[tuple[int, int, int, int]] = []
    written: Counter[str] = Counter()
    for row in np.argsort(-found.areas, kind="stable"):
        name = names.get(int(found.ids[row]))
        y, x, height, width = found.boxes[row].tolist()
        if found.areas[row] < font_size**2 or written.total() >= _MAX_NAMES:
            break
        if name is None or written[name] >= _MAX_CLASS_NAMES:
            continue
        mask_hw = ids_hw[y : y + height, x : x + width] == found.ids[row]
        written[name] += legend_lib.draw_name(
            picture, name, mask_hw, (y, x), font_size, occupied
        )


def _list_classes(
    results: Sequence[PanopticResult], descriptor: DatasetDescriptor
) -> list[legend_lib.LegendEntry]:
    """Lists the classes of results: things, then stuff, then void."""
    areas: Counter[int] = Counter()
    counts: Counter[int] = Counter()
    for result in results:
        # Classes of all results are listed, with the numbers of the last one.
        areas = Counter(dict.fromkeys(areas, 0))
        counts = Counter(info["label_id"] for info in result.segments_info)
        for info in result.segments_info:
            areas[info["label_id"]] += info["area"]
    total = results[-1].segmentation.size
    void = total - areas.total()
    colors = palette.choose_class_colors(descriptor)
    order = sorted(
        areas, key=lambda c: (not descriptor.is_thing(c), -areas[c], c)
    )
    entries = []
    for class_id in order:
        is_thing = descriptor.is_thing(class_id)
        share = _format_share(areas[class_id], total)
        red, green, blue = colors[class_id].tolist()
        entries.append(
            legend_lib.LegendEntry(
                descriptor.class_names[class_id],
                (red, green, blue),
                str(counts[class_id]) if is_thing else share,
            )
        )
    if void > 0.001 * total:
        note = _format_share(void, total)
        entries.append(legend_lib.LegendEntry("void", palette.VOID, note))
    return entries


def _format_share(area: int, total: int) -> str:
    if not area:
        return "0"
    percent = 100 * area / max(total, 1)
    return f"{percent:.0f} %" if percent >= 1 else "< 1 %"
