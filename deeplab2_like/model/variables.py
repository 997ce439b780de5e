# SPDX-License-Identifier: Apache-2.0
"""Groups of variables that training treats differently."""

from collections.abc import Sequence

import keras


def decayed_variables(model: keras.Model) -> list[keras.Variable]:
    """Gives the variables that weight decay (L2) shrinks.

    These are the kernels of convolutions (1x1 ones, those of
    squeeze-and-excite and the last layers included) and of attention
    projections. Excluded are depthwise kernels, biases, and all of batch
    norm.

    deeplab2 excludes the same, and regularises the backbone alone, to no
    effect: it never adds the terms to its loss.
    """
    return [v for v in model.trainable_variables if _is_decayed(v.path)]


def random_states(model: keras.Model) -> list[keras.Variable]:
    """Gives the states of random generators, which no weights file has."""
    return [
        v for v in model.variables if v.path.endswith("/seed_generator_state")
    ]


def _is_decayed(path: str) -> bool:
    *layers, name = path.split("/")
    return name.endswith("kernel") and layers[-1] != "depthwise_conv"


def check_unique_paths(variables: Sequence[keras.Variable]) -> None:
    """Checks that checkpoints can tell the variables apart.

    Raises:
        ValueError: two variables have the same path.
    """
    seen: set[str] = set()
    for variable in variables:
        if variable.path in seen:
            raise ValueError(
                f"two variables have the path {variable.path} - paths must be "
                "unique, checkpoints are keyed by them - name the layers."
            )
        seen.add(variable.path)
