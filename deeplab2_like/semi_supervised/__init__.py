# SPDX-License-Identifier: Apache-2.0
"""Learning from images without labels."""
