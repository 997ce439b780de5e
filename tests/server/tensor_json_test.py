# SPDX-License-Identifier: Apache-2.0
"""The cases of TensorFlow Serving's own tests of its JSON format."""

import base64
import json
import random

import numpy as np
import pytest

from deeplab2_like.server import failures, tensor_json
from deeplab2_like.server.signatures import Signature, TensorInfo


def _signature(**dtypes):
    infos = {name: TensorInfo(dtype, ()) for name, dtype in dtypes.items()}
    return Signature(infos, {})


def _parse(document, **dtypes):
    body = document
    if not isinstance(body, bytes):
        body = json.dumps(document).encode()
    return tensor_json.parse_predict(body, lambda _: _signature(**dtypes))


def _refusal(document, **dtypes):
    with pytest.raises(failures.RequestError) as caught:
        _parse(document, **(dtypes or {"default": "int32"}))
    assert caught.value.kind == failures.Kind.INVALID
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def _check(array, dtype, values):
    assert array.dtype == dtype
    assert array.tolist() == values


@pytest.mark.parametrize("key", ["instances", "inputs"])
def test_a_single_input_needs_no_name(key):
    rows = [[[1, 2]], [[3, 4]], [[5, 6]]]
    request = _parse({key: rows}, default="int32")
    _check(request.inputs["default"], np.int32, rows)
    assert request.is_row == (key == "instances")
    assert request.signature_name == "serving_default"


def test_documents_of_millions_of_lists_are_refused_before_they_are_read(
    monkeypatch,
):
    """Each takes 72 bytes of memory, and three of the document."""
    monkeypatch.setattr(tensor_json, "_MAX_LISTS", 1000)
    for part in (b"[],", b"{},", b"[[]],"):
        body = b'{"instances": [%s[]]}' % (part * 2000)
        assert "lists and objects in" in _refusal(body)
    # Pixels are not: each list has three numbers at least.
    pixels = json.dumps({"instances": [[[0, 0, 0]] * 2000]}, separators=",:")
    request = _parse(pixels.encode(), default="uint8")
    assert request.inputs["default"].shape == (1, 2000, 3)


def test_rows_may_be_scalars():
    request = _parse({"instances": [1, 2, 3]}, default="int32")
    _check(request.inputs["default"], np.int32, [1, 2, 3])


def test_a_column_may_be_a_scalar():
    request = _parse({"inputs": 5}, default="int32")
    assert request.inputs["default"].shape == ()


def test_a_single_input_may_be_named():
    rows = [{"a": [1, 2]}, {"a": [3, 4]}]
    request = _parse({"instances": rows}, a="int32")
    _check(request.inputs["a"], np.int32, [[1, 2], [3, 4]])
    request = _parse({"inputs": {"a": [[1, 2]]}}, a="int32")
    _check(request.inputs["a"], np.int32, [[1, 2]])


def test_several_inputs_in_rows():
    rows = [
        {"i": [[1, 2]], "s": ["foo"], "b": {"b64": "aGVsbG8="}},
        {"i": [[3, 4]], "s": ["bar"], "b": {"b64": "d29ybGQ="}},
    ]
    request = _parse({"instances": rows}, i="int32", s="string", b="string")
    _check(request.inputs["i"], np.int32, [[[1, 2]], [[3, 4]]])
    _check(request.inputs["s"], object, [[b"foo"], [b"bar"]])
    _check(request.inputs["b"], object, [b"hello", b"world"])


def test_several_inputs_in_columns():
    columns = {
        "i": [[[1, 2], [3, 4]]],
        "s": ["foo", "bar"],
        "b": {"b64": "aGVsbG8="},
        "other": "is not looked at",
    }
    request = _parse({"inputs": columns}, i="int32", s="string", b="string")
    _check(request.inputs["i"], np.int32, [[[1, 2], [3, 4]]])
    _check(request.inputs["s"], object, [b"foo", b"bar"])
    assert request.inputs["b"].shape == ()
    assert request.inputs["b"].item() == b"hello"


