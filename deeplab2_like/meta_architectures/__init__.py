# SPDX-License-Identifier: Apache-2.0
"""Systems: each says which targets, model, losses and post-processing it is."""
