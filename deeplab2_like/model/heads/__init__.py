# SPDX-License-Identifier: Apache-2.0
"""Heads that predict pixels and objects from features."""
