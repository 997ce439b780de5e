# SPDX-License-Identifier: Apache-2.0
"""Objects with masks: pasting, overlaps, fusion with classes."""
