# SPDX-License-Identifier: Apache-2.0
"""Checkpoints with deeplab2's keys are imported, exported, and are equal."""

import gc
import json

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.checkpoints import (
    conversion,
    deeplab2_keys,
    initialization,
)
from deeplab2_like.checkpoints import source as checkpoint_source
from deeplab2_like.testing import reference_networks

FAMILY = "deeplab2_checkpoints"
_LARGE = 100_000_000


def is_slow(path):
    if path is None:
        return False
    parameters = json.loads(path.read_text())["n_parameters"]
    return parameters > _LARGE or "mobilenet" not in path.name


def _check_import(prefix, description):
    """Every variable gets its value, every key is accounted for."""
    model = reference_networks.build_network(description["config"])
    source = checkpoint_source.load_source(str(prefix), model)
    assert source.layout is checkpoint_source.Layout.DEEPLAB2
    assert list(source.unused) == []
    assert len(source.values) == description["n_variables"]
    bookkeeping = {
        key.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE")
        for key in reference_networks.BOOKKEEPING
    }
    assert set(source.bookkeeping) == bookkeeping
    del source
    assert initialization.restore_all(str(prefix), model) == 0
    variables = deeplab2_keys.deeplab2_keys(model.variables)
    assert len(variables) == description["n_variables"]
    fill = reference_networks.load_maker().fill
    for key, variable in variables.items():
        expected = fill(key, variable.shape, "float32")
        np.testing.assert_array_equal(variable.numpy(), expected, key)
    count = reference_networks.count_parameters(model)
    assert count == description["n_parameters"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_checkpoints_go_there_and_back_bit_for_bit(reference_case, tmp_path):
    description = json.loads(reference_case.path.read_text())
    missing = reference_networks.find_missing_backbone(description["config"])
    if missing:
        pytest.skip(missing)
    maker = reference_networks.load_maker()
    maker.check(description)
    keys = description["keys"]
    with reference_case(entries=keys) as case:
        reference = maker.write(keys, str(tmp_path / "reference" / "ckpt"))
        _check_import(reference, description)
        gc.collect()
        config = reference_networks.make_config(description["config"])
        own, again = str(tmp_path / "own/ckpt-0"), str(tmp_path / "again/ckpt")
        conversion.convert(config, reference, own)
        _remove(reference)
        gc.collect()
        conversion.convert(config, own, again, layout="deeplab2")
        _remove(own)
        gc.collect()
        reader = tf.train.load_checkpoint(again)
        assert set(reader.get_variable_to_shape_map()) == set(keys)
        for key, spec in keys.items():
            actual = reader.get_tensor(key)
            if spec["dtype"] == "string":
                expected_names = _restorable(maker.object_graph(keys))
                case.compare_value(
                    key, _restorable(actual) == expected_names, True
                )
                continue
            assert actual.dtype == spec["dtype"]
            expected = maker.fill(key, spec["shape"], spec["dtype"])
            case.compare_value(key, actual, expected)
        del reader
        _remove(again)
    gc.collect()


def _restorable(serialized):
    """The paths of attribute names that lead to each key."""
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    graph.ParseFromString(serialized)
    found = {}

    def walk(node, path):
        for attribute in graph.nodes[node].attributes:
            found["/".join(path)] = attribute.checkpoint_key
        for child in graph.nodes[node].children:
            walk(child.node_id, (*path, child.local_name))

    walk(0, ())
    return found


def _remove(prefix):
    for file in tf.io.gfile.glob(f"{prefix}.*"):
        tf.io.gfile.remove(file)
