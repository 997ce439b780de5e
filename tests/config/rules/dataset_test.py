# SPDX-License-Identifier: Apache-2.0
"""The rules of data, and of what describes it."""

import pytest

from deeplab2_like import config


def test_a_wrong_crop_names_the_nearest_legal_sizes(find_problems):
    found = find_problems("train_dataset_options { crop_size: [1024, 2050] }")
    assert [p.path for p in found] == [
        "train_dataset_options.crop_size[0]",
        "train_dataset_options.crop_size[1]",
    ]
    assert "k * 16 + 1 (output_stride 16)" in found[0].rule
    assert "1009 and 1025" in found[0].fix
    assert "2049 and 2065" in found[1].fix


@pytest.mark.parametrize("crop", ["[]", "[97, 97, 3]", "[1, 1]"])
def test_a_crop_has_two_sides_that_hold_a_feature(find_problems, crop):
    assert find_problems(f"train_dataset_options {{ crop_size: {crop} }}")


def test_padding_to_a_multiple_is_for_evaluation_only(find_problems):
    fragment = "{ pad_to_multiple_of: 16 }"
    assert not find_problems(f"eval_dataset_options {fragment}")
    (found,) = find_problems(f"train_dataset_options {fragment}")
    assert found.path == "train_dataset_options.pad_to_multiple_of"


def test_damaged_images_are_left_out_of_training_only(find_problems):
    fragment = "{ on_damage: SKIP }"
    assert not find_problems(f"train_dataset_options {fragment}")
    (found,) = find_problems(f"eval_dataset_options {fragment}")
    assert found.path == "eval_dataset_options.on_damage"
    assert not find_problems("eval_dataset_options { on_damage: FAIL }")


def test_the_multiple_fits_the_stride_and_the_smallest_canvas(find_problems):
    (found,) = find_problems("eval_dataset_options { pad_to_multiple_of: 24 }")
    assert "multiple of output_stride (16)" in found.rule
    (found,) = find_problems("eval_dataset_options { pad_to_multiple_of: 64 }")
    assert found.path == "eval_dataset_options.crop_size[0]"
    assert "65, 129" in found.fix


def test_scales_are_in_order(find_problems):
    (found,) = find_problems(
        "train_dataset_options { augmentations { min_scale_factor: 2 } }"
    )
    assert "max_scale_factor (1)" in found.rule


@pytest.mark.parametrize(
    ("step", "most"),
    [("brightness", 1), ("contrast", 1), ("saturation", 1), ("hue", 0.5)],
)
def test_strengths_of_color_jitter_have_a_range(find_problems, step, most):
    text = (
        "train_dataset_options {{ augmentations {{ color_jitter {{ {} }} }} }}"
    )
    for value in (0, most):
        assert not find_problems(text.format(f"{step}: {value}"))
    for value in (-0.1, most + 0.1):
        (found,) = find_problems(text.format(f"{step}: {value}"))
        assert found.path.endswith(f"color_jitter.{step}")
        assert found.rule == f"it must be in [0, {most}]"


_PASTING = "{{ augmentations {{ copy_paste {{ {} }} }} }}"


@pytest.mark.parametrize(
    ("field", "rule"),
    [
        ("probability: 1.5", "it must be in [0, 1]"),
        ("probability: -1", "it must be in [0, 1]"),
        ("max_instances: 0 probability: 1", "it must be in [1, 4096]"),
    ],
)
def test_options_of_pasting_have_a_range(find_problems, field, rule):
    text = f"train_dataset_options {_PASTING.format(field)}"
    (found,) = find_problems(text)
    assert found.path.endswith(f"copy_paste.{field.split(':')[0]}")
    assert found.rule == rule


_AUGMENTATION = "train_dataset_options {{ augmentations {{ {} }} }}"


@pytest.mark.parametrize(
    ("text", "field", "rule"),
    [
        ("rotation { max_degrees: 46 }", "rotation.max_degrees", "in [0, 45]"),
        ("rotation { max_degrees: -1 }", "rotation.max_degrees", "in [0, 45]"),
        (
            "rotation { max_degrees: 9 probability: 2 }",
            "rotation.probability",
            "in [0, 1]",
        ),
        ("blur { probability: 1.5 }", "blur.probability", "in [0, 1]"),
        (
            "blur { probability: 1 max_sigma: 17 }",
            "blur.max_sigma",
            "in [0.05, 16]",
        ),
        (
            "blur { probability: 1 min_sigma: 0 }",
            "blur.min_sigma",
            "in [0.05, 16]",
        ),
        (
            "blur { probability: 1 min_sigma: 3 }",
            "blur.min_sigma",
            "not be above max_sigma (2)",
        ),
        ("gray_probability: -0.5", "gray_probability", "in [0, 1]"),
        ("scale_area_bias: 5", "scale_area_bias", "in [-4, 4]"),
    ],
)
def test_random_changes_have_a_range(find_problems, text, field, rule):
    (found,) = find_problems(_AUGMENTATION.format(text))
    assert found.path.endswith(f"augmentations.{field}")
    assert rule in found.rule


@pytest.mark.parametrize(
    ("text", "field", "reason"),
    [
        (
            "rotation { probability: 0.5 }",
            "rotation.probability",
            "without max_degrees",
        ),
        ("blur { max_sigma: 3 }", "blur.max_sigma", "without probability"),
        (
            "min_scale_factor: 1 max_scale_factor: 1 scale_area_bias: 1",
            "scale_area_bias",
            "the only scale is 1",
        ),
    ],
)
def test_random_changes_without_effect_are_warned_of(
    find_warnings, text, field, reason
):
    found = find_warnings(_AUGMENTATION.format(text))
    (found,) = [w for w in found if w.path.endswith(field)]
    assert reason in found.rule


