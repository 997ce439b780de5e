# SPDX-License-Identifier: Apache-2.0
"""The grids of SOLOv2, as published, for small to large objects.

Wang et al., "SOLOv2" (arXiv:2003.10152): for images of about 800 x 1333 pixels.
"""

# Cells on a side.
GRIDS = (40, 36, 24, 16, 12)
# Sizes of the objects that a grid learns from: root of the area of the box in
# pixels, both ends included.
RANGES = ((1, 96), (48, 192), (96, 384), (192, 768), (384, 2048))
# Masks of at most this many pixels at stride 4 are dropped.
SMALLEST_MASKS = (8, 8, 16, 32, 32)
