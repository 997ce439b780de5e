# SPDX-License-Identifier: Apache-2.0
"""Rules for the fields of a config, a module for each part of it."""
