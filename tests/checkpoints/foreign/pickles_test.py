# SPDX-License-Identifier: Apache-2.0
"""Pickles of arrays are read; all other names and operations are refused."""

import collections
import io
import json
import os
import pickle
import re
import struct
import subprocess
import sys

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.checkpoints.foreign import pickles, reading, streams

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


def _load(data):
    stream = streams.Stream(io.BytesIO(data), len(data), "FILE")
    return pickles.Unpickler(stream, has_storages=False).load()


def _write(path, data):
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("is_old", [False, True])
def test_arrays_of_every_protocol_are_read(protocol, is_old, tmp_path):
    rng = np.random.default_rng(protocol)
    values = {
        dtype: rng.integers(0, 2, (3, 4)).astype(dtype) for dtype in _DTYPES
    }
    values["random"] = rng.normal(size=(2, 3, 4)).astype(np.float32)
    values["fortran"] = np.asfortranarray(values["random"])
    values["strided"] = values["random"][:, ::2]
    values["big endian"] = values["random"].astype(">f4")
    values["scalar"] = np.array(7, np.int64)
    values["empty"] = np.zeros((0, 3), np.float32)
    values["ключ\nünïcode"] = np.array([1.5])
    data = pickle.dumps({"model": values}, protocol=protocol)
    if is_old and protocol < 4:
        # NumPy 2 has renamed numpy.core.
        data = data.replace(b"cnumpy._core", b"cnumpy.core")
    weights = reading.read_arrays(_write(tmp_path / "a.pkl", data))
    assert list(weights.values) == list(values)
    for key, value in values.items():
        actual = weights.values[key]
        assert actual.dtype == value.dtype.newbyteorder("="), key
        np.testing.assert_array_equal(actual, value, err_msg=key)


def test_plain_values_are_read_as_by_pickle():
    tree = {
        "numbers": [0, 255, 65535, -1, 2**31 - 1, -(2**31), 2**70, 0.5],
        "texts": ("", "a", "ü" * 300, "line\nend", b"", b"\0\xff", b"x" * 300),
        "flags": [True, False, None],
        "nested": {"a": {"b": [(1, 2), (1, 2, 3, 4), ()]}},
        "ordered": collections.OrderedDict(b=1, a=2),
        "counter": collections.Counter(a=3),
    }
    for protocol in range(6):
        loaded = _load(pickle.dumps(tree, protocol=protocol))
        if protocol < 3:
            # These have no bytes of their own.
            texts = loaded["texts"]
            loaded["texts"] = (
                *texts[:4],
                *(text and text.encode("latin-1") for text in texts[4:]),
            )
        assert loaded == tree, protocol
        assert list(loaded["ordered"]) == ["b", "a"]


def test_objects_that_occur_twice_or_in_themselves_are_read():
    array = np.ones(2)
    tree = {"a": array, "b": array, "list": []}
    tree["list"].append(tree["list"])
    loaded = _load(pickle.dumps(tree))
    assert loaded["a"] is loaded["b"]
    assert loaded["list"][0] is loaded["list"]


def test_files_of_python_2_are_read():
    # {"blobs": OrderedDict([["a", 1L]])}, as Python 2 writes it.
    data = (
        b"\x80\x02}U\x05blobsccollections\nOrderedDict\n]]"
        b"(U\x01\xe4\x8a\x01\x07ea\x85Rs."
    )
    assert _load(data) == {"blobs": {"ä": 7}}
    # The same without a binary protocol.
    data = b"(dp0\nS'a\\xe4'\np1\nL7L\nsS\"it's\"\nI01\nsVb\nF0.5\nsg1\nI3\ns."
    assert _load(data) == {"aä": 3, "it's": True, "b": 0.5}


def test_keys_that_are_numbers_become_texts():
    loaded = _load(pickle.dumps({0: "a", -(2**40): "b", b"c": 1}))
    assert loaded == {"<0>": "a", "<-1099511627776>": "b", "c": 1}


class _Calls:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


