# SPDX-License-Identifier: Apache-2.0
import pytest

from deeplab2_like import errors
from deeplab2_like.checkpoints.peers import recognition
from deeplab2_like.config import names
from deeplab2_like.protos import model_pb2


def test_the_names_are_those_of_the_flag_and_of_systems():
    assert tuple(recognition.Peer) == names.PEERS
    for peer in recognition.Peer:
        assert peer.full_name
        assert peer.system in model_pb2.ModelOptions.DESCRIPTOR.fields_by_name


def test_models_are_recognized_by_their_keys(
    make_panoptic_deeplab, make_panoptic_fpn
):
    for arrays, peer in (
        (make_panoptic_deeplab(), recognition.Peer.PANOPTIC_DEEPLAB),
        (make_panoptic_fpn(), recognition.Peer.PANOPTIC_FPN),
    ):
        assert recognition.recognize(arrays) is peer
        assert recognition.require("x", arrays) is peer
        assert recognition.require("x", arrays, peer.value) is peer
        other = next(p for p in recognition.Peer if p is not peer)
        with pytest.raises(errors.CheckpointError, match=r"drop --peer\."):
            recognition.require("x", arrays, other.value)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["conv1.weight"], "is not a Panoptic-DeepLab of bowenc0221"),
        ([], "nothing"),
        (["ins_embed_head.center_head.0.weight"], "detectron2's projects"),
        (["roi_heads.box_predictor.x"], "without a semantic head"),
        (["sem_seg_head.p2.0.weight"], "a semantic model of detectron2"),
    ],
)
def test_other_files_are_one_sentence(keys, expected):
    assert recognition.recognize(keys) is None
    with pytest.raises(errors.CheckpointError, match=expected) as caught:
        recognition.require("x.pth", keys)
    assert "--config_file" in str(caught.value)
    assert "\n" not in str(caught.value)
