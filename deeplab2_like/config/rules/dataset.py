# SPDX-License-Identifier: Apache-2.0
"""Rules for data set options and descriptors."""

from deeplab2_like.config import sizes
from deeplab2_like.config.report import Report
from deeplab2_like.config.rules import Datasets
from deeplab2_like.protos import (
    config_pb2,
    dataset_descriptor_pb2,
    dataset_pb2,
)

_TRAIN = "train_dataset_options"
_EVAL = "eval_dataset_options"
_SIDES = ("height", "width")
_MAX_ID = 2**31 - 1
_CHANNELS_OF_COLOR = 3
# Systems whose canvas may be k * output_stride.
_ANY_REMAINDER = ("panoptic_fpn",)


def complete(options: dataset_pb2.DatasetOptions) -> None:
    """Repeats a single crop_size value, which stands for both sides."""
    if len(options.crop_size) == 1:
        options.crop_size.append(options.crop_size[0])


def check(
    options: config_pb2.ExperimentOptions, name: str, report: Report
) -> None:
    """Adds the problems of one split to a report; see `rules`.

    The `name` is "train_dataset_options" or "eval_dataset_options".
    """
    if not options.HasField(name):
        why = (
            "its crop_size fixes the pooling of the ASPP"
            if name == _TRAIN
            else "its crop_size is the canvas of evaluation and export"
        )
        fix = f"Add {name} {{ dataset: ... crop_size: [HEIGHT, WIDTH] }}."
        report.add(name, None, why, fix)
        return
    split = getattr(options, name)
    if not split.dataset:
        fix = "Name a shipped descriptor or the path of your own."
        report.add(f"{name}.dataset", None, "it is required", fix)
    stride = options.model_options.backbone.output_stride
    _check_crop(split, name, stride, report)
    for field in ("min_resize_value", "max_resize_value"):
        values = list(getattr(split, field))
        if len(values) > len(_SIDES):
            rule = "it has one value or two, height and width"
            report.add(f"{name}.{field}", values, rule)
    _check_patterns(split, name, report)
    _check_scales(split.augmentations, f"{name}.augmentations", report)
    _check_padding(split, name, stride, report)
    _check_color(split, name, report)
    system = options.model_options.WhichOneof("meta_architecture")
    if split.canvas_remainder != 1 and system not in _ANY_REMAINDER:
        report.add(
            f"{name}.canvas_remainder",
            split.canvas_remainder,
            f"{system} keeps corners on corners, which needs a remainder of 1",
            "Remove the field; 0 is for panoptic_fpn.",
        )
    if name == _EVAL and split.on_damage != dataset_pb2.FAIL:
        report.add(
            f"{name}.on_damage",
            dataset_pb2.OnDamage.Name(split.on_damage),
            "scores are of all images of a split",
            "Remove the field here; it belongs to train_dataset_options.",
        )


def _check_patterns(
    split: dataset_pb2.DatasetOptions, name: str, report: Report
) -> None:
    for field in ("file_pattern", "mixed_file_pattern"):
        for index, pattern in enumerate(getattr(split, field)):
            if not pattern:
                report.add(
                    f"{name}.{field}[{index}]",
                    '""',
                    "an empty pattern matches nothing",
                    "Write a glob pattern of TFRecord files or remove the "
                    "field.",
                )
    if name == _EVAL and split.mixed_file_pattern:
        report.add(
            f"{name}.mixed_file_pattern",
            list(split.mixed_file_pattern),
            "scores are of the images of file_pattern only",
            "Remove the field here; it belongs to train_dataset_options.",
        )


def _check_crop(
    split: dataset_pb2.DatasetOptions, name: str, stride: int, report: Report
) -> None:
    path = f"{name}.crop_size"
    crop = list(split.crop_size)
    if not crop:
        fix = "Write crop_size: [HEIGHT, WIDTH]."
        report.add(path, None, "it is required", fix)
    elif len(crop) > len(_SIDES):
        report.add(path, crop, "it has two values, height and width")
    elif stride > 0:
        for index, (side, size) in enumerate(zip(_SIDES, crop, strict=True)):
            rest = split.canvas_remainder
            if size < 1 or sizes.is_legal_canvas(size, stride, rest):
                continue
            legal = sizes.nearest_legal_canvases(size, stride, rest)
            shown = sizes.describe_legal(stride, rest)
            report.add(
                f"{path}[{index}]",
                size,
                f"the {side} must be {shown} (output_stride {stride})",
                f"The nearest legal sizes are {' and '.join(map(str, legal))}."
                if len(legal) > 1
                else f"The nearest legal size is {legal[0]}.",
            )


