# SPDX-License-Identifier: Apache-2.0
"""The rules of single fields, and what is refused."""

import pytest

from deeplab2_like.config.rules import fields as field_rules
from deeplab2_like.protos import config_pb2, dataset_descriptor_pb2


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
            elif key not in field_rules.REFUSED_MESSAGES:
                walk(field.message_type)

    walk(config_pb2.ExperimentOptions.DESCRIPTOR)
    walk(dataset_descriptor_pb2.DatasetDescriptor.DESCRIPTOR)
    assert scalars == set(field_rules.SCALARS)


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
