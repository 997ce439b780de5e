# SPDX-License-Identifier: Apache-2.0
"""Panoptic FPN: backbone, pyramid, semantic branch, instance branch."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from deeplab2_like.model.decoders.feature_pyramid import (
    FeaturePyramid,
    SemanticBranch,
)
from deeplab2_like.model.heads.mask_rcnn import InstanceBranch
from deeplab2_like.model.pyramid_model import PyramidModel


@keras.saving.register_keras_serializable("deeplab2_like")
class PanopticFPN(PyramidModel):
    """Semantic logits, and boxes, classes and masks of objects.

    Kirillov et al., CVPR 2019, arXiv:1901.02446. With the instance branch
    alone it is Mask R-CNN, with the semantic branch alone semantic FPN.

    Args:
        backbone: See `PyramidModel`.
        pyramid_filters: Channels of the pyramid.
        semantic: Arguments of `SemanticBranch`; None: no such branch.
        instance: Fields of `InstanceOptions`; None: no such branch.
        weighed_losses: See `PyramidModel`.
    """

    def __init__(
        self,
        backbone: keras.Model,
        *,
        pyramid_filters: int = 256,
        semantic: Mapping[str, Any] | None = None,
        instance: Mapping[str, Any] | None = None,
        weighed_losses: Sequence[str] = (),
        name: str = "panoptic_fpn",
        **kwargs: Any,
    ) -> None:
        config = {
            "pyramid_filters": pyramid_filters,
            "semantic": None if semantic is None else dict(semantic),
            "instance": None if instance is None else dict(instance),
            "weighed_losses": list(weighed_losses),
        }
        super().__init__(backbone, config, name=name, **kwargs)
        policy = {"dtype": self.dtype_policy}
        semantic_branch = instance_branch = None
        if semantic is not None:
            semantic_branch = SemanticBranch(
                **semantic, name="semantic_branch", **policy
            )
        if instance is not None:
            instance_branch = InstanceBranch(
                instance, name="instance_branch", **policy
            )
        self.set_parts(
            FeaturePyramid(pyramid_filters, name="pyramid", **policy),
            semantic_branch,
            instance_branch,
            weighed_losses,
        )
