# SPDX-License-Identifier: Apache-2.0
import json
import struct

import numpy as np
import pytest

from deeplab2_like.server import failures, open_inference
from deeplab2_like.server.signatures import Signature, TensorInfo

_KNOWN = {
    "serving_default": Signature(
        {"images": TensorInfo("uint8", (None, None))},
        {"score": TensorInfo("float32", (None,))},
    ),
    "encoded": Signature(
        {"image_bytes": TensorInfo("string", (None,))},
        {"png_bytes": TensorInfo("string", (None,))},
    ),
    "encoded_compact": Signature(
        {"image_bytes": TensorInfo("string", (None,))},
        {
            "png_bytes": TensorInfo("string", (None,)),
            "count": TensorInfo("int32", (None,)),
        },
    ),
}


def _input(**changes):
    entry = {
        "name": "images",
        "shape": [2, 2],
        "datatype": "UINT8",
        "data": [1, 2, 3, 4],
    }
    return {**entry, **changes}


def _parse(document, tail=b"", length="right"):
    text = json.dumps(document).encode()
    if length == "right":
        length = str(len(text)) if tail else None
    return open_inference.parse_infer(text + tail, length, _KNOWN)


def _parse_input(tail=b"", **changes):
    return _parse({"inputs": [_input(**changes)]}, tail)


@pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2], [3, 4]]])
def test_data_may_be_flat_or_nested(data):
    request = _parse_input(data=data)
    assert request.signature_name == "serving_default"
    assert request.inputs["images"].tolist() == [[1, 2], [3, 4]]
    assert request.inputs["images"].dtype == np.uint8
    assert request.outputs == {"score": False}
    assert request.id is None


def test_tensors_may_follow_as_bytes():
    entry = _input(parameters={"binary_data_size": 4})
    del entry["data"]
    request = _parse({"inputs": [entry], "id": "a"}, b"\1\2\3\4")
    assert request.inputs["images"].tolist() == [[1, 2], [3, 4]]
    assert request.id == "a"


def _bytes_input(**changes):
    entry = {"name": "image_bytes", "shape": [2], "datatype": "BYTES"}
    return {**entry, **changes}


def test_strings_may_follow_as_bytes():
    tail = struct.pack("<I", 3) + b"\xff\0a" + struct.pack("<I", 0)
    entry = _bytes_input(parameters={"binary_data_size": len(tail)})
    request = _parse({"inputs": [entry]}, tail)
    assert request.signature_name == "encoded_compact"
    assert request.inputs["image_bytes"].tolist() == [b"\xff\0a", b""]


def test_strings_may_be_base64():
    entry = _bytes_input(
        data=["aGVsbG8=", ""], parameters={"content_type": "base64"}
    )
    request = _parse({"inputs": [entry]})
    assert request.inputs["image_bytes"].tolist() == [b"hello", b""]
    del entry["parameters"]
    request = _parse({"inputs": [entry]})
    assert request.inputs["image_bytes"].tolist() == [b"aGVsbG8=", b""]


def test_a_parameter_names_the_signature():
    document = {
        "inputs": [_bytes_input(data=["a", "b"])],
        "parameters": {"signature_name": "encoded"},
    }
    assert _parse(document).signature_name == "encoded"


def test_outputs_are_chosen():
    document = {
        "inputs": [_bytes_input(data=["a", "b"])],
        "outputs": [{"name": "count"}],
        "parameters": {"binary_data_output": True},
    }
    assert _parse(document).outputs == {"count": True}
    document["outputs"][0]["parameters"] = {"binary_data": False}
    assert _parse(document).outputs == {"count": False}
    del document["outputs"]
    assert _parse(document).outputs == {"png_bytes": True, "count": True}


_OUTPUTS = {
    "png_bytes": np.array([b"\xff\1", b""], object),
    "count": np.array([3, -1], np.int32),
}


def _request(**outputs):
    return open_inference.InferRequest("encoded_compact", {}, outputs, "7")


