# SPDX-License-Identifier: Apache-2.0
"""Pixels with classes, centers and offsets: grouping and merging."""
