# SPDX-License-Identifier: Apache-2.0
"""TFRecords: their features, files, writing and decoding."""
