# SPDX-License-Identifier: Apache-2.0
"""Weights of `keras.applications` for an encoder, read from Keras' files.

`.h5` (weights or a whole model), `.weights.h5` and `.keras` are read without
making the Keras model, by the names of its layers, with or without the
classifier. The networks have to agree layer for layer: EfficientNets do, and
ResNets and MobileNetV3 with the graph "keras".
"""

import collections
import dataclasses
import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import h5py
import keras
import numpy as np
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.checkpoints import (
    encoder_keys,
    encoder_weights,
    keras_keys,
)

# Names of the layers of an encoder by the class of encoders.
_NAMES = {
    "ResNet": encoder_keys.keras_resnet,
    "MobileNetV3": encoder_keys.keras_mobilenet_v3,
}
# Layers of MobileNetV3's classifier that are of a class that its encoder has.
_CLASSIFIER = ("conv_2", "logits")
# Standard deviations of ImageNet's RGB values. Files of keras.applications
# contain them in place of the variances, and their networks divide by the
# square roots of them once more.
_IMAGENET_DEVIATIONS = np.array([0.229, 0.224, 0.225])
# Names of the variables of a layer, in the order of a `.weights.h5` file.
_VARIABLES = {
    "conv2d": ("kernel", "bias"),
    "depthwise_conv2d": ("kernel", "bias"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "normalization": ("mean", "variance", "count"),
    "dense": ("kernel", "bias"),
}


@dataclasses.dataclass(frozen=True)
class KerasWeights:
    """The weights of a Keras model.

    Attributes:
        values: Value by layer and variable, such as "stem_conv/kernel".
        config: Config of the model; None when the file has none.
        by_class: Whether layers have the names of their class and number
            ("conv2d_3"), as in files of older versions, instead of their own.
    """

    values: Mapping[str, np.ndarray]
    config: Mapping[str, Any] | None = None
    by_class: bool = False


def load_encoder(
    path: str, model: keras.Model
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Loads the values of a Keras file for a model's encoder.

    Args:
        path: A `.h5`, `.weights.h5` or `.keras` file.
        model: Any model of this package; it is not changed.

    Returns:
        Values by the path of the encoder's variables, and the names in the
        file that match no variable.

    Raises:
        CheckpointError: The file cannot be read, or is of a network that
            differs from the encoder.
    """
    backbone = getattr(model, "backbone", None)
    kind = type(backbone).__name__
    if kind == "EfficientNet":
        return _load_efficientnet(path, model.backbone)
    if kind not in _NAMES:
        raise errors.CheckpointError(
            f"The Keras file {path} cannot start this encoder: there is no "
            f"table of names for {kind}. Take a checkpoint of this package or "
            "of deeplab2."
        )
    weights = read_weights(path)
    if weights.by_class:
        layers = dict.fromkeys(
            variable.path.partition("backbone/")[2].rpartition("/")[0]
            for variable in model.backbone.variables
        )
        names = _NAMES[kind](layers).values()
        order = encoder_keys.keras_layers_in_order(names)
        if kind == "MobileNetV3":
            order = _add_classifier(weights, order)
        weights = _rename(path, weights, order)
    return encoder_weights.map_encoder(path, weights.values, model.backbone)


def _load_efficientnet(
    path: str, backbone: keras.Model
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Loads the values for an EfficientNet; see `load_encoder`."""
    weights = read_weights(path)
    keys = keras_keys.keras_keys(v.path for v in backbone.variables)
    if weights.by_class:
        weights = _rename(path, weights, keras_keys.layers_in_order(keys))
    _check_variant(path, weights, set(keys.values()))
    values = {
        variable: weights.values[name]
        for variable, name in keys.items()
        if name in weights.values
    }
    used = set(keys.values())
    scale_path, offset_path = keras_keys.input_paths(keys)
    if "normalization/mean" in weights.values:
        scale, offset = compute_input_normalization(path, weights)
        values[scale_path], values[offset_path] = scale, offset
        used |= {
            f"normalization/{name}" for name in _VARIABLES["normalization"]
        }
    return values, sorted(set(weights.values) - used)


def _check_variant(path: str, weights: KerasWeights, known: set[str]) -> None:
    """Raises if a file is of a smaller or larger network of the same kind."""
    layers = {name.rpartition("/")[0] for name in known}
    others = [
        name
        for name in weights.values
        if keras_keys.is_encoder_layer(name.rpartition("/")[0])
        and name.rpartition("/")[0] not in layers
    ]
    if others:
        raise errors.CheckpointError(
            f"The Keras file {path} is of another variant than the encoder, "
            f"which has no {others[0]}: choose the model_options.backbone.name "
            "that the file is for."
        )
    if not {name for name in weights.values if name.startswith("stem_conv/")}:
        first = ", ".join(sorted(weights.values)[:2]) or "nothing"
        raise errors.CheckpointError(
            f"The Keras file {path} is not of an EfficientNet of "
            f"keras.applications: it has no layer stem_conv (it holds {first})."
        )


def compute_input_normalization(
    path: str, weights: KerasWeights
) -> tuple[np.ndarray, np.ndarray]:
    """Computes the input normalization of a file's network for our images.

    The network rescales 0..255, subtracts a mean, divides by a deviation and
    may rescale again. For an image x in -1..1, as our networks take it, its
    input is 255 (x + 1) / 2.

    Args:
        path: Path of the file, for the error.
        weights: Weights of the file; without a config, a second rescaling is
            assumed if the variances are ImageNet's deviations.

    Returns:
        scale and offset, float32 [3] (RGB): x * scale + offset is the input of
        the stem's convolution. It is exact at the borders too, where the
        padding is zeros.

    Raises:
        CheckpointError: The config rescales in another way.
    """
    mean = np.asarray(weights.values["normalization/mean"], np.float64)
    variance = np.asarray(weights.values["normalization/variance"], np.float64)
    deviation = np.maximum(np.sqrt(variance), keras.config.epsilon())
    is_imagenet = np.allclose(variance, _IMAGENET_DEVIATIONS, atol=1e-6)
    factors: list[Any] = [1.0 / 255.0]
    if weights.config is not None:
        layers = list(_find_layers(weights.config, "Rescaling"))
        factors = [layer.get("scale") for layer in layers]
        if not 1 <= len(layers) <= 2 or any(x.get("offset") for x in layers):
            raise errors.CheckpointError(
                f"The Keras file {path} rescales its input in another way "
                "than the EfficientNets of keras.applications, and cannot be "
                "converted."
            )
    elif is_imagenet:
        factors.append(1.0 / np.sqrt(_IMAGENET_DEVIATIONS))
    before = np.asarray(factors[0], np.float64)
    after = np.asarray(factors[1] if len(factors) > 1 else 1.0, np.float64)
    scale = 127.5 * before / deviation * after * np.ones(3)
    offset = (127.5 * before - mean) / deviation * after
    return scale.astype(np.float32), offset.astype(np.float32)


def _find_layers(config: Any, kind: str) -> Iterator[Mapping[str, Any]]:
    """Yields the configs of all layers of a class, nested models included."""
    if isinstance(config, Mapping):
        if config.get("class_name") == kind:
            yield config.get("config", {})
            return
        config = list(config.values())
    if isinstance(config, list):
        for item in config:
            yield from _find_layers(item, kind)


def read_weights(path: str) -> KerasWeights:
    """Reads the weights of a Keras file.

    Raises:
        CheckpointError: There is no such file, or it is damaged.
    """
    if not tf.io.gfile.exists(path):
        raise errors.CheckpointError(f"The Keras file {path} does not exist.")
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            content = io.BytesIO(file.read())
        config = None
        if zipfile.is_zipfile(content):
            with zipfile.ZipFile(content) as archive:
                config = json.loads(archive.read("config.json"))
                content = io.BytesIO(archive.read("model.weights.h5"))
        with h5py.File(content, "r") as store:
            if config is None and "model_config" in store.attrs:
                config = json.loads(store.attrs["model_config"])
            values, by_class = _read_store(path, store)
    except errors.CheckpointError:
        raise
    except (
        OSError,
        KeyError,
        ValueError,
        RuntimeError,
        zipfile.BadZipFile,
        tf.errors.OpError,
    ) as error:
        reason = str(error).split("\n")[0][:150]
        raise errors.CheckpointError(
            f"The Keras file {path} is damaged or of another kind ({reason})."
        ) from error
    return KerasWeights(values, config, by_class)


def _read_store(
    path: str, store: h5py.File
) -> tuple[dict[str, np.ndarray], bool]:
    """Reads the weights of all layers, at any depth."""
    found: dict[str, h5py.Dataset] = {}
    by_class = False

    def visit(place: str, item: h5py.Group | h5py.Dataset) -> None:
        nonlocal by_class
        parts = place.split("/")
        if not isinstance(item, h5py.Dataset):
            return
        if parts[0] in ("optimizer", "optimizer_weights"):
            return
        if any(part.startswith("seed_generator") for part in parts):
            return  # The state of a dropout.
        if len(parts) >= 3 and parts[-2] == "vars":
            own = _own_name(item)
            by_class = by_class or own is None
            layer = own or parts[-3]
            variable = _variable_name(parts[-3], int(parts[-1]))
        elif len(parts) >= 2:
            layer, variable = _old_name(parts[:-1]), parts[-1].partition(":")[0]
            variable = variable.replace("depthwise_kernel", "kernel")
        else:
            return
        layer = re.sub(r"^normalization_\d+$", "normalization", layer)
        name = f"{layer}/{variable}"
        if name in found:
            raise errors.CheckpointError(
                f"The Keras file {path} holds several layers called {layer}: "
                "give one of a single network."
            )
        found[name] = item

    store.visititems(visit)
    return {name: item[()] for name, item in found.items()}, by_class


def _old_name(groups: list[str]) -> str:
    """Returns the name of a layer in a file of Keras 2.

    Groups repeat the name, which may contain slashes.
    """
    half = len(groups) // 2
    if groups[:half] == groups[half:]:
        return "/".join(groups[half:])
    return groups[-1]


def _own_name(item: h5py.Dataset) -> str | None:
    """Returns the name of the layer that a `vars/<number>` belongs to."""
    for group in (item.parent, item.parent.parent):
        if "name" in group.attrs:
            name = group.attrs["name"]
            return name.decode() if isinstance(name, bytes) else str(name)
    return None


def _variable_name(layer_class: str, number: int) -> str:
    names = _VARIABLES.get(re.sub(r"_\d+$", "", layer_class), ())
    return names[number] if number < len(names) else str(number)


def _add_classifier(
    weights: KerasWeights, order: dict[str, list[str]]
) -> dict[str, list[str]]:
    """Adds the convolutions of MobileNetV3's classifier if a file has it."""
    layers = {name.rpartition("/")[0] for name in weights.values}
    count = sum(re.sub(r"_\d+$", "", layer) == "conv2d" for layer in layers)
    if count == len(order["conv2d"]) + len(_CLASSIFIER):
        return order | {"conv2d": [*order["conv2d"], *_CLASSIFIER]}
    return order


def _rename(
    path: str, weights: KerasWeights, order: Mapping[str, list[str]]
) -> KerasWeights:
    """Replaces names of class and number by the layers' own names.

    The numbers are in the order of the network, from the image to the
    classifier.

    Args:
        path: Path of the file, for the error.
        weights: Weights of the file.
        order: The layers of the encoder by class, in order.
    """
    numbered = collections.defaultdict(set)
    for name in weights.values:
        layer = name.rpartition("/")[0]
        kind = re.sub(r"_\d+$", "", layer)
        digits = layer.removeprefix(kind).removeprefix("_")
        numbered[kind].add(int(digits or 0))
    renamed = {}
    for kind, names in order.items():
        numbers = sorted(numbered[kind])
        if len(numbers) != len(names):
            raise errors.CheckpointError(
                f"The Keras file {path} has {len(numbers)} layers of the kind "
                f"{kind} and the encoder {len(names)}: choose the "
                "model_options.backbone.name that the file is for."
            )
        for number, own in zip(numbers, names, strict=True):
            renamed[kind if number == 0 else f"{kind}_{number}"] = own
    values = {}
    for name, value in weights.values.items():
        layer, _, variable = name.rpartition("/")
        values[f"{renamed.get(layer, layer)}/{variable}"] = value
    return dataclasses.replace(weights, values=values, by_class=False)
