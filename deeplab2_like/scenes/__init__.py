# SPDX-License-Identifier: Apache-2.0
"""Scenes: a data set that is drawn, street-like images with exact labels."""