_EVIL = """
import codecs, json, sys
from deeplab2_like import errors
from deeplab2_like.checkpoints.foreign import reading
events = []
codecs.lookup("cp437"), codecs.lookup("raw-unicode-escape")
sys.addaudithook(lambda event, _: events.append(event))
messages = []
for path in sys.argv[1:]:
    try:
        reading.read_arrays(path)
        messages.append("read")
    except errors.CheckpointError as error:
        messages.append(str(error))
sys.stdout.write(json.dumps([messages, sorted(set(events))]))
"""


def test_nothing_that_a_file_names_is_run(tmp_path, torch_writer):
    """Files that would create a file, each of which does so with `pickle`."""
    proof = tmp_path / "proof"
    create = f"open({str(proof)!r}, 'w').close()"
    calls = {
        "system": _Calls(os.system, f"touch {proof}"),
        "exec": _Calls(exec, create),
        "eval": _Calls(eval, create),
        "open": _Calls(open, str(proof), "w"),
        "Popen": _Calls(subprocess.Popen, ["touch", str(proof)]),
    }
    paths, names = [], []
    for name, call in calls.items():
        for protocol in (0, 2, 4):
            data = pickle.dumps({"model": {"a": call}}, protocol=protocol)
            paths.append(_write(tmp_path / f"{name}{protocol}.pkl", data))
        inner = torch_writer.tensor(
            torch_writer.storage(np.zeros(2)), (2,), (1,), hooks=call
        )
        path = tmp_path / f"{name}.pth"
        paths.append(torch_writer.write_zip(path, {"a": inner}))
        path = tmp_path / f"{name}_old.pth"
        paths.append(torch_writer.write_legacy(path, {"a": inner}))
        names += [name] * 5
    paths = [str(path) for path in paths]
    for path in paths:
        if path.endswith(".pkl"):
            proof.unlink(missing_ok=True)
            with open(path, "rb") as file:
                made = pickle.load(file)["model"]["a"]
            if hasattr(made, "wait"):
                made.wait()
            if hasattr(made, "close"):
                made.close()
            assert proof.exists(), path
    proof.unlink()
    out = subprocess.run(
        [sys.executable, "-c", _EVIL, *paths],
        capture_output=True,
        text=True,
    )
    messages, events = json.loads(out.stdout)
    assert not proof.exists()
    for path, message, name in zip(paths, messages, names, strict=True):
        assert re.match(rf"{path} names '\w+\.{name}': only", message), message
    forbidden = ("exec", "compile", "import", "os.", "subprocess", "pickle")
    assert not [event for event in events if event.startswith(forbidden)]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("builtins", "getattr"),
        ("__builtin__", "eval"),
        ("torch.storage", "_load_from_bytes"),
        ("torch", "load"),
        ("torch._utils", "_rebuild_qtensor"),
        ("collections", "namedtuple"),
        ("collections", "OrderedDict.fromkeys"),
        ("numpy", "fromfile"),
        ("numpy.core.multiarray", "fromstring"),
        ("numpy", "ndarray.tofile"),
        ("argparse", "Namespace"),
        ("", ""),
        ("a" * 500, "b"),
        ("evil\x1b[2J", "\u202ename"),
    ],
)
def test_other_names_are_refused_by_name(module, name, tmp_path, read_error):
    stacked = b"\x80\x04"
    for text in (module, name):
        data = text.encode()
        stacked += b"X" + struct.pack("<I", len(data)) + data
    lines = f"{module}\n{name}\n".encode()
    pickled = [
        stacked + b"\x93)R.",
        b"\x80\x02c" + lines + b")R.",
        b"\x80\x02(i" + lines + b".",
    ]
    for data in pickled:
        message = read_error(_write(tmp_path / "a.pkl", data))
        shown = repr(f"{module}.{name}"[:60])
        assert f"FILE names {shown}" in message
        assert "nothing is run" in message


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        # Operations of objects, extensions and buffers.
        (b"\x80\x02ccollections\nOrderedDict\n)\x81.", "operation NEWOBJ"),
        (b"\x80\x02\x82\x01.", "operation EXT1"),
        (b"\x80\x05\x97.", "operation NEXT_BUFFER"),
        (b"\x80\x04\x8f.", "operation EMPTY_SET"),
        (b"\x80\x02\xff.", "operation 0xff"),
        (b"\x80\x06N.", "protocol 6"),
        # Called or changed in ways that make no sense.
        (b"\x80\x02.", "operation STOP"),
        (b"\x80\x02R.", "operation REDUCE"),
        (b"\x80\x02K\x01)R.", "operation REDUCE"),
        (b"\x80\x02cnumpy\nndarray\n)R.", "operation REDUCE"),
        (b"\x80\x02c_codecs\nencode\nX\1\0\0\0aX\3\0\0\0hex\x86R.", "REDUCE"),
        (b"\x80\x02}K\1b.", "operation BUILD"),
        (b"\x80\x02K\1K\2a.", "operation APPEND"),
        (b"\x80\x02](K\1K\2u.", "operation SETITEMS"),
        (b"\x80\x02}(K\1u.", "operation SETITEMS"),
        (b"\x80\x02}\x85K\1K\2\x87s.", "operation SETITEM"),
        (b"\x80\x02h\x07.", "operation BINGET"),
        (b"\x80\x02u.", "operation SETITEMS"),
        (b"\x80\x02\x87.", "operation TUPLE3"),
        (b"\x80\x02X\1\0\0\0\xff.", "operation BINUNICODE"),
        (b"(I1x\nt.", "operation INT"),
        (b"(Sx\nt.", "operation STRING"),
        (b"\x80\x02}}K\1s.", "keys that are neither texts nor numbers"),
        (b"\x80\x02}G\0\0\0\0\0\0\0\0K\1s.", "neither texts nor numbers"),
        (b"\x80\x02U\7storagecx\n", "is damaged"),
        (b"\x80\x02(U\7storageNU\1aNK\1tQ.", "data outside of its pickle"),
        # Lying about sizes.
        (b"\x80\x02}X\xff\xff\xff\xffa.", "4294967293 bytes too early"),
        (b"\x80\x04\x95\0\0\0\0\0\1\0\0N.", "bytes too early"),
        (b"\x80\x02\x8b\xff\xff\xff\xffN.", "a length below 0"),
        (b"\x80\x02T\xff\xff\xff\xffN.", "a length below 0"),
        (b"\x80\x02cno line end", "a line of its pickle is open"),
        (
            b"\x80\x02c" + b"a" * 2000 + b"\nb\n.",
            "a line of its pickle is open",
        ),
    ],
)
def test_a_pickle_that_is_no_tree_of_arrays_is_refused(
    data, sentence, tmp_path, read_error
):
    assert sentence in read_error(_write(tmp_path / "a.pkl", data))


