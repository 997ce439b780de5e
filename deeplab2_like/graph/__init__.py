# SPDX-License-Identifier: Apache-2.0
"""Helpers for code in TensorFlow graphs: checks, compilation, exact floats."""
