# SPDX-License-Identifier: Apache-2.0
"""Losses: pure functions of predictions and targets, one value per image."""

from deeplab2_like.losses import (
    class_weights,
    cross_entropy,
    detection,
    grid_masks,
    pixelwise,
    soft_panoptic_quality,
    uncertainty,
)

__all__ = [
    "class_weights",
    "cross_entropy",
    "detection",
    "grid_masks",
    "pixelwise",
    "soft_panoptic_quality",
    "uncertainty",
]
