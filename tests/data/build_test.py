# SPDX-License-Identifier: Apache-2.0
import dataclasses

import pytest
from google.protobuf import text_format

from deeplab2_like.data import (
    blur,
    build,
    color_jitter,
    copy_paste,
    preprocessing,
    rotation,
)
from deeplab2_like.protos import dataset_pb2


def parse(text=""):
    return text_format.Parse(
        'dataset: "scenes" crop_size: [33, 65]' + text,
        dataset_pb2.DatasetOptions(),
    )


def test_the_least_options_give_the_defaults():
    assert build.build_preprocessing(parse()) == preprocessing.Preprocessing(
        (33, 65)
    )


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("crop_size: 97", "crop_size", (33, 97)),
        ("input_scale_factor: 2", "input_scale_factor", 2.0),
        ("min_resize_value: 40", "min_resize", (40, 40)),
        ("min_resize_value: [40, 50]", "min_resize", (40, 50)),
        ("min_resize_value: 0", "min_resize", None),
        ("max_resize_value: [40, 50]", "max_resize", (40, 50)),
        ("max_resize_value: [0, 0]", "max_resize", None),
        ("resize_factor: 16", "resize_factor", 16),
        ("augmentations { min_scale_factor: 0.5 }", "min_scale", 0.5),
        ("augmentations { max_scale_factor: 2 }", "max_scale", 2.0),
        ("augmentations { scale_factor_step_size: 0.5 }", "scale_step", 0.5),
        ("augmentations { scale_area_bias: -1.5 }", "scale_area_bias", -1.5),
        (
            "augmentations { rotation { max_degrees: 8 probability: 0.5 } }",
            "rotation",
            rotation.Rotation(8.0, 0.5),
        ),
        ("augmentations { gray_probability: 0.5 }", "gray_probability", 0.5),
        (
            "augmentations { blur { probability: 0.5 min_sigma: 0.3 "
            "max_sigma: 1.2 } }",
            "blur",
            blur.Blur(0.5, 0.3, 1.2),
        ),
        ("pad_to_multiple_of: 16", "pad_to_multiple_of", 16),
        ("padding_mode: REFLECT", "padding_mode", "REFLECT"),
        ("canvas_remainder: 0", "canvas_remainder", 0),
        ("padding_color: [1, 2, 3.5]", "padding_color", (1.0, 2.0, 3.5)),
        (
            'augmentations { autoaugment_policy_name: "x" }',
            "autoaugment_policy_name",
            "x",
        ),
    ],
)
def test_each_field_is_read(text, field, value):
    built = build.build_preprocessing(parse(text))
    assert getattr(built, field) == value
    default = preprocessing.Preprocessing((33, 65))
    assert (
        dataclasses.replace(built, **{field: getattr(default, field)})
        == default
    )


@pytest.mark.parametrize(
    "step", ["brightness", "contrast", "saturation", "hue"]
)
def test_each_strength_of_the_color_jitter_is_read(step):
    text = f"augmentations {{ color_jitter {{ {step}: 0.25 }} }}"
    expected = color_jitter.ColorJitter(**{step: 0.25})
    assert build.build_preprocessing(parse(text)).color_jitter == expected


def test_the_options_of_pasting_are_read():
    text = "augmentations { copy_paste { probability: 0.5 max_instances: 7 } }"
    built = build.build_preprocessing(parse(text), [3, 4])
    assert built.copy_paste == copy_paste.CopyPaste(0.5, 7, (3, 4))
    assert not build.build_preprocessing(parse(text)).copy_paste.is_active


def test_one_value_of_crop_size_is_both_sides():
    options = dataset_pb2.DatasetOptions(crop_size=[33])
    assert build.build_preprocessing(options).crop_size == (33, 33)
