# SPDX-License-Identifier: Apache-2.0
"""Weights of classes reach the semantic loss of every system."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import config as config_lib
from deeplab2_like import errors
from deeplab2_like.labels import descriptor
from deeplab2_like.meta_architectures import build
from deeplab2_like.protos import trainer_pb2
from deeplab2_like.targets import pixel_kinds

_SCENES = descriptor.load("scenes")
_CAR = _SCENES.class_names.index("car")
_SHAPE = (1, 5, 9)
_SYSTEMS = {
    "deeplab_v3": "deeplab_v3 { }",
    "deeplab_v3_plus": "deeplab_v3_plus { low_level { feature_key: 'res2' "
    "channels_project: 8 } }",
    "panoptic_fpn": "panoptic_fpn { instance { enable: false } }",
    "efficientps": "efficientps { mask_rcnn { } }",
}
_INSTANCE_LOSSES = """
    proposal_loss { name: "sigmoid_cross_entropy" }
    proposal_box_loss { name: "l1" }
    class_loss { name: "softmax_cross_entropy" }
    box_loss { name: "l1" }
    mask_loss { name: "sigmoid_cross_entropy" }"""


def _build(kind, share, weights):
    stride = 32 if kind in ("panoptic_fpn", "efficientps") else 16
    decoder = (
        ""
        if stride == 32
        else "decoder { feature_key: 'res5' atrous_rates: [1, 2, 3] }"
    )
    text = f"""
experiment_name: "weights"
model_options {{
  backbone {{ name: "resnet50" output_stride: {stride} }}
  {decoder}
  {_SYSTEMS[kind]}
}}
trainer_options {{
  loss_options {{
    semantic_loss {{
      name: "softmax_cross_entropy"
      top_k_percent: {share}
      {weights}
    }}
    {_INSTANCE_LOSSES if kind == "efficientps" else ""}
  }}
}}
train_dataset_options {{ dataset: "scenes" crop_size: [65, 129] }}
eval_dataset_options {{ dataset: "scenes" crop_size: [65, 129] }}
"""
    return build.build_system(config_lib.parse(text).options, _SCENES)


def _compute(system, logits, labels):
    outputs = {"semantic_logits": tf.constant(logits)}
    targets = {
        "semantic": tf.constant(labels),
        "pixel_kind": tf.fill(labels.shape, pixel_kinds.STUFF),
        "small_instance_weight": tf.ones(len(labels)),
    }
    if hasattr(system, "_compute_semantic_loss"):
        return float(
            tf.reduce_mean(system._compute_semantic_loss(outputs, targets))
        )
    losses = system.compute_losses(outputs, targets)
    return float(tf.reduce_mean(losses["semantic_loss"]))


@pytest.mark.parametrize(
    ("kind", "share"),
    [
        ("deeplab_v3", 0.5),
        ("deeplab_v3_plus", 1.0),
        ("panoptic_fpn", 1.0),
        ("efficientps", 0.5),
        ("efficientps", 1.0),
    ],
)
def test_pixels_of_a_class_count_as_often_as_its_weight(kind, share):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(*_SHAPE, 9)).astype(np.float32)
    labels = np.full(_SHAPE, _CAR, np.int32)
    plain = _compute(_build(kind, share, ""), logits, labels)
    by_name = "class_weight { name: 'car' weight: 3 }"
    by_order = f"class_weights: {[3 if c == _CAR else 1 for c in range(9)]}"
    for weights in (by_name, by_order):
        system = _build(kind, share, weights)
        weighted = _compute(system, logits, labels)
        np.testing.assert_allclose(weighted, 3 * plain, rtol=1e-6)
        others = (labels + 1) % 9
        np.testing.assert_allclose(
            _compute(system, logits, others),
            _compute(_build(kind, share, ""), logits, others),
            rtol=0,
        )


def test_a_channel_of_all_things_has_their_weight(fpn):
    things = ", ".join(
        f"{{ name: '{_SCENES.class_names[c]}' weight: 3 }}"
        for c in _SCENES.thing_ids
    )
    text = fpn.write_config().replace(
        "semantic_loss {", f"semantic_loss {{ class_weight [{things}]"
    )
    system = build.build_system(config_lib.parse(text).options, _SCENES)
    assert system._channel_weights() == [3.0] + [1.0] * len(_SCENES.stuff_ids)


def test_a_balance_that_was_not_counted_is_refused(fpn):
    def set_balance(options):
        loss = options.trainer_options.loss_options.semantic_loss
        loss.balance = (
            trainer_pb2.LossOptions.SingleLossOptions.MEDIAN_FREQUENCY
        )

    options = config_lib.parse(fpn.write_config()).options
    set_balance(options)
    system = build.build_system(options, _SCENES)
    with pytest.raises(errors.ConfigError, match="were not counted"):
        system._channel_weights()
