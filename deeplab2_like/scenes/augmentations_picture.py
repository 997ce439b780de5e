# SPDX-License-Identifier: Apache-2.0
"""A picture of what each random change of training images does, on `scenes`.

A scene after each change, strong ones so that they can be seen, with its labels
below where these change. The code of the input pipeline makes them.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from deeplab2_like.data import (
    autoaugment,
    blur,
    color_jitter,
    copy_paste,
    preprocessing,
    rotation,
)
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.scenes import scene as scene_lib
from deeplab2_like.visualize import boards, legend, visualizer

_SIZE = (161, 321)
_SEED, _OTHER_SEED = 15, 11
_COLUMNS = 4
_FONT_SIZE = 12
_GAP = 8

_PLAIN = preprocessing.Preprocessing(_SIZE)
# The middle of the canvas, not flipped.
_MIDDLE = (0.0, 0.5, 0.5, 0.9)
_POLICY = "simple_classification_policy_magnitude_scale_0.2"

# Title, options that differ from _PLAIN, draws that differ.
_CHANGES: tuple[tuple[str, Mapping[str, Any], Mapping[str, Any]], ...] = (
    ("no change", {}, {}),
    ("mirrored", {}, {"place": (0.0, 0.5, 0.5, 0.0)}),
    (
        "scale 0.6: padding at a random place",
        {"min_scale": 0.6, "max_scale": 0.6},
        {"place": (0.0, 0.8, 0.3, 0.9)},
    ),
    (
        "scale 1.7: crop at a random place",
        {"min_scale": 1.7, "max_scale": 1.7},
        {"place": (0.0, 0.6, 0.2, 0.9)},
    ),
    (
        "rotation { max_degrees: 10 }",
        {"rotation": rotation.Rotation(10.0)},
        {"rotation": (0.0, 1.0)},
    ),
    (
        "rotation and scale 1.3: no void inside",
        {
            "rotation": rotation.Rotation(10.0),
            "min_scale": 1.3,
            "max_scale": 1.3,
        },
        {"rotation": (0.0, 0.0)},
    ),
    (
        "color_jitter",
        {"color_jitter": color_jitter.ColorJitter(0.4, 0.4, 0.4, 0.1)},
        {"colors": (0.7, 0.8, 0.9, 0.9)},
    ),
    ("gray_probability: 1", {"gray_probability": 1.0}, {"gray": (0.0,)}),
    (
        "blur { max_sigma: 2 }",
        {"blur": blur.Blur(1.0)},
        {"blur": (0.0, 1.0)},
    ),
)
# The first ones change labels too, the last of them is copy_paste.
_NUM_LABELED = 7
# Title, pair of the policy, whether its operations are done.
_OPERATIONS = (
    ("autoaugment: Sharpness 1.4", 0, (0.0, 1.0)),
    ("autoaugment: Brightness 2", 0, (1.0, 0.0)),
    ("autoaugment: Contrast 2", 1, (1.0, 0.0)),
    ("autoaugment: Color 1.8", 2, (1.0, 0.0)),
    ("autoaugment: Solarize 1.4", 3, (0.0, 1.0)),
    ("autoaugment: Equalize", 4, (1.0, 0.0)),
)

Crop = tuple[tf.Tensor, tf.Tensor]


def _change(
    seed: int, options: Mapping[str, Any], draws: Mapping[str, Any]
) -> Crop:
    """Makes a crop of a scene as the input pipeline does."""
    scene = scene_lib.make_scene(seed, _SIZE)
    descriptor = descriptor_lib.load("scenes")
    tensors = {
        name: tf.constant(value, tf.float32)
        for name, value in {"place": _MIDDLE, **draws}.items()
    }
    return preprocessing.augment_example(
        tf.constant(scene.image),
        tf.constant(scene.panoptic, tf.int32),
        preprocessing.Draws(**tensors),
        dataclasses.replace(_PLAIN, **options),
        descriptor.ignore_label * descriptor.label_divisor,
    )


def _paste() -> Crop:
    descriptor = descriptor_lib.load("scenes")
    return copy_paste.paste_at_random(
        _change(_SEED, {}, {}),
        _change(_OTHER_SEED, {}, {}),
        tf.constant([0.0, 0.9]),
        tf.constant([1, 2], tf.int64),
        options=copy_paste.CopyPaste(1.0, 8, tuple(descriptor.thing_ids)),
        label_divisor=descriptor.label_divisor,
    )


def _make_all() -> list[tuple[str, Crop]]:
    crops = [
        (title, _change(_SEED, options, draws))
        for title, options, draws in _CHANGES
    ]
    crops.insert(_NUM_LABELED - 1, ("copy_paste", _paste()))
    pairs = len(autoaugment.load_policy(_POLICY))
    for title, pair, is_done in _OPERATIONS:
        draws = {"policy": ((pair + 0.5) / pairs, *is_done)}
        options = {"autoaugment_policy_name": _POLICY}
        crops.append((title, _change(_SEED, options, draws)))
    return crops


def make_overview() -> np.ndarray:
    """Draws a tile for each change: uint8 [H, W, 3]."""
    descriptor = descriptor_lib.load("scenes")
    tiles = []
    for number, (title, (image, panoptic)) in enumerate(_make_all()):
        image = np.rint(image).astype(np.uint8)
        heading = legend.make_title(title, _SIZE[1], _FONT_SIZE)
        pictures = [heading, Image.fromarray(image)]
        if number < _NUM_LABELED:
            labels = visualizer.visualize(
                image, panoptic.numpy(), descriptor, scale=1, legend=False
            )
            pictures.append(Image.fromarray(labels))
        tiles.append(boards.join(pictures, 0, 2))
    rows = []
    for part in (tiles[:_NUM_LABELED], tiles[_NUM_LABELED:]):
        rows += [
            boards.join(part[first : first + _COLUMNS], 1, _GAP)
            for first in range(0, len(part), _COLUMNS)
        ]
    return np.asarray(boards.join(rows, 0, _GAP))
