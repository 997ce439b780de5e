# SPDX-License-Identifier: Apache-2.0
"""Builds backbones, from configs and by name.

A new backbone needs an entry in one of the tables here.
"""

from collections.abc import Callable, Mapping
from typing import Any

import keras

from deeplab2_like.config import names, report
from deeplab2_like.config.decimals import read_decimal
from deeplab2_like.config.problems import describe_nearest
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
from deeplab2_like.model.encoder_input import build_encoder
from deeplab2_like.protos import model_pb2

_Backbone = model_pb2.ModelOptions.BackboneOptions
_NormOptions = Mapping[str, Any]


def list_backbones() -> list[str]:
    """Lists the names of all backbones."""
    return sorted({**_FIXED_BACKBONES, **_RESNETS, **efficientnet.BUILDERS})


def build_named(
    name: str, output_stride: int = 32, **fields: Any
) -> keras.Model:
    """Builds a backbone by its name, with random weights.

    Args:
        name: One of `list_backbones`.
        output_stride: Stride of the last feature map in pixels: 8, 16 or 32.
        **fields: Other fields of `BackboneOptions` of the schema, such as
            backbone_width_multiplier, drop_path_keep_prob or
            use_sac_beyond_stride. Squeeze-and-excite is as the network was
            published unless use_squeeze_and_excite is given.

    Returns:
        A built model of images float32 [B, H, W, 3] in -1..1 (RGB / 127.5 -
        1), which returns feature maps [B, h, w, C] by endpoint: "res1" to
        "res5", of ResNets also "stage1" to "stage5".

    Raises:
        ConfigError: The name, a field or a value is unknown, or the network
            does not have the field.
    """
    if output_stride not in names.OUTPUT_STRIDES:
        allowed = ", ".join(str(stride) for stride in names.OUTPUT_STRIDES)
        raise ConfigError(
            f"output_stride is {output_stride} - allowed are {allowed} - "
            "choose one of them."
        )
    fields.setdefault("use_squeeze_and_excite", name in _GATED)
    options = _Backbone(name=name, output_stride=output_stride)
    known = _Backbone.DESCRIPTOR.fields_by_name
    for field, value in fields.items():
        if field not in known:
            raise ConfigError(
                f"There is no field {field!r} of a backbone - known are "
                f"{describe_nearest(field, known)} - choose one of them."
            )
        try:
            setattr(options, field, value)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"{field} is {value!r}, which is no value of that field "
                f"({error}). Give one as in a config."
            ) from error
    backbone = build_backbone(options)
    build_encoder(backbone, (None, None, None, 3))
    return backbone


def build_backbone(
    options: _Backbone, batch_norm: _NormOptions | None = None
) -> keras.Model:
    """Builds the backbone that `options` describe, without variables yet.

    Args:
        options: Options of the backbone.
        batch_norm: Keyword arguments of `BatchNorm` (None: its defaults).

    Raises:
        ConfigError: The name is unknown, or a field is set that the named
            backbone does not have.
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
            f"{describe_nearest(options.name, builders)} - choose one of them."
        )
    if backbone_rules.freezes_batch_norm(options):
        batch_norm = {**(batch_norm or {}), "trainable": False}
    arguments: dict[str, Any] = {
        "batch_norm": batch_norm,
        "trainable": not options.freeze_backbone,
    }
    if options.name in _RESNETS:
        arguments["variation"] = _variation(options)
        arguments["recompute"] = _is_recomputed(options)
    if options.name in efficientnet.BUILDERS:
        arguments["squeeze_excite"] = options.use_squeeze_and_excite
        arguments["keep_prob"] = read_decimal(options.drop_path_keep_prob)
        arguments["drop_path_schedule"] = options.drop_path_schedule
        if options.HasField("activation"):
            arguments["activation"] = options.activation
        arguments["padding"] = _padding(options)
    elif options.name in names.OTHER_GRAPHS:
        arguments["graph"] = options.graph
    return builders[options.name](options.output_stride, **arguments)


_Builders = Mapping[str, Callable[..., keras.Model]]

# Networks whose widths and depths a config cannot vary.
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
# Networks so large, or with attention maps so large, that training recomputes
# their blocks unless the config turns it off.
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


# Networks that were published with squeeze-and-excite.
_GATED = {*_FIXED_BACKBONES, *names.EFFICIENTNETS}


def _variation(options: _Backbone) -> Variation:
    """Returns the variation of the named network that the config sets."""
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


def _padding(options: _Backbone) -> str | None:
    """Returns the padding that the config sets for an EfficientNet."""
    if options.HasField("padding"):
        return options.padding
    return "same" if options.graph == "keras" else None


def _is_recomputed(options: _Backbone) -> bool:
    if options.HasField("recompute"):
        return options.recompute
    return options.name in _LARGE_RESNETS
