# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: their files, their keys, and a start from them."""
