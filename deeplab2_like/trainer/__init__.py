# SPDX-License-Identifier: Apache-2.0
"""Training and evaluation with Orbit; the only part that imports Orbit."""
