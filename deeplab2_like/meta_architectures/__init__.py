# SPDX-License-Identifier: Apache-2.0
"""Systems: the targets, model, losses and post-processing of each."""
