# SPDX-License-Identifier: Apache-2.0
"""Options of a decoder with heads; tiny models on a pyramid, and inputs."""

import dataclasses
import functools
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.model.backbones import mobilenet_v3
from deeplab2_like.model.efficientps import EfficientPS
from deeplab2_like.model.panoptic_fpn import PanopticFPN

_DECODER = """
decoder {
  feature_key: "res5" decoder_channels: 20 aspp_channels: 24
  atrous_rates: 1 atrous_rates: 2 atrous_rates: 3
}
"""
_PANOPTIC = """
panoptic_deeplab {
  low_level { feature_key: "res3" channels_project: 6 }
  low_level { feature_key: "res2" channels_project: 5 }
  instance {
    center_head { output_channels: 1 head_channels: 8 }
    regression_head { output_channels: 2 head_channels: 9 }
  }
  semantic_head { output_channels: 7 head_channels: 10 }
}
"""
SIZE = (65, 97)
_GRIDS = (6, 5, 4, 3, 2)
_NUM_CELLS = sum(side * side for side in _GRIDS)
_MASK_RCNN = {
    "num_classes": 3,
    "anchor_sizes": (8.0, 16.0, 32.0, 64.0),
    "filters": 8,
    "units": 16,
    "mask_convs": 1,
    "anchor_samples": 16,
    "region_samples": 12,
    "level_proposals": (20, 15),
    "num_proposals": (12, 10),
    "max_detections": 6,
    "score_threshold": 0.0,
    "candidates": 20,
}
_MASK_RCNN_SHAPES = {
    "boxes": (2, 6, 4),
    "box_class": (2, 6),
    "box_score": (2, 6),
    "is_box": (2, 6),
    "masks": (2, 6, 28, 28),
}
_SOLOV2 = {
    "num_classes": 3,
    "kernel_filters": 8,
    "grids": _GRIDS,
    "filters": 8,
    "num_convs": 1,
    "feature_filters": 8,
    "groups": 4,
}
_SOLOV2_SHAPES = {
    "cell_logits": (2, _NUM_CELLS, 3),
    "cell_kernels": (2, _NUM_CELLS, 8),
    "mask_features": (2, 17, 25, 8),
}
_EFFICIENTPS = {
    "pyramid": {"filters": 8},
    "semantic": {"num_channels": 5, "filters": 8},
    "batch_norm": {"momentum": 0.9},
}


@dataclasses.dataclass(frozen=True)
class TinyModel:
    """A model to make.

    Attributes:
        kind: Class of the model.
        options: Arguments of its constructor.
        shapes: Shapes of its outputs for the two images of `inputs`.
        tolerance: Largest relative difference of outputs that are computed in
            two ways.
    """

    kind: type[keras.Model]
    options: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]
    tolerance: float
    size = SIZE

    def make(self, seed=0, **changes):
        """Returns a new model; `changes` replace its options."""
        keras.utils.set_random_seed(seed)
        backbone = mobilenet_v3.mobilenet_v3_small(32)
        model = self.kind(backbone, **{**self.options, **changes})
        model.build((None, None, None, 3))
        return model


_MODELS = {
    "panoptic_fpn": TinyModel(
        PanopticFPN,
        {
            "pyramid_filters": 8,
            "semantic": {"num_channels": 4, "filters": 8, "groups": 4},
            "instance": {
                **_MASK_RCNN,
                "anchor_sizes": (8.0, 16.0, 32.0, 64.0, 96.0),
            },
        },
        {"semantic_logits": (2, 17, 25, 4), **_MASK_RCNN_SHAPES},
        tolerance=1e-7,
    ),
    "efficientps": TinyModel(
        EfficientPS,
        {
            **_EFFICIENTPS,
            "mask_rcnn": {
                **_MASK_RCNN,
                "separable": True,
                "gives_mask_logits": True,
            },
        },
        {"semantic_logits": (2, 17, 25, 5), **_MASK_RCNN_SHAPES},
        tolerance=1e-4,
    ),
    "efficientps_solov2": TinyModel(
        EfficientPS,
        {**_EFFICIENTPS, "solov2": _SOLOV2},
        {"semantic_logits": (2, 17, 25, 5), **_SOLOV2_SHAPES},
        tolerance=1e-4,
    ),
}


@pytest.fixture(scope="session")
def decoder_text():
    """Returns model_options with a small decoder, without a backbone."""
    return _DECODER


@pytest.fixture(scope="session")
def panoptic_text():
    """Returns the same with a small Panoptic-DeepLab of 7 classes."""
    return _DECODER + _PANOPTIC


@pytest.fixture(scope="session")
def tiny_models():
    """Returns the models on a pyramid, by name."""
    return _MODELS


@pytest.fixture(scope="session")
def built_models():
    """Returns a function from a name to its model, which is made once."""
    return functools.cache(lambda name: _MODELS[name].make())


@pytest.fixture(scope="session")
def inputs():
    """Returns two images and their targets: two objects in the first."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, *SIZE, 3)).astype(np.uint8)
    instance = np.zeros((2, *SIZE), np.int32)
    instance[0, 4:30, 8:50] = 1
    instance[0, 40:60, 60:97] = 2
    boxes = np.zeros((2, 5, 4), np.float32)
    boxes[0, :2] = [[4, 8, 30, 50], [40, 60, 60, 97]]
    box_class = np.full((2, 5), -1, np.int32)
    box_class[0, :2] = [2, 0]
    targets = {
        "instance": instance,
        "boxes": boxes,
        "box_class": box_class,
        "mask_cell": rng.integers(0, _NUM_CELLS, (2, 7)).astype(np.int32),
    }
    return tf.constant(images), tf.nest.map_structure(tf.constant, targets)
