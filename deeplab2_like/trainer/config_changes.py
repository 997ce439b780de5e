# SPDX-License-Identifier: Apache-2.0
"""The changes of a config with which a run may simply continue.

Every field of the schema is in one of the lists below, itself or the message
around it; a test checks that. A field that is not fixed changes neither a
variable of the checkpoint nor the meaning of the training.
"""

from typing import Any

from google.protobuf import text_format

from deeplab2_like.config import report
from deeplab2_like.protos import config_pb2, dataset_descriptor_pb2

_OBJECTS = "acts on the objects that inference finds, not on training"
_PIECES = "where the records are; which data set it is says `dataset`"
_START = "acts at the start of a run only"
_BRANCHES = (
    "model_options.panoptic_fpn.instance",
    "model_options.efficientps.mask_rcnn",
)
_GRID_BRANCH = "model_options.efficientps.solov2"

# Path of a field, or of a message -> why it may change. The longest path in
# any of the lists counts.
FREE: dict[str, str] = {
    "experiment_name": "a text for logs",
    "evaluator_options": "acts on evaluation only",
    "eval_dataset_options": "the images of evaluation",
    "trainer_options.num_checkpoints_to_keep": "what stays on disk",
    "trainer_options.save_checkpoints_steps": "when the state is saved",
    "trainer_options.save_summaries_steps": "when summaries are written",
    "trainer_options.steps_per_loop": "when Python gets control",
    "trainer_options.keep_optimizer": "what stays on disk",
    "trainer_options.early_stopping_evaluations": "when training ends",
    "trainer_options.async_checkpoints": "how the state is saved",
    "trainer_options.watchdog": "when a run that hangs ends",
    "trainer_options.solver_options.max_replica_batch_size": (
        "memory of a replica, so that a run fits other machines"
    ),
    "train_dataset_options.file_pattern": _PIECES,
    "train_dataset_options.mixed_file_pattern": _PIECES,
    "trainer_options.compile_step": "who computes, with equal results",
    "train_dataset_options.data_service_address": "who prepares the batches",
    "train_dataset_options.shuffle_buffer_size": "records held in memory",
    "train_dataset_options.on_damage": "whether damaged images stop training",
    "train_dataset_options.max_thing_id": "is read without effect",
    "train_dataset_options.pad_to_multiple_of": "acts on evaluation only",
    "semi_supervised.unlabeled_pattern": "where images without labels are",
    "model_options.initial_checkpoint": _START,
    "model_options.restore_semantic_last_layer_from_initial_checkpoint": _START,
    "model_options.restore_instance_last_layer_from_initial_checkpoint": _START,
    "model_options.backbone.recompute": "memory against time, equal results",
    **{
        f"{branch}.{name}": _OBJECTS
        for branch in _BRANCHES
        for name in (
            "level_proposals",
            "detection_score_threshold",
            "max_detections",
            "merge_score_threshold",
            "merge_overlap_threshold",
        )
    },
    **{
        f"{_GRID_BRANCH}.{name}": _OBJECTS
        for name in (
            "cell_score_threshold",
            "candidates",
            "decay",
            "detection_score_threshold",
            "max_detections",
            "merge_score_threshold",
            "merge_overlap_threshold",
            "smallest_mask",
        )
    },
    "model_options.efficientps.mask_logit_scale": _OBJECTS,
}

# Fields that may become larger.
FREE_UPWARDS: dict[str, str] = {
    "trainer_options.solver_options.training_number_of_steps": (
        "trains on, with the learning rate of the longer schedule"
    ),
}

# Path of a field or message -> what a change would change.
FIXED: dict[str, str] = {
    "model_options": "variables, or what they mean",
    "trainer_options.loss_options": "what is learned",
    "trainer_options.solver_options": "how it is learned",
    "trainer_options.seed": "order and augmentation of the images",
    "trainer_options.deterministic": "whether the run can be repeated",
    "trainer_options.compute_precision": "the numbers that are computed",
    "semi_supervised": "what is learned from images without labels",
    "train_dataset_options.dataset": "the classes",
    "train_dataset_options.batch_size": "how it is learned",
    "train_dataset_options.crop_size": "what is learned from",
    "train_dataset_options.min_resize_value": "what is learned from",
    "train_dataset_options.max_resize_value": "what is learned from",
    "train_dataset_options.resize_factor": "what is learned from",
    "train_dataset_options.augmentations": "what is learned from",
    "train_dataset_options.sigma": "what is learned",
    "train_dataset_options.increase_small_instance_weights": "the losses",
    "train_dataset_options.small_instance_threshold": "the losses",
    "train_dataset_options.small_instance_weight": "the losses",
    "train_dataset_options.use_two_frames": "what is learned from",
    "train_dataset_options.use_next_frame": "what is learned from",
    "train_dataset_options.cameras_to_use": "what is learned from",
    "train_dataset_options.decode_groundtruth_label": "what is learned from",
    "train_dataset_options.thing_id_mask_annotations": "what is learned",
    "train_dataset_options.input_scale_factor": "what is learned from",
    "train_dataset_options.padding_mode": "what is learned from",
    "train_dataset_options.canvas_remainder": "what is learned from",
    "train_dataset_options.padding_color": "what is learned from",
    "train_dataset_options.mixed_share": "what is learned from",
}

