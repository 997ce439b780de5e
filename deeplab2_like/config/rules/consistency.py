# SPDX-License-Identifier: Apache-2.0
"""Rules for consistency between views of images without labels."""

from deeplab2_like.config import names
from deeplab2_like.config.report import Report
from deeplab2_like.protos import config_pb2, semi_supervised_pb2

_PATH = "semi_supervised"
_OPTIONS = f"{_PATH}.consistency"
_METHODS = semi_supervised_pb2.SemiSupervisedOptions
# By number.
_NAMES = {
    _METHODS.MEAN_TEACHER: "MEAN_TEACHER",
    _METHODS.WEAK_TO_STRONG: "WEAK_TO_STRONG",
}
_SMALLEST_DECAY = 0.9


def uses_consistency(options: config_pb2.ExperimentOptions) -> bool:
    """Returns whether training learns from consistency between views."""
    return options.semi_supervised.method in _NAMES


def check(options: config_pb2.ExperimentOptions, report: Report) -> None:
    """Adds the problems of the methods of consistency; see `rules`."""
    semi = options.semi_supervised
    method = _NAMES.get(semi.method)
    if method is None:
        if semi.HasField("consistency"):
            report.warn(
                _OPTIONS,
                "",
                f"{_OPTIONS} has no effect with method "
                f"{_METHODS.Method.Name(semi.method)}",
                f"Write method: {' or '.join(_NAMES.values())}, or remove it.",
            )
        return
    system = options.model_options.WhichOneof("meta_architecture")
    if system and system not in names.SYSTEMS_WITH_VIEWS:
        report.add(
            f"{_PATH}.method",
            method,
            f"{system} finds objects in boxes or grid cells, whose predictions "
            "for two views cannot be compared pixel by pixel",
            "Write method: NAIVE_STUDENT, which learns from pseudo labels, or "
            f"take one of {', '.join(names.SYSTEMS_WITH_VIEWS)}.",
        )
        return
    if not semi.unlabeled_pattern:
        report.add(
            f"{_PATH}.unlabeled_pattern",
            None,
            f"method {method} learns from images without labels",
            "Give a pattern of records or of image files, or a folder.",
        )
    solver = options.trainer_options.solver_options
    if solver.max_replica_batch_size:
        report.add(
            "trainer_options.solver_options.max_replica_batch_size",
            solver.max_replica_batch_size,
            f"method {method} takes the images of a step at once, those "
            "without labels included, and cannot compute them in parts",
            "Write 0, and smaller batches.",
        )
    _check_teacher(options, method, report)
    _check_batch(options, report)
    _check_views(options, report)


def _check_teacher(
    options: config_pb2.ExperimentOptions, method: str, report: Report
) -> None:
    solver = options.trainer_options.solver_options
    path = "trainer_options.solver_options.ema_decay"
    if not solver.ema_decay:
        report.add(
            path,
            solver.ema_decay,
            f"the averaged weights are the teacher of method {method}",
            "Write ema_decay: 0.996, or a higher value for a long training.",
        )
    elif solver.ema_decay < _SMALLEST_DECAY:
        report.warn(
            path,
            solver.ema_decay,
            "a teacher that follows its student so closely repeats the "
            "student's errors",
            "Write ema_decay: 0.99 or above.",
        )


def _check_batch(options: config_pb2.ExperimentOptions, report: Report) -> None:
    chosen = options.semi_supervised.consistency
    labeled = options.train_dataset_options.batch_size
    batch = chosen.batch_size or labeled
    if chosen.cut_mix_probability > 0 and batch % 2:
        field = "batch_size" if chosen.batch_size else "cut_mix_probability"
        given = "" if chosen.batch_size else f" (it is {batch}, as with labels)"
        report.add(
            f"{_OPTIONS}.{field}",
            getattr(chosen, field),
            "boxes are exchanged between pairs of images, so the number of "
            f"images without labels of a step must be even{given}",
            f"Write {_OPTIONS}.batch_size: {batch + 1}, or "
            "cut_mix_probability: 0.",
        )


def _check_views(options: config_pb2.ExperimentOptions, report: Report) -> None:
    chosen = options.semi_supervised.consistency
    if chosen.max_scale < chosen.min_scale:
        report.add(
            f"{_OPTIONS}.max_scale",
            chosen.max_scale,
            f"it must not be below min_scale ({chosen.min_scale:g})",
        )
    if chosen.blur.max_sigma < chosen.blur.min_sigma:
        report.add(
            f"{_OPTIONS}.blur.max_sigma",
            chosen.blur.max_sigma,
            f"it must not be below min_sigma ({chosen.blur.min_sigma:g})",
        )
    model = options.model_options
    has_instances = (
        model.WhichOneof("meta_architecture") == "panoptic_deeplab"
        and model.panoptic_deeplab.instance.enable
    )
    for field in ("center_weight", "offset_weight"):
        if chosen.HasField(field) and not has_instances:
            report.warn(
                f"{_OPTIONS}.{field}",
                getattr(chosen, field),
                "it has no effect: the model has no instance branch",
                "Remove it.",
            )
