# SPDX-License-Identifier: Apache-2.0
import keras
import numpy as np
import pytest
from google.protobuf import text_format

from deeplab2_like.errors import ConfigError
from deeplab2_like.model.build import build_model
from deeplab2_like.model.build_backbone import build_backbone, build_named
from deeplab2_like.model.deeplab_v3 import DeepLabV3, DeepLabV3Plus
from deeplab2_like.model.panoptic_deeplab import PanopticDeepLab
from deeplab2_like.protos import model_pb2, trainer_pb2

_BACKBONE = """
backbone {
  name: "mobilenet_v3_small" output_stride: 16 use_squeeze_and_excite: true
}
"""


def _options(*texts):
    options = model_pb2.ModelOptions()
    for text in texts:
        text_format.Merge(text, options)
    return options


def _build(*texts, solver=None, crop=(65, 97), **kwargs):
    return build_model(
        _options(_BACKBONE, *texts),
        solver,
        num_classes=7,
        train_crop_size=crop,
        **kwargs,
    )


def test_panoptic_deeplab_is_built_from_its_message(panoptic_text):
    model = _build(panoptic_text)
    assert isinstance(model, PanopticDeepLab)
    assert model.backbone.variant == "small"
    assert model.backbone.output_stride == 16
    assert model.semantic_decoder.aspp.pool_size == [5, 7]
    assert model.semantic_decoder.aspp.filters == 24
    assert model.semantic_decoder.fusion_channels == 20
    assert model.semantic_decoder.low_level == [("res3", 6), ("res2", 5)]
    assert model.semantic_head.head_channels == 10
    assert model.center_head.head_channels == 8
    assert model.offset_head.head_channels == 9
    outputs = model(np.zeros((1, 65, 97, 3), np.uint8))
    assert outputs["semantic_logits"].shape == (1, 17, 25, 7)


def test_the_instance_branch_shares_the_options_unless_it_has_its_own(
    panoptic_text,
):
    shared = _build(panoptic_text).instance_decoder
    assert shared.low_level == [("res3", 6), ("res2", 5)]
    assert shared.aspp.filters == 24
    own = _build(
        panoptic_text,
        """panoptic_deeplab { instance {
          low_level_override { feature_key: "res2" channels_project: 4 }
          instance_decoder_override {
            feature_key: "res4" decoder_channels: 12
            aspp_use_only_1x1_proj_conv: true
          }
        } }""",
    )
    assert own.instance_decoder.low_level == [("res2", 4)]
    assert own.instance_decoder.feature_key == "res4"
    # the override replaces the whole message: 256 is the field's default
    assert own.instance_decoder.aspp.filters == 256
    assert own.instance_decoder.aspp.only_projection
    assert not own.semantic_decoder.aspp.only_projection


def test_without_instances_the_model_is_semantic(panoptic_text):
    model = _build(
        panoptic_text, "panoptic_deeplab { instance { enable: false } }"
    )
    assert model.instance_decoder is None


def test_the_semantic_systems_are_built(decoder_text):
    v3 = _build(decoder_text, "deeplab_v3 { num_classes: 7 }")
    assert isinstance(v3, DeepLabV3)
    assert v3.semantic_head.kernel_size == 3
    assert v3.semantic_head.head_channels == 20
    plus = _build(
        decoder_text,
        """deeplab_v3_plus {
          low_level { feature_key: "res2" channels_project: 48 }
        }""",
    )
    assert isinstance(plus, DeepLabV3Plus)
    assert plus.semantic_decoder.low_level == [("res2", 48)]
    assert plus.semantic_decoder.fusion_kernel_size == 3


def test_batch_norm_follows_the_solver(panoptic_text):
    solver = trainer_pb2.SolverOptions(
        use_sync_batchnorm=False,
        batchnorm_momentum=0.9,
        batchnorm_epsilon=1e-5,
    )
    for layer in (
        _build(panoptic_text, solver=solver).backbone.stem.bn,
        _build(panoptic_text, solver=solver).offset_head.conv.pointwise.bn,
    ):
        assert (layer.momentum, layer.epsilon) == (0.9, 1e-5)
        assert not layer.synchronized
    model = _build(panoptic_text, solver=solver, synchronize_batch_norm=True)
    assert model.backbone.stem.bn.synchronized
    assert _build(panoptic_text).backbone.stem.bn.synchronized


def test_without_a_crop_the_whole_map_is_pooled(panoptic_text):
    model = _build(panoptic_text, crop=None)
    assert model.semantic_decoder.aspp.pool_size is None


def test_the_dtype_policy_of_the_program_holds_for_every_part(panoptic_text):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = _build(panoptic_text)
    finally:
        keras.config.set_dtype_policy(before)
    assert model.backbone.stem.conv.compute_dtype == "bfloat16"
    assert model.semantic_decoder.aspp.project.bn.compute_dtype == "bfloat16"
    assert model.offset_head.last_layer.compute_dtype == "float32"


def _backbone(text):
    return build_backbone(_options(f"backbone {{ {text} }}").backbone)


def test_an_unknown_backbone_names_the_known_ones():
    with pytest.raises(ConfigError, match=r'"vgg" - known are .*mobilenet'):
        _backbone('name: "vgg"')


_VARIED = """
  stem_width_multiplier: 0.25 backbone_width_multiplier: 0.125
  backbone_layer_multiplier: 0.67 drop_path_keep_prob: 0.8
  drop_path_schedule: "linear" use_squeeze_and_excite: true
  output_stride: 8
"""


