# SPDX-License-Identifier: Apache-2.0
"""Training targets from label maps, one module per kind of targets."""
