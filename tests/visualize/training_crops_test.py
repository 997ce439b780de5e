# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from deeplab2_like.labels import descriptor
from deeplab2_like.visualize import training_crops

_DATA = descriptor.DatasetDescriptor(
    name="toy",
    num_classes=2,
    thing_ids=(1,),
    stuff_ids=(0,),
    ignore_label=255,
    label_divisor=1000,
    class_names=("ground", "car"),
    colors=((0, 90, 0), (200, 0, 0)),
    category_ids=(1, 2),
)
_MAPS = ("center_heatmap", "center_weight", "offset_map", "offset_weight")


def make_crop(height=33, width=65, names=()):
    generator = np.random.default_rng(0)
    panoptic = np.zeros((height, width), np.int32)
    panoptic[:, width // 2 :] = 1001
    panoptic[:4] = 255000
    targets = {
        "center_heatmap": np.zeros((height, width), np.float32),
        "center_weight": np.float32(panoptic < 255000),
        "offset_map": np.zeros((height, width, 2), np.float32),
        "offset_weight": np.float32(panoptic == 1001),
        "boxes": np.float32([[4, width // 2, height, width], [0, 0, 0, 0]]),
        "box_class": np.int32([0, -1]),
    }
    return training_crops.TrainingCrop(
        "a/b",
        generator.integers(0, 256, (height, width, 3), dtype=np.uint8),
        panoptic,
        {name: targets[name] for name in names},
    )


@pytest.mark.parametrize("size", [(33, 65), (65, 33), (1, 1)])
@pytest.mark.parametrize("names", [(), _MAPS, ("boxes", "box_class")])
def test_what_the_system_has_is_drawn(size, names):
    drawn = training_crops.draw_crop(make_crop(*size, names), _DATA)
    assert drawn.dtype == np.uint8
    assert drawn.shape[2] == 3
    plain = training_crops.draw_crop(make_crop(*size), _DATA)
    # Two more panels are another row.
    assert (drawn.shape[0] > 1.5 * plain.shape[0]) == bool(names)


def test_a_peak_is_yellow_and_directions_have_different_colors():
    crop = make_crop(names=_MAPS)
    before = training_crops.draw_crop(crop, _DATA)
    crop.targets["center_heatmap"][20:30, 40:50] = 1
    with_peak = training_crops.draw_crop(crop, _DATA)
    changed = with_peak[(before != with_peak).any(-1)]
    assert (changed == (255, 214, 0)).all(-1).any()
    crop.targets["offset_map"][..., 0] = 5
    down = training_crops.draw_crop(crop, _DATA)
    crop.targets["offset_map"][..., 0] = -5
    up = training_crops.draw_crop(crop, _DATA)
    assert (down != up).any(-1).sum() > 1000


def test_a_sheet_has_all_crops():
    one, three = (
        training_crops.draw_sheet([make_crop()] * count, _DATA)
        for count in (1, 3)
    )
    assert three.shape[0] > 1.9 * one.shape[0]
    assert three.shape[1] > 1.9 * one.shape[1]
