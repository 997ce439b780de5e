# SPDX-License-Identifier: Apache-2.0
"""What is no checkpoint for a network is refused in one sentence."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.checkpoints import files as checkpoint_files


def _truncate(file, share):
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])


def _make_tensorflow1(folder, version):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.get_variable("conv1/weights", [3, 3])
        session.run(tf.compat.v1.global_variables_initializer())
        saver = tf.compat.v1.train.Saver(write_version=version)
        saver.save(session, str(folder / "model.ckpt"), global_step=7)


def _make_bad(kind, folder, tiny, model):
    """Makes something that is no checkpoint for the model; gives its path."""
    prefix = folder / "ckpt-1"
    saver = tf.compat.v1.train.SaverDef
    match kind:
        case "truncated data" | "cut in the middle" | "truncated index":
            tiny.save(prefix, tiny.deeplab2_values())
            ending = ".index" if "index" in kind else ".data-00000-of-00001"
            share = 0.5 if "middle" in kind or "index" in kind else 0.999
            _truncate(pathlib.Path(f"{prefix}{ending}"), share)
        case "empty index":
            tiny.save(prefix, tiny.deeplab2_values())
            pathlib.Path(f"{prefix}.index").write_bytes(b"")
        case "no data":
            tiny.save(prefix, tiny.deeplab2_values())
            pathlib.Path(f"{prefix}.data-00000-of-00001").unlink()
        case "data without index":
            tiny.save(prefix, tiny.deeplab2_values())
            pathlib.Path(f"{prefix}.index").unlink()
            return f"{prefix}.data-00000-of-00001"
        case "empty folder":
            return folder
        case "nothing":
            return folder / "nothing"
        case "text":
            prefix.write_text("hello")
        case "TensorFlow 1":
            _make_tensorflow1(folder, saver.V2)
            return folder
        case "old TensorFlow 1":
            _make_tensorflow1(folder, saver.V1)
            return folder / "model.ckpt-7"
        case "SavedModel":
            tf.saved_model.save(tf.Module(), str(folder / "saved"))
            return folder / "saved"
        case "SavedModel's variables":
            module = tf.Module()
            module.kernel = tf.Variable([1.0])
            tf.saved_model.save(module, str(folder / "saved"))
            return folder / "saved/variables"
        case "other objects":
            tiny.save(prefix, {"net/kernel": np.ones([2], np.float32)})
        case ending:
            path = folder / f"model{ending}"
            if ending == ".weights.h5":
                model.save_weights(path)
            else:
                model.save(path)
            return path
    return prefix


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("truncated data", "is damaged or incomplete"),
        ("cut in the middle", "is damaged or incomplete"),
        ("truncated index", "is damaged or incomplete"),
        ("empty index", "is damaged or incomplete"),
        ("no data", "is damaged or incomplete"),
        ("data without index", "is no part of a checkpoint"),
        ("empty folder", "holds no checkpoint"),
        ("nothing", "There is no checkpoint"),
        ("text", "is no part of a checkpoint"),
        ("TensorFlow 1", "is a checkpoint of TensorFlow 1"),
        ("old TensorFlow 1", "is a checkpoint of TensorFlow 1"),
        ("SavedModel", "is a SavedModel, not a checkpoint"),
        ("SavedModel's variables", "neither of this package nor of deeplab2"),
        ("other objects", "neither of this package nor of deeplab2"),
        (".h5", "are of no known network"),
        (".weights.h5", "are of no known network"),
        (".keras", "are of no known network"),
    ],
)
def test_what_is_no_checkpoint_is_one_sentence(
    tiny, dense_model, tmp_path, kind, message
):
    path = _make_bad(kind, tmp_path, tiny, dense_model)
    with pytest.raises(errors.CheckpointError, match=message) as info:
        tiny.initialize(path)
    assert "\n" not in str(info.value)
    assert str(tmp_path) in str(info.value)
    assert tiny.changed() == set()


def test_a_keras_file_is_no_checkpoint_of_a_whole_model(dense_model, tmp_path):
    path = tmp_path / "model.keras"
    dense_model.save(path)
    with pytest.raises(errors.CheckpointError, match="only start an encoder"):
        checkpoint_files.find_checkpoint(str(path))
