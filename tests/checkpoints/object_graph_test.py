# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.checkpoints import object_graph


def _write(checkpoint, prefix):
    checkpoint.write(str(prefix))
    reader = tf.train.load_checkpoint(str(prefix))
    graph = reader.get_tensor(object_graph.GRAPH_KEY)
    return reader, object_graph.ObjectGraph(graph)


def test_objects_are_written_under_their_names(tmp_path):
    values = {
        ("encoder", "_blocks", "0", "kernel"): np.arange(3.0),
        ("encoder", "_blocks", "10", "kernel"): np.arange(4.0),
        ("variables", "net/v1.5/bias"): np.float32(2.0),
        ("global_step",): np.int64(7),
    }
    root = object_graph.make_checkpoint(values)
    reader, graph = _write(root, tmp_path / "ckpt")
    assert graph.children() == ["encoder", "global_step", "variables"]
    assert graph.children("encoder/_blocks") == ["0", "10"]
    for path, value in values.items():
        key = graph.key_of(path)
        read = reader.get_tensor(key)
        assert read.dtype == value.dtype
        np.testing.assert_array_equal(read, value)
        assert object_graph.readable_name(key) == "/".join(path)


def test_paths_that_lead_nowhere_have_no_key(tmp_path):
    root = object_graph.make_checkpoint({("a", "b"): np.zeros(2)})
    _, graph = _write(root, tmp_path / "ckpt")
    assert graph.key_of("a/b").startswith("a/b/")
    assert graph.key_of("a") is None
    assert graph.key_of("a/c") is None
    assert graph.key_of("a/b/c") is None
    assert graph.children("nowhere") == []


def test_every_path_to_an_object_has_its_key(tmp_path):
    root = object_graph.make_checkpoint({("long", "way", "to"): np.zeros(2)})
    root.short = root.long.way.to
    _, graph = _write(root, tmp_path / "ckpt")
    assert graph.key_of("long/way/to") == graph.key_of("short")
    assert graph.key_of("short").startswith("short/")


def test_variables_of_keras_3_are_found_inside_their_wrappers(tmp_path):
    import keras

    root = tf.train.Checkpoint()
    root.conv = keras.layers.Conv2D(2, 1)
    root.conv.build((None, None, None, 3))
    reader, graph = _write(root, tmp_path / "ckpt")
    kernel = reader.get_tensor(graph.key_of("conv/_kernel"))
    np.testing.assert_array_equal(kernel, root.conv.kernel)


@pytest.mark.parametrize("serialized", [b"", b"no graph at all"])
def test_what_is_no_graph_is_refused(serialized):
    with pytest.raises(ValueError, match="object graph"):
        object_graph.ObjectGraph(serialized)
