# SPDX-License-Identifier: Apache-2.0
"""The variables that weight decay acts on."""

import keras


def decayed_variables(model: keras.Model) -> list[keras.Variable]:
    """Returns the variables that weight decay (L2) shrinks.

    These are the kernels of convolutions (1x1 ones, those of
    squeeze-and-excite and the last layers included) and of attention
    projections. Excluded are depthwise kernels, biases, and all of batch
    norm.

    deeplab2 excludes the same, and regularizes the backbone alone, to no
    effect: it never adds the terms to its loss.
    """
    return [v for v in model.trainable_variables if _is_decayed(v.path)]


def _is_decayed(path: str) -> bool:
    *layers, name = path.split("/")
    return name.endswith("kernel") and layers[-1] != "depthwise_conv"
