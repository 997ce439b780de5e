# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: files, keys, conversion and initialization from them."""
