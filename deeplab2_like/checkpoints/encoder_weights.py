# SPDX-License-Identifier: Apache-2.0
"""Weights that other libraries published, as values of our encoders' variables.

Known are the ResNets of torchvision, detectron2 and `keras.applications`, the
MobileNetV3 of torchvision and `keras.applications`, and EfficientNet-Lite of
`efficientnet_lite_pytorch`. What is behind the encoder in a file is left over.

`map_encoder` takes arrays by name, whatever file they were read from. Kernels
of PyTorch, [out, in, h, w], become [h, w, in, out]; those of networks that take
BGR are reversed in the stem; biases in front of a batch norm are subtracted
from its moving mean, which is the same.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping

import keras
import numpy as np

from deeplab2_like import errors
from deeplab2_like.checkpoints import encoder_graphs, encoder_keys
from deeplab2_like.model.backbones.efficientnet import EfficientNet
from deeplab2_like.model.backbones.mobilenet_v3 import MobileNetV3
from deeplab2_like.model.backbones.resnet import ResNet

Arrays = Mapping[str, np.ndarray]

# PyTorch's names of the variables of a layer.
TORCH_VARIABLES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
# Counters of PyTorch, which belong to no layer here.
_BOOKKEEPING = "num_batches_tracked"
_ENCODER = "backbone/"
_NORMALIZATION = "normalize/"


@dataclasses.dataclass(frozen=True)
class Publisher:
    """A network of a library.

    Attributes:
        title: Its name in sentences.
        backbone: Class of our encoder.
        graphs: Names of the graphs that its weights may be for.
        anchor: Name of a value that only such files have.
        name_layers: Function of `encoder_keys`.
        encoder: Pattern of the names of the encoder's values.
        is_torch: Whether layouts and variables are those of PyTorch, not of
            Keras.
        may_lack_statistics: Whether old files have gammas and betas alone.
    """

    title: str
    backbone: type[keras.Model]
    graphs: tuple[str, ...]
    anchor: str
    name_layers: Callable[[Iterable[str]], encoder_keys.Names]
    encoder: str
    is_torch: bool = True
    may_lack_statistics: bool = False

    def key_of(self, layer: str, variable: str) -> str:
        """Returns the name of a value of a layer of the library."""
        if self.is_torch:
            return f"{layer}.{TORCH_VARIABLES[variable]}"
        return f"{layer}/{variable}"

    def find_constants(self, names: Iterable[str]) -> dict[str, float]:
        """Returns the statistics that a file without any stands for."""
        has_any = any(name.endswith(".running_mean") for name in names)
        if has_any or not self.may_lack_statistics:
            return {}
        return {"moving_mean": 0.0, "moving_variance": 1.0}


PUBLISHERS = (
    Publisher(
        "a ResNet of torchvision",
        ResNet,
        ("torchvision",),
        "layer1.0.conv1.weight",
        encoder_keys.torchvision_resnet,
        r"layer\d\..*",
    ),
    Publisher(
        "a ResNet of detectron2",
        ResNet,
        # Training from torchvision's weights keeps their graph.
        ("detectron2", "torchvision"),
        "stem.conv1.norm.weight",
        encoder_keys.detectron2_resnet,
        r"res\d\..*",
        may_lack_statistics=True,
    ),
    Publisher(
        "a ResNet of keras.applications",
        ResNet,
        ("keras",),
        "conv1_bn/gamma",
        encoder_keys.keras_resnet,
        r"conv\d_block\d+_\d_(conv/kernel|bn/.*)",
        is_torch=False,
    ),
    Publisher(
        "a MobileNetV3 of torchvision",
        MobileNetV3,
        ("torchvision",),
        "features.1.block.0.0.weight",
        encoder_keys.torchvision_mobilenet_v3,
        r"features\..*",
    ),
    Publisher(
        "a MobileNetV3 of keras.applications",
        MobileNetV3,
        ("keras",),
        "expanded_conv_depthwise/kernel",
        encoder_keys.keras_mobilenet_v3,
        r"expanded_conv_.*",
        is_torch=False,
    ),
    Publisher(
        "an EfficientNet-Lite of PyTorch",
        EfficientNet,
        (),
        "_conv_stem.weight",
        encoder_keys.lite_pytorch,
        r"_blocks\..*",
    ),
)


def map_encoder(
    path: str, arrays: Arrays, backbone: keras.Model
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Maps the values of a published network to the variables of an encoder.

    Args:
        path: Path of the file that they are from, for errors.
        arrays: Values by their names in the file, of PyTorch or Keras
            ("<layer>/<variable>").
        backbone: A built encoder; it is not changed.

    Returns:
        float32 values by the path of the encoder's variables, the
        normalization of images included, and the names that match no variable.
        A variable without a value is not in the result.

    Raises:
        CheckpointError: The values are of no known network, or of another
            network or graph than the encoder.
    """
    names = _rename_all(arrays)
    publisher, prefix = _find_publisher(path, names)
    _check_network(path, publisher, backbone)
    encoder_graphs.check_graph(path, publisher.graphs, backbone)
    places = {
        variable.path: variable.path.partition(_ENCODER)[2].rpartition("/")
        for variable in backbone.variables
    }
    layers = publisher.name_layers(
        dict.fromkeys(layer for layer, _, _ in places.values())
    )
    constants = publisher.find_constants(names)
    values = _normalization(backbone)
    used = set()
    for own in backbone.variables:
        layer, _, variable = places[own.path]
        if layer not in layers:
            continue
        name = prefix + publisher.key_of(layers[layer], variable)
        if variable in constants:
            values[own.path] = np.full(own.shape, constants[variable], "f4")
            continue
        if name not in names:
            continue
        used.add(name)
        value = np.asarray(arrays[names[name]]).astype(np.float32)
        if variable == "kernel":
            value = _to_our_kernel(value, layer, publisher, backbone)
        bias = f"{layers.get(_convolution_of(layer))}/bias"
        if variable == "moving_mean" and bias in names:
            used.add(bias)
            value -= np.asarray(arrays[names[bias]], np.float32)
        values[own.path] = value
    unused = [name for name in names if name not in used]
    _check_variant(path, publisher, prefix, unused)
    left = [names[n] for n in unused if not n.endswith(_BOOKKEEPING)]
    return values, sorted(left)


