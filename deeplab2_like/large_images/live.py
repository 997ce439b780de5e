# SPDX-License-Identifier: Apache-2.0
"""Live models for large images."""

import hashlib
from collections.abc import Mapping

import keras
import tensorflow as tf

from deeplab2_like.data.preprocessing import Preprocessing
from deeplab2_like.inference import any_size
from deeplab2_like.large_images.network import TileModel
from deeplab2_like.meta_architectures import contract


def make_tile_model(
    system: contract.MetaArchitecture,
    model: keras.Model,
    preprocessing: Preprocessing,
    facts: str,
) -> TileModel:
    """Makes the `TileModel` of a live model, with its present weights.

    Args:
        system: The system.
        model: The model that `system` built.
        preprocessing: Options of preprocessing.
        facts: A text that differs where the rules differ, such as the config.
    """
    infer = any_size.make_infer(system, model)

    def call(canvas_bhw3: tf.Tensor) -> Mapping[str, tf.Tensor]:
        outputs: Mapping[str, tf.Tensor] = infer(canvas_bhw3)
        return outputs

    found = hashlib.sha256(facts.encode())
    for variable in model.variables:
        found.update(variable.path.encode())
        found.update(variable.numpy().tobytes())
    return TileModel(system, preprocessing, call, found.hexdigest())
