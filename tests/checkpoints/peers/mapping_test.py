# SPDX-License-Identifier: Apache-2.0
"""Values of whole models, and files that lack some or have others."""

import numpy as np
import pytest

from deeplab2_like import config as config_lib
from deeplab2_like import errors
from deeplab2_like.checkpoints.peers import conversion, mapping
from deeplab2_like.checkpoints.peers import state as state_lib
from deeplab2_like.checkpoints.peers.recognition import Peer
from deeplab2_like.labels import descriptor
from deeplab2_like.meta_architectures import build

_PEER = Peer.PANOPTIC_DEEPLAB


@pytest.fixture(scope="module")
def model(make_panoptic_deeplab):
    return _build(make_panoptic_deeplab(), _PEER)


def _build(arrays, peer):
    state = state_lib.State("x.pth", arrays, peer.full_name)
    text = conversion._write_config(state, peer, "ckpt-0")
    options = config_lib.parse(text, environ={}).options
    system = build.build_system(options, descriptor.load_of_run(options))
    return system.build_model(synchronize_batch_norm=False)


def _map(arrays, model, data="cityscapes_panoptic", peer=_PEER):
    return mapping.map_values(
        state_lib.State("x.pth", arrays, peer.full_name),
        peer,
        model,
        descriptor.load(data),
        epsilon=1e-5,
    )


def test_every_variable_gets_a_value(make_panoptic_deeplab, model):
    values, is_known = _map(make_panoptic_deeplab(seed=0), model)
    assert is_known
    expected = {v.path: tuple(v.shape) for v in model.variables}
    expected = {k: v for k, v in expected.items() if "seed_generator" not in k}
    assert {path: value.shape for path, value in values.items()} == expected
    assert {value.dtype for value in values.values()} == {np.dtype("float32")}
    prefix = "panoptic_deeplab/semantic_decoder/aspp/pool/bn"
    for name, number in (
        ("gamma", 1.0),
        ("beta", 0.0),
        ("moving_mean", 0.0),
        ("moving_variance", 1.0 - 1e-5),
    ):
        np.testing.assert_allclose(values[f"{prefix}/{name}"], number)


@pytest.mark.slow
def test_every_variable_of_panoptic_fpn_gets_a_value(make_panoptic_fpn):
    arrays = make_panoptic_fpn()
    # What old files have besides the weights.
    arrays["pixel_mean"] = arrays["pixel_std"] = np.zeros((3, 1, 1))
    key = "proposal_generator.anchor_generator.cell_anchors.4"
    arrays[key] = np.zeros((3, 4))
    made = _build(arrays, Peer.PANOPTIC_FPN)
    values, is_known = _map(arrays, made, "coco_panoptic", Peer.PANOPTIC_FPN)
    assert is_known
    paths = {v.path for v in made.variables}
    assert set(values) == {p for p in paths if "seed_generator" not in p}


_LAST = "decoder.semantic_head.classifier.semantic.1.bias"


@pytest.mark.parametrize(
    ("key", "shape", "expected"),
    [
        (_LAST, None, f"has no {_LAST}, which a Panoptic-DeepLab"),
        ("backbone.bn1.bias", None, "has no value for .*stem/bn/beta"),
        (_LAST, (18,), r"array .*bias of the shape \[18\]"),
        (
            "decoder.semantic_decoder.aspp.project.1.bias",
            (255,),
            r"project/bn/beta has the shape \[255\] in the file and \[256\]",
        ),
        ("decoder.foreground.weight", (1,), "has decoder.foreground.weight,"),
        ("head.weight", (1,), "has head.weight, which a Panoptic-DeepLab"),
    ],
)
def test_missing_other_and_further_values_are_one_sentence(
    make_panoptic_deeplab, model, key, shape, expected
):
    arrays = make_panoptic_deeplab()
    arrays[key] = np.zeros(shape or (), np.float32)
    if shape is None:
        del arrays[key]
    with pytest.raises(errors.CheckpointError, match=expected) as caught:
        _map(arrays, model)
    assert "\n" not in str(caught.value)


def test_a_model_with_parts_that_the_file_lacks_is_one_sentence(
    make_panoptic_deeplab, model
):
    arrays = make_panoptic_deeplab(has_instance=False)
    with pytest.raises(errors.CheckpointError, match="instance_decoder"):
        _map(arrays, model)


def test_another_number_of_classes_is_one_sentence(
    make_panoptic_deeplab, make_panoptic_fpn, model
):
    arrays = make_panoptic_deeplab(12)
    with pytest.raises(errors.CheckpointError, match="for 12 classes, and"):
        _map(arrays, model)
    arrays = make_panoptic_fpn(things=3)
    with pytest.raises(errors.CheckpointError, match="3 things and 53 other"):
        _map(arrays, model, "coco_panoptic", Peer.PANOPTIC_FPN)