@pytest.mark.parametrize(
    "name",
    [
        "resnet50",
        "resnet50_beta",
        "resnet101",
        "resnet101_beta",
        "wide_resnet41",
        "swidernet",
        "axial_swidernet",
        "axial_resnet_s",
        "axial_resnet_l",
        "axial_deeplab_s",
        "axial_deeplab_l",
        "max_deeplab_s_backbone",
        "max_deeplab_l_backbone",
    ],
)
def test_every_field_of_the_resnet_family_is_honoured(name):
    backbone = _backbone(f'name: "{name}" {_VARIED}')
    net = getattr(backbone, "resnet", backbone)
    assert backbone.output_stride == 8
    assert net.stem_filters == 16
    assert net.output_channels["res5"] == 256
    assert len(net.stages[-1]) == 2
    last = net.stages[-1][-1]
    assert last.drop_path.keep_prob == pytest.approx(0.8)
    assert net.stages[-1][0].drop_path.keep_prob == pytest.approx(0.85)
    assert last.squeeze_excite is not None


@pytest.mark.parametrize(
    ("name", "stage"),
    [("resnet50", -1), ("swidernet", -1), ("axial_swidernet", -2)],
)
def test_switchable_convolutions_begin_at_their_stride(name, stage):
    backbone = _backbone(f'name: "{name}" use_sac_beyond_stride: 16')
    switched = [blocks[0].switchable for blocks in backbone.stages]
    begin = next(i for i, s in enumerate(backbone.stage_specs) if s.number == 4)
    expected = [i >= begin for i in range(len(switched))]
    if stage == -2:
        expected[-1] = False
    assert switched == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('name: "resnet50"', False),
        ('name: "resnet50" recompute: true', True),
        ('name: "swidernet"', True),
        ('name: "swidernet" recompute: false', False),
        ('name: "max_deeplab_s_backbone"', True),
    ],
)
def test_large_nets_are_recomputed_unless_the_config_says(text, expected):
    assert _backbone(text).recompute == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            'name: "mobilenet_v3_small"',
            "use_squeeze_and_excite is false.*Write use_squeeze_and_excite",
        ),
        (
            'name: "mobilenet_v3_small" use_squeeze_and_excite: true '
            "drop_path_keep_prob: 0.5",
            "drop_path_keep_prob is 0.5 - mobilenet_v3_small does not have it",
        ),
        (
            'name: "axial_resnet_l" use_sac_beyond_stride: 32',
            "use_sac_beyond_stride is 32",
        ),
        ('name: "max_deeplab_s"', "mask transformer"),
        (
            'name: "axial_swidernet" backbone_width_multiplier: 0.3',
            "cannot share",
        ),
    ],
)
def test_a_field_that_the_backbone_lacks_is_refused(text, sentence):
    with pytest.raises(ConfigError, match=sentence):
        _backbone(text)


def test_a_missing_or_unsupported_system_is_refused(decoder_text):
    with pytest.raises(ConfigError, match="meta_architecture is not set"):
        _build(decoder_text)
    with pytest.raises(ConfigError, match="motion_deeplab is not supported"):
        _build(decoder_text, "motion_deeplab {}")


def _frozen(model):
    """Returns the paths of the backbone's variables that are not trained."""
    trained = {v.path for v in model.trainable_variables}
    return [v.path for v in model.backbone.variables if v.path not in trained]


def test_a_frozen_backbone_computes_as_in_inference(panoptic_text):
    model = _build(panoptic_text, "backbone { freeze_backbone: true }")
    copy = type(model).from_config(model.get_config())
    copy.build((None, None, None, 3))
    for frozen in (model, copy):
        assert len(_frozen(frozen)) == len(frozen.backbone.variables)
        assert any("/semantic_head/" in v.path for v in model.trainable_weights)
        images = np.zeros((1, 33, 33, 3), np.uint8)
        trained = frozen.compute_features(images, training=True)
        plain = frozen.compute_features(images, training=False)
        np.testing.assert_array_equal(trained["res5"], plain["res5"])
    assert not model.backbone.trainable


@pytest.mark.slow
def test_frozen_batch_norms_leave_the_kernels_to_training(panoptic_text):
    def count(*fields):
        text = f"backbone {{ {' '.join(fields)} }}"
        model = _build(panoptic_text, text)
        others = [v for v in model.trainable_variables if "/bn/" in v.path]
        assert any("/semantic_decoder/" in v.path for v in others)
        kinds = {path.rpartition("/")[2] for path in _frozen(model)}
        return kinds - {"moving_mean", "moving_variance"}

    assert count() == set()
    assert count("freeze_batch_norm: true") == {"gamma", "beta"}
    torchvision = 'graph: "torchvision"'
    assert count(torchvision) == {"scale", "offset"}
    resnet = 'name: "resnet50" use_squeeze_and_excite: false'
    everything = {"scale", "offset", "gamma", "beta"}
    assert count(resnet, 'graph: "detectron2"') == everything


def test_named_backbones_can_be_frozen():
    net = build_named("mobilenet_v3_small", freeze_backbone=True)
    assert net.trainable_variables == []
    net = build_named("mobilenet_v3_small", freeze_batch_norm=True)
    assert not any("/bn/" in v.path for v in net.trainable_variables)
    assert len(net.trainable_variables) > 10