def test_base64_in_lists_and_beside_text():
    rows = [[{"b64": "aGVsbG8="}, "world"], ["a", {"b64": ""}]]
    request = _parse({"instances": rows}, default="string")
    expected = [[b"hello", b"world"], [b"a", b""]]
    _check(request.inputs["default"], object, expected)


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("bool", [True, False]),
        ("uint8", [0, 255]),
        ("int64", [-(2**63), 2**63 - 1]),
        ("uint64", [2**64 - 1, 0]),
        ("float32", [1, 2.5]),
        ("float32", [16777216, 2**60]),
        ("float64", [2**53, 1e300]),
    ],
)
def test_numbers_that_a_type_holds(dtype, values):
    request = _parse({"instances": values}, default=dtype)
    _check(request.inputs["default"], np.dtype(dtype), values)


def test_numbers_that_are_not_finite():
    body = b'{"instances": [NaN, Infinity, -Infinity, 1e39, 1e-60]}'
    array = _parse(body, default="float32").inputs["default"]
    infinite = float("inf")
    expected = [float("nan"), infinite, -infinite, infinite, 0]
    np.testing.assert_array_equal(array, np.array(expected, np.float32))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "document is empty"),
        (b"  ", "document is empty"),
        (b"{", "at offset: 1"),
        (b"\xff\xfe{}", "cannot be read"),
        (b"[1]", "must be an object"),
        (b"1", "must be an object"),
        (b"{}", "Missing 'inputs' or 'instances' key"),
        (b'{"instances": []}', "at least one row"),
        (b'{"instances": {}}', "at least one row"),
        (b'{"instances": null}', "at least one row"),
        (b'{"signature_name": 5, "instances": [1]}', "must be a string value"),
        (b'{"instances": [1], "inputs": [1]}', "Not formatted correctly"),
        (b'{"instances": [[1, 2], [3]]}', "Expecting tensor size"),
        (b'{"instances": [[1, 2], [[3]]]}', "Expecting shape"),
        (b'{"instances": [1, [1]]}', "Expecting shape"),
        (b'{"instances": [[1, 2], ["a", "b"]]}', "not of expected type"),
        (b'{"instances": [1.0]}', "not of expected type"),
        (b'{"instances": [true]}', "not of expected type"),
        (b'{"instances": [null]}', "not of expected type"),
        (b'{"instances": [{"b64": "aGVsbG8="}]}', "not of expected type"),
        (b'{"instances": [2147483648]}', "loss of precision"),
        (b'{"instances": [1, {"default": 1}]}', "got object"),
        (b'{"instances": [{"default": 1}, 1]}', "Expecting object but got"),
        (b'{"instances": [{"other": 1}]}', "must have default"),
        (b'{"instances": [{"default": 1, "a": 1}]}', "no others"),
        (b'{"inputs": {"other": 1}}', "Missing named input: default"),
        (b'{"instances": ' + b"[" * 30 + b"]" * 30 + b"}", "more than 16"),
        (b'{"instances": ' + b"[" * 99999 + b"}", "cannot be read"),
        (b'{"instances": [' + b"9" * 5000 + b"]}", "cannot be read"),
    ],
)
def test_bodies_that_are_refused(body, words):
    assert words in _refusal(body)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("float32", 16777217),
        ("float32", 2**200),
        ("float64", 9007199254740993),
        ("uint8", 256),
        ("uint8", -1),
        ("int8", -129),
    ],
)
def test_whole_numbers_that_a_type_does_not_hold(dtype, value):
    assert "loss of precision" in _refusal({"instances": [value]}, a=dtype)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"b64": "a"}, "not valid base64"),
        ({"b64": "aGVs bG8="}, "not valid base64"),
        ({"b64": 5}, "not valid base64"),
        ({"b64": None}, "not valid base64"),
        ([{"b64": "", "more": 1}], "not of expected type: string"),
        ([5], "not of expected type: string"),
        ("\ud800", "not valid Unicode"),
    ],
)
def test_strings_that_are_refused(value, words):
    assert words in _refusal({"instances": [value]}, a="string")


