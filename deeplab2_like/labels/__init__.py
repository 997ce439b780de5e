# SPDX-License-Identifier: Apache-2.0
"""Labels: descriptors of data sets, label maps, colors, COCO's format."""
