# SPDX-License-Identifier: Apache-2.0
"""From network outputs to segments: pure functions with static shapes.

Read `panoptic_deeplab` first, then `images`, which has the steps for one
image: `upsampling` and `semantic` bring head outputs to full size, `centers`,
`grouping` and `merging` find the segments. `rules` says what counts as what,
`compilation` what XLA needs to be exact and fast.
"""
