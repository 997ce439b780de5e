# SPDX-License-Identifier: Apache-2.0
"""Keys of our variables in deeplab2's checkpoints.

A deeplab2 checkpoint is keyed by the path of attribute names that leads from
the checkpoint's root to the variable. `deeplab2_key` derives that key from
the path of our variable by the rules below, one path segment (or run of
segments) after the other.
"""

import re
from collections.abc import Iterable

import keras

_Rules = tuple[tuple[str, str], ...]

_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"

# The first segments below the model's name. The longest match is used.
_PARTS = {
    "backbone": "encoder",
    "semantic_decoder": "semantic_decoder",
    "semantic_head/last": "semantic_last_layer",
    "semantic_head": "semantic_head_without_last_layer",
    "instance_decoder": "instance_decoder",
    "center_head/last": "instance_center_head_last_layer",
    "center_head": "instance_center_head_without_last_layer",
    "offset_head/last": "instance_regression_head_last_layer",
    "offset_head": "instance_regression_head_without_last_layer",
}

# Names of the variables of one layer, in any part.
_LAYERS = {
    "depthwise_conv/kernel": "_depthwise_conv/depthwise_kernel",
    "conv/kernel": "_conv/kernel",
    "bn": "_batch_norm",
    "qkv_bn": "_batch_norm_qkv",
    "similarity_bn": "_batch_norm_similarity",
    "retrieved_bn": "_batch_norm_retrieved_output",
    "query_rpe": "_query_rpe/embeddings",
    "key_rpe": "_key_rpe/embeddings",
    "value_rpe": "_value_rpe/embeddings",
}

# Inside a part, in this order: (pattern of whole segments, replacement).
_DECODER: _Rules = (
    (r"aspp/conv1x1", "_aspp/_conv_bn_act"),
    (r"aspp/atrous(\d+)", r"_aspp/_aspp_conv\1/_conv_bn_act"),
    (r"aspp/pool", "_aspp/_aspp_pool/_conv_bn_act"),
    (r"aspp/project", "_aspp/_proj_conv_bn_act"),
    (r"low_level(\d+)", r"_low_level_conv\1"),
    (r"fusion(\d+)", r"_fusion_conv\1/_conv1_bn_act"),
    (r"depthwise", "_depthwise"),
    (r"pointwise", "_pointwise"),
)
_HEAD: _Rules = (
    (r"^conv", "_conv1_bn_act"),
    (r"depthwise", "_depthwise"),
    (r"pointwise", "_pointwise"),
)
_MOBILENET: _Rules = (
    (r"block(\d+)", r"_blocks/\1"),
    (r"squeeze_excite/(reduce|expand)", r"_squeeze_excitation/_se_\1"),
    (r"expand", "_conv1_bn_act"),
    (r"depthwise", "_conv2_bn_act"),
    (r"project", "_conv3_bn"),
)
_RESNET: _Rules = (
    (r"stem/conv([12])", r"_stem/_conv\1_bn_act"),
    (r"stem/conv3", "_stem/_conv3_bn"),
    (r"stem", "_stem"),
    (r"resnet/stem", "_stem"),
    (r"resnet/stage(\d+)_block(\d+)", r"_stage\1/_block\2"),
    (r"stacked_decoder/stage(\d+)_block(\d+)", r"_decoder_stage\1/_block\2"),
    (r"stacked_decoder/stage(\d+)_fuse", r"_decoder_stage\1_resized_fuse"),
    (r"(strided|resized)(\d+)", r"_\1_conv_bn\2"),
    (r"stage(\d+)_block(\d+)", r"_stage\1/_block\2"),
    (r"shortcut", "_shortcut"),
    (r"reduce", "_conv1_bn_act"),
    (r"spatial", "_conv2_bn_act"),
    (r"expand", "_conv3_bn"),
    (r"spatial1", "_conv1_bn_act"),
    (r"spatial2", "_conv2_bn"),
    (r"conv/switch", "_conv/_switch"),
    (
        r"(pre|post)_global_context/convolution",
        r"_\1_global_context/convolution",
    ),
    (r"squeeze_excite/gate", "_squeeze_and_excite/_se_conv"),
    (r"attention/(height|width)_axis", r"_attention/_\1_axis"),
)


def deeplab2_key(variable_path: str) -> str:
    """Returns the key under which deeplab2 stores a variable.

    Args:
        variable_path: `variable.path` of a `PanopticDeepLab` variable, such
            as "panoptic_deeplab/semantic_head/last/kernel".

    Returns:
        For example "semantic_last_layer/kernel/.ATTRIBUTES/VARIABLE_VALUE".

    Raises:
        KeyError: No part of deeplab2's models has such a variable.
    """
    _, _, path = variable_path.partition("/")
    for part in sorted(_PARTS, key=len, reverse=True):
        if path.startswith(part + "/"):
            inner = _inner_path(part, path[len(part) + 1 :])
            return f"{_PARTS[part]}/{inner}{_SUFFIX}"
    raise KeyError(variable_path)


def deeplab2_keys(
    variables: Iterable[keras.Variable],
) -> dict[str, keras.Variable]:
    """Returns {deeplab2's key: variable} for all but random generator states.

    Raises:
        KeyError: As in `deeplab2_key`.
        ValueError: Two variables have the same key.
    """
    by_key: dict[str, keras.Variable] = {}
    for variable in variables:
        if variable.path.endswith("/seed_generator_state"):
            continue
        key = deeplab2_key(variable.path)
        if key in by_key:
            raise ValueError(
                f"{by_key[key].path} and {variable.path} both have the key "
                f"{key} - each variable needs its own."
            )
        by_key[key] = variable
    return by_key


def _inner_path(part: str, path: str) -> str:
    """Translates the path below a part."""
    if part.endswith("_decoder"):
        rules = _DECODER
    elif part.endswith("_head"):
        rules = _HEAD
    elif part == "backbone":
        rules = _MOBILENET if path.startswith("block") else _RESNET
    else:
        return path
    for ours, theirs in _LAYERS.items():
        if path.endswith("/" + ours):
            outer, leaf = path[: -len(ours) - 1], theirs
            break
        if f"/{ours}/" in path:
            outer, _, name = path.rpartition(f"/{ours}/")
            leaf = f"{theirs}/{name}"
            break
    else:
        outer, _, leaf = path.rpartition("/")
    return f"{_translate(outer, rules)}/{leaf}"


def _translate(path: str, rules: _Rules) -> str:
    """Replaces whole segments from left to right by the first rule."""
    translated = []
    while path:
        for pattern, replacement in rules:
            match = re.match(pattern + r"(?=/|$)", path)
            if match:
                translated.append(match.expand(replacement))
                path = path[match.end() + 1 :]
                break
        else:
            raise KeyError(path)
    return "/".join(translated)
