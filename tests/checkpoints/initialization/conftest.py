# SPDX-License-Identifier: Apache-2.0
"""A small network, and checkpoints for it."""

import zlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.checkpoints import initialization
from deeplab2_like.checkpoints import source as checkpoint_source
from deeplab2_like.checkpoints import writing as checkpoint_writing
from deeplab2_like.config import run_config
from deeplab2_like.labels import descriptor
from deeplab2_like.meta_architectures import build
from deeplab2_like.protos import model_pb2

_LAST = "panoptic_deeplab/semantic_head/last"


class TinyNetwork:
    """A small Panoptic-DeepLab and checkpoints of deeplab2 for it."""

    def __init__(self, run):
        """Builds the network with random weights.

        Args:
            run: Model folder with the config of the network.
        """
        options = run_config.load_checked(str(run)).options
        self.options = options.model_options
        self.system = build.build_system(options, descriptor.load("scenes"))
        self.model = self.system.build_model(synchronize_batch_norm=False)
        self._initial = {v.path: v.numpy() for v in self.model.variables}

    def reset(self):
        """Assigns their initial values to all variables."""
        for variable in self.model.variables:
            variable.assign(self._initial[variable.path])

    def changed(self):
        """Returns the paths of variables without their initial values."""
        return {
            v.path
            for v in self.model.variables
            if v.numpy().tobytes() != self._initial[v.path].tobytes()
        }

    def expected(self, classes=None):
        """Returns a value for each variable, by its path."""
        values = {}
        for variable in checkpoint_source.matched_variables(self.model):
            shape = list(variable.shape)
            if classes and variable.path.startswith(_LAST):
                shape[-1] = classes
            rng = np.random.default_rng(zlib.crc32(variable.path.encode()))
            values[variable.path] = rng.uniform(1.0, 2.0, shape).astype("f4")
        return values

    def deeplab2_values(self, classes=None):
        """Returns the expected values by the paths of deeplab2."""
        return {
            checkpoint_source.deeplab2_path(path): value
            for path, value in self.expected(classes).items()
        }

    def initialize(self, path, **fields):
        """Initializes from a checkpoint; `fields` replace the model options."""
        options = model_pb2.ModelOptions()
        options.CopyFrom(self.options)
        options.initial_checkpoint = str(path)
        for name, value in fields.items():
            setattr(options, name, value)
        return initialization.initialize(options, self.system, self.model)

    def backbone_paths(self):
        """Returns the paths of the variables of the encoder."""
        return {
            v.path
            for v in self.model.backbone.variables
            if not v.path.endswith("seed_generator_state")
        }

    def save(self, prefix, values):
        """Writes a checkpoint of values by their paths; returns its prefix."""
        named = {tuple(path.split("/")): x for path, x in values.items()}
        named[("global_step",)] = np.int64(60000)
        checkpoint_writing.write_checkpoint(str(prefix), named)
        return prefix

    def check_loaded(self, report, paths=None):
        """Checks that these variables, or all, have their expected values."""
        expected = self.expected()
        paths = set(expected) if paths is None else paths
        assert set(report.loaded) == paths
        assert self.changed() == paths
        for variable in self.model.variables:
            if variable.path in paths:
                np.testing.assert_array_equal(
                    variable.numpy(), expected[variable.path], variable.path
                )


@pytest.fixture(scope="session")
def _built(tiny_run):
    return TinyNetwork(tiny_run)


@pytest.fixture
def tiny(_built):
    """Returns the small network with its initial values."""
    _built.reset()
    return _built


@pytest.fixture
def dense_model():
    """Returns a model of two layers whose variables are 0."""
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(3, name="first"),
            keras.layers.Dense(2, name="second"),
        ]
    )
    for variable in model.variables:
        variable.assign(tf.zeros_like(variable.value))
    return model
