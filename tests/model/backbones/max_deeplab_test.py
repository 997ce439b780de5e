# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.model.backbones.max_deeplab import (
    MaXDeepLabL,
    max_deeplab_l_backbone,
)
from deeplab2_like.model.backbones.stacked_decoder import (
    ResizedFuse,
    decoder_strides,
)
from deeplab2_like.model.backbones.variation import Variation
from deeplab2_like.testing import harness

_TINY = {"stem_width": 1 / 16, "width": 1 / 64, "depth": 0.34}


@pytest.mark.slow
@pytest.mark.parametrize("output_stride", [16, 32])
def test_a_small_one_passes_the_harness(output_stride, tmp_path):
    harness.check_model(
        lambda: MaXDeepLabL(output_stride, Variation(**_TINY), recompute=True),
        tmp_path,
        takes_bytes=False,
    )


def test_the_decoder_goes_up_to_stride_4_and_back():
    assert decoder_strides(32) == [16, 8, 4, 8, 16, 32]
    assert decoder_strides(16) == [8, 4, 8, 16]
    assert decoder_strides(8) == [4, 8]


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_the_decoded_feature_has_the_size_of_res5(output_stride):
    backbone = MaXDeepLabL(output_stride, Variation(**_TINY))
    for size in ((65, 97), (40, 50)):
        endpoints = backbone(np.zeros((1, *size, 3), np.float32))
        decoded = endpoints["backbone_output"]
        assert decoded.shape == endpoints["res5"].shape
        channels = backbone.output_channels
        assert {k: v.shape[-1] for k, v in endpoints.items()} == channels


def test_every_fusion_has_its_features():
    backbone = MaXDeepLabL(16, Variation(**_TINY))
    backbone.build((None, None, None, 3))
    projections = [
        [None if p is None else p.name for p in fuse.projections]
        for fuse in backbone.stacked_decoder.fusions
    ]
    assert projections == [
        ["resized1", None],
        ["resized1", None],
        ["strided1", None, None],
        ["strided1", None],
    ]


@pytest.mark.slow
def test_gradients_are_finite_and_reach_every_block():
    backbone = MaXDeepLabL(16, Variation(**_TINY), recompute=True)
    backbone.build((None, None, None, 3))
    for variable in backbone.trainable_variables:
        if variable.path.endswith("/gamma"):
            variable.assign(np.ones(variable.shape))
    x = tf.random.stateless_normal((2, 65, 97, 3), (0, 1))

    @tf.function
    def compute_gradients():
        with tf.GradientTape() as tape:
            y = backbone(x, training=True)["backbone_output"]
            loss = tf.reduce_mean(y**2)
        return tape.gradient(
            loss, [v.value for v in backbone.trainable_variables]
        )

    for variable, gradient in zip(
        backbone.trainable_variables, compute_gradients(), strict=True
    ):
        assert np.all(np.isfinite(gradient)), variable.path
        # What shifts all similarities of a head changes no weight.
        if not variable.path.endswith("similarity_bn/beta"):
            assert np.any(gradient != 0.0), variable.path


def test_panoptic_deeplab_keeps_the_decoder_without_computing_it():
    options = {"variation": Variation(**_TINY)}
    computed = MaXDeepLabL(16, **options)
    stored = max_deeplab_l_backbone(16, **options)
    for backbone in (computed, stored):
        backbone.build((None, None, None, 3))
    assert sorted(v.path for v in stored.variables) == sorted(
        v.path for v in computed.variables
    )
    assert not any(
        "stacked_decoder" in v.path for v in stored.trainable_variables
    )
    assert "backbone_output" not in stored(np.zeros((1, 33, 33, 3)))


def test_the_choice_survives_a_config_round_trip():
    stored = max_deeplab_l_backbone(16, Variation(**_TINY))
    again = MaXDeepLabL.from_config(stored.get_config())
    assert again.get_config() == stored.get_config()
    assert not again.compute_decoder
    again.build((None, None, None, 3))
    assert not again.stacked_decoder.trainable


def test_fusion_adds_what_it_resizes():
    fuse = ResizedFuse(4, [False, False], name="fuse")
    fuse.build([(None, None, None, 4), (None, None, None, 4)])
    small = np.arange(4.0, dtype=np.float32).reshape(1, 2, 2, 1) - 1.0
    large = np.ones((1, 3, 3, 1), np.float32)
    y = fuse(
        [np.tile(small, 4), np.tile(large, 4)], size=(3, 3), training=False
    )
    expected = np.array([[0, 0.5, 1], [1, 1.5, 2], [2, 2.5, 3]])
    np.testing.assert_allclose(y[0, ..., 0], expected)
