# SPDX-License-Identifier: Apache-2.0
"""Images larger than memory, predicted tile by tile as one.

`predict_large` takes a `LargeImage` and returns a `LargeResult`; both are read
in windows. Importing this package does not import TensorFlow.
"""

from deeplab2_like.large_images.result import LabelMap, LargeResult, Segments
from deeplab2_like.large_images.source import Box, LargeImage, Window

__all__ = [
    "Box",
    "LabelMap",
    "LargeImage",
    "LargeResult",
    "Segments",
    "Window",
]
