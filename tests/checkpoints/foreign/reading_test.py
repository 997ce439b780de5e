# SPDX-License-Identifier: Apache-2.0
"""Weights of every form are found, and what is no file of weights refused."""

import os
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.checkpoints.foreign import reading

_FORMATS = {
    "caffe2_python2.pkl": "pickle",
    "detectron2_numpy2.pkl": "pickle",
    "detectron2_protocol2.pkl": "pickle",
    "detectron2_protocol3.pkl": "pickle",
    "detectron2_protocol4.pkl": "pickle",
    "legacy.pth": "torch legacy",
    "model.safetensors": "safetensors",
    "zip.pth": "torch zip",
    "zip_wrapped.pth": "torch zip",
}
_BAD = {
    "evil_dotted_name.pkl": "names 'collections._sys.modules.__class__'",
    "evil_exec_legacy.pth": "names 'builtins.exec'",
    "evil_exec_zip.pth": "names 'builtins.exec'",
    "evil_in_hooks_zip.pth": "names 'builtins.exec'",
    "evil_system.pkl": "names 'os.system'",
    "huge_storage_size_legacy.pth": "1099511627776 elements in place of 6",
    "missing_storage_zip.pth": "no record 'data/1'",
    "namespace_zip.pth": "names 'argparse.Namespace'",
    "object_array.pkl": "an array of the dtype 'O8'",
    "short_storage_zip.pth": "'data/0' has 20 bytes in place of 24",
    "storage_key_outside_zip.pth": "no record 'data/../../../xx'",
    "truncated_legacy.pth": "it ends 5 bytes too early",
    "truncated_zip.pth": "it is no whole zip file",
    "view_beyond_storage_zip.pth": "ends 197 elements beyond its storage of 6",
    "wrong_storage_size_legacy.pth": "has 5 elements in place of 6",
}
# The library's own words, of its versions 0.4 and 0.8.
_BAD_SAFETENSORS = {
    "header_beyond_file.safetensors": "header too large|HeaderTooLarge",
    "overlapping.safetensors": "invalid offset|InvalidOffset",
    "shape_beyond_data.safetensors": "invalid shape|TensorInvalidInfo",
    "truncated.safetensors": "incomplete metadata|MetadataIncompleteBuffer",
}


def _compare(actual, expected):
    assert list(actual) == list(expected)
    for key, value in expected.items():
        assert actual[key].dtype == value.dtype, key
        np.testing.assert_array_equal(actual[key], value, err_msg=key)


@pytest.mark.parametrize("name", _FORMATS)
def test_golden_files_contain_the_expected_arrays(
    name, golden_weights, golden_arrays
):
    if name.endswith(".safetensors"):
        pytest.importorskip("safetensors")
    weights = reading.read_arrays(golden_weights / "formats" / name)
    assert weights.form == _FORMATS[name]
    expected = golden_arrays(name)
    if name.endswith(".safetensors"):
        expected = dict(sorted(expected.items()))
    _compare(weights.values, expected)
    assert not any(value.flags.writeable for value in weights.values.values())


def test_golden_files_tell_what_was_left_out(golden_weights):
    folder = golden_weights / "formats"
    wrapped = reading.read_arrays(folder / "zip_wrapped.pth")
    assert wrapped.prefix == "module."
    assert wrapped.left_out == {
        "epoch": "a number",
        "best": "a number",
        "name": "a text",
        "history": "a list",
        "optimizer": "a dictionary",
    }
    zoo = reading.read_arrays(folder / "detectron2_protocol4.pkl")
    assert zoo.left_out == {
        "__author__": "a text",
        "matching_heuristics": "a flag",
    }


def test_golden_files_are_all_known(golden_weights):
    formats = (golden_weights / "formats").iterdir()
    found = {path.name for path in formats if path.suffix != ".npz"}
    assert found == set(_FORMATS)
    found = {path.name for path in (golden_weights / "bad").iterdir()}
    assert found == {*_BAD, *_BAD_SAFETENSORS}


@pytest.mark.parametrize("name", _BAD)
def test_bad_golden_files_have_their_verdict(
    name, golden_weights, read_error, monkeypatch
):
    monkeypatch.delenv("DEEPLAB2_LIKE_PICKLE_RAN", raising=False)
    assert _BAD[name] in read_error(golden_weights / "bad" / name)
    assert "DEEPLAB2_LIKE_PICKLE_RAN" not in os.environ


