# SPDX-License-Identifier: Apache-2.0
"""From the checkpoint of a run to a SavedModel that can be trusted."""
