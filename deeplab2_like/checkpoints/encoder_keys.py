# SPDX-License-Identifier: Apache-2.0
"""Names that other libraries give to the layers of our encoders.

A layer of ours is the part of its variables' paths behind "backbone/" without
the variable, such as "stage2_block1/reduce/conv". Each function takes all
layers of an encoder and returns their names in one library; layers that a
library does not have are left out.
"""

import re
from collections.abc import Callable, Iterable, Mapping

_RESNET_BLOCK = re.compile(
    r"stage(\d)_block(\d+)/(reduce|spatial|expand|shortcut)/(conv|bn)"
)
_PLACES = {"shortcut": 0, "reduce": 1, "spatial": 2, "expand": 3}
_MOBILE_LAYER = re.compile(
    r"block(\d+)(?:/(expand|depthwise|squeeze_excite|project))?"
    r"/(conv|depthwise_conv|bn|reduce|expand)"
)
_MOBILE_PARTS = ("expand", "depthwise", "squeeze_excite", "project")
_LITE_LAYER = re.compile(
    r"(block\d\w)/(expand|depthwise|project)/(conv|depthwise_conv|bn)"
)

Names = dict[str, str]


def torchvision_resnet(layers: Iterable[str]) -> Names:
    """Names layers as `torchvision.models.resnet` does."""

    def name_block(stage: int, block: int, part: str, kind: str) -> str:
        prefix = f"layer{stage - 1}.{block - 1}"
        if part == "shortcut":
            return f"{prefix}.downsample.{int(kind == 'bn')}"
        return f"{prefix}.{kind}{_PLACES[part]}"

    stem = {"stem/conv": "conv1", "stem/bn": "bn1"}
    return _name_resnet(layers, stem, name_block)


def detectron2_resnet(layers: Iterable[str]) -> Names:
    """Names layers as the ResNets of detectron2 do, from "stem" on."""

    def name_block(stage: int, block: int, part: str, kind: str) -> str:
        place = f"conv{_PLACES[part]}" if part != "shortcut" else part
        norm = ".norm" if kind == "bn" else ""
        return f"res{stage}.{block - 1}.{place}{norm}"

    stem = {"stem/conv": "stem.conv1", "stem/bn": "stem.conv1.norm"}
    return _name_resnet(layers, stem, name_block)


def keras_resnet(layers: Iterable[str]) -> Names:
    """Names layers as `keras.applications.ResNet50` and `ResNet101` do."""

    def name_block(stage: int, block: int, part: str, kind: str) -> str:
        return f"conv{stage}_block{block}_{_PLACES[part]}_{kind}"

    stem = {"stem/conv": "conv1_conv", "stem/bn": "conv1_bn"}
    return _name_resnet(layers, stem, name_block)


def _name_resnet(
    layers: Iterable[str],
    stem: Mapping[str, str],
    name_block: Callable[[int, int, str, str], str],
) -> Names:
    names = {}
    for layer in layers:
        match = _RESNET_BLOCK.fullmatch(layer)
        if match:
            stage, block, part, kind = match.groups()
            names[layer] = name_block(int(stage), int(block), part, kind)
        elif layer in stem:
            names[layer] = stem[layer]
    return names


def torchvision_mobilenet_v3(layers: Iterable[str]) -> Names:
    """Names layers as `torchvision.models.mobilenetv3` does."""
    parsed = _parse_mobilenet(layers)
    parts: dict[str, set[str]] = {}
    for number, part, _ in parsed.values():
        parts.setdefault(number, set()).add(part)
    names = {}
    for layer, (number, part, kind) in parsed.items():
        name = f"features.{number}"
        if part:
            present = [p for p in _MOBILE_PARTS if p in parts[number]]
            name += f".block.{present.index(part)}"
        if part == "squeeze_excite":
            names[layer] = f"{name}.{'fc1' if kind == 'reduce' else 'fc2'}"
        else:
            names[layer] = f"{name}.{int(kind == 'bn')}"
    return names


