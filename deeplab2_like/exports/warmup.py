# SPDX-License-Identifier: Apache-2.0
"""Warm-up requests, which TensorFlow Serving runs before a model goes live.

The file contains TFRecords of `PredictionLog`, a message of TensorFlow
Serving's own package. Only a few of its fields are needed, so they are encoded
here without the package.
"""

import pathlib
from collections.abc import Iterable, Mapping

import tensorflow as tf

FILE = "tf_serving_warmup_requests"
MAX_REQUESTS = 1000

# Field numbers, from the .proto files in tensorflow_serving/apis.
_LOG_PREDICT = 6  # prediction_log.proto: PredictionLog.predict_log
_PREDICT_REQUEST = 1  # prediction_log.proto: PredictLog.request
_REQUEST_MODEL = 1  # predict.proto: PredictRequest.model_spec
_REQUEST_INPUTS = 2  # predict.proto: PredictRequest.inputs, a map
_MODEL_SIGNATURE = 3  # model.proto: ModelSpec.signature_name
_MAP_KEY, _MAP_VALUE = 1, 2


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _field(number: int, content: bytes) -> bytes:
    """Encodes a field that is a string or a message."""
    length_delimited = 2
    tag = number << 3 | length_delimited
    return _varint(tag) + _varint(len(content)) + content


def encode_request(
    signature: str, inputs: Mapping[str, tf.types.experimental.TensorLike]
) -> bytes:
    """Encodes a request as a serialized `PredictionLog`.

    Args:
        signature: Name of the signature.
        inputs: Values of the inputs of the signature by name.
    """
    request = _field(
        _REQUEST_MODEL, _field(_MODEL_SIGNATURE, signature.encode())
    )
    for name, value in inputs.items():
        tensor = tf.make_tensor_proto(value).SerializeToString()
        entry = _field(_MAP_KEY, name.encode()) + _field(_MAP_VALUE, tensor)
        request += _field(_REQUEST_INPUTS, entry)
    return _field(_LOG_PREDICT, _field(_PREDICT_REQUEST, request))


def write(directory: str, requests: Iterable[bytes]) -> pathlib.Path:
    """Writes the warm-up file of a SavedModel.

    Args:
        directory: Folder of the SavedModel.
        requests: Results of `encode_request`, at most `MAX_REQUESTS`.

    Returns:
        Path of the file.
    """
    file = pathlib.Path(directory) / "assets.extra" / FILE
    file.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for request in requests:
            writer.write(request)
    return file