def _dump_array(shape, dtype, data, state=None, fortran=False):
    """Returns a pickle of {"a": array} with freely chosen parts."""

    class DType:
        def __reduce__(self):
            made = (3, "<", None, None, None, -1, -1, 0)
            return np.dtype, (dtype, False, True), state or made

    class Array:
        def __reduce__(self):
            reconstruct = np.zeros(1).__reduce__()[0]
            arguments = (np.ndarray, (0,), b"b")
            return reconstruct, arguments, (1, shape, DType(), fortran, data)

    return pickle.dumps({"a": Array()}, protocol=2)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (((2, 3), "f4", b"\0" * 23), "23 bytes are no whole number of float32"),
        (((2, 3), "f4", b"\0" * 20), "(2, 3) does not agree with its 5"),
        (((2**40, 2**40), "f4", b""), "is too large for the 0 elements"),
        (((0, 2**40), "f4", b""), "is too large for the 0 elements"),
        (((-1, -6), "u1", b"\0" * 6), "not made of numbers from 0 on"),
        (((True, 6), "u1", b"\0" * 6), "not made of numbers from 0 on"),
        (((1,) * 33, "u1", b"\0"), "it has 33 dimensions"),
        (((2,), "b1", b"\1\2"), "booleans that are neither 0 nor 1"),
        (((1,), "O8", b"\0" * 8), "dtype 'O8'"),
        (((1,), "S4", b"abcd"), "dtype 'S4'"),
        (((1,), "c8", b"\0" * 8), "dtype 'c8'"),
        (((1,), "V8", b"\0" * 8), "dtype 'V8'"),
        (((1,), "f16", b"\0" * 16), "dtype 'f16'"),
        (((1,), "u1", [1]), "operation BUILD"),
        (((1,), "u1", "\u1234"), "its elements are a text"),
        (
            ((1,), "u1", b"\0", (3, "|", None, ("x",), {}, 1, 1, 0)),
            "an array of records",
        ),
        (
            ((1,), "u1", b"\0", (3, "|", ("u1", 2), None, None, 1, 1, 0)),
            "an array of records",
        ),
        (((1,), "u1", b"\0", (3, "x", None, None, None)), "operation BUILD"),
    ],
)
def test_an_array_that_does_not_agree_with_its_bytes_is_refused(
    arguments, sentence, tmp_path, read_error
):
    path = _write(tmp_path / "a.pkl", _dump_array(*arguments))
    assert sentence in read_error(path)


