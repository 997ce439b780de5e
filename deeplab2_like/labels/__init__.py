# SPDX-License-Identifier: Apache-2.0
"""What labels mean: descriptors, label maps, colours, COCO's coding."""
