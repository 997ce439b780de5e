# SPDX-License-Identifier: Apache-2.0
"""EfficientPS: backbone, two-way pyramid, semantic branch, instance branch."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from deeplab2_like.model.decoders.two_way_pyramid import TwoWayPyramid
from deeplab2_like.model.heads.efficientps_semantic import ContextBranch
from deeplab2_like.model.heads.mask_rcnn import InstanceBranch
from deeplab2_like.model.heads.solov2 import GridBranch
from deeplab2_like.model.pyramid_model import PyramidModel


@keras.saving.register_keras_serializable("deeplab2_like")
class EfficientPS(PyramidModel):
    """Semantic logits, and objects found by Mask R-CNN or SOLOv2.

    Mohan and Valada, arXiv:2004.02307; SOLOv2 (arXiv:2003.10152) can take
    the place of Mask R-CNN.

    Args:
        backbone: See `PyramidModel`.
        pyramid: Arguments of `TwoWayPyramid` other than `batch_norm`.
        semantic: Arguments of `ContextBranch` other than `batch_norm`; None:
            no such branch.
        mask_rcnn: Fields of `InstanceOptions` other than `batch_norm`; None:
            no such branch.
        solov2: Arguments of `GridBranch`; None: no such branch.
        batch_norm: Keyword arguments of `BatchNorm` (None: its defaults).
        weighed_losses: See `PyramidModel`.
    """

    def __init__(
        self,
        backbone: keras.Model,
        *,
        pyramid: Mapping[str, Any] | None = None,
        semantic: Mapping[str, Any] | None = None,
        mask_rcnn: Mapping[str, Any] | None = None,
        solov2: Mapping[str, Any] | None = None,
        batch_norm: Mapping[str, Any] | None = None,
        weighed_losses: Sequence[str] = (),
        name: str = "efficientps",
        **kwargs: Any,
    ) -> None:
        parts = {
            "pyramid": pyramid,
            "semantic": semantic,
            "mask_rcnn": mask_rcnn,
            "solov2": solov2,
            "batch_norm": batch_norm,
        }
        config: dict[str, Any] = {
            part: None if options is None else dict(options)
            for part, options in parts.items()
        }
        config["weighed_losses"] = list(weighed_losses)
        super().__init__(backbone, config, name=name, **kwargs)
        if mask_rcnn is not None and solov2 is not None:
            raise ValueError("A model has one instance branch, not two.")
        policy: dict[str, Any] = {"dtype": self.dtype_policy}
        norm: dict[str, Any] = {"batch_norm": dict(batch_norm or {})}
        semantic_branch = instance_branch = None
        if semantic is not None:
            semantic_branch = ContextBranch(
                **semantic, **norm, name="semantic_branch", **policy
            )
        if mask_rcnn is not None:
            instance_branch = InstanceBranch(
                {**mask_rcnn, **norm}, name="instance_branch", **policy
            )
        if solov2 is not None:
            instance_branch = GridBranch(
                **solov2, name="instance_branch", **policy
            )
        self.set_parts(
            TwoWayPyramid(**(pyramid or {}), **norm, name="pyramid", **policy),
            semantic_branch,
            instance_branch,
            weighed_losses,
        )
