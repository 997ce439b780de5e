# SPDX-License-Identifier: Apache-2.0
"""Keras layers that take plain Python values and no configs."""
