# SPDX-License-Identifier: Apache-2.0
"""Image files, and files that are written completely or not at all."""
