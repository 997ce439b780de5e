# SPDX-License-Identifier: Apache-2.0
"""What a model says about an image, in memory and as files."""
