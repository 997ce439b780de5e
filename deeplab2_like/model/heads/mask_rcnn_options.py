# SPDX-License-Identifier: Apache-2.0
"""Options of Mask R-CNN.

P proposals; C thing classes; D detections.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from deeplab2_like.model.decoders.feature_pyramid import STRIDES


@dataclasses.dataclass(frozen=True)
class InstanceOptions:
    """Options of the instance branch; the defaults are detectron2's.

    Attributes:
        num_classes: C, number of thing classes.
        anchor_sizes: Root of the area of the anchors of each level, pixels;
            fewer values than levels are those of the finest levels.
        anchor_ratios: Height / width.
        filters: Channels of the proposal and mask heads.
        units: Units of each dense layer of the box head.
        mask_convs: Number of 3x3 convolutions of the mask head.
        separable: Whether the 3x3 convolutions of the proposal and mask heads
            are depthwise separable, with batch norms.
        batch_norm: Keyword arguments of `BatchNorm`, if separable.
        gives_mask_logits: Whether masks are logits, not probabilities.
        anchor_samples: Number of anchors of an image to learn from.
        region_samples: Number of RoIs of an image to learn from.
        positive_share: Largest share of objects among the sampled RoIs.
        level_proposals: Most anchors of a level that enter the suppression of
            proposals, (in training, in inference).
        num_proposals: P, number of proposals, (in training, in inference).
        proposal_overlap: IoU threshold of the suppression of proposals.
        score_threshold: Score that detections exceed.
        detection_overlap: IoU threshold of the suppression of detections.
        max_detections: D, largest number of detections of an image.
        candidates: Most pairs of RoI and class that enter the suppression of
            detections.
        sampling_points: Points of a bin of RoIAlign along an axis, or their
            largest number.
        adaptive_sampling: Whether each region has its own number of points;
            see `roi_align.Sampling`. Masks to learn from always have two.
    """

    num_classes: int
    anchor_sizes: Sequence[float] = (32.0, 64.0, 128.0, 256.0, 512.0)
    anchor_ratios: Sequence[float] = (0.5, 1.0, 2.0)
    filters: int = 256
    units: int = 1024
    mask_convs: int = 4
    separable: bool = False
    batch_norm: Mapping[str, Any] | None = None
    gives_mask_logits: bool = False
    anchor_samples: int = 256
    region_samples: int = 512
    positive_share: float = 0.25
    level_proposals: Sequence[int] = (2000, 1000)
    num_proposals: Sequence[int] = (1000, 1000)
    proposal_overlap: float = 0.7
    score_threshold: float = 0.05
    detection_overlap: float = 0.5
    max_detections: int = 100
    candidates: int = 2000
    sampling_points: int = 2
    adaptive_sampling: bool = False

    def __post_init__(self):
        if not 1 <= len(self.anchor_sizes) <= len(STRIDES):
            raise ValueError(
                f"anchor_sizes has {len(self.anchor_sizes)} values - the "
                f"pyramid has {len(STRIDES)} levels, so it needs as many, or "
                "fewer for the finest levels alone."
            )
