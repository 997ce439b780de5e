# SPDX-License-Identifier: Apache-2.0
"""What is predicted: an image that is read in windows; see `rasters`."""

from deeplab2_like.rasters.source import (
    Box,
    LargeImage,
    Reading,
    Window,
)

__all__ = ["Box", "LargeImage", "Reading", "Window"]