def _check_scales(
    augmentations: dataset_pb2.DatasetOptions.AugmentationOptions,
    path: str,
    report: Report,
) -> None:
    low, high = augmentations.min_scale_factor, augmentations.max_scale_factor
    if low > high:
        report.add(
            f"{path}.min_scale_factor",
            low,
            f"it must not be above max_scale_factor ({high:g})",
            "Exchange or correct them.",
        )


def _check_padding(
    split: dataset_pb2.DatasetOptions, name: str, stride: int, report: Report
) -> None:
    multiple = split.pad_to_multiple_of
    path = f"{name}.pad_to_multiple_of"
    if multiple <= 0:
        return
    if name == _TRAIN:
        report.add(
            path,
            multiple,
            "training crops have one size",
            "Remove the field here; it belongs to eval_dataset_options.",
        )
        return
    if stride > 0 and multiple % stride:
        fix = f"Take {stride}, which pads least."
        rule = f"it must be a multiple of output_stride ({stride})"
        report.add(path, multiple, rule, fix)
        return
    rest = split.canvas_remainder
    for index, size in enumerate(split.crop_size):
        if not report.blames(f"{name}.crop_size") and not (
            sizes.is_legal_canvas(size, multiple, rest)
        ):
            legal = sizes.nearest_legal_canvases(size, multiple, rest)
            report.add(
                f"{name}.crop_size[{index}]",
                size,
                f"with pad_to_multiple_of {multiple} the smallest canvas must "
                f"be {sizes.describe_legal(multiple, rest)}",
                f"Nearest: {', '.join(map(str, legal))}.",
            )


def _check_color(
    split: dataset_pb2.DatasetOptions, name: str, report: Report
) -> None:
    path, color = f"{name}.padding_color", list(split.padding_color)
    if len(color) not in (0, _CHANNELS_OF_COLOR):
        report.add(path, color, "it has three values: red, green and blue")
    elif color and split.padding_mode != dataset_pb2.CONSTANT:
        report.warn(
            path,
            color,
            "it has no effect: padding_mode is "
            f"{dataset_pb2.PaddingMode.Name(split.padding_mode)}",
            "Remove it.",
        )


def check_pair(
    options: config_pb2.ExperimentOptions, datasets: Datasets, report: Report
) -> None:
    """Adds the differences of the two splits to a report; see `rules`."""
    if not (options.HasField(_TRAIN) and options.HasField(_EVAL)):
        return
    train = options.train_dataset_options
    evaluation = options.eval_dataset_options
    first = datasets.get(train.dataset)
    second = datasets.get(evaluation.dataset)
    if first and second and _describe(first) != _describe(second):
        report.add(
            f"{_EVAL}.dataset",
            evaluation.dataset,
            f'its classes are not those of the training data "{train.dataset}"',
            "Evaluate on a data set with the same classes and ignore label.",
        )
    if train.canvas_remainder != evaluation.canvas_remainder:
        report.add(
            f"{_EVAL}.canvas_remainder",
            evaluation.canvas_remainder,
            f"training has {train.canvas_remainder}, so classes would lie at "
            "other places than the model has learned",
            "Use the same value in both.",
        )
    if train.input_scale_factor != evaluation.input_scale_factor:
        report.warn(
            f"{_EVAL}.input_scale_factor",
            evaluation.input_scale_factor,
            f"training has {train.input_scale_factor:g}, so objects have "
            "another size than the model has learned",
            "Use the same value in both.",
        )


