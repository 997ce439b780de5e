# SPDX-License-Identifier: Apache-2.0
"""Inference requests of the Open Inference Protocol, of any encoding.

The protocol has no signatures: the request parameter `signature_name` names
one, and otherwise the names of the inputs choose it.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy.typing as npt

from deeplab2_like.server import failures, signatures, tensor_bytes
from deeplab2_like.server.signatures import Arrays, Signature, TensorInfo

# Of signatures with the same inputs the first one.
_PREFERRED = (signatures.DEFAULT_SIGNATURE, "encoded_compact", "encoded")


@dataclasses.dataclass(frozen=True)
class InferRequest:
    """An inference request.

    Attributes:
        signature_name: Name of the signature.
        inputs: The inputs by name.
        outputs: Names of the wanted outputs and whether each is binary.
        id: What the client calls the request; None if nothing.
    """

    signature_name: str
    inputs: Arrays
    outputs: Mapping[str, bool]
    id: str | None


@dataclasses.dataclass(frozen=True)
class Input:
    """An input as a client sent it.

    Attributes:
        name: Its name.
        datatype: Its type.
        shape: Its sides.
        read: Function that reads its values [N] for a tensor of a signature.
    """

    name: str
    datatype: Any
    shape: Any
    read: Callable[[TensorInfo], npt.NDArray[Any]]


def choose_signature(
    chosen: Any, names: Sequence[str], known: Mapping[str, Signature]
) -> str:
    """Returns the name of the signature that a request asks for.

    Args:
        chosen: Its parameter `signature_name`; None where there is none.
        names: Names of its inputs.
        known: The signatures of the model.

    Raises:
        RequestError: It has no inputs, one twice, or there is no such
            signature.
    """
    if not names:
        raise failures.invalid("The request has no inputs. Send at least one.")
    if len(set(names)) < len(names):
        raise failures.invalid("The request has an input twice.")
    if chosen is not None:
        if not isinstance(chosen, str):
            raise failures.invalid("signature_name must be a string.")
        signatures.find(known, chosen)
        return chosen
    for name in _PREFERRED:
        if name in known and set(known[name].inputs) == set(names):
            return name
    signatures.find(known, signatures.DEFAULT_SIGNATURE)
    return signatures.DEFAULT_SIGNATURE


def read_inputs(inputs: Sequence[Input], signature: Signature) -> Arrays:
    """Reads the inputs of a request.

    Raises:
        RequestError: One is unknown, or not what the signature takes.
    """
    arrays = {}
    for entry in inputs:
        name = entry.name
        if name not in signature.inputs:
            raise failures.invalid(
                f"There is no input {failures.shorten(name)}. The signature "
                f"takes {', '.join(sorted(signature.inputs))}."
            )
        info = signature.inputs[name]
        datatype = tensor_bytes.DATATYPES[info.dtype]
        if entry.datatype != datatype:
            raise failures.invalid(
                f"Input {name} has the datatype "
                f"{failures.shorten(entry.datatype)}. It must be {datatype}."
            )
        shape = signatures.check_shape(name, entry.shape)
        arrays[name] = signatures.give_shape(name, entry.read(info), shape)
    return arrays


def choose_outputs(
    wanted: Sequence[tuple[str, bool]], signature: Signature, is_binary: bool
) -> dict[str, bool]:
    """Returns the outputs that are answered, and whether each is binary.

    Args:
        wanted: Those that the request names.
        signature: The signature.
        is_binary: Whether outputs are binary where it names none.

    Raises:
        RequestError: There is no such output.
    """
    for name, _ in wanted:
        if name not in signature.outputs:
            raise failures.invalid(
                f"There is no output {failures.shorten(name)}. The signature "
                f"gives {', '.join(sorted(signature.outputs))}."
            )
    return dict(wanted) or dict.fromkeys(signature.outputs, is_binary)
