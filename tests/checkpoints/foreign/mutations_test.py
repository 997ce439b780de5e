# SPDX-License-Identifier: Apache-2.0
"""Damaged files: the right arrays, or one sentence, in little memory and time.

What is right for a file whose bytes were changed is decided by a second
reader, in this module: Python's own `pickle` with real functions of NumPy,
`zipfile` and `json`. It reads only what the tested reader has accepted.
"""

import collections
import contextlib
import io
import json
import pickle
import signal
import struct
import threading
import zipfile
from typing import ClassVar

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.checkpoints.foreign import reading

_GOLDEN = [
    "caffe2_python2.pkl",
    "detectron2_numpy2.pkl",
    "detectron2_protocol2.pkl",
    "detectron2_protocol3.pkl",
    "detectron2_protocol4.pkl",
    "legacy.pth",
    "model.safetensors",
    "zip.pth",
    "zip_wrapped.pth",
]
_OWN = ["own_protocol0.pkl", "own_protocol5.pkl", "own_zip.pth", "own_old.pth"]
_FILES = [*_GOLDEN, *_OWN]
# The record of a zip file that is changed alone, with the checksum put right.
_REPACKED = ["zip.pth", "zip_wrapped.pth", "own_zip.pth"]
_LONGEST_SECONDS = 60


# === Changes ===

_PIECES = [
    *(bytes([code]) for code in b"().NKMJI}]aesudtlR\x81bQcqrhjXUTCB"),
    *(bytes([code]) for code in range(0x80, 0x99)),
    struct.pack("<Q", 2**40),
    struct.pack("<I", 2**31),
    b"\xff" * 8,
    b"\0" * 8,
    b"r\xff\xff\xff\x7f",
    b"\x96" + struct.pack("<Q", 2**36),
    b"cbuiltins\nexec\n",
    b"\x8c\x02os\x8c\x06system\x93",
]


def _change(data, rng):
    """Returns bytes that differ in one to three places."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(len(data) + 1))
        length = int(rng.integers(1, 9))
        kind = rng.integers(8)
        if kind == 0:
            data[place : place + 1] = rng.bytes(1)
        elif kind == 1 and place < len(data):
            data[place] ^= 1 << int(rng.integers(8))
        elif kind == 2:
            piece = _PIECES[rng.integers(len(_PIECES))]
            data[place : place + len(piece)] = piece
        elif kind == 3:
            data[place:place] = _PIECES[rng.integers(len(_PIECES))]
        elif kind == 4:
            data[place:place] = rng.bytes(length)
        elif kind == 5:
            del data[place : place + length]
        elif kind == 6:
            other = int(rng.integers(len(data) + 1))
            data[place : place + length] = data[other : other + length]
        elif rng.random() < 0.3:
            del data[place:]
    return bytes(data)


def _repack(data, rng):
    """Changes the pickle of a zip file; all records stay whole."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as old,
        zipfile.ZipFile(out, "w") as new,
    ):
        for record in old.infolist():
            content = old.read(record)
            if record.filename.endswith("/data.pkl"):
                content = _change(content, rng)
            new.writestr(zipfile.ZipInfo(record.filename), content)
    return out.getvalue()


# === The second reader ===

_Tensor = collections.namedtuple(
    "_Tensor", "element key size offset shape strides"
)
_ELEMENTS = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


def _to_tensor(storage, offset, shape, strides, *_):
    return _Tensor(*storage, offset, shape, strides)


def _list_functions():
    sample = np.zeros(1)
    functions = {
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("collections", "Counter"): collections.Counter,
        ("torch", "Size"): tuple,
        ("torch._utils", "_rebuild_tensor"): _to_tensor,
        ("torch._utils", "_rebuild_tensor_v2"): _to_tensor,
        ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
        ("numpy", "dtype"): np.dtype,
        ("numpy", "ndarray"): np.ndarray,
        ("_codecs", "encode"): lambda text, *_: text.encode("latin-1"),
        ("__builtin__", "bytes"): bytes,
    }
    for core in ("numpy.core", "numpy._core"):
        functions[f"{core}.multiarray", "_reconstruct"] = sample.__reduce__()[0]
        scalar = sample[0].__reduce__()[0]
        functions[f"{core}.multiarray", "scalar"] = scalar
        made = sample.__reduce_ex__(5)[0]
        functions[f"{core}.numeric", "_frombuffer"] = made
    for name, element in _ELEMENTS.items():
        functions["torch", name] = element
    return functions


