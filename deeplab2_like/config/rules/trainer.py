# SPDX-License-Identifier: Apache-2.0
"""Rules for trainer and evaluator options."""

from deeplab2_like.config import names, network_addresses
from deeplab2_like.config.report import Report
from deeplab2_like.config.rules import Datasets
from deeplab2_like.config.rules import classes as class_rules
from deeplab2_like.config.rules import consistency as consistency_rules
from deeplab2_like.config.rules import efficientps as efficientps_rules
from deeplab2_like.config.rules import panoptic_fpn as panoptic_fpn_rules
from deeplab2_like.config.rules import pyramid as pyramid_rules
from deeplab2_like.protos import config_pb2, dataset_pb2, trainer_pb2

_LOSSES = {
    "semantic_loss": names.SEMANTIC_LOSSES,
    "center_loss": names.DENSE_LOSSES,
    "regression_loss": names.DENSE_LOSSES,
}


def check(options: config_pb2.ExperimentOptions, report: Report) -> None:
    """Adds the problems of trainer_options to a report; see `rules`."""
    trainer = options.trainer_options
    path = "trainer_options"
    loop = trainer.steps_per_loop
    if loop > 0 and trainer.save_summaries_steps % loop:
        summaries = trainer.save_summaries_steps
        above = -(-summaries // loop) * loop
        report.add(
            f"{path}.save_summaries_steps",
            summaries,
            f"it must be a multiple of steps_per_loop ({loop})",
            f"Write save_summaries_steps: {above}, or a steps_per_loop that "
            "divides it.",
        )
    solver = trainer.solver_options
    _check_solver(solver, f"{path}.solver_options", report)
    is_frozen = options.model_options.backbone.freeze_backbone
    if is_frozen and solver.HasField("backbone_learning_rate_multiplier"):
        report.warn(
            f"{path}.solver_options.backbone_learning_rate_multiplier",
            solver.backbone_learning_rate_multiplier,
            "it has no effect with model_options.backbone.freeze_backbone",
            "Remove one of the two.",
        )
    _check_early_stopping(options, report)
    _check_data_service(options, report)
    _check_losses(options, report)


def _check_data_service(
    options: config_pb2.ExperimentOptions, report: Report
) -> None:
    """Checks the address of a tf.data service and what it excludes."""
    data = options.train_dataset_options
    address = data.data_service_address
    if not address:
        return
    path = "train_dataset_options.data_service_address"
    if network_addresses.split(address) is None:
        report.add(
            path,
            repr(address),
            "it must be the host and port of a dispatcher",
            'Write it as "host:5050".',
        )
    others = {
        "trainer_options.deterministic": options.trainer_options.deterministic,
        "train_dataset_options.on_damage: SKIP": (
            data.on_damage == dataset_pb2.SKIP
        ),
        "train_dataset_options.mixed_file_pattern": bool(
            data.mixed_file_pattern
        ),
        "semi_supervised": consistency_rules.uses_consistency(options),
    }
    for other, is_set in others.items():
        if is_set:
            report.add(
                path,
                repr(address),
                "a service gives batches of one set of records in no fixed "
                f"order, without reports, and so not with {other}",
                "Remove one of the two.",
            )


def _check_early_stopping(
    options: config_pb2.ExperimentOptions, report: Report
) -> None:
    """Warns of early stopping that cannot act."""
    evaluations = options.trainer_options.early_stopping_evaluations
    if evaluations <= 0:
        return
    path = "trainer_options.early_stopping_evaluations"
    if not options.eval_dataset_options.decode_groundtruth_label:
        report.warn(
            path,
            evaluations,
            "it has no effect where eval_dataset_options has "
            "decode_groundtruth_label: false, as nothing is scored",
            "Remove one of the two.",
        )
        return
    steps = options.trainer_options.solver_options.training_number_of_steps
    interval = options.evaluator_options.eval_interval
    # The first evaluation sets the score, the last one ends the training.
    if interval > 0 and steps > 0 and (evaluations + 1) * interval >= steps:
        report.warn(
            path,
            evaluations,
            "it has no effect, as training ends by itself before so many "
            f"evaluations (training_number_of_steps {steps}, "
            f"evaluator_options.eval_interval {interval})",
            "Lower it or eval_interval, or train longer.",
        )


def _check_solver(
    solver: trainer_pb2.SolverOptions, path: str, report: Report
) -> None:
    steps = solver.training_number_of_steps
    if steps > 0 and solver.warmup_steps >= steps:
        report.add(
            f"{path}.warmup_steps",
            solver.warmup_steps,
            f"it must be less than training_number_of_steps ({steps})",
            "Shorten the warm-up or train longer.",
        )
    if solver.poly_end_learning_rate > solver.base_learning_rate > 0:
        report.add(
            f"{path}.poly_end_learning_rate",
            solver.poly_end_learning_rate,
            "it must not be above base_learning_rate "
            f"({solver.base_learning_rate:g})",
        )
    if solver.adamw_weight_decay > 0 and solver.optimizer != "adamw":
        report.warn(
            f"{path}.adamw_weight_decay",
            solver.adamw_weight_decay,
            f'it has no effect with optimizer "{solver.optimizer}"',
            'Write optimizer: "adamw" or use weight_decay.',
        )


def _check_losses(
    options: config_pb2.ExperimentOptions, report: Report
) -> None:
    model = options.model_options
    kind = model.WhichOneof("meta_architecture")
    if kind not in names.META_ARCHITECTURES:
        return
    if kind == "panoptic_fpn":
        panoptic_fpn_rules.check_losses(options, report)
        return
    if kind == "efficientps":
        efficientps_rules.check_losses(options, report)
        return
    losses = options.trainer_options.loss_options
    path = "trainer_options.loss_options"
    for name in pyramid_rules.OWN_LOSSES:
        if losses.HasField(name):
            report.warn(
                f"{path}.{name}",
                "",
                f"{path}.{name} has no effect on {kind}",
                "Remove it.",
            )
    has_instances = (
        kind == "panoptic_deeplab" and model.panoptic_deeplab.instance.enable
    )
    for name, allowed in _LOSSES.items():
        needed = name == "semantic_loss" or has_instances
        if not losses.HasField(name):
            if needed:
                report.add(
                    f"{path}.{name}",
                    None,
                    "the model has this output, so it needs its loss",
                    f'Add {name} {{ name: "{allowed[-1]}" }}.',
                )
            continue
        loss = getattr(losses, name)
        if not loss.name:
            known = " or ".join(allowed)
            report.add(f"{path}.{name}.name", None, f"it must be {known}")
        elif loss.name not in allowed and not report.blames(f"{path}.{name}"):
            report.add(
                f"{path}.{name}.name",
                loss.name,
                f"for this output it must be {' or '.join(allowed)}",
            )
        if not needed:
            report.warn(
                f"{path}.{name}",
                "",
                f"{path}.{name} has no effect: the model has no instance "
                "branch",
                "Remove it.",
            )


def check_evaluator(
    options: config_pb2.ExperimentOptions, datasets: Datasets, report: Report
) -> None:
    """Adds the problems of evaluator_options to a report; see `rules`."""
    evaluator = options.evaluator_options
    path = "evaluator_options"
    descriptor = datasets.get(options.eval_dataset_options.dataset)
    field, given, most = _limit_of_instances(options)
    limit = descriptor.label_divisor if descriptor else 0
    if descriptor:
        class_rules.check_raw_instances(
            evaluator, min(most, limit - 1), field, report
        )
    if descriptor and most >= limit:
        report.warn(
            field,
            given,
            f'a class of "{descriptor.name}" has ids for at most {limit - 1} '
            f"instances (label_divisor {limit}); of more, those of lowest "
            "score become void",
            f"Write {field.rpartition('.')[2]}: {limit - 1} to avoid it.",
        )
    crop = list(options.eval_dataset_options.crop_size)
    area = crop[0] * crop[1] if len(crop) == 2 else 0
    if 0 < evaluator.max_pixels < area:
        report.add(
            f"{path}.max_pixels",
            evaluator.max_pixels,
            f"the evaluation crop {crop[0]} x {crop[1]} alone has {area}",
            "Raise it, or write 0 for no limit.",
        )


def _limit_of_instances(
    options: config_pb2.ExperimentOptions,
) -> tuple[str, int, int]:
    """Returns the field that limits the instances, its value and the limit."""
    model = options.model_options
    system = model.WhichOneof("meta_architecture")
    if system == "panoptic_deeplab":
        given = options.evaluator_options.keep_k_centers
        most = given if given > 0 else names.MAX_CENTERS
        if not model.panoptic_deeplab.instance.enable:
            most = 0
        return "evaluator_options.keep_k_centers", given, most
    if system == "panoptic_fpn":
        branch = "instance"
    elif system == "efficientps":
        branch = model.efficientps.WhichOneof("instance")
    else:
        branch = None
    if branch is None:
        return "", 0, 0
    count = getattr(getattr(model, system), branch).max_detections
    return f"model_options.{system}.{branch}.max_detections", count, count
