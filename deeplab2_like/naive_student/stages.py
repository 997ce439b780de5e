# SPDX-License-Identifier: Apache-2.0
"""The stages that one config describes, and the config of each; no TensorFlow.

Naive-Student (Chen et al., ECCV 2020, arXiv:2005.10266): a teacher, then in
each round pseudo labels and a student, then fine-tuning on human labels.
Differences from the paper: the views, the mix and the start of students are
options, and students may keep the size of the teacher.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable

from google.protobuf import text_format

from deeplab2_like import config as config_lib
from deeplab2_like.config import decimals
from deeplab2_like.naive_student.label_options import LabelOptions
from deeplab2_like.protos import (
    config_pb2,
    model_pb2,
    naive_student_pb2,
    semi_supervised_pb2,
)
from deeplab2_like.storage import user_paths

TEACHER, FINE_TUNED = "teacher", "fine_tuned"
_SLOWER = 0.1
_Change = Callable[[config_pb2.ExperimentOptions], None]


@dataclasses.dataclass(frozen=True)
class Stage:
    """A part of the rounds, with a folder of its own.

    Attributes:
        name: Its folder below that of the rounds.
        config: Config of a training; None where images are labelled.
        source: Stage that it is made of: the model that labels, the labels
            that are learned from or the model that is fine-tuned; "" for the
            first teacher.
    """

    name: str
    config: config_lib.Config | None = None
    source: str = ""


def name_labels(number: int) -> str:
    """Returns the stage of the labels of a round, counted from 1."""
    return f"round_{number}/labels"


def name_student(number: int) -> str:
    """Returns the stage of the student of a round, counted from 1."""
    return f"round_{number}/student"


def is_described(config: config_lib.Config) -> bool:
    """Returns whether a config describes rounds."""
    method = semi_supervised_pb2.SemiSupervisedOptions.NAIVE_STUDENT
    return config.options.semi_supervised.method == method


def read_label_options(config: config_lib.Config) -> LabelOptions:
    """Returns how the images of a config with rounds are labelled.

    Raises:
        ConfigError: A value is not allowed.
    """
    student = config.options.semi_supervised.naive_student
    return LabelOptions(
        scales=tuple(map(decimals.read_decimal, student.label_scales)),
        mirrored=student.label_mirrored,
        confidence_threshold=decimals.read_decimal(
            student.confidence_threshold
        ),
        class_balance=decimals.read_decimal(student.class_balance),
        ignore_mask=student.ignore_mask,
    )


def plan(config: config_lib.Config, model_dir: str) -> list[Stage]:
    """Lists the stages of a config, in their order.

    Args:
        config: A checked config with method NAIVE_STUDENT.
        model_dir: Folder of the rounds.

    Raises:
        InvalidConfigError: The config of a stage has problems.
    """
    student = config.options.semi_supervised.naive_student
    found = [Stage(TEACHER, _derive(config, lambda _: None))]
    for number in range(1, student.rounds + 1):
        teacher = found[-1].name
        labels = name_labels(number)
        found.append(Stage(labels, source=teacher))

        def change(
            options: config_pb2.ExperimentOptions,
            labels: str = labels,
            teacher: str = teacher,
        ) -> None:
            _make_student(
                options,
                student,
                os.path.join(model_dir, labels),
                os.path.join(model_dir, teacher),
            )

        found.append(
            Stage(name_student(number), _derive(config, change), labels)
        )
    if student.fine_tuning_steps:
        last = found[-1].name

        def fine_tune(options: config_pb2.ExperimentOptions) -> None:
            _make_fine_tuned(options, student, os.path.join(model_dir, last))

        found.append(Stage(FINE_TUNED, _derive(config, fine_tune), last))
    return found


def _derive(config: config_lib.Config, change: _Change) -> config_lib.Config:
    """Returns the config of a training, checked."""
    options = config_pb2.ExperimentOptions()
    options.CopyFrom(config.options)
    options.ClearField("semi_supervised")
    change(options)
    return config_lib.parse(
        text_format.MessageToString(options), source=config.path
    )


def _use_backbone(
    options: config_pb2.ExperimentOptions,
    student: naive_student_pb2.NaiveStudentOptions,
) -> None:
    if student.HasField("student_backbone"):
        options.model_options.backbone.MergeFrom(student.student_backbone)


def _start_from(model: model_pb2.ModelOptions, folder: str) -> None:
    """Starts from all weights of another training."""
    model.initial_checkpoint = folder
    model.restore_semantic_last_layer_from_initial_checkpoint = True
    model.restore_instance_last_layer_from_initial_checkpoint = True


def _make_student(
    options: config_pb2.ExperimentOptions,
    student: naive_student_pb2.NaiveStudentOptions,
    labels: str,
    teacher: str,
) -> None:
    model = options.model_options
    if student.student_start == naive_student_pb2.TEACHER:
        _start_from(model, teacher)
    elif student.student_start == naive_student_pb2.RANDOM:
        model.initial_checkpoint = ""
    elif student.HasField("student_backbone"):
        model.initial_checkpoint = student.student_initial_checkpoint
    _use_backbone(options, student)
    data = options.train_dataset_options
    split = user_paths.escape_pattern(os.path.join(labels, "pseudo"))
    data.mixed_file_pattern.append(f"{split}-*.tfrecord")
    data.mixed_share = student.pseudo_share
    if student.student_steps:
        solver = options.trainer_options.solver_options
        solver.training_number_of_steps = student.student_steps


def _make_fine_tuned(
    options: config_pb2.ExperimentOptions,
    student: naive_student_pb2.NaiveStudentOptions,
    folder: str,
) -> None:
    _use_backbone(options, student)
    _start_from(options.model_options, folder)
    solver = options.trainer_options.solver_options
    steps = student.fine_tuning_steps
    solver.training_number_of_steps = steps
    solver.warmup_steps = min(solver.warmup_steps, steps // 10)
    solver.base_learning_rate = (
        student.fine_tuning_learning_rate or _SLOWER * solver.base_learning_rate
    )


def find_folder(model_dir: str, stage: str) -> pathlib.Path:
    """Returns the folder of a stage."""
    return pathlib.Path(model_dir) / stage