_FUNCTIONS = _list_functions()


class _Unpickler(pickle._Unpickler):
    # Frames say what to read at once; that they are right is not asked for.
    dispatch: ClassVar = {
        **pickle._Unpickler.dispatch,
        pickle.FRAME[0]: lambda self: self.read(8),
    }

    def __init__(self, file):
        super().__init__(file, encoding="latin-1")

    def find_class(self, module, name):
        return _FUNCTIONS[module, name]

    def persistent_load(self, reference):
        _, element, key, _, size, *_ = reference
        return element, key, size


def _load_zip(data):
    archive = zipfile.ZipFile(io.BytesIO(data))
    name = next(n for n in archive.namelist() if n.endswith("/data.pkl"))
    tree = _Unpickler(io.BytesIO(archive.read(name))).load()
    folder = name.partition("/")[0]
    return tree, lambda key: archive.read(f"{folder}/data/{key}")


def _load_pickle(data):
    file = io.BytesIO(data)
    tree = _Unpickler(file).load()
    if not isinstance(tree, int):
        return tree, None
    for _ in range(3):
        tree = _Unpickler(file).load()
    keys = _Unpickler(file).load()
    sizes = {}

    def note(value):
        if isinstance(value, _Tensor):
            width = 2 if value.element == "bfloat16" else 0
            width = width or np.dtype(value.element).itemsize
            sizes[value.key] = value.size * width
        elif isinstance(value, (dict, list, tuple)):
            for item in value.values() if isinstance(value, dict) else value:
                note(item)

    note(tree)
    storages = {}
    for key in keys:
        file.read(8)
        storages[key] = file.read(sizes[key])
    return tree, storages.get


def _load_safetensors(data):
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    tree, content = {}, data[8 + length :]
    for key, entry in header.items():
        code = entry["dtype"]
        width = int("".join(c for c in code if c.isdigit()) or 8) // 8
        element = {"BF16": "bfloat16", "BOOL": "?"}.get(
            code, f"<{code[0].lower()}{width}"
        )
        begin, end = entry["data_offsets"]
        values = _decode(content[begin:end], element)
        tree[key] = values.reshape(entry["shape"])
    return tree, None


def _decode(data, element):
    if element != "bfloat16":
        return np.frombuffer(data, element)
    return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)


def _read_again(form, data):
    """Reads a file with the second reader: arrays by key."""
    load = {"torch zip": _load_zip, "safetensors": _load_safetensors}
    tree, read_storage = load.get(form, _load_pickle)(data)
    for _ in range(4):
        found = [
            tree[key]
            for key in ("model", "state_dict", "blobs")
            if isinstance(tree.get(key), dict)
        ]
        if found:
            tree = found[0]
    values = {}
    for key, value in tree.items():
        if isinstance(value, _Tensor):
            storage = _decode(read_storage(value.key), value.element)
            grid = np.indices(value.shape, np.int64)
            places = value.offset + sum(
                n * axis for n, axis in zip(value.strides, grid, strict=True)
            )
            places = np.zeros(value.shape, np.int64) + places
            value = np.asarray(storage[places])
        if isinstance(value, np.ndarray):
            if isinstance(key, int):
                key = f"<{key}>"
            elif isinstance(key, bytes):
                key = key.decode("latin-1")
            values[key] = value.astype(value.dtype.newbyteorder("="))
    return values


# === The tests ===


class _HangError(BaseException):
    """A file took far too long."""


