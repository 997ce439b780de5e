# SPDX-License-Identifier: Apache-2.0
"""Miniatures of published data sets, and what is read of them."""

import importlib.util
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.recipes.published import preparing
from deeplab2_like.recipes.published.items import Request

_FILE = pathlib.Path(__file__).with_name("miniatures.py")


@pytest.fixture(scope="session")
def miniatures():
    """Returns the module that writes miniatures."""
    spec = importlib.util.spec_from_file_location("miniatures", _FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def prepare():
    """Returns a function that writes or looks, and returns its lines."""

    def run(key, root, out=None, **options):
        processes = options.pop("num_processes", 1)
        request = Request(key, pathlib.Path(root), out, **options)
        return "\n".join(preparing.prepare(request, num_processes=processes))

    return run


@pytest.fixture(scope="session")
def read_records():
    """Returns a function from record files to features by name, in order."""

    def run(folder, split):
        found = {}
        for path in sorted(folder.glob(f"{split}-*.tfrecord")):
            for record in tf.data.TFRecordDataset(str(path)):
                example = tf.train.Example.FromString(record.numpy())
                features = {}
                for key, value in example.features.feature.items():
                    kind = value.WhichOneof("kind")
                    (features[key],) = getattr(value, kind).value
                name = features["image/filename"].decode()
                sequence = features.get("video/sequence_id", b"").decode()
                found[f"{sequence}/{name}" if sequence else name] = features
        return found

    return run


@pytest.fixture(scope="session")
def decode():
    """Returns a function from the features of a record to its label."""

    def run(features):
        size = features["image/height"], features["image/width"]
        raw = features["image/segmentation/class/encoded"]
        assert features["image/segmentation/class/format"] == b"raw"
        return np.frombuffer(raw, "<i4").reshape(size)

    return run


@pytest.fixture(scope="session")
def number():
    """Returns a function that makes a label, by deeplab2's rules.

    Its arguments are a data set, ids [H, W], and (id, class index, is crowd)
    of the segments in their order; a class of None is void.
    """

    def run(data, ids, segments):
        expected = np.full(ids.shape, data.void_id, np.int32)
        counts = {}
        for key, index, is_crowd in segments:
            if index is None:
                continue
            instance = 0
            if index in data.thing_ids and not is_crowd:
                counts[index] = instance = counts.get(index, 0) + 1
            expected[ids == key] = index * data.label_divisor + instance
        return expected

    return run
