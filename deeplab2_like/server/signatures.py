# SPDX-License-Identifier: Apache-2.0
"""What a model takes and gives, without TensorFlow.

Tensors are NumPy arrays; those of strings have the dtype object and hold
`bytes`.
"""

import dataclasses
import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like.server import failures

Arrays = dict[str, npt.NDArray[Any]]

STRING = "string"
DEFAULT_SIGNATURE = "serving_default"
MAX_RANK = 16


@dataclasses.dataclass(frozen=True)
class TensorInfo:
    """A tensor of a signature.

    Attributes:
        dtype: Name of its type: "uint8", "float32", "bool", "string", ...
        shape: Its sides; None for one that may vary.
    """

    dtype: str
    shape: tuple[int | None, ...]

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """Type of the array."""
        return np.dtype(object if self.dtype == STRING else self.dtype)

    def describe(self) -> str:
        """Returns the type and the sides, such as "uint8 [?, ?, ?, 3]"."""
        sides = ", ".join("?" if s is None else str(s) for s in self.shape)
        return f"{self.dtype} [{sides}]"


@dataclasses.dataclass(frozen=True)
class Signature:
    """One of the functions of a model.

    Attributes:
        inputs: Its inputs by name.
        outputs: Its outputs by name.
        has_independent_rows: Whether each row of the first axis is answered as
            if it were alone, so that requests may be put together.
    """

    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]
    has_independent_rows: bool = False


def find(signatures: Mapping[str, Signature], name: str) -> Signature:
    """Returns a signature by name.

    Raises:
        RequestError: There is none of that name.
    """
    if name not in signatures:
        raise failures.invalid(
            f"The model has no signature {failures.shorten(name)}. It has "
            f"{', '.join(sorted(signatures))}."
        )
    return signatures[name]


def check_names(signature: Signature, names: Collection[str]) -> None:
    """Checks that inputs are those that a signature takes, by name.

    Raises:
        RequestError: One is missing or unknown.
    """
    if set(names) != set(signature.inputs):
        # Some of them, as there may be very many.
        some = ", ".join(sorted(itertools.islice(names, 10))) or "none"
        raise failures.invalid(
            f"The inputs are {failures.shorten(some)}. The signature takes "
            f"{', '.join(sorted(signature.inputs))}."
        )


def check_inputs(signature: Signature, inputs: Arrays) -> None:
    """Checks that arrays are what a signature takes.

    Raises:
        RequestError: An input is missing, unknown, or of another type or other
            sides.
    """
    check_names(signature, inputs)
    for name, info in signature.inputs.items():
        array = inputs[name]
        fits = array.ndim == len(info.shape) and all(
            wanted is None or side == wanted
            for side, wanted in zip(array.shape, info.shape, strict=True)
        )
        if not fits or array.dtype != info.numpy_dtype:
            raise failures.invalid(
                f"Input {name} has the shape {list(array.shape)} and the type "
                f"{name_dtype(array)}. It must be {info.describe()}."
            )


def count_rows(inputs: Arrays) -> int:
    """Returns the length of the first axis of the inputs."""
    return min(len(array) for array in inputs.values())


def check_range(name: str, low: int, high: int, info: TensorInfo) -> None:
    """Checks that a type of whole numbers can hold those of a client.

    Args:
        name: Name of the tensor, for errors.
        low: The smallest.
        high: The largest.
        info: The tensor; only its type is looked at.

    Raises:
        RequestError: It cannot.
    """
    limits = np.iinfo(info.numpy_dtype)
    for value in (low, high):
        if not limits.min <= value <= limits.max:
            raise failures.invalid(
                f"Tensor {name} has {failures.shorten(value)}, which "
                f"{info.dtype} cannot hold without loss of precision."
            )


def make_strings(values: Sequence[bytes]) -> npt.NDArray[Any]:
    """Makes an array [N] of strings."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


def name_dtype(array: npt.NDArray[Any]) -> str:
    """Returns the name of the type of an array, as in `TensorInfo`."""
    return STRING if array.dtype == object else array.dtype.name


def count_values(shape: tuple[int, ...]) -> int:
    """Returns the number of values of a shape."""
    return math.prod(shape)


def check_shape(name: str, shape: Any) -> tuple[int, ...]:
    """Checks the sides that a client gave a tensor.

    Args:
        name: Name of the tensor, for errors.
        shape: What the client sent.

    Raises:
        RequestError: It is no list of sides that an array may have.
    """
    if (
        not isinstance(shape, list)
        or len(shape) > MAX_RANK
        or not all(type(side) is int and 0 <= side < 2**31 for side in shape)
    ):
        raise failures.invalid(
            f"Input {name} has the shape {failures.shorten(shape)}. It must be "
            "a list of whole numbers, at least 0."
        )
    return tuple(shape)


def give_shape(
    name: str, values: npt.NDArray[Any], shape: tuple[int, ...]
) -> npt.NDArray[Any]:
    """Gives values the sides that a client named.

    Args:
        name: Name of the tensor, for errors.
        values: The values [N].
        shape: Sides, of `check_shape`.

    Raises:
        RequestError: The shape needs more or fewer values, or is empty and
            larger than an array can be.
    """
    count = count_values(shape)
    described = failures.shorten(list(shape))
    if values.size != count:
        raise failures.invalid(
            f"Input {name} has {values.size} values. The shape {described} "
            f"needs {count}."
        )
    try:
        return values.reshape(shape)
    except ValueError:
        raise failures.invalid(
            f"Input {name} has the shape {described}, which is too large."
        ) from None


def count_bytes(arrays: Arrays) -> int:
    """Returns the size of arrays in memory; of strings, that of their texts."""
    return sum(
        sum(map(len, array.flat)) if array.dtype == object else array.nbytes
        for array in arrays.values()
    )
