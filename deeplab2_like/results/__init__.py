# SPDX-License-Identifier: Apache-2.0
"""Predictions for images, in memory and as files."""
