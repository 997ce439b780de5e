# SPDX-License-Identifier: Apache-2.0
"""Training data in images larger than memory, with label maps of their size.

`lists` reads which images there are, `examples` reads an image and its labels
in windows, `windows` draws windows for training.
"""
