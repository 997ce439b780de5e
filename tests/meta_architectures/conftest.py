# SPDX-License-Identifier: Apache-2.0
"""Tiny systems on a pyramid: their configs, models and batches."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import config as config_lib
from deeplab2_like.labels import descriptor
from deeplab2_like.meta_architectures import build
from deeplab2_like.scenes import scene
from deeplab2_like.trainer import tuning

SIZE = (65, 129)
_MASK_RCNN = """
  channels: 32
  box_head_units: 64
  mask_head_convolutions: 1
  max_instances: 20
  anchor_samples: 64
  region_samples: 32
  train_level_proposals: 60
  level_proposals: 60
  num_proposals: 40
  max_detections: 20
"""
_SOLOV2 = """
  grid: [16, 12, 8, 6, 4]
  smallest_size: [1, 6, 12, 24, 48]
  largest_size: [12, 24, 48, 96, 512]
  channels: 32
  convolutions: 1
  mask_channels: 32
  mask_branch_channels: 32
  max_instances: 20
  max_masks: 48
  candidates: 40
  max_detections: 20
"""
_MASK_RCNN_LOSSES = {
    "proposal_loss": "sigmoid_cross_entropy",
    "proposal_box_loss": "l1",
    "class_loss": "softmax_cross_entropy",
    "box_loss": "l1",
    "mask_loss": "sigmoid_cross_entropy",
}
_SOLOV2_LOSSES = {"cell_loss": "sigmoid_focal", "mask_loss": "dice"}


@dataclasses.dataclass(frozen=True)
class TinySystem:
    """A system to make, with models and batches of scenes.

    Attributes:
        kind: Field of the system in model_options.
        branch: Field of the instance branch in it, with its content.
        instance_losses: Names of the losses of the instance branch, by field.
        semantic_weight: Weight of the loss of the semantic branch.
        learned_quality: PQ that is exceeded on scenes after training on them.
    """

    kind: str
    branch: str
    instance_losses: dict[str, str]
    semantic_weight: float
    learned_quality: float
    size = SIZE

    def write_config(self, *, has_semantic=True):
        """Returns the config as text, with or without a semantic branch."""
        losses = [
            f'{field} {{ name: "{name}" }}'
            for field, name in self.instance_losses.items()
        ]
        if has_semantic:
            losses.append(
                'semantic_loss { name: "softmax_cross_entropy" '
                f"weight: {self.semantic_weight} }}"
            )
        semantic = "channels: 32" if has_semantic else "enable: false"
        return f"""
experiment_name: "tiny"
model_options {{
  backbone {{
    name: "mobilenet_v3_small"
    use_squeeze_and_excite: true
    output_stride: 32
  }}
  {self.kind} {{
    pyramid_channels: 32
    semantic {{ {semantic} }}
    {self.branch}
  }}
}}
trainer_options {{ loss_options {{ {" ".join(losses)} }} }}
train_dataset_options {{ dataset: "scenes" crop_size: [65, 129] }}
eval_dataset_options {{ dataset: "scenes" crop_size: [65, 129] }}
evaluator_options {{ stuff_area_limit: 20 }}
"""

    def build(self, change=None, **options):
        """Returns system and model; `change` is applied to the options."""
        parsed = config_lib.parse(self.write_config(**options)).options
        if change is not None:
            change(parsed)
        keras.utils.set_random_seed(1)
        system = build.build_system(parsed, descriptor.load("scenes"))
        return system, system.build_model(synchronize_batch_norm=False)

    def make_batch(self, system, seeds, size=SIZE):
        """Returns images, targets and labels of some scenes."""
        made = [scene.make_scene(seed, size) for seed in seeds]
        make_targets = system.target_maker(is_training=True)
        targets = [make_targets(tf.constant(x.panoptic)) for x in made]
        return (
            tf.constant(np.stack([x.image for x in made])),
            tf.nest.map_structure(lambda *x: tf.stack(x), *targets),
            np.stack([x.panoptic for x in made]),
        )


_SYSTEMS = {
    "panoptic_fpn": TinySystem(
        "panoptic_fpn",
        f"instance {{ anchor_size: [8, 16, 32, 64, 96] {_MASK_RCNN} }}",
        _MASK_RCNN_LOSSES,
        semantic_weight=0.5,
        learned_quality=0.8,
    ),
    "efficientps": TinySystem(
        "efficientps",
        f"mask_rcnn {{ anchor_size: [8, 16, 32, 64] {_MASK_RCNN} }}",
        _MASK_RCNN_LOSSES,
        semantic_weight=1.0,
        learned_quality=0.6,
    ),
    "efficientps_solov2": TinySystem(
        "efficientps",
        f"solov2 {{ {_SOLOV2} }}",
        _SOLOV2_LOSSES,
        semantic_weight=1.0,
        learned_quality=0.6,
    ),
}


@pytest.fixture(scope="session")
def fpn():
    """Returns Panoptic FPN."""
    return _SYSTEMS["panoptic_fpn"]


@pytest.fixture(scope="module")
def built_fpn(fpn):
    """Returns system and model of Panoptic FPN."""
    return fpn.build()


@pytest.fixture(scope="module", params=_SYSTEMS)
def tiny(request):
    """Returns each system on a pyramid."""
    return _SYSTEMS[request.param]


@pytest.fixture(scope="module")
def built(tiny):
    """Returns system and model of each system on a pyramid."""
    return tiny.build()


@pytest.fixture(scope="module")
def batch(tiny, built):
    """Returns images, targets and labels of two scenes for `built`."""
    return tiny.make_batch(built[0], [0, 1])


@pytest.fixture(scope="session")
def check_thresholds():
    """Returns a function that compares thresholds as inputs and constants.

    It takes a config, outputs, the size of the canvas, and values by the path
    of each field that is to be an input.
    """

    def check(options, outputs, size, values):
        shared = _build_with(options, {})
        assert set(shared.thresholds()) == set(values)
        assert set(values) <= set(shared.tunable_fields())
        with_inputs = tf.function(shared.postprocess, autograph=False)
        seen = set()
        for index in range(max(map(len, values.values()))):
            settings = {
                path: some[index % len(some)] for path, some in values.items()
            }
            system = _build_with(options, settings)
            expected = tf.function(system.postprocess, autograph=False)(
                outputs, size
            )
            thresholds = {
                path: tf.constant(value)
                for path, value in system.thresholds().items()
            }
            actual = with_inputs(outputs, size, thresholds=thresholds)
            for name, value in actual.as_dict().items():
                np.testing.assert_array_equal(
                    value, expected.as_dict()[name], err_msg=str(settings)
                )
            seen.add(expected.panoptic.numpy().tobytes())
        assert with_inputs.experimental_get_tracing_count() == 1
        assert len(seen) > 2, "the thresholds change nothing"

    return check


def _build_with(options, settings):
    changed = tuning.with_settings(options, settings)
    return build.build_system(changed, descriptor.load("scenes"))


@pytest.fixture(scope="session")
def compute_total():
    """Returns a function that computes the total loss and its parts."""

    def compute(system, model, images, targets):
        outputs = system.infer_for_training(model, images, targets)
        losses = system.compute_losses(outputs, targets)
        parts = [tf.reduce_mean(loss) for loss in losses.values()]
        return tf.add_n(parts), losses

    return compute
