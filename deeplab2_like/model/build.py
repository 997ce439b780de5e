# SPDX-License-Identifier: Apache-2.0
"""Builds models from configs.

Within `model`, only the modules `build...` read protos.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from deeplab2_like.config.decimals import read_decimal
from deeplab2_like.errors import ConfigError
from deeplab2_like.model.build_backbone import build_backbone
from deeplab2_like.model.deeplab_v3 import DeepLabV3, DeepLabV3Plus
from deeplab2_like.model.layers.aspp import pool_size_of
from deeplab2_like.model.panoptic_deeplab import (
    InstanceBranchOptions,
    PanopticDeepLab,
)
from deeplab2_like.protos import model_pb2, trainer_pb2


def build_model(
    options: model_pb2.ModelOptions,
    solver: trainer_pb2.SolverOptions | None = None,
    *,
    num_classes: int,
    train_crop_size: Sequence[int] | None,
    weighed_losses: Sequence[str] = (),
    synchronize_batch_norm: bool | None = None,
) -> keras.Model:
    """Builds the model that `options` describe, with all its variables.

    Args:
        options: Options of the network.
        solver: Source of the batch norm options; None: the defaults.
        num_classes: Channels of the semantic logits.
        train_crop_size: (height, width) of the training crops in pixels, from
            which the pooling window of the ASPP follows; None: the whole map.
        weighed_losses: Names of the losses whose weights are learned; for
            `PanopticDeepLab` only.
        synchronize_batch_norm: Whether batch statistics are computed over all
            replicas; None: as set in `solver`.

    Returns:
        `PanopticDeepLab`, `DeepLabV3` or `DeepLabV3Plus`, built.

    Raises:
        ConfigError: Something is unknown or not supported.
    """
    build = choose_builder(options, _SYSTEMS)
    batch_norm = batch_norm_options(
        solver or trainer_pb2.SolverOptions(), synchronize_batch_norm
    )
    more = {"weighed_losses": weighed_losses} if weighed_losses else {}
    model = build(options, num_classes, train_crop_size, batch_norm, **more)
    model.build((None, None, None, 3))
    return model


def choose_builder(
    options: model_pb2.ModelOptions,
    builders: Mapping[str, Callable[..., keras.Model]],
) -> Callable[..., keras.Model]:
    """Returns the builder of the system that `options` set.

    Args:
        options: Options of the network.
        builders: Name of a system -> its builder.

    Raises:
        ConfigError: No system is set, or it has no builder.
    """
    system = options.WhichOneof("meta_architecture")
    if system not in builders:
        raise ConfigError(
            f"model_options.{system or 'meta_architecture'} "
            f"{'is not supported' if system else 'is not set'} - known are "
            f"{', '.join(builders)} - set one of them."
        )
    return builders[system]


def batch_norm_options(
    solver: trainer_pb2.SolverOptions, synchronized: bool | None
) -> dict[str, Any]:
    """Returns the arguments of `BatchNorm`.

    Args:
        solver: Source of the options.
        synchronized: Whether batch statistics are computed over all replicas
            (None: as set in `solver`).
    """
    if synchronized is None:
        synchronized = solver.use_sync_batchnorm
    return {
        "synchronized": synchronized,
        "momentum": read_decimal(solver.batchnorm_momentum),
        "epsilon": read_decimal(solver.batchnorm_epsilon),
    }


def _decoder_options(
    options: model_pb2.DecoderOptions,
    low_level: Sequence[model_pb2.LowLevelOptions],
    pool_size: Sequence[int] | None,
) -> dict[str, Any]:
    """Returns the arguments of `Decoder`."""
    return {
        "feature_key": options.feature_key,
        "low_level": [
            (level.feature_key, level.channels_project) for level in low_level
        ],
        "aspp": {
            "filters": options.aspp_channels,
            "atrous_rates": list(options.atrous_rates),
            "pool_size": pool_size,
            "only_projection": options.aspp_use_only_1x1_proj_conv,
        },
        "fusion_channels": options.decoder_channels,
        "conv_type": options.decoder_conv_type,
    }


def _head_options(options: model_pb2.HeadOptions) -> dict[str, Any]:
    """Returns the arguments of `Head`."""
    return {
        "head_channels": options.head_channels,
        "conv_type": options.head_conv_type,
    }


def _pool_size(
    options: model_pb2.ModelOptions, crop_size: Sequence[int] | None
) -> list[int] | None:
    if crop_size is None:
        return None
    return pool_size_of(crop_size, options.backbone.output_stride)


def _build_panoptic_deeplab(
    options: model_pb2.ModelOptions,
    num_classes: int,
    crop_size: Sequence[int] | None,
    batch_norm: dict[str, Any],
    weighed_losses: Sequence[str] = (),
) -> PanopticDeepLab:
    system = options.panoptic_deeplab
    instance = system.instance
    pool_size = _pool_size(options, crop_size)
    branch = None
    if instance.enable:
        decoder = options.decoder
        if instance.HasField("instance_decoder_override"):
            decoder = instance.instance_decoder_override
        low_level = instance.low_level_override or system.low_level
        branch = InstanceBranchOptions(
            decoder=_decoder_options(decoder, low_level, pool_size),
            center_head=_head_options(instance.center_head),
            offset_head=_head_options(instance.regression_head),
        )
    return PanopticDeepLab(
        build_backbone(options.backbone, batch_norm),
        num_classes,
        semantic_decoder=_decoder_options(
            options.decoder, system.low_level, pool_size
        ),
        semantic_head=_head_options(system.semantic_head),
        instance=branch,
        batch_norm=batch_norm,
        weighed_losses=weighed_losses,
    )


def _build_deeplab_v3(
    options: model_pb2.ModelOptions,
    num_classes: int,
    crop_size: Sequence[int] | None,
    batch_norm: dict[str, Any],
) -> DeepLabV3:
    return DeepLabV3(
        build_backbone(options.backbone, batch_norm),
        num_classes,
        decoder=_decoder_options(
            options.decoder, (), _pool_size(options, crop_size)
        ),
        head={
            "head_channels": options.decoder.decoder_channels,
            "kernel_size": 3,
            "conv_type": "standard_conv",
        },
        batch_norm=batch_norm,
    )


def _build_deeplab_v3_plus(
    options: model_pb2.ModelOptions,
    num_classes: int,
    crop_size: Sequence[int] | None,
    batch_norm: dict[str, Any],
) -> DeepLabV3Plus:
    decoder = _decoder_options(
        options.decoder,
        [options.deeplab_v3_plus.low_level],
        _pool_size(options, crop_size),
    )
    return DeepLabV3Plus(
        build_backbone(options.backbone, batch_norm),
        num_classes,
        decoder=decoder | {"fusion_kernel_size": 3},
        head={
            "head_channels": options.decoder.decoder_channels,
            "kernel_size": 3,
            "conv_type": options.decoder.decoder_conv_type,
        },
        batch_norm=batch_norm,
    )


_SYSTEMS: Mapping[str, Callable[..., keras.Model]] = {
    "deeplab_v3": _build_deeplab_v3,
    "deeplab_v3_plus": _build_deeplab_v3_plus,
    "panoptic_deeplab": _build_panoptic_deeplab,
}
