# SPDX-License-Identifier: Apache-2.0
"""Small valid configs as text, and functions that find their problems."""

import pytest

from deeplab2_like import config

_DATA = """\
train_dataset_options {
  dataset: "cityscapes_panoptic"
  batch_size: 8
  crop_size: [97, 129]
}
eval_dataset_options {
  dataset: "cityscapes_panoptic"
  batch_size: 1
  crop_size: [97, 129]
}
"""
VALID = (
    """\
experiment_name: "test"
model_options {
  backbone { name: "resnet50" output_stride: 16 }
  decoder { feature_key: "res5" atrous_rates: [6, 12, 18] }
  panoptic_deeplab {
    low_level { feature_key: "res3" channels_project: 64 }
    low_level { feature_key: "res2" channels_project: 32 }
    instance {
      center_head { head_channels: 32 }
      regression_head { head_channels: 32 }
    }
    semantic_head { head_channels: 256 }
  }
}
trainer_options {
  loss_options {
    semantic_loss { name: "softmax_cross_entropy" top_k_percent: 0.2 }
    center_loss { name: "mse" weight: 200 }
    regression_loss { name: "l1" weight: 0.01 }
  }
}
"""
    + _DATA
    + """\
evaluator_options { nms_kernel: 7 }
"""
)
_PYRAMID = (
    """\
experiment_name: "test"
model_options {
  backbone { name: "resnet50" output_stride: 32 }
  SYSTEM
}
trainer_options {
  loss_options {
    LOSSES
  }
}
"""
    + _DATA
    + """\
evaluator_options { stuff_area_limit: 2048 }
"""
)


@pytest.fixture
def valid_text():
    """Returns the valid config as text."""
    return VALID


@pytest.fixture
def find_problems():
    """Returns a function that lists the errors of the config or of a text."""

    def find(*overrides, text=VALID):
        try:
            parsed = config.parse(text, overrides, source="t.textproto")
        except config.InvalidConfigError as error:
            return error.problems
        return [p for p in parsed.warnings if p.severity == "error"]

    return find


@pytest.fixture
def find_warnings():
    """Returns a function that lists the warnings of the config or of a text."""

    def find(*overrides, text=VALID):
        parsed = config.parse(text, overrides, source="t.textproto")
        return [p for p in parsed.warnings if p.severity == "warning"]

    return find


@pytest.fixture
def find_in_pyramid():
    """Returns a function that lists the paths of problems of another system.

    Its arguments are `find_problems` or `find_warnings`, the message of the
    system and its losses as text, and a text to replace by another one.
    """

    def find_paths(find, system, losses, old="", new=""):
        text = _PYRAMID.replace("SYSTEM", system).replace("LOSSES", losses)
        assert old in text
        return {p.path for p in find(text=text.replace(old, new, 1))}

    return find_paths
