# SPDX-License-Identifier: Apache-2.0
"""Names that `keras.applications` has for our EfficientNet's variables.

`keras_keys` derives the name "<layer>/<variable>" from the path of our variable
by the rules below.
"""

import re
from collections.abc import Iterable

_RULES = (
    (r"stem/conv/kernel", "stem_conv/kernel"),
    (r"stem/bn/(\w+)", r"stem_bn/\1"),
    (r"top/conv/kernel", "top_conv/kernel"),
    (r"top/bn/(\w+)", r"top_bn/\1"),
    (r"(block\d\w)/expand/conv/kernel", r"\1_expand_conv/kernel"),
    (r"(block\d\w)/expand/bn/(\w+)", r"\1_expand_bn/\2"),
    (r"(block\d\w)/depthwise/depthwise_conv/kernel", r"\1_dwconv/kernel"),
    (r"(block\d\w)/depthwise/bn/(\w+)", r"\1_bn/\2"),
    (r"(block\d\w)/squeeze_excite/reduce/(\w+)", r"\1_se_reduce/\2"),
    (r"(block\d\w)/squeeze_excite/expand/(\w+)", r"\1_se_expand/\2"),
    (r"(block\d\w)/project/conv/kernel", r"\1_project_conv/kernel"),
    (r"(block\d\w)/project/bn/(\w+)", r"\1_project_bn/\2"),
)
_INPUT = "normalize/"
_ENCODER_LAYER = re.compile(
    r"(stem|top)_(conv|bn)|block\d\w_(expand_|project_)?(conv|dwconv|bn)"
)


def keras_keys(variable_paths: Iterable[str]) -> dict[str, str]:
    """Returns {variable's path: "<layer>/<variable>"} for an EfficientNet.

    The input's normalization has no single counterpart: its variables are
    mapped to "normalization/scale" and "normalization/offset".

    Args:
        variable_paths: Paths of the encoder's variables, such as
            "panoptic_deeplab/backbone/stem/conv/kernel".

    Raises:
        KeyError: A path is of no variable of our EfficientNet.
    """
    keys = {}
    for path in variable_paths:
        if path.endswith("/seed_generator_state"):
            continue
        inner = path.partition("backbone/")[2]
        if inner.startswith(_INPUT):
            keys[path] = f"normalization/{inner.removeprefix(_INPUT)}"
            continue
        for pattern, replacement in _RULES:
            match = re.fullmatch(pattern, inner)
            if match:
                keys[path] = match.expand(replacement)
                break
        else:
            raise KeyError(path)
    return keys


def input_paths(keys: dict[str, str]) -> tuple[str, str]:
    """Returns the paths of the input's scale and offset."""
    by_name = {name: path for path, name in keys.items()}
    return by_name["normalization/scale"], by_name["normalization/offset"]


def is_encoder_layer(name: str) -> bool:
    """Returns whether a layer is a necessary part of an EfficientNet encoder.

    The classifier and the squeeze-and-excite layers are not.
    """
    return _ENCODER_LAYER.fullmatch(name) is not None


def layers_in_order(variable_paths: Iterable[str]) -> dict[str, list[str]]:
    """Returns the layers with weights by class, in order from the image on.

    Args:
        variable_paths: Paths of the encoder's variables, in any order. Blocks
            without squeeze-and-excite get its layers too.
    """
    keys = list(keras_keys(variable_paths).values())
    blocks = sorted({key.split("_")[0] for key in keys if key[:5] == "block"})
    layers = {key.rpartition("/")[0] for key in keys}
    convs, depthwise, norms = ["stem_conv"], [], ["stem_bn"]
    for block in blocks:
        if f"{block}_expand_conv" in layers:
            convs.append(f"{block}_expand_conv")
            norms.append(f"{block}_expand_bn")
        depthwise.append(f"{block}_dwconv")
        convs += [f"{block}_se_reduce", f"{block}_se_expand"]
        convs.append(f"{block}_project_conv")
        norms += [f"{block}_bn", f"{block}_project_bn"]
    return {
        "conv2d": [*convs, "top_conv"],
        "depthwise_conv2d": depthwise,
        "batch_normalization": [*norms, "top_bn"],
    }