@pytest.mark.parametrize(
    "text",
    [
        "rotation { max_degrees: 10 } gray_probability: 0.2",
        "blur { probability: 0.5 min_sigma: 0.05 max_sigma: 16 }",
        "min_scale_factor: 0.5 max_scale_factor: 2 scale_area_bias: -1",
    ],
)
def test_random_changes_are_accepted(find_problems, find_warnings, text):
    assert not find_problems(_AUGMENTATION.format(text))
    found = find_warnings(_AUGMENTATION.format(text))
    assert not [w for w in found if "augmentations" in w.path]


def test_pasting_needs_things(tmp_path, find_problems, find_warnings):
    pasting = _PASTING.format("probability: 0.5")
    assert not find_problems(f"train_dataset_options {pasting}")
    file = tmp_path / "stuff.textproto"
    file.write_text(
        'name: "stuff" ignore_label: 255 label_divisor: 10 '
        'classes { name: "x" } classes { name: "y" }'
    )
    both = [
        f'{name}_dataset_options {{ dataset: "{file}" }}'
        for name in ("train", "eval")
    ]

    def find(*more):
        found = find_problems(*both, *more)
        return [p for p in found if "copy_paste" in p.path]

    (found,) = find(f"train_dataset_options {pasting}")
    assert found.path.endswith("augmentations.copy_paste.probability")
    assert "has no things" in found.rule
    assert not find(f"eval_dataset_options {pasting}")
    assert not find()
    most = _PASTING.format("max_instances: 3")
    (found,) = find_warnings(f"train_dataset_options {most}")
    assert found.rule == "it has no effect without probability"


def test_an_empty_pattern_is_reported(find_problems):
    assert find_problems("train_dataset_options { file_pattern: '' }")


def test_both_splits_have_the_same_classes(find_problems):
    (found,) = find_problems('eval_dataset_options { dataset: "kitti_step" }')
    assert found.path == "eval_dataset_options.dataset"


def test_another_enlargement_in_evaluation_is_a_warning(find_warnings):
    (found,) = find_warnings("eval_dataset_options { input_scale_factor: 2 }")
    assert found.path == "eval_dataset_options.input_scale_factor"


def test_a_color_has_three_values_and_an_effect(find_problems, find_warnings):
    path = "train_dataset_options.padding_color"
    (found,) = find_problems("train_dataset_options { padding_color: [1, 2] }")
    assert found.path == path
    assert find_problems("train_dataset_options { padding_color: [1, 2, 256] }")
    color = "train_dataset_options { padding_color: [0, 255, 1.5] "
    assert not find_problems(color + "}")
    assert not find_warnings(color + "}")
    (found,) = find_warnings(color + "padding_mode: REFLECT }")
    assert found.path == path


def test_centers_and_offsets_need_corners_on_corners(find_problems):
    found = find_problems(
        "train_dataset_options { canvas_remainder: 0 crop_size: [64, 128] } "
        "eval_dataset_options { canvas_remainder: 0 crop_size: [64, 128] }"
    )
    assert [problem.path for problem in found] == [
        "train_dataset_options.canvas_remainder",
        "eval_dataset_options.canvas_remainder",
    ]
    assert find_problems("eval_dataset_options { canvas_remainder: 2 }")


# Descriptors.


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('name: "a" label_divisor: 10 classes { name: "x" }', "ignore_label"),
        ('name: "a" ignore_label: 1 label_divisor: 10', "classes is not set"),
        (
            'name: "a" ignore_label: 255 label_divisor: 10 '
            'classes { name: "x" } classes { name: "x" }',
            "class 0 has this name too",
        ),
        (
            'name: "a" ignore_label: 255 label_divisor: 10 '
            'classes { name: "x" category_id: 1 } classes { name: "y" }',
            "class 0 has this id too",
        ),
        (
            'name: "a" ignore_label: 255 label_divisor: 10 '
            'classes { name: "x" color: [1, 2] }',
            "three values",
        ),
        (
            'name: "a" ignore_label: 255 label_divisor: 10 '
            'classes { name: "x" color: [1, 2, 256] }',
            "in [0, 255]",
        ),
        (
            'name: "a" ignore_label: 0 label_divisor: 10 '
            'classes { name: "x" is_thing: true }',
            "void pixels have no instances",
        ),
        (
            'name: "a" ignore_label: 65535 label_divisor: 65536 '
            'classes { name: "x" }',
            "above 2147483647",
        ),
        (
            'name: "a" ignore_label: 255 label_divisor: 10 '
            'classes { nam: "x" }',
            "nam is an unknown field",
        ),
    ],
)
def test_a_wrong_descriptor_says_what_is_wrong(tmp_path, text, complaint):
    file = tmp_path / "a.textproto"
    file.write_text(text)
    with pytest.raises(config.InvalidConfigError) as caught:
        config.load_dataset(str(file))
    assert complaint in str(caught.value)
    assert f"{file}" in str(caught.value)


def test_a_descriptor_built_in_code_is_checked():
    descriptor = config.load_dataset("scenes")
    config.check_dataset(descriptor)
    descriptor.label_divisor = 1
    descriptor.classes[0].ClearField("name")
    with pytest.raises(config.InvalidConfigError) as caught:
        config.check_dataset(descriptor)
    paths = {problem.path for problem in caught.value.problems}
    assert paths == {"label_divisor", "classes[0].name"}