def test_answers_as_json():
    request = _request(png_bytes=False, count=False)
    body, length = open_inference.format_infer(request, _OUTPUTS, "mine", 3)
    assert length is None
    assert json.loads(body) == {
        "model_name": "mine",
        "model_version": "3",
        "id": "7",
        "outputs": [
            {
                "name": "png_bytes",
                "shape": [2],
                "datatype": "BYTES",
                "parameters": {"content_type": "base64"},
                "data": ["/wE=", ""],
            },
            {
                "name": "count",
                "shape": [2],
                "datatype": "INT32",
                "data": [3, -1],
            },
        ],
    }


def test_answers_as_bytes():
    request = _request(png_bytes=True, count=True)
    body, length = open_inference.format_infer(request, _OUTPUTS, "mine", 3)
    sizes = [
        entry["parameters"]["binary_data_size"]
        for entry in json.loads(body[:length])["outputs"]
    ]
    assert sizes == [10, 8]
    assert body[length:] == (
        b"\2\0\0\0\xff\1\0\0\0\0" + b"\3\0\0\0\xff\xff\xff\xff"
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": 5}, "must have a name"),
        ({"name": "other"}, "no input 'other'"),
        ({"datatype": "INT8"}, "must be UINT8"),
        ({"datatype": None}, "must be UINT8"),
        ({"shape": [2, 3]}, "has 4 values"),
        ({"shape": [2, -2]}, "at least 0"),
        ({"shape": [True, 4]}, "whole numbers"),
        ({"shape": "2"}, "whole numbers"),
        ({"shape": [2**31, 2]}, "whole numbers"),
        ({"shape": [1] * 40}, "whole numbers"),
        ({"shape": [2**30] * 10}, "has 4 values"),
        ({"shape": [0] + [2**31 - 1] * 4, "data": []}, "too large"),
        ({"data": None}, "no list of data"),
        ({"data": [1, 2, 3, 256]}, "loss of precision"),
        ({"data": [1, 2, 3, "a"]}, "not of expected type"),
        ({"parameters": []}, "must be an object"),
        ({"parameters": {"binary_data_size": 5}}, "are 0 bytes"),
        ({"parameters": {"binary_data_size": -1}}, "are 0 bytes"),
        ({"parameters": {"binary_data_size": "4"}}, "are 0 bytes"),
    ],
)
def test_inputs_that_are_refused(changes, words):
    with pytest.raises(failures.RequestError, match=words):
        _parse_input(**changes)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "no inputs"),
        ({"inputs": 5}, "list of objects"),
        ({"inputs": [5]}, "list of objects"),
        ({"inputs": [_input(), _input()]}, "twice"),
        ({"inputs": [_input()], "id": 5}, "id must be"),
        ({"inputs": [_input()], "outputs": [{"name": "x"}]}, "no output 'x'"),
        ({"inputs": [_input()], "parameters": 5}, "must be an object"),
        (
            {"inputs": [_input()], "parameters": {"signature_name": 5}},
            "must be a string",
        ),
        (
            {"inputs": [_input()], "parameters": {"signature_name": "x"}},
            "no signature 'x'",
        ),
    ],
)
def test_requests_that_are_refused(document, words):
    with pytest.raises(failures.RequestError, match=words):
        _parse(document)


@pytest.mark.parametrize("length", ["", "-1", "x", "9" * 30, "100000"])
def test_lengths_that_are_refused(length):
    with pytest.raises(failures.RequestError, match="at most that of the body"):
        _parse({"inputs": [_input()]}, length=length)


@pytest.mark.parametrize(
    "tail",
    [b"\0", b"\1\0\0\0", b"\xff\xff\xff\xffabc", b"\0\0\0\0\0\0\0\0\0"],
)
def test_strings_that_end_early_are_refused(tail):
    entry = _bytes_input(parameters={"binary_data_size": len(tail)})
    with pytest.raises(failures.RequestError, match="ends within a value"):
        _parse({"inputs": [entry]}, tail)


def test_bytes_that_no_input_takes_are_refused():
    with pytest.raises(failures.RequestError, match="1 more bytes"):
        _parse_input(b"\0")
