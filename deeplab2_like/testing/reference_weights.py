# SPDX-License-Identifier: Apache-2.0
"""Golden data of other libraries' networks: their weights and outputs.

The weights are random, made again from keys and shapes by a program in the
golden folder; the outputs are what the libraries computed with them.
"""

import functools
import importlib.util
import types

import numpy as np

from deeplab2_like.testing import reference

FAMILY = "weights"
# Largest difference, as a part of the largest value of the output.
TOLERANCE = 1e-4
_MEANS = "/mean_hw"


@functools.cache
def load_maker() -> types.ModuleType:
    """Loads the program that makes weights: `make_state` and writers."""
    path = reference.find_support_file(f"{FAMILY}/make_state.py")
    spec = importlib.util.spec_from_file_location("weights_maker", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_arrays(name: str) -> dict[str, np.ndarray]:
    """Makes the weights of a network by their keys in its files.

    Args:
        name: Name of the network, such as "torchvision_resnet50".
    """
    keys = reference.find_support_file(f"{FAMILY}/keys/{name}.json")
    return load_maker().make_state(str(keys))


def output_of(name: str) -> str:
    """Returns the output that an array of a case is of."""
    return name.removesuffix(_MEANS)


def compare(case: reference.Case, name: str, value: np.ndarray) -> None:
    """Compares an output with an array of a case.

    Args:
        case: The case.
        name: Name of the array: the output, of which the case may have some
            values only, or its mean of each channel.
        value: The whole output, [..., C].

    Raises:
        AssertionError: The output has another shape.
    """
    spec = case.meta["outputs"][output_of(name)]
    if list(value.shape) != spec["shape"]:
        raise AssertionError(
            f"{name} has the shape {value.shape}, the reference "
            f"{spec['shape']}."
        )
    if name.endswith(_MEANS):
        value = value.mean(tuple(range(value.ndim - 1)), np.float64)
    else:
        value = value.reshape(-1)[:: spec["step"]]
    largest = np.abs(case.input(name)).max()
    case.compare(name, value, atol=TOLERANCE * largest)