@contextlib.contextmanager
def _alarm():
    """Ends what takes too long, where the system can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_):
        raise _HangError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, _LONGEST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def content(request, tmp_path, torch_writer):
    """The bytes of the file that a test names."""
    name = request.param
    if name in _GOLDEN:
        if name.endswith(".safetensors"):
            pytest.importorskip("safetensors")
        folder = request.getfixturevalue("golden_weights")
        return (folder / "formats" / name).read_bytes()
    rng = np.random.default_rng(1)
    values = {
        "a.weight": rng.normal(size=(2, 3)).astype(np.float32),
        "a.bias": rng.normal(size=3).astype(np.float16),
        "count": np.array(3),
        "big": np.arange(3.0).astype(">f8"),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "flags": np.array([True, False]),
    }
    if name.endswith(".pkl"):
        tree = {"model": values, "epoch": 3, "notes": ["x", (1.5, None)]}
        return pickle.dumps(tree, protocol=int(name[-5]))
    del values["big"], values["fortran"]
    tree = torch_writer.state(
        {key: torch_writer.whole(value) for key, value in values.items()}
    )
    storage = torch_writer.storage(np.arange(12, dtype=np.float32))
    tree["part"] = torch_writer.tensor(storage, (3, 2), (4, 1), 1)
    tree["other"] = torch_writer.tensor(storage, (2, 3), (0, 1), 3)
    form = "zip" if "zip" in name else "legacy"
    path = torch_writer.write(form, tmp_path / name, {"state_dict": tree})
    return path.read_bytes()


def _are_equal(actual, expected):
    return actual.keys() == expected.keys() and all(
        actual[key].dtype == value.dtype
        and actual[key].shape == value.shape
        and actual[key].tobytes() == value.tobytes()
        for key, value in expected.items()
    )


def _read(path):
    try:
        return "", reading.read_arrays(path)
    except errors.CheckpointError as error:
        return str(error), None


def _count_outcomes(content, path, change, count, is_one_sentence):
    path.write_bytes(content)
    original = reading.read_arrays(path).values
    outcomes = collections.Counter()
    for seed in range(count):
        data = change(content, np.random.default_rng(seed))
        path.write_bytes(data)
        message, weights = _read(path)
        if weights is None:
            assert is_one_sentence(message), (seed, message)
            assert str(path) in message
            outcomes["refused"] += 1
            continue
        if _are_equal(weights.values, original):
            outcomes["as before"] += 1
            continue
        expected = _read_again(weights.form, data)
        if weights.prefix:
            expected = {
                key.removeprefix(weights.prefix): value
                for key, value in expected.items()
            }
        assert _are_equal(weights.values, expected), seed
        outcomes["as changed"] += 1
    return outcomes


def _check(request, content, tmp_path, change, count):
    is_one_sentence = request.getfixturevalue("is_one_sentence")
    memory_limit = request.getfixturevalue("memory_limit")
    path = tmp_path / "changed"
    with memory_limit(), _alarm():
        outcomes = _count_outcomes(
            content, path, change, count, is_one_sentence
        )
    print(dict(outcomes))
    assert sum(outcomes.values()) == count
    # Both kinds occur: refused ones, and those that are read.
    assert outcomes["refused"] > count // 20
    assert outcomes["as before"] + outcomes["as changed"] > count // 100
    return outcomes


@pytest.mark.parametrize("content", _FILES, indirect=True)
@pytest.mark.parametrize(
    "count", [200, pytest.param(2000, marks=pytest.mark.slow)]
)
def test_a_changed_file_is_read_right_or_refused(
    request, content, count, tmp_path
):
    _check(request, content, tmp_path, _change, count)


@pytest.mark.parametrize("content", _REPACKED, indirect=True)
@pytest.mark.parametrize(
    "count", [200, pytest.param(2000, marks=pytest.mark.slow)]
)
def test_a_changed_pickle_with_its_checksum_is_read_right_or_refused(
    request, content, count, tmp_path
):
    _check(request, content, tmp_path, _repack, count)


@pytest.mark.parametrize("content", _REPACKED, indirect=True)
def test_a_changed_zip_file_never_has_other_arrays(request, content, tmp_path):
    """Its checksums tell, so that what is read is what was written."""
    outcomes = _check(request, content, tmp_path, _change, 200)
    assert not outcomes["as changed"]
