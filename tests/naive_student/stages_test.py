# SPDX-License-Identifier: Apache-2.0
import pytest

from deeplab2_like import config as config_lib
from deeplab2_like import errors
from deeplab2_like.naive_student import stages

_PATH = "semi_supervised { naive_student { %s } }"


def _plan(text, *overrides):
    config = config_lib.parse(text, [_PATH % one for one in overrides])
    return config, stages.plan(config, "runs/1")


def test_each_round_labels_by_the_model_before_and_trains_on_its_labels(
    rounds_config,
):
    _, found = _plan(rounds_config, "rounds: 2")
    assert [(stage.name, stage.source) for stage in found] == [
        ("teacher", ""),
        ("round_1/labels", "teacher"),
        ("round_1/student", "round_1/labels"),
        ("round_2/labels", "round_1/student"),
        ("round_2/student", "round_2/labels"),
        ("fine_tuned", "round_2/student"),
    ]
    is_training = [stage.config is not None for stage in found]
    assert is_training == [True, False, True, False, True, True]
    for stage in found:
        if stage.config is not None:
            assert not stage.config.options.HasField("semi_supervised")


def test_the_teacher_is_trained_as_the_config_says(rounds_config):
    config, found = _plan(rounds_config)
    plain = found[0].config.options
    assert plain.train_dataset_options == config.options.train_dataset_options
    assert plain.trainer_options == config.options.trainer_options
    assert plain.model_options == config.options.model_options


def test_students_mix_pseudo_labels_and_start_as_is_asked(rounds_config):
    _, found = _plan(rounds_config, "pseudo_share: 0.75 rounds: 2")
    for number, teacher in ((2, "teacher"), (4, "round_1/student")):
        options = found[number].config.options
        data = options.train_dataset_options
        labels = found[number].source
        assert list(data.mixed_file_pattern) == [
            f"runs/1/{labels}/pseudo-*.tfrecord"
        ]
        assert data.mixed_share == 0.75
        assert options.model_options.initial_checkpoint == f"runs/1/{teacher}"
        solver = options.trainer_options.solver_options
        assert solver.training_number_of_steps == 3


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("student_start: RANDOM", ""),
        ("student_start: INITIAL_CHECKPOINT", "first/ckpt-1"),
        (
            "student_start: INITIAL_CHECKPOINT student_backbone {"
            ' name: "efficientnet_lite0" use_squeeze_and_excite: false }'
            ' student_initial_checkpoint: "imagenet"',
            "imagenet",
        ),
    ],
)
def test_students_start_from_the_stated_weights(rounds_config, more, expected):
    config = config_lib.parse(
        rounds_config,
        [
            _PATH % more,
            'model_options { initial_checkpoint: "first/ckpt-1" }',
        ],
    )
    student = stages.plan(config, "runs/1")[2].config.options.model_options
    assert student.initial_checkpoint == expected
    name = config.options.model_options.backbone.name
    if "backbone" in more:
        name = "efficientnet_lite0"
    assert student.backbone.name == name


def test_fine_tuning_is_short_slow_and_on_human_labels_only(rounds_config):
    _, found = _plan(rounds_config)
    options = found[-1].config.options
    assert not options.train_dataset_options.mixed_file_pattern
    assert options.model_options.initial_checkpoint == "runs/1/round_1/student"
    solver = options.trainer_options.solver_options
    assert solver.training_number_of_steps == 2
    assert solver.base_learning_rate == pytest.approx(0.001)
    _, found = _plan(rounds_config, "fine_tuning_learning_rate: 0.5")
    solver = found[-1].config.options.trainer_options.solver_options
    assert solver.base_learning_rate == 0.5
    _, found = _plan(rounds_config, "fine_tuning_steps: 0")
    assert found[-1].name == "round_1/student"


def test_the_options_of_labels_are_those_of_the_config(rounds_config):
    config, _ = _plan(
        rounds_config,
        "label_scales: [0.7, 1] class_balance: 0.3 ignore_mask: 'car.png'",
    )
    found = stages.read_label_options(config)
    assert found.scales == (0.7, 1.0)
    assert found.mirrored
    assert found.confidence_threshold == 0.1
    assert found.class_balance == 0.3
    assert found.ignore_mask == "car.png"


@pytest.mark.parametrize(
    ("override", "word"),
    [
        ("semi_supervised { unlabeled_pattern: '' }", "unlabeled_pattern"),
        ("train_dataset_options { mixed_file_pattern: 'a' }", "mixed_file"),
        (_PATH % "rounds: 0", "rounds"),
        (_PATH % "pseudo_share: 1", "pseudo_share"),
        (_PATH % "class_balance: 0", "class_balance"),
        (_PATH % "confidence_threshold: 1", "confidence_threshold"),
        (_PATH % "student_backbone { name: 'resnet50' }", "student_start"),
        (_PATH % "student_initial_checkpoint: 'a'", "for student_backbone"),
    ],
)
def test_what_contradicts_itself_is_refused(rounds_config, override, word):
    with pytest.raises(errors.ConfigError, match=word):
        config_lib.parse(rounds_config, [override])


def test_systems_that_predict_once_are_labelled_by_one_view():
    name = "scenes/panoptic_fpn_mobilenet_v3_small"
    overrides = [
        "semi_supervised { method: NAIVE_STUDENT unlabeled_pattern: 'a' }",
        _PATH % "label_scales: [1]",
    ]
    config_lib.load(name, overrides)
    with pytest.raises(errors.ConfigError, match="predicts each image once"):
        config_lib.load(name, [*overrides, _PATH % "label_mirrored: true"])