def check_augmentations(
    options: config_pb2.ExperimentOptions, datasets: Datasets, report: Report
) -> None:
    """Adds the problems of random changes in training; see `rules`."""
    split = options.train_dataset_options
    path = f"{_TRAIN}.augmentations"
    for fields, needed, value in (
        (("rotation.probability",), "rotation.max_degrees", "10"),
        (("blur.min_sigma", "blur.max_sigma"), "blur.probability", "0.5"),
        (("copy_paste.max_instances",), "copy_paste.probability", "0.5"),
    ):
        for field in fields:
            _check_effect(split.augmentations, field, needed, value, report)
    augmentations = split.augmentations
    blur = augmentations.blur
    if blur.min_sigma > blur.max_sigma:
        report.add(
            f"{path}.blur.min_sigma",
            blur.min_sigma,
            f"it must not be above max_sigma ({blur.max_sigma:g})",
            "Exchange or correct them.",
        )
    low, high = augmentations.min_scale_factor, augmentations.max_scale_factor
    if augmentations.scale_area_bias and low == high:
        report.warn(
            f"{path}.scale_area_bias",
            augmentations.scale_area_bias,
            f"it has no effect: the only scale is {low:g}",
            "Set min_scale_factor and max_scale_factor, or remove it.",
        )
    _check_pasting(split, datasets, report)


def _check_effect(
    augmentations: dataset_pb2.DatasetOptions.AugmentationOptions,
    field: str,
    needed: str,
    value: str,
    report: Report,
) -> None:
    """Warns of a field that needs another one of its message to be set."""
    part, name = field.split(".")
    options, other = getattr(augmentations, part), needed.split(".")[1]
    if options.HasField(name) and not options.HasField(other):
        report.warn(
            f"{_TRAIN}.augmentations.{field}",
            getattr(options, name),
            f"it has no effect without {other}",
            f"Write {other}: {value}, or remove it.",
        )


def _check_pasting(
    split: dataset_pb2.DatasetOptions, datasets: Datasets, report: Report
) -> None:
    pasting = split.augmentations.copy_paste
    descriptor = datasets.get(split.dataset)
    if descriptor is None or pasting.probability <= 0:
        return
    if not any(entry.is_thing for entry in descriptor.classes):
        report.add(
            f"{_TRAIN}.augmentations.copy_paste.probability",
            pasting.probability,
            f'the data set "{split.dataset}" has no things, and only things '
            "are pasted",
            "Remove copy_paste, or mark things in the descriptor: is_thing: "
            "true.",
        )


def _describe(
    descriptor: dataset_descriptor_pb2.DatasetDescriptor,
) -> tuple[object, ...]:
    classes = tuple((c.name, c.is_thing) for c in descriptor.classes)
    return (classes, descriptor.ignore_label)


def check_descriptor(
    descriptor: dataset_descriptor_pb2.DatasetDescriptor, report: Report
) -> None:
    """Adds the problems of a data set descriptor to a report."""
    for field in ("name", "ignore_label", "label_divisor"):
        if not descriptor.HasField(field):
            report.add(field, None, "it is required")
    if not descriptor.classes:
        fix = 'Add classes { name: "..." is_thing: true } for each class.'
        report.add("classes", None, "there must be at least one", fix)
    seen_names: dict[str, int] = {}
    seen_ids: dict[int, int] = {}
    for index, entry in enumerate(descriptor.classes):
        path = f"classes[{index}]"
        if not entry.name:
            report.add(f"{path}.name", None, "it is required")
        elif entry.name in seen_names:
            other = seen_names[entry.name]
            rule = f"class {other} has this name too"
            report.add(f"{path}.name", entry.name, rule)
        seen_names[entry.name] = index
        identifier = entry.category_id
        if not entry.HasField("category_id"):
            identifier = index
        if identifier in seen_ids:
            rule = f"class {seen_ids[identifier]} has this id too"
            report.add(f"{path}.category_id", identifier, rule)
        seen_ids[identifier] = index
        if len(entry.color) not in (0, _CHANNELS_OF_COLOR):
            rule = "a color has three values: red, green and blue"
            report.add(f"{path}.color", list(entry.color), rule)
    _check_ids(descriptor, report)


def _check_ids(
    descriptor: dataset_descriptor_pb2.DatasetDescriptor, report: Report
) -> None:
    ignore, count = descriptor.ignore_label, len(descriptor.classes)
    if 0 <= ignore < count and descriptor.classes[ignore].is_thing:
        report.add(
            "ignore_label",
            ignore,
            f'it is the thing "{descriptor.classes[ignore].name}"; void pixels '
            "have no instances",
            "Use 255, or the index of a class that stands for void.",
        )
    largest = (max(ignore, count - 1) + 1) * descriptor.label_divisor - 1
    if largest > _MAX_ID:
        report.add(
            "label_divisor",
            descriptor.label_divisor,
            f"panoptic ids would reach {largest}, above {_MAX_ID} (int32)",
            "Use a smaller divisor, usually 1000.",
        )
