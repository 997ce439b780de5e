# SPDX-License-Identifier: Apache-2.0
"""Data sets: their storage as records, reading and augmentation."""
