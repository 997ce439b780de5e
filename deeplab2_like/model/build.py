# SPDX-License-Identifier: Apache-2.0
"""Builds models from configs; here and in `build_pyramid` protos are seen."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from deeplab2_like.config import report
from deeplab2_like.config.decimals import read_decimal
from deeplab2_like.config.rules import backbone as backbone_rules
from deeplab2_like.errors import ConfigError
from deeplab2_like.model.backbones import (
    axial_resnet,
    efficientnet,
    max_deeplab,
    mobilenet_v3,
    resnet,
    wide_resnet,
)
from deeplab2_like.model.backbones.variation import Variation
from deeplab2_like.model.deeplab_v3 import DeepLabV3, DeepLabV3Plus
from deeplab2_like.model.layers.aspp import pool_size_of
from deeplab2_like.model.panoptic_deeplab import PanopticDeepLab
from deeplab2_like.protos import model_pb2, trainer_pb2

_Backbone = model_pb2.ModelOptions.BackboneOptions
_NormOptions = Mapping[str, Any]


def build_model(
    options: model_pb2.ModelOptions,
    solver: trainer_pb2.SolverOptions | None = None,
    *,
    num_classes: int,
    train_crop_size: Sequence[int] | None,
    weighed_losses: Sequence[str] = (),
    synchronize_batch_norm: bool | None = None,
) -> keras.Model:
    """Builds the model that `options` describes, with all its variables.

    Args:
        options: the network.
        solver: gives the batch norm options; None: the defaults.
        num_classes: channels of the semantic logits.
        train_crop_size: (height, width) of the training crops in pixels, from
            which the pooling window of the ASPP follows; None: the whole map.
        weighed_losses: names of the losses whose weights are learned; only
            `PanopticDeepLab` has them.
        synchronize_batch_norm: whether batch statistics are those of all
            replicas; None: as `solver` says.

    Returns:
        `PanopticDeepLab`, `DeepLabV3` or `DeepLabV3Plus`, built.

    Raises:
        ConfigError: something that does not exist, or exists in a later
            release.
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
    """Returns that of the builders whose system `options` has.

    Raises:
        ConfigError: there is none.
    """
    system = options.WhichOneof("meta_architecture")
    if system not in builders:
        raise ConfigError(
            f"model_options.{system or 'meta_architecture'} "
            f"{'is not supported' if system else 'is not set'} - known are "
            f"{', '.join(builders)} - set one of them."
        )
    return builders[system]


def build_backbone(
    options: _Backbone, batch_norm: _NormOptions | None = None
) -> keras.Model:
    """Builds the encoder that `options` describes, without variables yet.

    Args:
        options: the backbone.
        batch_norm: keyword arguments of `BatchNorm` (None: its defaults).

    Raises:
        ConfigError: an unknown name, or a field that the named backbone does
            not have.
    """
    for found in backbone_rules.find_conflicts(options):
        value = report.show(found.value)
        raise ConfigError(
            f"model_options.backbone.{found.field} is {value} - {found.rule} "
            f"- {found.fix}"
        )
    builders = {**_FIXED_BACKBONES, **_RESNETS, **efficientnet.BUILDERS}
    if options.name not in builders:
        raise ConfigError(
            f'model_options.backbone.name is "{options.name}" - known are '
            f"{', '.join(builders)} - choose one of them."
        )
    arguments: dict[str, Any] = {"batch_norm": batch_norm}
    if options.name in _RESNETS:
        arguments["variation"] = _variation(options)
        arguments["recompute"] = _is_recomputed(options)
    if options.name in efficientnet.BUILDERS:
        arguments["squeeze_excite"] = options.use_squeeze_and_excite
        arguments["keep_prob"] = read_decimal(options.drop_path_keep_prob)
        arguments["drop_path_schedule"] = options.drop_path_schedule
        arguments["activation"] = options.activation
    return builders[options.name](options.output_stride, **arguments)


_Builders = Mapping[str, Callable[..., keras.Model]]

# Nets that a config cannot vary.
_FIXED_BACKBONES: _Builders = {
    "mobilenet_v3_large": mobilenet_v3.mobilenet_v3_large,
    "mobilenet_v3_small": mobilenet_v3.mobilenet_v3_small,
}
_PLAIN_RESNETS: _Builders = {
    "resnet50": resnet.resnet50,
    "resnet50_beta": resnet.resnet50_beta,
    "resnet101": resnet.resnet101,
    "resnet101_beta": resnet.resnet101_beta,
}
# Nets so large, or with attention maps so large, that training recomputes
# their blocks unless the config says otherwise.
_LARGE_RESNETS: _Builders = {
    "wide_resnet41": wide_resnet.wide_resnet41,
    "swidernet": wide_resnet.swidernet,
    "axial_swidernet": axial_resnet.axial_swidernet,
    "axial_resnet_s": axial_resnet.axial_resnet_s,
    "axial_resnet_l": axial_resnet.axial_resnet_l,
    "axial_deeplab_s": axial_resnet.axial_deeplab_s,
    "axial_deeplab_l": axial_resnet.axial_deeplab_l,
    "max_deeplab_s_backbone": axial_resnet.max_deeplab_s_backbone,
    "max_deeplab_l_backbone": max_deeplab.max_deeplab_l_backbone,
}
_RESNETS: _Builders = {**_PLAIN_RESNETS, **_LARGE_RESNETS}


def _variation(options: _Backbone) -> Variation:
    """Returns what the config varies of the named network."""
    width = None
    if options.HasField("backbone_width_multiplier"):
        width = read_decimal(options.backbone_width_multiplier)
    return Variation(
        stem_width=read_decimal(options.stem_width_multiplier),
        width=width,
        depth=read_decimal(options.backbone_layer_multiplier),
        keep_prob=read_decimal(options.drop_path_keep_prob),
        drop_path_schedule=options.drop_path_schedule,
        switchable_beyond_stride=options.use_sac_beyond_stride,
        squeeze_excite=options.use_squeeze_and_excite,
    )


def _is_recomputed(options: _Backbone) -> bool:
    if options.HasField("recompute"):
        return options.recompute
    return options.name in _LARGE_RESNETS


def batch_norm_options(
    solver: trainer_pb2.SolverOptions, synchronized: bool | None
) -> dict[str, Any]:
    """Returns the arguments of `BatchNorm`; None: synchronized as it says."""
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
    branch: dict[str, Any] = {}
    if instance.enable:
        decoder = options.decoder
        if instance.HasField("instance_decoder_override"):
            decoder = instance.instance_decoder_override
        low_level = instance.low_level_override or system.low_level
        branch = {
            "instance_decoder": _decoder_options(decoder, low_level, pool_size),
            "center_head": _head_options(instance.center_head),
            "offset_head": _head_options(instance.regression_head),
        }
    return PanopticDeepLab(
        build_backbone(options.backbone, batch_norm),
        num_classes,
        semantic_decoder=_decoder_options(
            options.decoder, system.low_level, pool_size
        ),
        semantic_head=_head_options(system.semantic_head),
        batch_norm=batch_norm,
        weighed_losses=weighed_losses,
        **branch,
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
