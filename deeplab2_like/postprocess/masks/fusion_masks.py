# SPDX-License-Identifier: Apache-2.0
"""What is fused with class logits: masks, and the rules by which they compete.

K masks; h, w: size of a mask.
"""

import dataclasses
import math
from typing import NamedTuple

import tensorflow as tf

from deeplab2_like.postprocess.masks.heuristic_merge import MaskRules


@dataclasses.dataclass(frozen=True)
class FusionRules(MaskRules):
    """Which masks become instances, and how they compete.

    Unlike in `MaskRules`, a mask must be more than the mask threshold.

    Attributes:
        mask_logit_scale: Mask logits are multiplied by it before they are
            fused. 1 in the paper, 4 in its published code.
        zero_outside: A mask, and the logit of its class, count as 0 outside of
            the box, as in the published code, so that a mask can win pixels
            anywhere in the image from stuff with negative logits. Takes time
            for the whole image for each mask.
    """

    mask_logit_scale: float = 1.0
    zero_outside: bool = False

    @property
    def mask_logit(self) -> float:
        """The logit of the mask threshold."""
        if self.mask_threshold >= 1.0:
            return math.inf
        return math.log(self.mask_threshold / (1.0 - self.mask_threshold))


class FusionMasks(NamedTuple):
    """Masks that compete for pixels.

    Attributes:
        logits: float32 [K, h, w].
        frames: float32 [K, 4], (y1, x1, y2, x2) in pixels, what each mask
            fills.
        boxes: float32 [K, 4]; no pixel outside of it belongs to the mask.
        channel: int32 [K], the channel of its class.
        score: float32 [K]; masks with minus infinity are never instances.
        reach: Most rows, or columns, of a mask that the pixels of a tile can
            read; None: all.
    """

    logits: tf.Tensor
    frames: tf.Tensor
    boxes: tf.Tensor
    channel: tf.Tensor
    score: tf.Tensor
    reach: int | None = None
