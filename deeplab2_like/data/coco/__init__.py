# SPDX-License-Identifier: Apache-2.0
"""Conversion of data in COCO's panoptic format to records."""
