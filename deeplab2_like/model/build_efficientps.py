# SPDX-License-Identifier: Apache-2.0
"""Builds EfficientPS from a config; sees protos, as `build` does."""

from collections.abc import Sequence
from typing import Any

from deeplab2_like.model import build
from deeplab2_like.model.efficientps import EfficientPS
from deeplab2_like.protos import model_pb2, trainer_pb2

# Root of the area of the anchors of strides 4 to 32, pixels.
_ANCHOR_SIZES = (32.0, 64.0, 128.0, 256.0)


def build_efficientps(
    options: model_pb2.ModelOptions,
    solver: trainer_pb2.SolverOptions,
    *,
    num_channels: int,
    num_things: int,
    weighed_losses: Sequence[str] = (),
    synchronize_batch_norm: bool | None = None,
) -> EfficientPS:
    """Builds the EfficientPS that `options` describes, with its variables.

    Args:
        options: the network.
        solver: gives the batch norm options.
        num_channels: channels of the semantic logits.
        num_things: classes of the instance branch.
        weighed_losses: names of the losses whose weights are learned.
        synchronize_batch_norm: as in `build.build_model`.
    """
    system = options.efficientps
    batch_norm = build.batch_norm_options(solver, synchronize_batch_norm)
    branches: dict[str, Any] = {}
    if system.semantic.enable:
        branches["semantic"] = {
            "num_channels": num_channels,
            "filters": system.semantic.channels,
        }
    if system.WhichOneof("instance") == "mask_rcnn":
        branches["mask_rcnn"] = {
            "anchor_sizes": _ANCHOR_SIZES,
            **build.instance_options(system.mask_rcnn, num_things),
            "separable": True,
            "gives_mask_logits": True,
        }
    else:
        branches["solov2"] = _grid_options(system.solov2, num_things)
    model = EfficientPS(
        build.build_backbone(options.backbone, batch_norm),
        pyramid={
            "filters": system.pyramid_channels,
            "conv_type": system.pyramid_conv_type,
        },
        batch_norm=batch_norm,
        weighed_losses=weighed_losses,
        **branches,
    )
    model.build((None, None, None, 3))
    return model


def _grid_options(
    options: model_pb2.ModelOptions.EfficientPsOptions.GridBranchOptions,
    num_classes: int,
) -> dict[str, Any]:
    """Gives the arguments of `GridBranch`."""
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
