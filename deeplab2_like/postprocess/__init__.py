# SPDX-License-Identifier: Apache-2.0
"""From network outputs to segments: pure functions with static shapes.

One module for each system: `panoptic_deeplab`, `panoptic_fpn`, `efficientps`,
and `semantic_only` for those without instances. Each has a `postprocess` that
takes the outputs of the network (`objects` for those of instance branches), the
size of the canvas and the rules of `options`, and returns a `Prediction`.
Inputs are NumPy arrays or tensors.

All operations are among those that XLA compiles for CPU, GPU and TPU; shapes
are static where those of the inputs are. Images of a batch are processed one
after the other, so that the memory is that of one image.

Behind them: `batch` has the steps for one image and the loop over a batch,
`pixels` the work on classes, centers and offsets, `masks` that on objects with
masks. `deeplab2_like.graph` has what XLA needs to be exact and fast.
"""

from deeplab2_like.postprocess import (
    efficientps,
    panoptic_deeplab,
    panoptic_fpn,
    semantic_only,
)
from deeplab2_like.postprocess.objects import Cells, Objects
from deeplab2_like.postprocess.options import (
    CellRules,
    CenterRules,
    ClassRules,
    FusionRules,
    MaskRules,
)
from deeplab2_like.postprocess.prediction import Prediction

__all__ = [
    "CellRules",
    "Cells",
    "CenterRules",
    "ClassRules",
    "FusionRules",
    "MaskRules",
    "Objects",
    "Prediction",
    "efficientps",
    "panoptic_deeplab",
    "panoptic_fpn",
    "semantic_only",
]
