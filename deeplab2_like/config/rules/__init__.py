# SPDX-License-Identifier: Apache-2.0
"""What the fields of a config may hold, a module for each part of it."""
