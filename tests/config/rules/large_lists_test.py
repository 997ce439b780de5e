# SPDX-License-Identifier: Apache-2.0
"""What does not go with large images is named before anything is read."""

import pytest

_LIST = 'file_pattern: "a.large.json"'


@pytest.mark.parametrize("split", ["train", "eval"])
def test_lists_of_large_images_are_allowed(find_problems, split):
    fragment = f"{split}_dataset_options {{ {_LIST} crop_size: [97, 97] }}"
    assert not find_problems(fragment)


@pytest.mark.parametrize(
    ("split", "fields", "path"),
    [
        ("train", 'file_pattern: "b.tfrecord"', "file_pattern[1]"),
        ("train", "min_resize_value: 99", "min_resize_value"),
        ("eval", "max_resize_value: [99, 99]", "max_resize_value"),
        ("train", "resize_factor: 16", "resize_factor"),
        ("train", 'mixed_file_pattern: "b-*"', "mixed_file_pattern"),
        ("train", "on_damage: SKIP", "on_damage"),
        ("train", 'data_service_address: "a:1"', "data_service_address"),
        ("eval", "crop_size: [97, 129]", "crop_size"),
        (
            "eval",
            "decode_groundtruth_label: false",
            "decode_groundtruth_label",
        ),
    ],
)
def test_fields_that_large_images_do_not_have_are_refused(
    find_problems, split, fields, path
):
    fields = fields if "crop" in fields else f"{fields} crop_size: [97, 97]"
    found = find_problems(f"{split}_dataset_options {{ {_LIST} {fields} }}")
    assert f"{split}_dataset_options.{path}" in [p.path for p in found]


def test_enlarged_images_are_refused(find_problems):
    found = find_problems(
        f"train_dataset_options {{ {_LIST} input_scale_factor: 2 }}"
        "eval_dataset_options { input_scale_factor: 2 }"
    )
    assert [p.path for p in found] == [
        "train_dataset_options.input_scale_factor"
    ]


def test_weights_of_classes_need_records(find_problems):
    found = find_problems(
        f"train_dataset_options {{ {_LIST} }} trainer_options {{ loss_options "
        "{ semantic_loss { balance: MEDIAN_FREQUENCY } } }"
    )
    path = "trainer_options.loss_options.semantic_loss.balance"
    assert path in [p.path for p in found]


def test_predictions_that_are_not_saved_are_named(find_warnings):
    found = find_warnings(
        f"eval_dataset_options {{ {_LIST} crop_size: [97, 97] }}"
        "evaluator_options { save_predictions: true }"
    )
    assert "evaluator_options.save_predictions" in [p.path for p in found]