def _rename_all(arrays: Arrays) -> dict[str, str]:
    """Returns the name in `arrays` by the present name of each value."""
    renamed = {}
    for name in arrays:
        if "/" in name:
            renamed[encoder_keys.normalize_keras_name(name)] = name
        else:
            renamed[encoder_keys.from_caffe2(name)] = name
    return renamed


def _find_publisher(path: str, names: Iterable[str]) -> tuple[Publisher, str]:
    """Returns the network of a file, and what is in front of its names."""
    found = []
    for name in names:
        for publisher in PUBLISHERS:
            prefix = name.removesuffix(publisher.anchor)
            if prefix != name and (not prefix or prefix.endswith(".")):
                found.append((publisher, prefix))
    if len(found) == 1:
        return found[0]
    known = ", ".join(publisher.title for publisher in PUBLISHERS)
    if not found:
        first = ", ".join(sorted(names)[:3]) or "nothing"
        raise errors.CheckpointError(
            f"The weights in {path} are of no known network (they begin with "
            f"{first}): take those of {known}, or a checkpoint of this package."
        )
    shown = " and ".join(f"{p.title} (at {x!r})" for p, x in found)
    raise errors.CheckpointError(
        f"{path} holds several encoders, {shown}: give a file with one."
    )


def _check_network(
    path: str, publisher: Publisher, backbone: keras.Model
) -> None:
    """Raises if the encoder is of another kind."""
    fits = isinstance(backbone, publisher.backbone)
    if isinstance(backbone, EfficientNet):
        variant = backbone.get_config()["variant"]
        fits = fits and variant.startswith("lite")
    if not fits:
        raise errors.CheckpointError(
            f"The weights in {path} are of {publisher.title}, which this "
            "encoder is not: choose the model_options.backbone.name that they "
            "are for."
        )


def _check_variant(
    path: str, publisher: Publisher, prefix: str, unused: Iterable[str]
) -> None:
    """Raises if a file has layers of a larger network of the same kind."""
    pattern = re.compile(re.escape(prefix) + publisher.encoder)
    for name in unused:
        if pattern.fullmatch(name) and not name.endswith(_BOOKKEEPING):
            raise errors.CheckpointError(
                f"The weights in {path} are of another variant than the "
                f"encoder, which has no {name}: choose the "
                "model_options.backbone.name that they are for."
            )


def _convolution_of(layer: str) -> str:
    """Returns the convolution in front of a batch norm."""
    parent = layer.rpartition("/")[0]
    last = "depthwise_conv" if parent.endswith("/depthwise") else "conv"
    return f"{parent}/{last}"


def _to_our_kernel(
    value: np.ndarray,
    layer: str,
    publisher: Publisher,
    backbone: keras.Model,
) -> np.ndarray:
    """Returns a kernel in TensorFlow's layout, for RGB."""
    if publisher.is_torch and value.ndim == 4:
        is_depthwise = layer.endswith("/depthwise_conv")
        value = value.transpose((2, 3, 0, 1) if is_depthwise else (2, 3, 1, 0))
    known = encoder_graphs.find_graphs(backbone)
    if known and layer == "stem/conv" and known[backbone.graph].is_bgr:
        value = value[:, :, ::-1]
    return value


def _normalization(backbone: keras.Model) -> dict[str, np.ndarray]:
    """Returns the values of the layer in front of the stem, if it exists."""
    layer = backbone.normalize
    if layer is None:
        return {}
    return {
        layer.scale.path: layer.initial_scale.astype(np.float32),
        layer.offset.path: layer.initial_offset.astype(np.float32),
    }
