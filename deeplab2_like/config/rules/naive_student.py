# SPDX-License-Identifier: Apache-2.0
"""Rules for the rounds of teacher and student."""

from deeplab2_like.config import names
from deeplab2_like.config.report import Report
from deeplab2_like.protos import (
    config_pb2,
    naive_student_pb2,
    semi_supervised_pb2,
)

_SEMI = "semi_supervised"
_PATH = f"{_SEMI}.naive_student"


def check(options: config_pb2.ExperimentOptions, report: Report) -> None:
    """Adds the problems of method NAIVE_STUDENT to a report; see `rules`."""
    semi = options.semi_supervised
    if semi.method != semi_supervised_pb2.SemiSupervisedOptions.NAIVE_STUDENT:
        return
    if not semi.unlabeled_pattern:
        report.add(
            f"{_SEMI}.unlabeled_pattern",
            None,
            "method NAIVE_STUDENT labels images without labels",
            "Give the folder of these images, or a pattern of image files, "
            "TFRecords or videos.",
        )
    if options.train_dataset_options.mixed_file_pattern:
        report.add(
            "train_dataset_options.mixed_file_pattern",
            list(options.train_dataset_options.mixed_file_pattern),
            "method NAIVE_STUDENT sets it to the pseudo labels of each round",
            "Remove the field.",
        )
    student = semi.naive_student
    _check_views(options, student, report)
    _check_start(student, report)
    if student.fine_tuning_learning_rate and not student.fine_tuning_steps:
        report.warn(
            f"{_PATH}.fine_tuning_learning_rate",
            student.fine_tuning_learning_rate,
            "it has no effect without fine_tuning_steps",
            "Set fine_tuning_steps, or remove the field.",
        )


def _check_views(
    options: config_pb2.ExperimentOptions,
    student: naive_student_pb2.NaiveStudentOptions,
    report: Report,
) -> None:
    system = options.model_options.WhichOneof("meta_architecture")
    has_views = student.label_mirrored or list(student.label_scales) not in (
        [],
        [1.0],
    )
    if has_views and system not in names.SYSTEMS_WITH_VIEWS:
        field = "label_mirrored" if student.label_mirrored else "label_scales"
        report.add(
            f"{_PATH}.{field}",
            getattr(student, field),
            f"{system} predicts each image once: objects of several views "
            "cannot be averaged",
            "Remove the field.",
        )
    if student.HasField("class_balance") and not student.class_balance:
        report.add(
            f"{_PATH}.class_balance",
            0.0,
            "no pixel would keep its label",
            "Give a share above 0, or remove the field: 1 keeps all.",
        )


def _check_start(
    student: naive_student_pb2.NaiveStudentOptions, report: Report
) -> None:
    is_other = student.HasField("student_backbone")
    if is_other and student.student_start == naive_student_pb2.TEACHER:
        report.add(
            f"{_PATH}.student_start",
            "TEACHER",
            "weights of the teacher do not fit another backbone",
            "Set INITIAL_CHECKPOINT or RANDOM, or remove student_backbone.",
        )
    if student.student_initial_checkpoint and (
        not is_other
        or student.student_start != naive_student_pb2.INITIAL_CHECKPOINT
    ):
        report.add(
            f"{_PATH}.student_initial_checkpoint",
            student.student_initial_checkpoint,
            "it is for student_backbone with student_start INITIAL_CHECKPOINT",
            "Remove the field; a student with the teacher's backbone starts "
            "from model_options.initial_checkpoint.",
        )
