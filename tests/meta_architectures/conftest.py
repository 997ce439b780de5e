# SPDX-License-Identifier: Apache-2.0
"""A tiny Panoptic FPN: its config, model and batches."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import config as config_lib
from deeplab2_like.data import descriptor
from deeplab2_like.meta_architectures import build
from deeplab2_like.testing import scenes


class TinyPanopticFPN:
    """Makes systems, models and batches of scenes."""

    size = (65, 129)
    config = """
experiment_name: "tiny_fpn"
model_options {
  backbone {
    name: "mobilenet_v3_small"
    use_squeeze_and_excite: true
    output_stride: 32
  }
  panoptic_fpn {
    pyramid_channels: 32
    semantic { channels: 32 }
    instance {
      channels: 32
      box_head_units: 64
      mask_head_convolutions: 1
      anchor_size: [8, 16, 32, 64, 96]
      max_instances: 20
      anchor_samples: 64
      region_samples: 32
      train_level_proposals: 60
      level_proposals: 60
      num_proposals: 40
      max_detections: 20
    }
  }
}
trainer_options {
  loss_options {
    semantic_loss { name: "softmax_cross_entropy" weight: 0.5 }
    proposal_loss { name: "sigmoid_cross_entropy" }
    proposal_box_loss { name: "l1" }
    class_loss { name: "softmax_cross_entropy" }
    box_loss { name: "l1" }
    mask_loss { name: "sigmoid_cross_entropy" }
  }
}
train_dataset_options { dataset: "scenes" crop_size: [65, 129] }
eval_dataset_options { dataset: "scenes" crop_size: [65, 129] }
evaluator_options { stuff_area_limit: 20 }
"""

    def build(self, change=None):
        """Gives system and model; `change` is applied to the options."""
        options = config_lib.parse(self.config).options
        if change is not None:
            change(options)
        keras.utils.set_random_seed(1)
        system = build.build_system(options, descriptor.load("scenes"))
        return system, system.build_model(synchronize_batch_norm=False)

    def make_batch(self, system, seeds, size=size):
        """Gives images, targets and labels of some scenes."""
        made = [scenes.make_scene(seed, size) for seed in seeds]
        make_targets = system.target_maker(is_training=True)
        targets = [make_targets(tf.constant(x.panoptic)) for x in made]
        return (
            tf.constant(np.stack([x.image for x in made])),
            tf.nest.map_structure(lambda *x: tf.stack(x), *targets),
            np.stack([x.panoptic for x in made]),
        )


@pytest.fixture(scope="session")
def fpn():
    return TinyPanopticFPN()


@pytest.fixture(scope="module")
def built(fpn):
    return fpn.build()
