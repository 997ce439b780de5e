# SPDX-License-Identifier: Apache-2.0
"""Models of detectron2's Panoptic FPN.

Its layers are those of `model.panoptic_fpn`, with detectron2's ResNet, except
that

- the first dense layer of the box head takes channels, rows, columns in this
  order, ours rows, columns, channels;
- codes of boxes are (dx, dy, dw, dh), ours (dy, dx, dh, dw);
- RoIAlign has as many points in a bin as it covers pixels.

Source: detectron2/modeling, commit 02b5c4e.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from deeplab2_like.checkpoints.foreign.layouts import LayerKind
from deeplab2_like.checkpoints.peers import state as state_lib

# Values that old files have besides the weights.
IGNORED = re.compile(
    r"pixel_(mean|std)|proposal_generator\.anchor_generator\.cell_anchors\.\d+"
)
_SEMANTIC = "sem_seg_head"
_PROPOSALS = "proposal_generator.rpn_head"
_BOXES = "roi_heads.box_predictor"
_MASKS = "roi_heads.mask_head"
_CODES = (1, 0, 3, 2)
_BOX_BINS = 7

_RULES = (
    (r"pyramid/(lateral|output)_p(\d)", r"backbone.fpn_\1\2"),
    (
        r"semantic_branch/(p\d)_(\d)_(conv|norm)",
        rf"{_SEMANTIC}.\1.[\2]{{\3}}",
    ),
    (r"semantic_branch/last", rf"{_SEMANTIC}.predictor"),
    (r"instance_branch/proposals/conv", rf"{_PROPOSALS}.conv"),
    (
        r"instance_branch/proposals/objectness",
        rf"{_PROPOSALS}.objectness_logits",
    ),
    (r"instance_branch/proposals/codes", rf"{_PROPOSALS}.anchor_deltas"),
    (r"instance_branch/boxes/dense_(\d)", r"roi_heads.box_head.fc(\1)"),
    (r"instance_branch/boxes/classes", rf"{_BOXES}.cls_score"),
    (r"instance_branch/boxes/codes", rf"{_BOXES}.bbox_pred"),
    (r"instance_branch/masks/conv_(\d)", rf"{_MASKS}.mask_fcn(\1)"),
    (r"instance_branch/masks/upsample", rf"{_MASKS}.deconv"),
    (r"instance_branch/masks/last", rf"{_MASKS}.predictor"),
)


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What the arrays of a file say about the model.

    Attributes:
        backbone: Name of the backbone in configs.
        num_things: Classes of the heads for objects.
        num_channels: Outputs of the semantic head: one for all things, and one
            for each other class.
        pyramid_channels: Channels of the pyramid.
        semantic_channels: Channels of the semantic branch.
        head_channels: Channels of the proposal and mask heads.
        box_head_units: Units of the dense layers of the box head.
        mask_convolutions: 3x3 convolutions of the mask head.
        num_anchors: Anchors of a pixel.
    """

    backbone: str
    num_things: int
    num_channels: int
    pyramid_channels: int
    semantic_channels: int
    head_channels: int
    box_head_units: int
    mask_convolutions: int
    num_anchors: int


def find_origin(
    layer: str, things: Sequence[int], stuff: Sequence[int]
) -> state_lib.Origin | None:
    """Returns where a layer is in a file; None: the file does not have it.

    Args:
        layer: Path of the layer below the model, such as "pyramid/lateral_p2".
        things: Place of each thing among those of the file.
        stuff: Place of each stuff class among those of the file.
    """
    for pattern, replacement in _RULES:
        match = re.fullmatch(pattern, layer)
        if match:
            return state_lib.Origin(
                _number(match.expand(replacement)),
                _kind_of(layer),
                _arrangements(things, stuff).get(layer),
                _split_features if layer.endswith("/dense_0") else None,
            )
    return None


def _number(key: str) -> str:
    """Returns a key with what its parts in brackets stand for.

    Behind each convolution of the semantic head is an enlargement, which is
    numbered too; its batch norm is a part of it. Other layers begin with 1.
    """
    key = re.sub(r"\[(\d)\]", lambda m: str(2 * int(m[1])), key)
    key = re.sub(r"\((\d)\)", lambda m: str(int(m[1]) + 1), key)
    return key.replace("{conv}", "").replace("{norm}", ".norm")


def _kind_of(layer: str) -> LayerKind:
    if layer.endswith("_norm"):
        return LayerKind.NORMALIZATION
    if layer.startswith("instance_branch/boxes/"):
        return LayerKind.LINEAR
    if layer.endswith("/upsample"):
        return LayerKind.TRANSPOSED_CONVOLUTION
    return LayerKind.CONVOLUTION


def _arrangements(
    things: Sequence[int], stuff: Sequence[int]
) -> Mapping[str, Callable[[np.ndarray], np.ndarray]]:
    """Returns how the outputs of some layers are ordered."""
    take = state_lib.take_outputs
    return {
        "semantic_branch/last": take([0, *(1 + index for index in stuff)]),
        "instance_branch/proposals/codes": _swap_codes,
        "instance_branch/boxes/classes": take([*things, len(things)]),
        "instance_branch/boxes/codes": take(things, each=_CODES),
        "instance_branch/masks/last": take(things),
    }


def _swap_codes(value: np.ndarray) -> np.ndarray:
    number = len(value) // len(_CODES)
    return state_lib.take_outputs(range(number), each=_CODES)(value)


def _split_features(weight: np.ndarray) -> np.ndarray:
    """Orders the inputs of a dense layer by row, column, channel."""
    units = len(weight)
    parts = weight.reshape(units, -1, _BOX_BINS, _BOX_BINS)
    return parts.transpose(0, 2, 3, 1).reshape(units, -1)


def measure(state: state_lib.State) -> Sizes:
    """Reads the sizes of a model from the shapes of its arrays.

    Raises:
        CheckpointError: An array is missing, or the model is of another kind.
    """
    prefix = "backbone.bottom_up"
    sizes = Sizes(
        backbone=state.find_resnet(
            rf"{re.escape(prefix)}\.res4\.(\d+)\.",
            f"{prefix}.res2.0.conv2.weight",
        ),
        num_things=state.size(f"{_BOXES}.cls_score.weight") - 1,
        num_channels=state.size(f"{_SEMANTIC}.predictor.weight"),
        pyramid_channels=state.size("backbone.fpn_lateral2.weight"),
        semantic_channels=state.size(f"{_SEMANTIC}.p2.0.weight"),
        head_channels=state.size(f"{_PROPOSALS}.conv.weight"),
        box_head_units=state.size("roi_heads.box_head.fc1.weight"),
        mask_convolutions=state.count(
            rf"{re.escape(_MASKS)}\.mask_fcn(\d+)\.weight"
        ),
        num_anchors=state.size(f"{_PROPOSALS}.objectness_logits.weight"),
    )
    features = state.size("roi_heads.box_head.fc1.weight", 1)
    if features != _BOX_BINS**2 * sizes.pyramid_channels:
        state_lib.refuse(
            state.path,
            f"has a box head of {features} inputs",
            f"{_BOX_BINS} x {_BOX_BINS} bins of {sizes.pyramid_channels} "
            "channels are known",
        )
    if state.size(f"{_BOXES}.bbox_pred.weight") != 4 * sizes.num_things:
        state_lib.refuse(
            state.path,
            "has boxes that do not depend on the class",
            "models with boxes for each class are converted "
            "(CLS_AGNOSTIC_BBOX_REG: False)",
        )
    return sizes
