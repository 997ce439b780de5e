# SPDX-License-Identifier: Apache-2.0
"""Prediction of images of any size, in the graph."""
