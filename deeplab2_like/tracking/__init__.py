# SPDX-License-Identifier: Apache-2.0
"""Segments that are the same object in consecutive frames or slices.

Reading order: `options`, `assignment` (which pairs belong together),
`moved_masks` (what masks share), `frame_segments`, `linking` (segments of
frames to tracks), `consensus` (one volume from its slices in three directions).

NumPy; `assignment` needs SciPy. Functions take label maps and plain values, of
any program.
"""
