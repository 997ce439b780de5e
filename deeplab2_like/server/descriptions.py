# SPDX-License-Identifier: Apache-2.0
"""What models are and in which state, as both protocols describe it.

Descriptions are what JSON can hold, with the names of the protocols' messages:
HTTP sends them as they are, gRPC as messages.
"""

from collections.abc import Mapping
from typing import Any

from deeplab2_like.console import version as package_version
from deeplab2_like.server import failures, tensor_bytes
from deeplab2_like.server import model as model_lib
from deeplab2_like.server.backend import Target
from deeplab2_like.server.failures import RequestError
from deeplab2_like.server.signatures import Signature, TensorInfo
from deeplab2_like.server.versions import ServedModel, State

_TYPES = {
    "bool": "DT_BOOL",
    "float16": "DT_HALF",
    "float32": "DT_FLOAT",
    "float64": "DT_DOUBLE",
}


def name_type(dtype: str) -> str:
    """Returns TensorFlow's name of a type, such as "DT_UINT8"."""
    return _TYPES.get(dtype, f"DT_{dtype.upper()}")


def no_such_method(method: str) -> RequestError:
    """Makes the failure of a request that asks for no prediction."""
    return RequestError(
        failures.Kind.UNSUPPORTED,
        f"The model has no signature for {method}. Use predict.",
    )


def describe_states(model: ServedModel, target: Target) -> dict[str, Any]:
    """Describes versions of a model, as TensorFlow Serving does.

    Args:
        model: The model.
        target: Which versions; all that were seen where it names none.

    Raises:
        RequestError: There are none.
    """
    statuses = model.list_statuses()
    version = target.version
    if target.label is not None:
        version, _ = model.get(label=target.label)
    if version is not None:
        statuses = [s for s in statuses if s.version == version]
    if not statuses:
        which = "" if version is None else f" with version {version}"
        raise failures.RequestError(
            failures.Kind.NOT_FOUND,
            f"Could not find any versions of model {target.name}{which}",
        )
    return {
        "model_version_status": [
            {
                "version": str(status.version),
                "state": status.state.value,
                "status": {
                    "error_code": "UNKNOWN" if status.problem else "OK",
                    "error_message": status.problem,
                },
            }
            for status in statuses
        ]
    }


def describe_model(model: ServedModel, target: Target) -> dict[str, Any]:
    """Describes the signatures of a version, as TensorFlow Serving does.

    Raises:
        RequestError: There is no such version.
    """
    version, batcher = model.get(target.version, target.label)
    described = {
        name: {
            "inputs": _describe_infos(name, signature.inputs),
            "outputs": _describe_infos(name, signature.outputs),
            "method_name": "tensorflow/serving/predict",
        }
        for name, signature in batcher.model.signatures.items()
    }
    return {
        "model_spec": {
            "name": target.name,
            "signature_name": "",
            "version": str(version),
        },
        "metadata": {"signature_def": {"signature_def": described}},
    }


def _describe_infos(
    signature: str, infos: Mapping[str, TensorInfo]
) -> dict[str, Any]:
    return {
        name: {
            "dtype": name_type(info.dtype),
            "tensor_shape": {
                "dim": [
                    {"size": str(-1 if side is None else side), "name": ""}
                    for side in info.shape
                ],
                "unknown_rank": False,
            },
            "name": f"{signature}_{name}:0",
        }
        for name, info in infos.items()
    }


def describe_server() -> dict[str, Any]:
    """Describes the server, as the Open Inference Protocol does."""
    return {
        "name": "deeplab2_like",
        "version": package_version.VERSION,
        "extensions": ["binary_tensor_data"],
    }


def is_ready(model: ServedModel, target: Target) -> bool:
    """Returns whether a version answers requests.

    Raises:
        RequestError: There is no such version.
    """
    try:
        model.get(target.version, target.label)
    except RequestError as error:
        if error.kind != failures.Kind.UNAVAILABLE:
            raise
        return False
    return True


def describe_tensors(model: ServedModel, target: Target) -> dict[str, Any]:
    """Describes a version, as the Open Inference Protocol does.

    The protocol has no signatures: the tensors are those of the default one.

    Raises:
        RequestError: There is no such version.
    """
    _, batcher = model.get(target.version, target.label)
    described: Signature = model_lib.default_signature(batcher.model.signatures)
    return {
        "name": target.name,
        "versions": [
            str(status.version)
            for status in model.list_statuses()
            if status.state == State.AVAILABLE
        ],
        "platform": "tensorflow_savedmodel",
        "inputs": _list_tensors(described.inputs),
        "outputs": _list_tensors(described.outputs),
    }


def _list_tensors(infos: Mapping[str, TensorInfo]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "datatype": tensor_bytes.DATATYPES[info.dtype],
            "shape": [-1 if side is None else side for side in info.shape],
        }
        for name, info in sorted(infos.items())
    ]
