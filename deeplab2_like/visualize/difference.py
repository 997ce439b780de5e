# SPDX-License-Identifier: Apache-2.0
"""Draws the differences between a prediction and the ground truth."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from deeplab2_like.labels import label_map, palette
from deeplab2_like.metrics import overlaps
from deeplab2_like.results.panoptic_result import PanopticResult
from deeplab2_like.visualize import legend

# Codes of pixels. Of WRONG_INSTANCE the class is right, but the IoU of the
# thing with the true one is 0.5 or less.
RIGHT, WRONG_CLASS, WRONG_INSTANCE, VOID = range(4)

# Distinguishable with all kinds of color vision.
COLORS = {WRONG_CLASS: (213, 94, 0), WRONG_INSTANCE: (86, 180, 233)}
_NAMES = {WRONG_CLASS: "wrong class", WRONG_INSTANCE: "wrong instance"}


def compute_errors(
    truth: PanopticResult, prediction: PanopticResult
) -> npt.NDArray[np.uint8]:
    """Compares two results of one image pixel by pixel.

    Args:
        truth: The ground truth.
        prediction: The prediction, of the same size.

    Returns:
        uint8 [H, W], codes of this module. Pixels of crowd are never
        WRONG_INSTANCE.
    """
    found = overlaps.compute_overlaps(
        truth.segmentation, prediction.segmentation
    )
    true_infos = {info["id"]: info for info in truth.segments_info}
    infos = {info["id"]: info for info in prediction.segments_info}
    true_areas, areas = found.true_areas, found.predicted_areas
    table = np.zeros((len(true_areas), len(areas)), np.uint8)
    for t, p, shared in zip(
        found.true_index, found.predicted_index, found.areas, strict=True
    ):
        true = true_infos.get(int(found.true_ids[t]))
        predicted = infos.get(int(found.predicted_ids[p]))
        union = true_areas[t] + areas[p] - shared
        if true is None:
            table[t, p] = VOID
        elif predicted is None or predicted["label_id"] != true["label_id"]:
            table[t, p] = WRONG_CLASS
        elif true["isthing"] and not true["iscrowd"] and 2 * shared <= union:
            table[t, p] = WRONG_INSTANCE
    t_hw, p_hw = (
        label_map.replace_values(result.segmentation, ids, np.arange(len(ids)))
        for result, ids in (
            (truth, found.true_ids),
            (prediction, found.predicted_ids),
        )
    )
    return table[t_hw, p_hw]


def paint_difference(
    image_hw3: npt.NDArray[np.uint8], errors_hw: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint8]:
    """Paints errors over the gray image: uint8 [H, W, 3].

    Args:
        image_hw3: uint8 [H, W, 3], RGB.
        errors_hw: uint8 [H, W], result of `compute_errors`.
    """
    gray = np.asarray(Image.fromarray(image_hw3).convert("L"))
    # Light, in contrast to the colors and black.
    light = (gray // 2 + 110).astype(np.uint8)
    picture = np.repeat(light[..., None], 3, axis=-1)
    for code, color in COLORS.items():
        inside = errors_hw == code
        picture[inside] = picture[inside] // 5 + np.array(color) * 4 // 5
    picture[errors_hw == VOID] = palette.VOID
    return picture


def list_errors(
    errors_hw: npt.NDArray[np.uint8],
) -> list[legend.LegendEntry]:
    """Lists the colors for a legend, with their share of labeled pixels.

    Args:
        errors_hw: uint8 [H, W], result of `compute_errors`.
    """
    counts = np.bincount(errors_hw.ravel(), minlength=VOID + 1)
    labeled = max(1, int(counts[:VOID].sum()))
    entries = [legend.LegendEntry("difference")]
    for code, color in COLORS.items():
        percent = 100 * counts[code] / labeled
        note = f"{percent:.1f} %" if percent >= 0.1 else "< 0.1 %"
        note = note if counts[code] else "0"
        entries.append(legend.LegendEntry(_NAMES[code], color, note))
    return entries
