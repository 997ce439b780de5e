# SPDX-License-Identifier: Apache-2.0
"""Whole models of other libraries, as checkpoints and configs of this package.

In reading order: `recognition` says whose model a file holds;
`panoptic_deeplab` and `panoptic_fpn` know the keys, layouts and sizes of one
library each, with `classes` for the order of its classes and `state` for what
is read from a file; `mapping` makes the values of a model's variables;
`configs` writes the config; `conversion` does it all.
"""
