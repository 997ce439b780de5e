# SPDX-License-Identifier: Apache-2.0
"""How much of an image two models segment alike, however segments are numbered.

Weights of 16 bits change scores, and with them which object is number 1; so ids
are not compared, but segments.
"""

import numpy as np
import numpy.typing as npt

# Least share of the pixels that an export with weights of this type must
# segment as the model does.
MIN_AGREEMENT = {"bfloat16": 0.95, "float16": 0.99}
_MIN_IOU = 0.5


def count_agreeing(
    found_hw: npt.NDArray[np.int32],
    expected_hw: npt.NDArray[np.int32],
    label_divisor: int,
) -> int:
    """Counts the pixels whose segments match.

    Segments match as for panoptic quality: they have one class, and their IoU
    is above 0.5. Void is a class.

    Args:
        found_hw: int32 [H, W], class * label_divisor + instance.
        expected_hw: int32 [H, W], likewise.
        label_divisor: See there.
    """
    pairs, shared = np.unique(
        np.stack([found_hw.reshape(-1), expected_hw.reshape(-1)]),
        axis=1,
        return_counts=True,
    )
    areas = [
        dict(zip(*np.unique(ids_hw, return_counts=True), strict=True))
        for ids_hw in (found_hw, expected_hw)
    ]
    agreeing = 0
    for (found, expected), count in zip(pairs.T, shared, strict=True):
        if found // label_divisor != expected // label_divisor:
            continue
        union = areas[0][found] + areas[1][expected] - count
        if count > _MIN_IOU * union:
            agreeing += int(count)
    return agreeing
