# SPDX-License-Identifier: Apache-2.0
"""Files as other frameworks write them, made by Python's own pickle module."""

import collections
import contextlib
import io
import pathlib
import pickle
import sys
import types
import zipfile

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.checkpoints.foreign import reading
from deeplab2_like.testing import reference

_NAMES = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "int16": "ShortStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
}


def _rebuild_tensor_v2():
    """Stands for PyTorch's function of this name; it is never called."""


def _rebuild_parameter():
    """Stands for PyTorch's function of this name; it is never called."""


def _make_modules():
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in _NAMES.values():
        setattr(torch, name, type(name, (), {"__module__": "torch"}))
    torch._utils = utils
    for function in (_rebuild_tensor_v2, _rebuild_parameter):
        function.__module__ = "torch._utils"
        setattr(utils, function.__name__, function)
    return {"torch": torch, "torch._utils": utils}


_MODULES = _make_modules()


class Storage:
    """Elements outside of the pickle: raw bytes and the name of their type."""

    def __init__(self, values, element=None, *, size=None, key=None, view=None):
        values = np.asarray(values)
        self.raw = values.tobytes()
        self.element = element or values.dtype.name
        self.size = values.size if size is None else size
        self.key = key
        self.view = view


class Tensor:
    """What PyTorch's tensors are in a pickle."""

    def __init__(self, storage, shape, strides, offset=0, *, hooks=None):
        self.arguments = (storage, offset, shape, strides, False)
        self.hooks = hooks

    def __reduce__(self):
        hooks = collections.OrderedDict() if self.hooks is None else self.hooks
        return _rebuild_tensor_v2, (*self.arguments, hooks)


class Parameter:
    """What PyTorch's parameters are in a pickle."""

    def __init__(self, tensor):
        self.tensor = tensor

    def __reduce__(self):
        hooks = collections.OrderedDict()
        return _rebuild_parameter, (self.tensor, True, hooks)


class Writer:
    """Writes files as `torch.save` does."""

    tensor, storage, parameter = Tensor, Storage, Parameter

    def whole(self, values, element=None):
        """Returns a tensor that is a whole storage in order."""
        values = np.asarray(values)
        strides = [s // values.itemsize for s in values.strides]
        return Tensor(Storage(values, element), values.shape, tuple(strides))

    def state(self, tensors):
        """Returns a state dict, with the attribute that PyTorch's have."""
        made = collections.OrderedDict(tensors)
        made._metadata = collections.OrderedDict(version=1)
        return made

    def dump(self, tree, *, is_legacy=False):
        """Returns the pickle of a tree, and its storages by key."""
        file, storages = io.BytesIO(), {}

        class Pickler(pickle.Pickler):
            def persistent_id(self, value):
                if not isinstance(value, Storage):
                    return None
                if value.key is None:
                    value.key = str(len(storages))
                storages[value.key] = value
                kind = getattr(_MODULES["torch"], _NAMES[value.element])
                found = ("storage", kind, value.key, "cpu", value.size)
                return (*found, value.view) if is_legacy else found

        before = {name: sys.modules.get(name) for name in _MODULES}
        sys.modules.update(_MODULES)
        try:
            Pickler(file, protocol=2).dump(tree)
        finally:
            for name, module in before.items():
                del sys.modules[name]
                if module is not None:
                    sys.modules[name] = module
        return file.getvalue(), storages

    def write_zip(
        self,
        path,
        tree,
        *,
        records=None,
        folder="archive",
        order=b"little",
        compression=zipfile.ZIP_STORED,
    ):
        """Writes the form since 1.6; `records` replace or (None) drop some."""
        data, storages = self.dump(tree)
        members = {"data.pkl": data, "byteorder": order, "version": b"3\n"}
        for key, storage in storages.items():
            members[f"data/{key}"] = storage.raw
        members.update(records or {})
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, content in members.items():
                if content is not None:
                    archive.writestr(f"{folder}/{name}", content)
        return path

    def write_legacy(self, path, tree, *, version=1001, keys=None, sizes=None):
        """Writes the form before 1.6."""
        data, storages = self.dump(tree, is_legacy=True)
        head = [0x1950A86A20F9469CFC6C, version, {"little_endian": True}]
        keys = sorted(storages) if keys is None else keys
        with open(path, "wb") as file:
            for value in head:
                pickle.dump(value, file, protocol=2)
            file.write(data)
            pickle.dump(keys, file, protocol=2)
            for key in keys:
                storage = storages.get(key)
                size = (sizes or {}).get(key, storage.size if storage else 0)
                file.write(int(size).to_bytes(8, "little", signed=True))
                file.write(storage.raw if storage else b"")
        return path

    def write(self, form, path, tree):
        """Writes a form: "zip" or "legacy"."""
        write = {"zip": self.write_zip, "legacy": self.write_legacy}[form]
        return write(path, tree)


@pytest.fixture(scope="session")
def torch_writer():
    return Writer()


@pytest.fixture(scope="session")
def is_one_sentence():
    """Returns a function: whether a text is one printable sentence."""

    def check(message):
        return (
            message.isprintable()
            and message.endswith(".")
            and not message.endswith("..")
            and ". " not in message.replace("... ", " ")
        )

    return check


@pytest.fixture(scope="session")
def read_error(is_one_sentence):
    """Returns a function: the sentence with which a file is refused."""

    def read(path):
        with pytest.raises(errors.CheckpointError) as caught:
            reading.read_arrays(path)
        message = str(caught.value)
        assert is_one_sentence(message), message
        assert str(path) in message
        return message.replace(str(path), "FILE")

    return read


@pytest.fixture(scope="session")
def golden_weights():
    """Returns the folder with golden files of other frameworks."""
    folder = reference.folder() / "weights"
    if not folder.is_dir():
        pytest.skip(f"no golden data: {folder} is absent")
    return folder


@pytest.fixture(scope="session")
def golden_arrays(golden_weights):
    """Returns a function: the arrays that a golden file contains."""

    def load(name):
        is_caffe2 = name.startswith("caffe2")
        expected = "expected_caffe2.npz" if is_caffe2 else "expected.npz"
        values = dict(np.load(golden_weights / "formats" / expected))
        values = {key.replace("|", "/"): x for key, x in values.items()}
        if name.startswith("detectron2"):
            for key in ("bfloat16", "empty", "expanded"):
                del values[key]
        return values

    return load


@pytest.fixture(scope="session")
def memory_limit():
    """Returns a context in which only some more MB of memory can be taken."""
    statm = pathlib.Path("/proc/self/statm")
    if not statm.exists():
        # A system that does not tell how much is in use.
        return contextlib.nullcontext
    import resource

    @contextlib.contextmanager
    def limit(megabytes=256):
        pages = int(statm.read_text().split()[0])
        bound = pages * resource.getpagesize() + megabytes * 2**20
        before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (bound, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)

    return limit
