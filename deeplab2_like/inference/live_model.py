# SPDX-License-Identifier: Apache-2.0
"""A system, its network and its preprocessing, built from a config."""

import dataclasses

import keras

from deeplab2_like.data import preprocessing as preprocessing_lib
from deeplab2_like.inference import buckets
from deeplab2_like.inference import canvas as canvas_lib
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.meta_architectures import build as system_build
from deeplab2_like.meta_architectures import contract
from deeplab2_like.protos import config_pb2


@dataclasses.dataclass(frozen=True)
class LiveModel:
    """The parts of a model that predicts images.

    Attributes:
        system: Losses, targets and post-processing.
        network: The Keras model that `system` built.
        preprocessings: Options of preprocessing for each size of canvas, the
            smallest first; see `buckets.choose`.
        typical_size: (height, width) in pixels of the canvas of evaluation.
    """

    system: contract.MetaArchitecture
    network: keras.Model
    preprocessings: tuple[preprocessing_lib.Preprocessing, ...]
    typical_size: tuple[int, int]


def build(
    options: config_pb2.ExperimentOptions, canvas: str = canvas_lib.CONFIG
) -> LiveModel:
    """Builds the model of a config, with random weights.

    Args:
        options: The resolved config.
        canvas: Canvas that images are padded to; see
            `buckets.build_preprocessings`.

    Raises:
        ConfigError: The config cannot be built, or the canvas is not legal.
    """
    system = system_build.build_system(
        options, descriptor_lib.load_of_run(options)
    )
    stride = system.output_stride
    preprocessings = buckets.build_preprocessings(options, canvas, stride)
    typical = canvas_lib.build_preprocessing(options, canvas_lib.CONFIG, stride)
    with system_build.compute_precision(options.trainer_options):
        network = system.build_model(synchronize_batch_norm=False)
    return LiveModel(system, network, preprocessings, typical.crop_size)
