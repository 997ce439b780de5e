# SPDX-License-Identifier: Apache-2.0
"""Losses: pure functions of predictions and targets, one value per image."""
