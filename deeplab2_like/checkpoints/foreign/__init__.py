# SPDX-License-Identifier: Apache-2.0
"""Readers of weight files of other frameworks.

In reading order: `reading` finds the form of a file and its weights;
`torch_files`, `safetensors_files` and `pickles` with `pickled_names` read the
forms, `arrays` and `elements` make arrays from them, `streams` and `sentences`
are for all; `layouts` transposes arrays of PyTorch for Keras. None needs
PyTorch or TensorFlow, and nothing that a file contains is run.
"""
