# SPDX-License-Identifier: Apache-2.0
"""Models of bowenc0221/panoptic-deeplab, the PyTorch Panoptic-DeepLab.

Its layers are those of `model.panoptic_deeplab`, with a ResNet of torchvision,
except that

- the pooled branch of the ASPP has no batch norm: ours becomes the identity;
- the epsilon of all batch norms is 1e-5;
- a class for pixels that are ignored has no output: ours gets one that never
  wins.

Source: segmentation/model of the repository, commit cf8e20b.
"""

import dataclasses
import re
from collections.abc import Callable, Sequence

from deeplab2_like.checkpoints.foreign.layouts import LayerKind
from deeplab2_like.checkpoints.peers import state as state_lib

# Bias of a class without an output in the file: no logit comes near it.
NEVER = -1000.0
_ENDPOINTS = {1024: "res4", 512: "res3", 256: "res2"}
# Atrous rates by output stride.
RATES = {32: (3, 6, 9), 16: (6, 12, 18)}

# Our layer -> key of the layer.
_RULES = (
    (r"(\w+_decoder)/aspp/conv1x1/(conv|bn)", r"decoder.\1.aspp.convs.0.{\2}"),
    (
        r"(\w+_decoder)/aspp/atrous(\d)/(conv|bn)",
        r"decoder.\1.aspp.convs.\2.{\3}",
    ),
    (
        r"(\w+_decoder)/aspp/pool/conv",
        r"decoder.\1.aspp.convs.4.aspp_pooling.1",
    ),
    (r"(\w+_decoder)/aspp/project/(conv|bn)", r"decoder.\1.aspp.project.{\2}"),
    (r"(\w+_decoder)/low_level(\d)/(conv|bn)", r"decoder.\1.project.[\2].{\3}"),
    (
        r"(\w+_decoder)/fusion(\d)/depthwise/(depthwise_conv|bn)",
        r"decoder.\1.fuse.[\2].0.0.{\3}",
    ),
    (
        r"(\w+_decoder)/fusion(\d)/pointwise/(conv|bn)",
        r"decoder.\1.fuse.[\2].0.<\3>",
    ),
    (
        r"HEAD/conv/depthwise/(depthwise_conv|bn)",
        r"decoder.CLASSIFIER.0.0.0.{\1}",
    ),
    (r"HEAD/conv/pointwise/(conv|bn)", r"decoder.CLASSIFIER.0.0.<\1>"),
    (r"HEAD/last", r"decoder.CLASSIFIER.1"),
)
_HEADS = {
    "semantic_head": "semantic_head.classifier.semantic",
    "center_head": "instance_head.classifier.center",
    "offset_head": "instance_head.classifier.offset",
}
# Number of a layer among convolution, batch norm, activation.
_PLACES = {"conv": 0, "depthwise_conv": 0, "bn": 1}


@dataclasses.dataclass(frozen=True)
class Branch:
    """Sizes of one branch.

    Attributes:
        low_level: (endpoint, projected channels), low resolution first.
        aspp_channels: Channels of the ASPP.
        channels: Channels of the decoder.
        head_channels: Channels of each of its heads.
    """

    low_level: tuple[tuple[str, int], ...]
    aspp_channels: int
    channels: int
    head_channels: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What the arrays of a file say about the model.

    Attributes:
        backbone: Name of the backbone in configs.
        num_classes: Outputs of the semantic head.
        semantic: The semantic branch.
        instance: The branch of centers and offsets; None: there is none.
    """

    backbone: str
    num_classes: int
    semantic: Branch
    instance: Branch | None

    @property
    def output_stride(self) -> int:
        """The output stride, 32 or 16.

        No array depends on it; the published models with stride 32 have the
        low-level feature res4, those with 16 have not.
        """
        endpoints = [key for key, _ in self.semantic.low_level]
        return 32 if "res4" in endpoints else 16


def find_origin(
    layer: str, order: Sequence[int | None]
) -> state_lib.Origin | None:
    """Returns where a layer is in a file; None: the file does not have it.

    Args:
        layer: Path of the layer below the model, such as
            "semantic_head/conv/pointwise/bn".
        order: Place of each class among the outputs of the semantic head.
    """
    head = layer.partition("/")[0]
    classifier = _HEADS.get(head)
    path = layer.replace(head, "HEAD", 1) if classifier else layer
    for pattern, replacement in _RULES:
        match = re.fullmatch(pattern, path)
        if match:
            key = _number(match.expand(replacement))
            key = key.replace("CLASSIFIER", classifier or "")
            return state_lib.Origin(key, _kind_of(layer), _order(layer, order))
    return None


def _number(key: str) -> str:
    """Returns a key with the numbers that its parts in brackets stand for."""
    key = re.sub(r"\{(\w+)\}", lambda m: str(_PLACES[m[1]]), key)
    key = re.sub(r"<(\w+)>", lambda m: str(_PLACES[m[1]] + 1), key)
    return re.sub(r"\[(\d+)\]", lambda m: str(int(m[1]) - 1), key)


def _kind_of(layer: str) -> LayerKind:
    last = layer.rpartition("/")[2]
    return {
        "bn": LayerKind.NORMALIZATION,
        "depthwise_conv": LayerKind.DEPTHWISE_CONVOLUTION,
    }.get(last, LayerKind.CONVOLUTION)


def _order(layer: str, order: Sequence[int | None]) -> Callable | None:
    if layer != "semantic_head/last":
        return None
    return state_lib.take_outputs(order, missing=NEVER)


def measure(state: state_lib.State) -> Sizes:
    """Reads the sizes of a model from the shapes of its arrays.

    Raises:
        CheckpointError: An array is missing, or the model has parts that are
            not known here.
    """
    backbone = state.find_resnet(
        r"backbone\.layer3\.(\d+)\.", "backbone.layer1.0.conv2.weight"
    )
    has_instance = any(
        key.startswith("decoder.instance_decoder.") for key in state.arrays
    )
    return Sizes(
        backbone,
        state.size(f"decoder.{_HEADS['semantic_head']}.1.weight"),
        _measure_branch(state, "semantic_decoder", ["semantic_head"]),
        _measure_branch(
            state, "instance_decoder", ["center_head", "offset_head"]
        )
        if has_instance
        else None,
    )


def _measure_branch(
    state: state_lib.State, decoder: str, heads: Sequence[str]
) -> Branch:
    prefix = f"decoder.{decoder}"
    low_level = []
    for number in range(state.count(rf"{prefix}\.project\.(\d+)\.")):
        key = f"{prefix}.project.{number}.0.weight"
        channels = state.size(key, 1)
        if channels not in _ENDPOINTS:
            state_lib.refuse(
                state.path,
                f"takes a low-level feature of {channels} channels ({key})",
                "features of a ResNet with 256, 512 or 1024 are known",
            )
        low_level.append((_ENDPOINTS[channels], state.size(key)))
    return Branch(
        tuple(low_level),
        state.size(f"{prefix}.aspp.convs.0.0.weight"),
        state.size(f"{prefix}.fuse.0.0.1.weight"),
        tuple(
            state.size(f"decoder.{_HEADS[head]}.0.0.1.weight") for head in heads
        ),
    )
