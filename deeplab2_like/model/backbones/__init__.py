# SPDX-License-Identifier: Apache-2.0
"""Image encoders that give a dictionary of feature maps, res1 to res5."""
