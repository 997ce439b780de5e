# SPDX-License-Identifier: Apache-2.0
"""Boxes of objects: anchors, matching, sampling, suppression, selection."""
