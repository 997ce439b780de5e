# SPDX-License-Identifier: Apache-2.0
"""The rules of models."""

import pytest


def test_the_class_count_must_be_that_of_the_data_set(find_problems):
    (found,) = find_problems(
        "model_options { panoptic_deeplab { semantic_head { "
        "output_channels: 20 } } }"
    )
    assert "semantic_head.output_channels is 20" in str(found)
    assert '"cityscapes_panoptic" has 19 classes' in found.rule
    (found,) = find_problems("model_options { deeplab_v3 { num_classes: 2 } }")
    assert found.path == "model_options.deeplab_v3.num_classes"


def test_instance_heads_have_one_and_two_channels(find_problems):
    found = find_problems(
        "model_options { panoptic_deeplab { instance { "
        "center_head { output_channels: 2 } "
        "regression_head { output_channels: 1 } } } }"
    )
    assert len(found) == 2


@pytest.mark.parametrize("rates", ["[]", "[6]", "[6, 12]", "[1, 2, 3, 4]"])
def test_the_aspp_has_exactly_three_rates(find_problems, rates):
    override = f"model_options {{ decoder {{ atrous_rates: {rates} }} }}"
    (found,) = find_problems(override)
    assert found.path == "model_options.decoder.atrous_rates"
    assert "atrous_rates: [6, 12, 18]" in found.fix
    found = find_problems(
        override,
        "model_options { decoder { aspp_use_only_1x1_proj_conv: true } }",
    )
    assert found == []


def test_an_instance_decoder_is_checked_too(find_problems):
    (found,) = find_problems(
        "model_options { panoptic_deeplab { instance { "
        'instance_decoder_override { feature_key: "res5" } } } }'
    )
    assert found.path.endswith("instance_decoder_override.atrous_rates")


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "mobilenet_v3_large"])
def test_mobilenets_need_squeeze_and_excite(find_problems, name):
    override = f'model_options {{ backbone {{ name: "{name}" }} }}'
    (found,) = find_problems(override)
    assert found.path == "model_options.backbone.use_squeeze_and_excite"
    assert "use_squeeze_and_excite: true" in found.fix
    assert not find_problems(
        override,
        "model_options { backbone { use_squeeze_and_excite: true } }",
    )


def test_low_level_features_go_from_low_to_high_resolution(find_problems):
    (found,) = find_problems(
        "model_options { panoptic_deeplab { "
        'low_level: [{ feature_key: "res2" channels_project: 8 }, '
        '{ feature_key: "res3" channels_project: 8 }] } }'
    )
    assert found.path == (
        "model_options.panoptic_deeplab.low_level[1].feature_key"
    )


def test_what_a_model_needs_is_asked_for(find_problems):
    text = """
    model_options { decoder { } panoptic_deeplab { low_level { } } }
    train_dataset_options { }
    """
    found = {p.path for p in find_problems(text=text)}
    panoptic = "model_options.panoptic_deeplab"
    assert found >= {
        "model_options.decoder.feature_key",
        "model_options.decoder.atrous_rates",
        f"{panoptic}.low_level[0].feature_key",
        f"{panoptic}.low_level[0].channels_project",
        f"{panoptic}.semantic_head",
        f"{panoptic}.instance.center_head",
        f"{panoptic}.instance.regression_head",
        "trainer_options.loss_options.semantic_loss",
        "trainer_options.loss_options.center_loss",
        "trainer_options.loss_options.regression_loss",
        "train_dataset_options.dataset",
        "train_dataset_options.crop_size",
        "eval_dataset_options",
    }


def test_a_config_without_a_system_is_reported(find_problems):
    found = find_problems(text='experiment_name: "a" model_options { }')
    assert "model_options has no system." in str(found[0])


def test_a_semantic_model_needs_no_instance_parts(find_problems, valid_text):
    text = (
        valid_text.replace("center_head { head_channels: 32 }", "enable: false")
        .replace("regression_head { head_channels: 32 }", "")
        .replace('center_loss { name: "mse" weight: 200 }', "")
        .replace('regression_loss { name: "l1" weight: 0.01 }', "")
    )
    assert find_problems(text=text) == []


def test_an_instance_branch_needs_things(find_problems, tmp_path):
    file = tmp_path / "stuff.textproto"
    file.write_text(
        'name: "stuff" ignore_label: 255 label_divisor: 1000\n'
        'classes { name: "a" } classes { name: "b" }'
    )
    found = find_problems(
        f'train_dataset_options {{ dataset: "{file}" }}',
        f'eval_dataset_options {{ dataset: "{file}" }}',
    )
    assert "has no things" in str(found[0])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("freeze_backbone: true", "freeze_backbone"),
        ("freeze_batch_norm: true", "freeze_batch_norm"),
        ("graph: 'detectron2'", "freeze_batch_norm"),
        ("graph: 'detectron2' freeze_batch_norm: false", None),
        ("graph: 'torchvision'", None),
    ],
)
def test_initial_values_are_not_to_be_frozen(find_warnings, fields, expected):
    override = f"model_options {{ backbone {{ {fields} }} }}"
    found = find_warnings(override)
    if expected is None:
        assert found == []
    else:
        (warning,) = found
        assert warning.path == f"model_options.backbone.{expected}"
        assert f"{expected}: false" in warning.fix
    start = "model_options { initial_checkpoint: 'run/' }"
    assert find_warnings(override, start) == []
