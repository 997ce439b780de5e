# SPDX-License-Identifier: Apache-2.0
"""From the folders of COCO's panoptic format to records."""