# Set to its default, the field still makes a group of variables of its own.
_PRESENCE_COUNTS = (
    "trainer_options.solver_options.backbone_learning_rate_multiplier",
)
# Fields of a data set descriptor that neither labels nor metrics depend on.
_FREE_OF_DESCRIPTORS = ("alias", "description")
_FREE_OF_CLASSES = ("color",)


def find_reason(path: str) -> tuple[str, str] | None:
    """Returns the list that a field is in, and the reason.

    Args:
        path: Path of the field; numbers of list items are left out.

    Returns:
        "free", "upwards" or "fixed", and the reason; None for a field that is
        in no list.
    """
    found: tuple[int, str, str] | None = None
    lists = (("free", FREE), ("upwards", FREE_UPWARDS), ("fixed", FIXED))
    for kind, reasons in lists:
        for known, reason in reasons.items():
            if path == known or path.startswith((f"{known}.", f"{known}[")):
                found = max(found or (0, "", ""), (len(known), kind, reason))
    return found[1:] if found else None


def compare_configs(
    old: config_pb2.ExperimentOptions, new: config_pb2.ExperimentOptions
) -> tuple[list[str], list[str]]:
    """Compares the config of a run with another one.

    Args:
        old: The config that made the run.
        new: The config to continue with.

    Returns:
        The differences that matter for continuing, and the others that change
        the training; a line for each.
    """
    before, after = _list_values(old), _list_values(new)
    fixed, free = [], []
    for path in sorted({*before, *after}):
        a, b = before.get(path), after.get(path)
        a, b = _with_default(a, b, path), _with_default(b, a, path)
        if a == b:
            continue
        kind, _ = find_reason(path) or ("fixed", "")
        field, _ = after.get(path) or before[path]
        line = f"{path}: was {_show(a, field)}, is now {_show(b, field)}"
        is_longer = kind == "upwards" and _number(b) > _number(a)
        if is_longer:
            free.append(line)
        elif kind != "free":
            fixed.append(line)
    return fixed, free


def has_equal_labels(old: str, new: str) -> bool:
    """Returns whether two texts describe a data set with the same labels.

    Comments, order of the fields, colors, alias and description may differ.

    Args:
        old: Text of a descriptor.
        new: Text of another one.
    """
    try:
        return _parse_descriptor(old) == _parse_descriptor(new)
    except text_format.ParseError:
        return old == new


def _parse_descriptor(text: str) -> dataset_descriptor_pb2.DatasetDescriptor:
    proto = dataset_descriptor_pb2.DatasetDescriptor()
    text_format.Parse(text, proto)
    for name in _FREE_OF_DESCRIPTORS:
        proto.ClearField(name)
    for entry in proto.classes:
        for name in _FREE_OF_CLASSES:
            entry.ClearField(name)
    return proto


def _list_values(
    options: config_pb2.ExperimentOptions,
) -> dict[str, tuple[Any, Any]]:
    """Returns (field, value) of all that is set, by path.

    Of a choice between messages the chosen one is listed, too.
    """
    found: dict[str, tuple[Any, Any]] = {}
    for path, _, field, value in report.iterate_fields(options):
        if field.message_type is None:
            found[path] = field, value
        elif field.containing_oneof is not None:
            found[path] = field, "set"
    return found


def _with_default(
    entry: tuple[Any, Any] | None, other: tuple[Any, Any] | None, path: str
) -> Any:
    """Returns a value; that of a field that is not set is its default."""
    if entry is not None:
        return entry[1]
    field = other[0] if other else None
    if field is None or path in _PRESENCE_COUNTS or not field.has_default_value:
        return None
    return field.default_value


def _show(value: Any, field: Any) -> str:
    if value is None:
        return "not set"
    if field.enum_type is not None:
        return str(field.enum_type.values_by_number[value].name)
    return report.show(value) or '""'


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
