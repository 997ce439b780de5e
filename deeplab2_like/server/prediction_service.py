# SPDX-License-Identifier: Apache-2.0
"""The gRPC interface of TensorFlow Serving.

https://github.com/tensorflow/serving/tree/master/tensorflow_serving/apis:
`PREDICTION` and `MODEL` at the end. Messages are those of the package
tensorflow-serving-api.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import json_format
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from deeplab2_like.server import (
    descriptions,
    failures,
    signatures,
    tensor_protos,
)
from deeplab2_like.server.backend import Target, in_thread
from deeplab2_like.server.grpc_frame import Call, Description, Method
from deeplab2_like.server.signatures import Arrays, Signature

_SIGNATURES = "signature_def"


@dataclasses.dataclass(frozen=True)
class _Asked:
    signature_name: str
    inputs: Arrays
    outputs: Sequence[str]


def _read_target(request: Any) -> Target:
    spec: model_pb2.ModelSpec = request.model_spec
    if not request.HasField("model_spec") or not spec.name:
        raise failures.invalid("Missing ModelSpec: send model_spec.name.")
    choice = spec.WhichOneof("version_choice")
    return Target(
        spec.name,
        spec.version.value if choice == "version" else None,
        spec.version_label if choice == "version_label" else None,
    )


async def _predict(
    request: predict_pb2.PredictRequest, call: Call
) -> predict_pb2.PredictResponse:
    target = _read_target(request)
    call.find_model(target)
    max_bytes = call.backend.limits.max_body_bytes

    def parse(known: Mapping[str, Signature]) -> _Asked:
        return _parse(request, known, max_bytes)

    answer = await call.backend.predict(target, parse, seconds=call.seconds)
    response = await in_thread(_format, answer.asked, answer.outputs)
    response.model_spec.name = target.name
    response.model_spec.version.value = answer.version
    assert isinstance(response, predict_pb2.PredictResponse)
    return response


def _parse(
    request: predict_pb2.PredictRequest,
    known: Mapping[str, Signature],
    max_bytes: int,
) -> _Asked:
    name = request.model_spec.signature_name or signatures.DEFAULT_SIGNATURE
    signature = signatures.find(known, name)
    signatures.check_names(signature, request.inputs)
    outputs = list(request.output_filter[: len(signature.outputs) + 1])
    for output in outputs:
        if output not in signature.outputs or outputs.count(output) > 1:
            raise failures.invalid(
                f"output_filter has {failures.shorten(output)}. Name some of "
                f"{', '.join(sorted(signature.outputs))}, once each."
            )
    inputs = {
        key: tensor_protos.parse_tensor(
            key, request.inputs[key], info, max_bytes
        )
        for key, info in signature.inputs.items()
    }
    return _Asked(name, inputs, outputs or list(signature.outputs))


def _format(asked: _Asked, outputs: Arrays) -> predict_pb2.PredictResponse:
    response = predict_pb2.PredictResponse()
    response.model_spec.signature_name = asked.signature_name
    for name in asked.outputs:
        tensor_protos.format_tensor(outputs[name], response.outputs[name])
    return response


async def _get_metadata(
    request: get_model_metadata_pb2.GetModelMetadataRequest, call: Call
) -> get_model_metadata_pb2.GetModelMetadataResponse:
    target = _read_target(request)
    model = call.find_model(target)
    wrong = [
        field for field in request.metadata_field[:9] if field != _SIGNATURES
    ]
    if wrong or not request.metadata_field:
        raise failures.invalid(
            f"metadata_field is {failures.shorten(wrong)}. It must be "
            f"{_SIGNATURES}."
        )
    described = descriptions.describe_model(model, target)
    found = get_model_metadata_pb2.SignatureDefMap()
    json_format.ParseDict(described["metadata"][_SIGNATURES], found)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    json_format.ParseDict(described["model_spec"], response.model_spec)
    response.metadata[_SIGNATURES].Pack(found)
    return response


async def _get_status(
    request: get_model_status_pb2.GetModelStatusRequest, call: Call
) -> get_model_status_pb2.GetModelStatusResponse:
    target = _read_target(request)
    described = descriptions.describe_states(call.find_model(target), target)
    response = get_model_status_pb2.GetModelStatusResponse()
    json_format.ParseDict(described, response)
    return response


def _refuse(method: str) -> Any:
    async def refuse(request: Any, call: Call) -> Any:
        if isinstance(request, inference_pb2.MultiInferenceRequest):
            for task in request.tasks[:1]:
                call.find_model(_read_target(task))
        else:
            call.find_model(_read_target(request))
        raise descriptions.no_such_method(method)

    return refuse


async def _refuse_reload(
    _: model_management_pb2.ReloadConfigRequest, __: Call
) -> Any:
    raise failures.RequestError(
        failures.Kind.UNSUPPORTED,
        "The models are those that the server was started with. New versions "
        "are loaded from their folders without a request.",
    )


# Classify, Regress and MultiInference are refused: they take `tf.Example`,
# which no exported model does.
PREDICTION = Description(
    "tensorflow.serving.PredictionService",
    [
        Method(
            "Predict", predict_pb2.PredictRequest, _predict, is_prediction=True
        ),
        Method(
            "GetModelMetadata",
            get_model_metadata_pb2.GetModelMetadataRequest,
            _get_metadata,
        ),
        Method(
            "Classify",
            classification_pb2.ClassificationRequest,
            _refuse("classify"),
        ),
        Method("Regress", regression_pb2.RegressionRequest, _refuse("regress")),
        Method(
            "MultiInference",
            inference_pb2.MultiInferenceRequest,
            _refuse("multiinference"),
        ),
    ],
)
# HandleReloadConfigRequest is refused: the models are given at the start, and
# new versions are found in their folders.
MODEL = Description(
    "tensorflow.serving.ModelService",
    [
        Method(
            "GetModelStatus",
            get_model_status_pb2.GetModelStatusRequest,
            _get_status,
        ),
        Method(
            "HandleReloadConfigRequest",
            model_management_pb2.ReloadConfigRequest,
            _refuse_reload,
        ),
    ],
)
