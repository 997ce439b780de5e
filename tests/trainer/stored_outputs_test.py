# SPDX-License-Identifier: Apache-2.0
import errno
import os

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.trainer import stored_outputs


def _make_arrays(seed):
    random = np.random.default_rng(seed)
    return {
        "logits": random.normal(size=(2, 3, 4)).astype(np.float32),
        "half": random.integers(-8, 9, (2, 3)).astype(np.float32) / 4,
        "label": random.integers(0, 30000, (2, 5, 6), dtype=np.int32),
        "large": np.array([-1, 2**40]),
        "flags": random.random((2, 3)) > 0.5,
        "names": np.array([b"a/b", b"\xc3\xa4"]).astype("S"),
        "empty": np.zeros((2, 0), np.int32),
        "nan": np.array([np.nan, np.inf, -0.0], np.float32),
        "huge": np.array([1e30], np.float32),
        "brain": tf.constant([1.5, 0.1], tf.bfloat16).numpy(),
    }


def test_what_is_stored_comes_back_bit_by_bit(tmp_path):
    stored = stored_outputs.StoredOutputs(tmp_path)
    batches = [_make_arrays(seed) for seed in range(3)]
    sizes = [stored.add(arrays) for arrays in batches]
    assert len(stored) == 3
    assert sum(sizes) == sum(p.stat().st_size for p in tmp_path.iterdir())
    for _ in range(2):
        for arrays, read in zip(batches, stored, strict=True):
            assert read.keys() == arrays.keys()
            for name, array in arrays.items():
                assert read[name].dtype == array.dtype, name
                assert read[name].shape == array.shape, name
                assert read[name].tobytes() == array.tobytes(), name


def test_values_that_fit_take_less_space(tmp_path):
    stored = stored_outputs.StoredOutputs(tmp_path)
    label = np.full((1000, 100), 19002, np.int32)
    half = np.full((1000, 100), 0.25, np.float32)
    size = stored.add({"label": label, "half": half})
    assert size < 1.01 * (label.nbytes + half.nbytes) / 2


def test_the_folder_is_removed_in_any_case(tmp_path):
    parent = tmp_path / "eval"
    with stored_outputs.temporary_folder(str(parent)) as folder:
        (folder / "file").write_text("x")
    assert not list(parent.iterdir())
    with (
        pytest.raises(KeyboardInterrupt),
        stored_outputs.temporary_folder(str(parent)) as folder,
    ):
        raise KeyboardInterrupt
    assert not list(parent.iterdir())


def test_folders_of_killed_processes_are_removed(tmp_path):
    with stored_outputs.temporary_folder(str(tmp_path)) as folder:
        host = folder.name.removesuffix(f"-{os.getpid()}")
    (tmp_path / f"{host}-999999999").mkdir()
    (tmp_path / f"{host}-{os.getppid()}").mkdir()
    (tmp_path / ".tuning-elsewhere-1").mkdir()
    with stored_outputs.temporary_folder(str(tmp_path)):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{host}-{os.getppid()}",
        ".tuning-elsewhere-1",
    }


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", fail)
    stored = stored_outputs.StoredOutputs(tmp_path)
    with pytest.raises(errors.DataError, match="is full"):
        stored.add({"a": np.zeros(3)})
