# SPDX-License-Identifier: Apache-2.0
"""From network outputs to segments: pure functions with static shapes.

Read `panoptic_deeplab` first; `centers`, `grouping` and `merging` are its
steps in this order, `upsampling` brings head outputs to full resolution.
"""
