# SPDX-License-Identifier: Apache-2.0
"""From features to what a model says of pixels and objects."""
