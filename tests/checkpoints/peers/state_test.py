# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.checkpoints.peers import state


def _make(**shapes):
    arrays = {
        key.replace("__", "."): np.zeros(shape) for key, shape in shapes.items()
    }
    return state.State("x.pth", arrays, "a model")


def test_what_is_missing_is_named():
    made = _make(a__weight=(2, 3))
    assert made.size("a.weight", 1) == 3
    with pytest.raises(
        errors.CheckpointError, match=r"x\.pth has no b\.bias, which a model"
    ):
        made.read("b.bias")
    with pytest.raises(errors.CheckpointError, match=r"shape \[2, 3\]"):
        made.size("a.weight", 2)


@pytest.mark.parametrize(
    ("blocks", "width", "expected"),
    [
        (6, (64, 64, 3, 3), "resnet50"),
        (23, (64, 64, 3, 3), "resnet101"),
        (36, (64, 64, 3, 3), "36 blocks at stride 16: the backbones resnet50"),
        (0, (64, 64, 3, 3), "another backbone than a ResNet"),
        (23, (256, 8, 3, 3), "other widths or groups"),
    ],
)
def test_the_backbone_follows_from_its_blocks(blocks, width, expected):
    made = _make(w=width, **{f"s__{n}__w": (1,) for n in range(blocks)})
    if expected.startswith("resnet"):
        assert made.find_resnet(r"s\.(\d+)\.", "w") == expected
    else:
        with pytest.raises(errors.CheckpointError, match=expected):
            made.find_resnet(r"s\.(\d+)\.", "w")


def test_outputs_are_ordered_item_by_item():
    weight = np.arange(8.0).reshape(4, 2)
    taken = state.take_outputs([1, None, 0], each=(1, 0), missing=-5.0)
    expected = [[6, 7], [4, 5], [0, 0], [0, 0], [2, 3], [0, 1]]
    np.testing.assert_array_equal(taken(weight), expected)
    np.testing.assert_array_equal(taken(np.arange(4.0)), [3, 2, -5, -5, 1, 0])
    for number in (2, 6):
        with pytest.raises(ValueError, match="items, not 2"):
            taken(np.zeros(number))
