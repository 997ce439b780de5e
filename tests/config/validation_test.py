# SPDX-License-Identifier: Apache-2.0
import pytest

from deeplab2_like import config
from deeplab2_like.config import rules
from deeplab2_like.protos import config_pb2, dataset_descriptor_pb2


def paths_of(problems):
    return [problem.path for problem in problems]


def test_the_valid_config_has_no_findings(find_problems, find_warnings):
    assert find_problems() == []
    assert find_warnings() == []


def test_all_problems_are_reported_at_once(find_problems, valid_text):
    text = (
        valid_text.replace("nms_kernel: 7", "nms_kernel: 0")
        .replace("[97, 129]", "[100, 129]")
        .replace("[6, 12, 18]", "[6, 12]")
        .replace("top_k_percent: 0.2", "top_k_percent: 0")
    )
    found = find_problems(text=text)
    assert paths_of(found) == [
        "model_options.decoder.atrous_rates",
        "trainer_options.loss_options.semantic_loss.top_k_percent",
        "train_dataset_options.crop_size[0]",
        "eval_dataset_options.crop_size[0]",
        "evaluator_options.nms_kernel",
    ]
    assert [p.line for p in found] == [4, 17, 25, 30, 32]
    assert all(p.source == "t.textproto" for p in found)
    assert all(p.rule for p in found)
    assert all(p.fix for p in found)


# Single fields.


def test_every_scalar_field_has_a_rule():
    scalars = set()
    seen = set()

    def walk(descriptor):
        if descriptor.name in seen:
            return
        seen.add(descriptor.name)
        for field in descriptor.fields:
            key = f"{descriptor.name}.{field.name}"
            if field.message_type is None:
                scalars.add(key)
            elif key not in rules.REFUSED_MESSAGES:
                walk(field.message_type)

    walk(config_pb2.ExperimentOptions.DESCRIPTOR)
    walk(dataset_descriptor_pb2.DatasetDescriptor.DESCRIPTOR)
    assert scalars == set(rules.SCALARS)


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("model_options.backbone.output_stride", [0, 4, 12, 64]),
        ("model_options.backbone.drop_path_keep_prob", [0, 1.5, "nan"]),
        ("model_options.backbone.use_sac_beyond_stride", [0, 5, -2]),
        ("model_options.backbone.stem_width_multiplier", [0, -1, "inf"]),
        ("model_options.decoder.decoder_channels", [0, -1, 10**6]),
        ("trainer_options.seed", [-1]),
        ("trainer_options.steps_per_loop", [0]),
        ("trainer_options.num_checkpoints_to_keep", [0]),
        ("trainer_options.solver_options.base_learning_rate", [0, "nan"]),
        ("trainer_options.solver_options.batchnorm_momentum", [-0.1, 1]),
        ("trainer_options.solver_options.ema_decay", [-0.1, 1]),
        ("trainer_options.solver_options.training_number_of_steps", [0]),
        ("trainer_options.loss_options.center_loss.weight", [-1]),
        ("trainer_options.loss_options.center_loss.top_k_percent", [0, 1.1]),
        ("train_dataset_options.batch_size", [0, -8]),
        ("train_dataset_options.sigma", [0, -1, "inf"]),
        ("train_dataset_options.input_scale_factor", [0, 100]),
        ("train_dataset_options.shuffle_buffer_size", [0]),
        ("train_dataset_options.min_resize_value", [-1]),
        ("evaluator_options.center_score_threshold", [-0.1, 2]),
        ("evaluator_options.eval_steps", [0, -2]),
        ("evaluator_options.continuous_eval_timeout", [-2]),
        ("evaluator_options.eval_scales", [0, -1]),
        ("evaluator_options.stuff_area_limit", [-1]),
    ],
)
def test_a_value_out_of_range_is_reported(find_problems, path, values):
    for value in values:
        text = str(value)
        for part in reversed(path.split(".")):
            text = (
                f"{part}: {text}"
                if text == str(value)
                else (f"{part} {{ {text} }}")
            )
        found = [p for p in find_problems(text) if p.path.startswith(path)]
        assert found, (path, value)
        assert "it must be" in found[0].rule


@pytest.mark.parametrize(
    ("fragment", "nearest"),
    [
        ('model_options { backbone { name: "resnet" } }', "resnet50"),
        (
            'model_options { backbone { name: "mobilenet_v3" } }',
            "mobilenet_v3_",
        ),
        ('model_options { decoder { feature_key: "res6" } }', "res5"),
        (
            'model_options { decoder { decoder_conv_type: "conv" } }',
            "standard_conv",
        ),
        (
            'model_options { backbone { drop_path_schedule: "lin" } }',
            "linear",
        ),
        (
            'trainer_options { solver_options { optimizer: "adm" } }',
            "adam",
        ),
        (
            'trainer_options { solver_options { learning_policy: "step" } }',
            "poly",
        ),
        (
            'trainer_options { compute_precision: "float16" }',
            "bfloat16",
        ),
        ('evaluator_options { raw_panoptic_format: "png" }', "two_channel_png"),
        (
            "train_dataset_options { augmentations { autoaugment_policy_name: "
            '"simple" } }',
            "simple_classification_policy",
        ),
    ],
)
def test_an_unknown_name_lists_the_known_ones(find_problems, fragment, nearest):
    found = [p for p in find_problems(fragment) if "known: " in p.rule]
    assert len(found) == 1
    assert nearest in found[0].rule


# Models.


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
    found = set(paths_of(find_problems(text=text)))
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