def test_several_inputs_must_be_objects():
    assert "objects with" in _refusal({"instances": [1]}, a="int32", b="int32")
    assert "an object with" in _refusal({"inputs": [1]}, a="int32", b="int32")


def test_rows_of_named_inputs_have_equal_shapes():
    rows = [{"a": [1, 2], "b": 1}, {"a": [1, 2, 3], "b": 1}]
    words = _refusal({"instances": rows}, a="int32", b="int32")
    assert "Expecting tensor size" in words
    rows[1]["a"] = [[1, 2]]
    assert "Expecting" in _refusal({"instances": rows}, a="int32", b="int32")


def _format(is_row=True, **outputs):
    return json.loads(tensor_json.format_predict(outputs, is_row))


_INTS = np.arange(12, dtype=np.int32).reshape(2, 3, 2)


def test_one_output_has_no_name():
    assert _format(a=_INTS) == {"predictions": _INTS.tolist()}
    assert _format(False, a=_INTS) == {"outputs": _INTS.tolist()}
    assert _format(a=np.arange(3)) == {"predictions": [0, 1, 2]}


def test_several_outputs_are_named():
    texts = np.array([b"foo", b"bar"], object)
    outputs = {"i": _INTS, "s": texts, "s_bytes": texts}
    encoded = [
        {"b64": base64.b64encode(text).decode()} for text in (b"foo", b"bar")
    ]
    assert _format(**outputs) == {
        "predictions": [
            {"i": _INTS[0].tolist(), "s": "foo", "s_bytes": encoded[0]},
            {"i": _INTS[1].tolist(), "s": "bar", "s_bytes": encoded[1]},
        ]
    }
    assert _format(False, **outputs) == {
        "outputs": {
            "i": _INTS.tolist(),
            "s": ["foo", "bar"],
            "s_bytes": encoded,
        }
    }


def test_floats_are_short_and_read_as_the_same():
    values = np.array([0.1, 9e6, 3e-5, 555557.5, 1 / 3], np.float32)
    text = tensor_json.format_predict({"a": values}, True).decode()
    assert text.startswith('{"predictions":[0.1,9000000.0,3e-05,555557.5,0.33')
    read = np.array(json.loads(text)["predictions"]).astype(np.float32)
    np.testing.assert_array_equal(read, values)


def test_floats_that_are_not_finite_are_written():
    values = np.array([np.nan, np.inf, -np.inf], np.float32)
    text = tensor_json.format_predict({"a": values}, True)
    assert text == b'{"predictions":[NaN,Infinity,-Infinity]}'


def test_no_rows_are_written():
    assert _format(a=np.zeros((0, 2))) == {"predictions": []}
    outputs = {"a": np.zeros((0, 2)), "b": np.zeros((0, 3, 4))}
    assert _format(**outputs) == {"predictions": []}


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ({}, "empty tensor map"),
        ({"a": np.int32(1).reshape(())}, "inconsistent batch size"),
        ({"a": np.zeros(2), "b": np.zeros(3)}, "inconsistent batch size"),
        ({"a": np.zeros((0, 2)), "b": np.zeros((1, 2))}, "inconsistent batch"),
        ({"a": np.zeros(2, np.complex64)}, "tensor type: complex64"),
    ],
)
def test_outputs_that_rows_cannot_hold(outputs, words):
    with pytest.raises(failures.RequestError, match=words):
        tensor_json.format_predict(outputs, True)


def test_mutated_bodies_are_refused_in_one_sentence():
    chance = random.Random(1)
    seed = json.dumps(
        {
            "signature_name": "x",
            "instances": [{"a": [[1, 2.5], [3, 4]], "b": {"b64": "aGVs"}}] * 2,
        }
    ).encode()
    for _ in range(500):
        body = bytearray(seed)
        for _ in range(chance.randint(1, 6)):
            body[chance.randrange(len(body))] = chance.choice(b'{}[]",:019ax')
        sentence = ""
        try:
            _parse(bytes(body), a="float32", b="string")
        except failures.RequestError as error:
            sentence = str(error)
        assert len(sentence.splitlines()) <= 1
