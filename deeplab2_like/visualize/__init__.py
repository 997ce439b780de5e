# SPDX-License-Identifier: Apache-2.0
"""Draws panoptic results. NumPy and Pillow only."""

from deeplab2_like.visualize.visualizer import (
    visualize,
    visualize_comparison,
    visualize_difference,
)

__all__ = ["visualize", "visualize_comparison", "visualize_difference"]