@pytest.mark.parametrize("name", _BAD_SAFETENSORS)
def test_bad_golden_safetensors_have_their_verdict(
    name, golden_weights, read_error
):
    pytest.importorskip("safetensors")
    message = read_error(golden_weights / "bad" / name)
    assert "is damaged or incomplete: safetensors reports" in message
    assert re.search(_BAD_SAFETENSORS[name], message)


def _pickle(path, tree, protocol=4):
    path.write_bytes(pickle.dumps(tree, protocol=protocol))
    return path


@pytest.mark.parametrize("wrapper", ["model", "state_dict", "blobs"])
def test_weights_are_found_under_a_wrapper(wrapper, tmp_path):
    values = {"module.a": np.ones(2), "module.b": np.zeros((1, 3), np.int32)}
    tree = {
        "epoch": 3,
        wrapper: {**values, "note": "x", "lr": 0.1},
        "optimizer": {"state": {0: {"step": 1}}},
        "best": np.float64(0.5),
        "mean": np.zeros(3),
        "args": None,
    }
    weights = reading.read_arrays(_pickle(tmp_path / "a.pkl", tree))
    if wrapper == "blobs":
        assert weights.form == "pickle"
    # The note has no prefix, but it is no array either.
    assert weights.prefix == "module."
    _compare(weights.values, {"a": values["module.a"], "b": values["module.b"]})
    assert weights.left_out == {
        "epoch": "a number",
        "optimizer": "a dictionary",
        "best": "a number",
        "mean": "an array",
        "args": "nothing",
        f"{wrapper}/note": "a text",
        f"{wrapper}/lr": "a number",
    }


def test_wrappers_may_be_nested(tmp_path):
    tree = {"model": {"state_dict": {"a": np.ones(2)}, "step": 1}}
    weights = reading.read_arrays(_pickle(tmp_path / "a.pkl", tree))
    assert list(weights.values) == ["a"]
    assert weights.left_out == {"model/step": "a number"}


def test_a_prefix_of_some_keys_is_kept(tmp_path):
    tree = {"module.a": np.ones(1), "b": np.ones(1)}
    weights = reading.read_arrays(_pickle(tmp_path / "a.pkl", tree))
    assert list(weights.values) == ["module.a", "b"]
    assert weights.prefix == ""


def test_of_two_wrappers_the_one_with_arrays_is_taken(tmp_path, read_error):
    tree = {"model": {"name": "net"}, "state_dict": {"a": np.ones(1)}}
    weights = reading.read_arrays(_pickle(tmp_path / "a.pkl", tree))
    assert list(weights.values) == ["a"]
    assert weights.left_out == {"model": "a dictionary"}
    tree = {"model": {"a": np.ones(1)}, "state_dict": {"a": np.ones(1)}}
    message = read_error(_pickle(tmp_path / "b.pkl", tree))
    assert "several sets of weights (model, state_dict)" in message


@pytest.mark.parametrize(
    ("tree", "sentence"),
    [
        ({"epoch": 1, "net": {}}, "no arrays under its keys ('epoch', 'net')"),
        ({}, "no arrays under its keys (none)"),
        ({"model": {}}, "no arrays under its keys (none)"),
        ([np.ones(1)], "contains a list"),
        (np.ones(1), "contains an array"),
        (3, "contains a number"),
    ],
)
def test_a_file_without_weights_is_refused(
    tree, sentence, tmp_path, read_error
):
    message = read_error(_pickle(tmp_path / "a.pkl", tree))
    assert sentence in message
    assert "dictionary of arrays is read" in message


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 80, "is an HDF5 file"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "is only a pointer of Git LFS",
        ),
        (b"\n <!DOCTYPE html>\n<html></html>", "is a web page"),
        (b"\x1f\x8b\x08" + b"\0" * 50, "is compressed by gzip"),
        (b"\0" * 500, "is damaged or of another kind"),
        (b"PK\x05\x06" + b"\0" * 18, "is damaged or of another kind"),
    ],
)
def test_other_kinds_of_files_are_named(
    content, sentence, tmp_path, read_error
):
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    assert f"FILE {sentence}" in read_error(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "absent.pth", tmp_path):
        with pytest.raises(errors.CheckpointError, match="There is no file"):
            reading.read_arrays(path)


def test_the_readers_load_neither_pytorch_nor_tensorflow():
    program = (
        "import sys\n"
        "import deeplab2_like.checkpoints.foreign.layouts\n"
        "import deeplab2_like.checkpoints.foreign.reading\n"
        "print({'torch', 'tensorflow', 'keras', 'safetensors'}\n"
        "      & set(sys.modules))\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True
    )
    assert out.stdout.strip() == "set()", out.stderr
