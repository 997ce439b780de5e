# SPDX-License-Identifier: Apache-2.0
"""Builds the system that a config describes, in its precision."""

import contextlib
from collections.abc import Callable, Iterator

import keras

from deeplab2_like import errors
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.meta_architectures import (
    contract,
    efficientps,
    panoptic_deeplab,
    panoptic_fpn,
)
from deeplab2_like.protos import config_pb2, trainer_pb2

_SYSTEMS: dict[str, Callable[..., contract.MetaArchitecture]] = {
    "panoptic_deeplab": panoptic_deeplab.PanopticDeepLab,
    "deeplab_v3": panoptic_deeplab.PanopticDeepLab,
    "deeplab_v3_plus": panoptic_deeplab.PanopticDeepLab,
    "panoptic_fpn": panoptic_fpn.PanopticFPN,
    "efficientps": efficientps.EfficientPS,
}


def build_system(
    options: config_pb2.ExperimentOptions,
    descriptor: descriptor_lib.DatasetDescriptor,
) -> contract.MetaArchitecture:
    """Builds the system that a config describes.

    Args:
        options: A checked config.
        descriptor: The data set that the system is for.

    Raises:
        ConfigError: The system does not exist.
    """
    name = options.model_options.WhichOneof("meta_architecture")
    if name not in _SYSTEMS:
        raise errors.ConfigError(
            f"model_options.{name} names a system that does not exist here; "
            f"choose one of {', '.join(sorted(_SYSTEMS))}."
        )
    return _SYSTEMS[name](options, descriptor)


@contextlib.contextmanager
def compute_precision(
    trainer: trainer_pb2.TrainerOptions,
) -> Iterator[None]:
    """Sets the precision of layers that are built inside.

    Args:
        trainer: Its `compute_precision` is "float32" or "bfloat16".
    """
    before = keras.config.dtype_policy()
    if trainer.compute_precision == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
