# SPDX-License-Identifier: Apache-2.0
"""Exports checkpoints as SavedModels that agree with their models."""