# Losses and schedules.


def test_each_output_has_its_own_losses(find_problems):
    found = find_problems(
        "trainer_options { loss_options { semantic_loss { name: 'l1' } "
        "center_loss { name: 'softmax_cross_entropy' } } }"
    )
    assert len(found) == 2
    assert "softmax_cross_entropy" in found[0].rule
    assert "l1 or mse" in found[1].rule


def test_the_warm_up_is_shorter_than_the_training(find_problems):
    (found,) = find_problems(
        "trainer_options { solver_options { "
        "warmup_steps: 100 training_number_of_steps: 100 } }"
    )
    assert found.path == "trainer_options.solver_options.warmup_steps"


def test_summaries_are_written_at_the_end_of_loops(find_problems):
    (found,) = find_problems(
        "trainer_options { save_summaries_steps: 150 steps_per_loop: 100 }"
    )
    assert found.path == "trainer_options.save_summaries_steps"
    assert "save_summaries_steps: 200" in found.fix


def test_a_decay_without_its_optimizer_is_a_warning(find_warnings):
    (found,) = find_warnings(
        "trainer_options { solver_options { adamw_weight_decay: 0.05 } }"
    )
    assert found.path.endswith("adamw_weight_decay")


# Data.


def test_a_wrong_crop_names_the_nearest_legal_sizes(find_problems):
    found = find_problems("train_dataset_options { crop_size: [1024, 2050] }")
    assert paths_of(found) == [
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


def test_an_empty_pattern_is_reported(find_problems):
    assert find_problems("train_dataset_options { file_pattern: '' }")


def test_both_splits_have_the_same_classes(find_problems):
    (found,) = find_problems('eval_dataset_options { dataset: "kitti_step" }')
    assert found.path == "eval_dataset_options.dataset"


def test_another_enlargement_in_evaluation_is_a_warning(find_warnings):
    (found,) = find_warnings("eval_dataset_options { input_scale_factor: 2 }")
    assert found.path == "eval_dataset_options.input_scale_factor"


# Evaluation.


def test_more_centers_than_ids_is_a_warning(find_warnings):
    (found,) = find_warnings("evaluator_options { keep_k_centers: 1000 }")
    assert "at most 999 instances" in found.rule
    assert not find_warnings("evaluator_options { keep_k_centers: 999 }")


def test_the_crop_fits_the_largest_canvas(find_problems):
    (found,) = find_problems("evaluator_options { max_pixels: 1000 }")
    assert "97 x 129" in found.rule
    assert not find_problems("evaluator_options { max_pixels: 0 }")


# What other systems need.


@pytest.mark.parametrize(
    ("fragment", "path"),
    [
        (
            "model_options { motion_deeplab { } }",
            "model_options.motion_deeplab",
        ),
        ("model_options { max_deeplab { } }", "model_options.max_deeplab"),
        ("model_options { vip_deeplab { } }", "model_options.vip_deeplab"),
        (
            "model_options { panoptic_deeplab { instance { "
            "next_regression_head { } } } }",
            "model_options.panoptic_deeplab.instance.next_regression_head",
        ),
        (
            "trainer_options { loss_options { pq_style_loss { weight: 3 } } }",
            "trainer_options.loss_options.pq_style_loss",
        ),
        (
            "train_dataset_options { use_next_frame: true }",
            "train_dataset_options.use_next_frame",
        ),
        (
            "train_dataset_options { use_two_frames: true }",
            "train_dataset_options.use_two_frames",
        ),
        (
            "train_dataset_options { thing_id_mask_annotations: true }",
            "train_dataset_options.thing_id_mask_annotations",
        ),
        (
            'model_options { backbone { pretrained_weights: "x" } }',
            "model_options.backbone.pretrained_weights",
        ),
        (
            "evaluator_options { thing_area_limit: 100 }",
            "evaluator_options.thing_area_limit",
        ),
    ],
)
def test_what_does_not_exist_is_refused_by_name(find_problems, fragment, path):
    (found,) = find_problems(fragment)
    assert found.path == path
    assert "which this package does not have" in found.rule
    assert path in str(found)


def test_a_config_of_another_system_is_refused_in_one_sentence(find_problems):
    text = """
    model_options {
      backbone { name: "kmax_resnet50" }
      decoder { feature_key: "feature_semantic" }
      max_deeplab { auxiliary_semantic_head { output_channels: 134 } }
    }
    trainer_options { loss_options { pq_style_loss { weight: 3 } } }
    train_dataset_options {
      dataset: "scannet"
      thing_id_mask_annotations: true
      augmentations { panoptic_copy_paste { panoptic_copy_paste_scale: 1 } }
    }
    evaluator_options { transformer_post_processing: "maskwise" }
    """
    (found,) = find_problems(text=text)
    assert found.path == "model_options.max_deeplab"
    assert found.line == 5


def test_refused_fields_with_their_default_are_accepted(find_problems):
    assert not find_problems(
        "train_dataset_options { use_next_frame: false } "
        "evaluator_options { thing_area_limit: 0 }"
    )


def test_options_without_effect_are_accepted(find_problems):
    for value in ("true", "false"):
        name = "merge_semantic_and_instance_with_tf_op"
        assert not find_problems(f"evaluator_options {{ {name}: {value} }}")
    assert not find_problems(
        "train_dataset_options { augmentations { autoaugment_policy_name: "
        '"simple_classification_policy_magnitude_scale_0.2" } }'
    )
    assert not find_problems('model_options { initial_checkpoint: "/no" }')


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