def test_an_array_without_its_state_is_refused(tmp_path, read_error):
    data = (
        b"\x80\x02}X\1\0\0\0acnumpy.core.multiarray\n_reconstruct\n"
        b"(cnumpy\nndarray\nK\0\x85U\1btRs."
    )
    message = read_error(_write(tmp_path / "a.pkl", data))
    assert "the array 'a' cannot be made, it has no elements" in message


def test_work_that_a_file_can_ask_for_is_limited(
    tmp_path, read_error, monkeypatch
):
    monkeypatch.setattr(pickles, "_MOST_OPERATIONS", 1000)
    data = b"\x80\x02" + b"}" * 1001 + b"."
    message = read_error(_write(tmp_path / "a.pkl", data))
    assert "more than 1000 operations" in message
    # Copies of a list of 300 pairs.
    pair = b"]X\1\0\0\0aa" + b"K\1a"
    make = b"ccollections\nOrderedDict\nh\0\x85R"
    data = b"\x80\x02]q\0(" + pair * 100 + b"e" + make * 50 + b"."
    message = read_error(_write(tmp_path / "b.pkl", data))
    assert "more than 1000 operations" in message


def test_texts_of_any_depth_are_read(tmp_path, read_error):
    """Deep nesting costs no stack of Python's."""
    data = b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b"."
    assert "contains a list" in read_error(_write(tmp_path / "a.pkl", data))


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"\x80\x02}r\xff\xff\xff\x7f.", "contains no arrays"),
        (b"\x80\x05\x96\0\0\0\0\2\0\0\0.", "8589934591 bytes too early"),
        (b"\x80\x04\x8e\0\0\0\0\2\0\0\0.", "8589934591 bytes too early"),
        (b"\x80\x04\x8d\0\0\0\0\2\0\0\0.", "8589934591 bytes too early"),
        (b"\x80\x02\x8b\xff\xff\xff\x7f.", "2147483646 bytes too early"),
    ],
)
def test_claimed_sizes_and_indices_take_no_memory(
    data, sentence, tmp_path, read_error, memory_limit
):
    path = _write(tmp_path / "a.pkl", data)
    with memory_limit():
        assert sentence in read_error(path)


_PIECES = [
    *(
        bytes([code])
        for code in b"().N]}aesudtlRb\x81\x85\x86\x87\x88\x89\x94Q"
    ),
    b"K\1",
    b"J\xff\xff\xff\xff",
    b"q\0",
    b"h\0",
    b"X\1\0\0\0a",
    b"X\2\0\0\0f4",
    b"C\4abcd",
    b"ccollections\nOrderedDict\n",
    b"ctorch\nFloatStorage\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"cnumpy\ndtype\n",
    b"cnumpy\nndarray\n",
    b"cnumpy.core.multiarray\n_reconstruct\n",
    b"(U\7storagectorch\nFloatStorage\nU\0010NK\1tQ",
]


def test_any_sequence_of_operations_is_read_or_refused():
    rng = np.random.default_rng(4)
    outcomes = collections.Counter()
    for _ in range(3000):
        chosen = rng.integers(len(_PIECES), size=rng.integers(3, 20))
        data = b"\x80\x02" + b"".join(_PIECES[i] for i in chosen) + b"."
        stream = streams.Stream(io.BytesIO(data), len(data), "FILE")
        try:
            pickles.Unpickler(stream, has_storages=True).load()
            outcomes["read"] += 1
        except errors.CheckpointError:
            outcomes["refused"] += 1
    assert outcomes["read"] > 50
    assert outcomes["refused"] > 1000
