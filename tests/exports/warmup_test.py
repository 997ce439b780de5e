# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.exports import warmup

# What TensorFlow Serving's own classes (tensorflow-serving-api 2.21.0) give
# for the signature "encoded" with the input image_bytes = uint8 [0, 1, 2].
_KNOWN = (
    "322b0a290a091a07656e636f646564121c0a0b696d6167655f6279746573120d0804120412"
    "0208032203000102"
)


def test_requests_are_encoded_as_by_tensorflow_serving():
    values = np.arange(3, dtype=np.uint8)
    encoded = warmup.encode_request("encoded", {"image_bytes": values})
    assert encoded == bytes.fromhex(_KNOWN)


def test_tensorflow_serving_reads_the_requests():
    apis = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    image = np.random.RandomState(0).randint(0, 255, (1, 99, 70, 3), np.uint8)
    encoded = warmup.encode_request("serving_default", {"images": image})
    request = apis.PredictionLog.FromString(encoded).predict_log.request
    assert request.model_spec.signature_name == "serving_default"
    np.testing.assert_array_equal(
        tf.make_ndarray(request.inputs["images"]), image
    )


def test_the_file_holds_the_requests_as_records(tmp_path):
    requests = [b"one", bytes(1000)]
    file = warmup.write(str(tmp_path), requests)
    assert file == tmp_path / "assets.extra" / "tf_serving_warmup_requests"
    records = tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
    assert list(records) == requests
