# SPDX-License-Identifier: Apache-2.0
"""Data sets: what they are, how they are stored, read and augmented."""