def keras_mobilenet_v3(layers: Iterable[str]) -> Names:
    """Names layers as `keras.applications.MobileNetV3Small` and `Large` do."""
    names = {}
    for layer, (number, part, kind) in _parse_mobilenet(layers).items():
        if part == "":
            prefix = "conv" if number == "0" else "conv_1"
        else:
            index = int(number) - 1
            prefix = "expanded_conv" + (f"_{index}" if index else "")
            prefix += f"_{part}"
        if part == "squeeze_excite":
            prefix += "_conv" if kind == "reduce" else "_conv_1"
        names[layer] = prefix + ("_bn" if kind == "bn" else "")
    return names


def _parse_mobilenet(layers: Iterable[str]) -> dict[str, tuple[str, str, str]]:
    """Returns number of the block, part ("" of the ends) and kind by layer."""
    matches = {layer: _MOBILE_LAYER.fullmatch(layer) for layer in layers}
    return {
        layer: (match[1], match[2] or "", match[3])
        for layer, match in matches.items()
        if match
    }


def lite_pytorch(layers: Iterable[str]) -> Names:
    """Names layers as `efficientnet_lite_pytorch` does.

    Its blocks are numbered through all stages.
    """
    layers = list(layers)
    matches = {layer: _LITE_LAYER.fullmatch(layer) for layer in layers}
    blocks = sorted({match[1] for match in matches.values() if match})
    names = {}
    ends = {
        "stem/conv": "_conv_stem",
        "stem/bn": "_bn0",
        "top/conv": "_conv_head",
        "top/bn": "_bn1",
    }
    norms = {"expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}
    for layer, match in matches.items():
        if match:
            block, part, kind = match.groups()
            last = norms[part] if kind == "bn" else f"_{part}_conv"
            names[layer] = f"_blocks.{blocks.index(block)}.{last}"
        elif layer in ends:
            names[layer] = ends[layer]
    return names


def from_caffe2(name: str) -> str:
    """Returns detectron2's name of a value that Caffe2 named.

    As in detectron2's own ImageNet files: "res2_0_branch2a_bn_s" becomes
    "res2.0.conv1.norm.weight". Names of other values are returned as they are.
    """
    match = re.fullmatch(
        r"(?:(?:res_)?(conv1)|(res\d)_(\d+)_branch(1|2a|2b|2c))"
        r"(?:_(w)|_bn_(s|gamma|b|bias|beta|rm|running_mean|riv|running_var))",
        name,
    )
    if not match:
        return name
    stem, stage, block, branch, kernel, statistic = match.groups()
    place = {"1": "shortcut", "2a": "conv1", "2b": "conv2", "2c": "conv3"}
    layer = "stem.conv1" if stem else f"{stage}.{block}.{place[branch]}"
    if kernel:
        return f"{layer}.weight"
    return f"{layer}.norm.{_CAFFE2_NORM[statistic]}"


_CAFFE2_NORM = {
    "s": "weight",
    "gamma": "weight",
    "b": "bias",
    "bias": "bias",
    "beta": "bias",
    "rm": "running_mean",
    "running_mean": "running_mean",
    "riv": "running_var",
    "running_var": "running_var",
}


def normalize_keras_name(name: str) -> str:
    """Returns the present name of a value that Keras 2 named.

    Its MobileNetV3 calls "expanded_conv/project/BatchNorm/gamma" what Keras 3
    calls "expanded_conv_project_bn/gamma".
    """
    layer, _, variable = name.rpartition("/")
    parts = layer.replace("/BatchNorm", "_bn").replace("/", "_")
    return f"{parts.lower()}/{variable}"


def keras_layers_in_order(layers: Iterable[str]) -> dict[str, list[str]]:
    """Returns the layers of a Keras network by class, from the image on.

    As they are numbered in files without names; a shortcut stands behind the
    second convolution of its block.

    Args:
        layers: Results of `keras_resnet` or `keras_mobilenet_v3`, ordered as
            our variables are. There the shortcut is the last of a block.
    """
    found: dict[str, list[str]] = {
        "conv2d": [],
        "depthwise_conv2d": [],
        "batch_normalization": [],
    }
    for layer in layers:
        kind = "conv2d"
        if layer.endswith("_bn"):
            kind = "batch_normalization"
        elif layer.endswith("_depthwise"):
            kind = "depthwise_conv2d"
        found[kind].append(layer)
    for names in found.values():
        for layer in [name for name in names if "_0_" in name]:
            names.remove(layer)
            names.insert(names.index(layer.replace("_0_", "_3_")), layer)
    return found
