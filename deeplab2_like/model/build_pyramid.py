# SPDX-License-Identifier: Apache-2.0
"""Builds models with a feature pyramid from configs.

In reading order: what all of them share, the systems, their branches.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from deeplab2_like.config.decimals import read_decimal
from deeplab2_like.model import build
from deeplab2_like.model.build_backbone import build_backbone
from deeplab2_like.model.efficientps import EfficientPS
from deeplab2_like.model.panoptic_fpn import PanopticFPN
from deeplab2_like.protos import model_pb2, trainer_pb2

# Root of the area of the anchors of strides 4 to 32, pixels.
_EFFICIENTPS_ANCHOR_SIZES = (32.0, 64.0, 128.0, 256.0)


def build_pyramid_model(
    options: model_pb2.ModelOptions,
    solver: trainer_pb2.SolverOptions,
    *,
    num_channels: int,
    num_things: int,
    weighed_losses: Sequence[str] = (),
    synchronize_batch_norm: bool | None = None,
) -> keras.Model:
    """Builds the model that `options` describe, with all its variables.

    Args:
        options: Options of a Panoptic FPN or an EfficientPS.
        solver: Source of the batch norm options.
        num_channels: Channels of the semantic logits.
        num_things: Number of classes of the instance branch.
        weighed_losses: Names of the losses whose weights are learned.
        synchronize_batch_norm: See `build.build_model`.

    Raises:
        ConfigError: The system is not set, or another one.
    """
    builder = build.choose_builder(options, _SYSTEMS)
    batch_norm = build.batch_norm_options(solver, synchronize_batch_norm)
    model = builder(
        options, num_channels, num_things, batch_norm, weighed_losses
    )
    model.build((None, None, None, 3))
    return model


def _build_panoptic_fpn(
    options: model_pb2.ModelOptions,
    num_channels: int,
    num_things: int,
    batch_norm: dict[str, Any],
    weighed_losses: Sequence[str],
) -> PanopticFPN:
    system = options.panoptic_fpn
    branches = _semantic_options(system.semantic, num_channels)
    if system.instance.enable:
        branches["instance"] = _instance_options(system.instance, num_things)
    return PanopticFPN(
        build_backbone(options.backbone, batch_norm),
        pyramid_filters=system.pyramid_channels,
        weighed_losses=weighed_losses,
        **branches,
    )


def _build_efficientps(
    options: model_pb2.ModelOptions,
    num_channels: int,
    num_things: int,
    batch_norm: dict[str, Any],
    weighed_losses: Sequence[str],
) -> EfficientPS:
    system = options.efficientps
    branches = _semantic_options(system.semantic, num_channels)
    if system.WhichOneof("instance") == "mask_rcnn":
        branches["mask_rcnn"] = {
            "anchor_sizes": _EFFICIENTPS_ANCHOR_SIZES,
            **_instance_options(system.mask_rcnn, num_things),
            "separable": True,
            "gives_mask_logits": True,
        }
    else:
        branches["solov2"] = _grid_options(system.solov2, num_things)
    return EfficientPS(
        build_backbone(options.backbone, batch_norm),
        pyramid={
            "filters": system.pyramid_channels,
            "conv_type": system.pyramid_conv_type,
        },
        batch_norm=batch_norm,
        weighed_losses=weighed_losses,
        **branches,
    )


_SYSTEMS: Mapping[str, Callable[..., keras.Model]] = {
    "panoptic_fpn": _build_panoptic_fpn,
    "efficientps": _build_efficientps,
}


def _semantic_options(
    options: (
        model_pb2.ModelOptions.PanopticFpnOptions.SemanticBranchOptions
        | model_pb2.ModelOptions.EfficientPsOptions.ContextBranchOptions
    ),
    num_channels: int,
) -> dict[str, Any]:
    """Returns the arguments of the semantic branch, if there is one."""
    if not options.enable:
        return {}
    return {
        "semantic": {"num_channels": num_channels, "filters": options.channels}
    }


def _instance_options(
    options: model_pb2.ModelOptions.PanopticFpnOptions.InstanceBranchOptions,
    num_classes: int,
) -> dict[str, Any]:
    """Returns the fields of `InstanceOptions`."""
    chosen: dict[str, Any] = {}
    if options.anchor_size:
        chosen["anchor_sizes"] = [read_decimal(x) for x in options.anchor_size]
    if options.anchor_ratio:
        chosen["anchor_ratios"] = [
            read_decimal(x) for x in options.anchor_ratio
        ]
    proposals = options.num_proposals
    return chosen | {
        "num_classes": num_classes,
        "filters": options.channels,
        "units": options.box_head_units,
        "mask_convs": options.mask_head_convolutions,
        "anchor_samples": options.anchor_samples,
        "region_samples": options.region_samples,
        "level_proposals": [
            options.train_level_proposals,
            options.level_proposals,
        ],
        "num_proposals": [proposals, proposals],
        "score_threshold": read_decimal(options.detection_score_threshold),
        "max_detections": options.max_detections,
        "sampling_points": options.sampling_points,
        "adaptive_sampling": options.adaptive_sampling,
    }


def _grid_options(
    options: model_pb2.ModelOptions.EfficientPsOptions.GridBranchOptions,
    num_classes: int,
) -> dict[str, Any]:
    """Returns the arguments of `GridBranch`."""
    chosen: dict[str, Any] = {}
    if options.grid:
        chosen["grids"] = list(options.grid)
    return chosen | {
        "num_classes": num_classes,
        "kernel_filters": options.mask_channels,
        "filters": options.channels,
        "num_convs": options.convolutions,
        "feature_filters": options.mask_branch_channels,
    }
