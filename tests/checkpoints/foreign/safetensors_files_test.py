# SPDX-License-Identifier: Apache-2.0
"""Files of safetensors, by its library."""

import json
import struct
import sys

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.checkpoints.foreign import reading

_DTYPES = [
    "bool",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "float32",
    "float64",
]


def _write(path, header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    length = len(text) if length is None else length
    path.write_bytes(struct.pack("<Q", length) + text + data)
    return path


def _entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_arrays_of_every_type_are_read(tmp_path):
    numpy_files = pytest.importorskip("safetensors.numpy")
    rng = np.random.default_rng(2)
    values = {
        dtype: rng.integers(0, 2, (2, 3)).astype(dtype) for dtype in _DTYPES
    }
    values["scalar"] = np.array(3.5)
    values["empty"] = np.zeros((3, 0), np.int16)
    path = tmp_path / "a.safetensors"
    numpy_files.save_file(values, path, metadata={"format": "pt"})
    weights = reading.read_arrays(path)
    assert weights.form == "safetensors"
    assert list(weights.values) == sorted(values)
    assert weights.left_out == {}
    for key, value in values.items():
        assert weights.values[key].dtype == value.dtype
        np.testing.assert_array_equal(weights.values[key], value)
        assert not weights.values[key].flags.writeable


def test_bfloat16_becomes_float32(tmp_path):
    pytest.importorskip("safetensors")
    values = np.array([1.0, -2.5, np.inf], np.float32)
    upper = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    path = _write(
        tmp_path / "a.safetensors", {"a": _entry("BF16", [3], 0, 6)}, upper
    )
    actual = reading.read_arrays(path).values["a"]
    assert actual.dtype == np.float32
    np.testing.assert_array_equal(actual, values)


@pytest.mark.parametrize(
    ("header", "data", "sentence"),
    [
        ({"a": _entry("F8_E4M3", [2], 0, 2)}, b"12", "type 'F8_E4M3' in 'a'"),
        ({"a": _entry("X", [2], 0, 2)}, b"12", "safetensors reports"),
        ({"a": _entry("U8", [2, 2], 0, 2)}, b"12", "safetensors reports"),
        ({"a": _entry("U8", [2**62], 0, 2)}, b"12", "safetensors reports"),
        ({"a": _entry("U8", [2], 0, 2)}, b"1", "safetensors reports"),
        ({"a": _entry("U8", [2], 1, 3)}, b"123", "safetensors reports"),
        ({"a": _entry("BOOL", [2], 0, 2)}, b"\1\2", "neither 0 nor 1"),
        ({"a": _entry("U8", [1] * 40, 0, 1)}, b"1", "it has 40 dimensions"),
        ({"a": _entry("U8", [0, 2**40], 0, 0)}, b"", "is too large"),
        (b"{not json", b"", "safetensors reports"),
        (b"{" * 10_000, b"", "safetensors reports"),
        ({}, b"", "contains no arrays"),
    ],
)
def test_a_file_that_does_not_agree_is_refused(
    header, data, sentence, tmp_path, read_error
):
    pytest.importorskip("safetensors")
    path = _write(tmp_path / "a.safetensors", header, data)
    assert sentence in read_error(path)


def test_a_header_takes_no_memory_before_its_size_is_known(
    tmp_path, read_error, memory_limit
):
    pytest.importorskip("safetensors")
    path = _write(tmp_path / "a.safetensors", b"{}", b"", length=2**40)
    with memory_limit():
        assert "safetensors reports" in read_error(path)


def test_without_the_library_a_sentence_tells_how_to_get_it(
    tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    path = _write(tmp_path / "a.safetensors", {"a": _entry("U8", [1], 0, 1)})
    with pytest.raises(errors.InstallError) as caught:
        reading.read_arrays(path)
    message = str(caught.value)
    assert message.startswith(f"{path} is a safetensors file")
    assert 'pip install "deeplab2-like[weights]"' in message
