# SPDX-License-Identifier: Apache-2.0
"""Miniatures of published data sets, and what is read of them."""

import importlib.util
import pathlib

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
