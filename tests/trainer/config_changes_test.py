# SPDX-License-Identifier: Apache-2.0
import pytest
from google.protobuf import text_format

from deeplab2_like.config.rules import fields as field_rules
from deeplab2_like.protos import config_pb2
from deeplab2_like.trainer import config_changes

_RATE = "trainer_options.solver_options.base_learning_rate"


def _walk(descriptor, prefix=""):
    for field in descriptor.fields:
        path = prefix + field.name
        key = f"{descriptor.name}.{field.name}"
        if field.message_type is None:
            yield path
        elif key not in field_rules.REFUSED_MESSAGES:
            yield from _walk(field.message_type, f"{path}.")


def test_every_field_of_the_schema_is_classified():
    paths = list(_walk(config_pb2.ExperimentOptions.DESCRIPTOR))
    assert len(paths) > 150
    missing = [p for p in paths if config_changes.find_reason(p) is None]
    assert not missing, "Add them to a list in config_changes.py."


def test_every_listed_path_exists_and_has_a_reason():
    paths = list(_walk(config_pb2.ExperimentOptions.DESCRIPTOR))
    lists = (
        config_changes.FREE,
        config_changes.FREE_UPWARDS,
        config_changes.FIXED,
    )
    for known in lists:
        for path, reason in known.items():
            assert reason
            assert any(p == path or p.startswith(f"{path}.") for p in paths), (
                path
            )
    # Messages that only training uses are listed field by field.
    for message in ("trainer_options", "train_dataset_options"):
        assert not any(message in known for known in lists)


def _parse(text):
    return text_format.Parse(text, config_pb2.ExperimentOptions())


def _compare(old, new):
    return config_changes.compare_configs(_parse(old), _parse(new))


_SOLVER = "trainer_options {{ solver_options {{ {} }} }}"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            "trainer_options { save_summaries_steps: 10 }",
            "trainer_options { save_summaries_steps: 20 steps_per_loop: 5 "
            "num_checkpoints_to_keep: 1 keep_optimizer: LAST "
            "early_stopping_evaluations: 3 }",
        ),
        ("experiment_name: 'a'", "experiment_name: 'b'"),
        (
            "train_dataset_options { shuffle_buffer_size: 10 }",
            "train_dataset_options { file_pattern: 'x' }",
        ),
        ("", "evaluator_options { eval_scales: [0.5, 1] nms_kernel: 3 }"),
        (
            "eval_dataset_options { crop_size: [65, 65] }",
            "eval_dataset_options { crop_size: [129, 65] batch_size: 3 }",
        ),
        (
            "model_options { panoptic_fpn { instance { "
            "merge_score_threshold: 0.4 } } }",
            "model_options { panoptic_fpn { instance { max_detections: 50 } } "
            "backbone { recompute: true } }",
        ),
        # What is not set has its default.
        (_SOLVER.format("weight_decay: 0"), _SOLVER.format("")),
        ("", "trainer_options { seed: 0 compute_precision: 'float32' }"),
    ],
)
def test_what_changes_no_variable_and_no_meaning_is_free(old, new):
    assert _compare(old, new) == ([], [])
    assert _compare(new, old) == ([], [])


def test_training_may_become_longer_not_shorter():
    short, long = (
        _SOLVER.format(f"training_number_of_steps: {n}") for n in (100, 160)
    )
    line = (
        "trainer_options.solver_options.training_number_of_steps: was {}, is "
        "now {}"
    )
    assert _compare(short, long) == ([], [line.format(100, 160)])
    assert _compare(long, short) == ([line.format(160, 100)], [])


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            _SOLVER.format("base_learning_rate: 0.003"),
            _SOLVER.format("base_learning_rate: 0.0005"),
            f"{_RATE}: was 0.003, is now 0.0005",
        ),
        (
            "",
            _SOLVER.format("backbone_learning_rate_multiplier: 1"),
            "trainer_options.solver_options.backbone_learning_rate_multiplier:"
            " was not set, is now 1",
        ),
        (
            "train_dataset_options { padding_mode: REFLECT }",
            "",
            "train_dataset_options.padding_mode: was REFLECT, is now CONSTANT",
        ),
        (
            "model_options { panoptic_fpn { instance { channels: 32 } } }",
            "model_options { panoptic_fpn { instance { channels: 64 } } }",
            "model_options.panoptic_fpn.instance.channels: was 32, is now 64",
        ),
        (
            "train_dataset_options { crop_size: [65, 65] }",
            "train_dataset_options { crop_size: [65] }",
            "train_dataset_options.crop_size[1]: was 65, is now not set",
        ),
    ],
)
def test_other_changes_are_named_as_they_were_written(old, new, line):
    assert _compare(old, new) == ([line], [])


def test_another_choice_of_system_is_a_change_even_if_empty():
    fixed, _ = _compare(
        "model_options { efficientps { solov2 { } } }",
        "model_options { efficientps { mask_rcnn { } } }",
    )
    assert len(fixed) == 2


_DATASET = """
name: "mine"
classes { name: "ground" color: [1, 2, 3] }
classes { name: "car" is_thing: true }
label_divisor: 1000
"""


@pytest.mark.parametrize(
    ("old", "new", "is_equal"),
    [
        ("label_divisor: 1000", "label_divisor:1000 # a comment", True),
        ("[1, 2, 3]", "[9, 9, 9]", True),
        ('name: "mine"', 'name: "mine" description: "of today"', True),
        ('"car"', '"bus"', False),
        ("is_thing: true", "is_thing: false", False),
        ("label_divisor: 1000", "label_divisor: 256", False),
        ("label_divisor: 1000", "label_divisor: none", False),
    ],
)
def test_descriptors_are_compared_by_their_labels(old, new, is_equal):
    other = _DATASET.replace(old, new)
    assert other != _DATASET
    assert config_changes.has_equal_labels(_DATASET, other) == is_equal
