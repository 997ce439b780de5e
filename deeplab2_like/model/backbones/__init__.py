# SPDX-License-Identifier: Apache-2.0
"""Image encoders that return a dictionary of feature maps, res1 to res5."""
