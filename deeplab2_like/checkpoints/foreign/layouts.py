# SPDX-License-Identifier: Apache-2.0
"""Arrays of PyTorch's layers in the layout and with the names of Keras.

PyTorch puts channels before height and width, and outputs before inputs (except
in transposed convolutions). Sources: the documentation of `torch.nn.Conv2d`,
`ConvTranspose2d`, `Linear` and `BatchNorm2d`, and of Keras' layers.
"""

import enum

import numpy as np

# The counter of steps that batch norms of PyTorch have since version 0.4.1 and
# Keras' have not.
STEP_COUNTER = "num_batches_tracked"


class LayerKind(enum.StrEnum):
    """What a layer of PyTorch is; it decides on the layout of its arrays."""

    CONVOLUTION = "convolution"
    DEPTHWISE_CONVOLUTION = "depthwise convolution"
    TRANSPOSED_CONVOLUTION = "transposed convolution"
    LINEAR = "linear"
    NORMALIZATION = "normalization"


# How the axes of a weight are permuted.
_PERMUTATIONS = {
    # [out, in, h, w] -> [h, w, in, out]
    LayerKind.CONVOLUTION: (2, 3, 1, 0),
    # [channels, 1, h, w] -> [h, w, channels, 1]
    LayerKind.DEPTHWISE_CONVOLUTION: (2, 3, 0, 1),
    # [in, out, h, w] -> [h, w, out, in]
    LayerKind.TRANSPOSED_CONVOLUTION: (2, 3, 1, 0),
    # [out, in] -> [in, out]
    LayerKind.LINEAR: (1, 0),
}
_NORMALIZATION = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
_OTHERS = {"weight": "kernel", "bias": "bias"}


def to_tensorflow(
    kind: LayerKind, name: str, value: np.ndarray
) -> tuple[str, np.ndarray]:
    """Converts an array of a layer from PyTorch's layout to Keras'.

    Args:
        kind: Kind of the layer. Grouped convolutions are `CONVOLUTION`, but
            `DEPTHWISE_CONVOLUTION` if each channel is a group and there is
            one output channel for each.
        name: Name of the array in the layer: "weight", "bias", "running_mean"
            or "running_var", the last part of its key in a state dict.
        value: Weight of a convolution [out, in / groups, h, w], of a depthwise
            convolution [channels, 1, h, w], of a transposed one
            [in, out, h, w], of a linear layer [out, in]; all others [channels].

    Returns:
        The name in Keras ("kernel", "bias", "gamma", "beta", "moving_mean",
        "moving_variance"), and the array, of the same type and a view of
        `value`: [h, w, in / groups, out], [h, w, channels, 1],
        [h, w, out, in], [in, out] or [channels].

    Raises:
        ValueError: A layer of the kind has no such array, or `value` has
            another shape than its arrays. `STEP_COUNTER` has no counterpart.
    """
    kind = LayerKind(kind)
    is_normalization = kind is LayerKind.NORMALIZATION
    names = _NORMALIZATION if is_normalization else _OTHERS
    if name not in names:
        raise ValueError(
            f"A {kind} has no array {name!r} to convert: it has "
            f"{', '.join(names)}."
        )
    is_vector = is_normalization or name == "bias"
    permutation = (0,) if is_vector else _PERMUTATIONS[kind]
    if value.ndim != len(permutation):
        raise ValueError(
            f"The {name} of a {kind} has {len(permutation)} dimensions, not "
            f"the shape {value.shape}."
        )
    is_depthwise = kind is LayerKind.DEPTHWISE_CONVOLUTION
    if is_depthwise and not is_vector and value.shape[1] != 1:
        raise ValueError(
            f"The weight of a {kind} has the shape [channels, 1, h, w], not "
            f"{value.shape}: it is that of another convolution."
        )
    return names[name], np.transpose(value, permutation)
