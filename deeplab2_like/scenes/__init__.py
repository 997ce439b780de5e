# SPDX-License-Identifier: Apache-2.0
"""Scenes: a drawn data set of street-like images with exact labels."""
