# SPDX-License-Identifier: Apache-2.0
"""From label maps to training targets, one module per kind of targets."""
