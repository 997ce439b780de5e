# SPDX-License-Identifier: Apache-2.0
"""Weights of classes that follow from the training records of a run.

`resolve` replaces `semantic_loss.balance` by the weights that it stands for.
They are computed once for a model folder, whose `class_weights.json` keeps
them, so that evaluations and continued runs have the same loss.
"""

import json
from typing import Any

import numpy as np

from deeplab2_like import errors
from deeplab2_like.config.rules import pyramid as pyramid_rules
from deeplab2_like.console import progress
from deeplab2_like.data import class_pixels
from deeplab2_like.data.records import paths as record_paths
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.losses import class_weights
from deeplab2_like.protos import config_pb2, dataset_pb2, trainer_pb2
from deeplab2_like.storage import any_files, json_files, large_list_names

WEIGHTS_FILE = "class_weights.json"
_NAMES_SHOWN = 5

_Loss = trainer_pb2.LossOptions.SingleLossOptions


def resolve(
    options: config_pb2.ExperimentOptions,
    model_dir: str,
    report: progress.Progress,
    *,
    trains: bool,
    writes: bool,
) -> config_pb2.ExperimentOptions:
    """Returns options in which the weights of classes are numbers.

    Args:
        options: A checked config.
        model_dir: The model folder.
        report: Display of the progress.
        trains: Whether the run trains, which needs the weights.
        writes: Whether this process writes them into the folder.

    Returns:
        `options`, or where they have `semantic_loss.balance` a copy with
        `class_weights` in place of it. Where the weights are not known, because
        neither the folder nor the training records exist, the copy has none.

    Raises:
        DataError: A record cannot be used, or a training has none.
    """
    loss = options.trainer_options.loss_options.semantic_loss
    if loss.balance == _Loss.NONE:
        return options
    descriptor = descriptor_lib.load_of_run(options)
    things_are_one = pyramid_rules.shares_thing_channel(options.model_options)
    key: dict[str, Any] = {
        "balance": _Loss.ClassBalance.Name(loss.balance),
        "max_class_weight": loss.max_class_weight,
        "things_are_one_class": things_are_one,
        "class_names": list(descriptor.class_names),
    }
    file = any_files.join(model_dir, WEIGHTS_FILE)
    weights = _load_weights(file, key)
    if weights is None:
        try:
            paths = record_paths.find_files(
                options.train_dataset_options.file_pattern
            )
        except errors.DataError as error:
            if trains:
                raise
            report.log(
                "The semantic loss has no weights of classes here: "
                f"{file} does not exist, and the training records cannot be "
                f"counted. {error}"
            )
            return _with_weights(options, [])
        counts = count_classes(
            paths,
            descriptor,
            report,
            skips_damage=options.train_dataset_options.on_damage
            == dataset_pb2.SKIP,
        )
        weights = compute_weights(counts, descriptor, loss, things_are_one)
        report.log(_describe(counts, descriptor, key["balance"], weights))
        if writes:
            content = key | {
                "class_weights": weights,
                "pixels": counts.pixels.tolist(),
                "num_images": counts.num_images,
            }
            json_files.write_json(file, content)
    return _with_weights(options, weights)


def count_classes(
    paths: list[str],
    descriptor: DatasetDescriptor,
    report: progress.Progress,
    *,
    skips_damage: bool = False,
) -> class_pixels.ClassPixels:
    """Counts the pixels of record files, with a line about the progress.

    Args:
        paths: Paths of the files.
        descriptor: The data set.
        report: Display of the progress; shows nothing where the files were
            counted before.
        skips_damage: Whether records that cannot be used are left out.

    Raises:
        DataError: A record cannot be used.
    """
    known = class_pixels.load_counts(paths, descriptor)
    if known is not None:
        return known
    with report.phase(
        "Counting the pixels of classes", len(paths), unit="files"
    ) as phase:
        return class_pixels.count_files(
            paths,
            descriptor,
            skips_damage=skips_damage,
            report_file=phase.advance,
        )


def compute_weights(
    counts: class_pixels.ClassPixels,
    descriptor: DatasetDescriptor,
    loss: _Loss,
    things_are_one: bool,
) -> list[float]:
    """Computes the weight of each class; see `losses.class_weights`.

    Args:
        counts: The pixels of the training records.
        descriptor: The data set.
        loss: Its `balance` and `max_class_weight`.
        things_are_one: Whether all things count as one class.
    """
    pixels, image_pixels = counts.pixels, counts.image_pixels
    things = list(descriptor.thing_ids) if things_are_one else []
    if things:
        pixels = np.append(np.delete(pixels, things), pixels[things].sum())
        image_pixels = np.append(
            np.delete(image_pixels, things), counts.thing_image_pixels
        )
    if loss.balance == _Loss.MEDIAN_FREQUENCY:
        weights = class_weights.compute_median_frequency(
            pixels, image_pixels, loss.max_class_weight
        )
    else:
        weights = class_weights.compute_inverse_frequency(
            pixels, loss.max_class_weight
        )
    if not things:
        return [float(weight) for weight in weights]
    by_class = np.full(descriptor.num_classes, weights[-1])
    others = np.delete(np.arange(descriptor.num_classes), things)
    by_class[others] = weights[:-1]
    return [float(weight) for weight in by_class]


def list_absence_warnings(
    options: config_pb2.ExperimentOptions, mode: str
) -> list[str]:
    """Lists sentences about classes that do not occur in the records.

    They are known where the records were counted before, by a check of the
    records or for weights of classes; nothing is read otherwise.

    Args:
        options: A checked config.
        mode: Mode of the run.
    """
    splits = {}
    if mode in ("train", "train_and_eval"):
        splits["train"] = "nothing is learned about them"
    if (
        mode != "train"
        and options.eval_dataset_options.decode_groundtruth_label
    ):
        splits["eval"] = "they are not scored"
    warnings = []
    for name, consequence in splits.items():
        split = getattr(options, f"{name}_dataset_options")
        if large_list_names.names_lists(split.file_pattern):
            continue
        descriptor = descriptor_lib.load(split.dataset)
        counts = class_pixels.load_counts(
            record_paths.find_files(split.file_pattern), descriptor
        )
        absent = counts.list_absent(descriptor) if counts else []
        if absent:
            warnings.append(
                f"warning: {len(absent)} of {descriptor.num_classes} classes "
                f"do not occur in the records of {name}_dataset_options: "
                f"{_summarize(absent)}; {consequence}."
            )
    return warnings


def _summarize(names: list[str]) -> str:
    shown = ", ".join(f'"{name}"' for name in names[:_NAMES_SHOWN])
    more = len(names) - _NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _describe(
    counts: class_pixels.ClassPixels,
    descriptor: DatasetDescriptor,
    balance: str,
    weights: list[float],
) -> str:
    """Returns a sentence about the largest and smallest weights."""
    present = np.flatnonzero(counts.pixels)
    order = sorted(present, key=lambda index: -weights[index])
    shown = order
    if len(order) > _NAMES_SHOWN:
        shown = [*order[: _NAMES_SHOWN - 1], order[-1]]
    listed = ", ".join(
        f"{descriptor.class_names[index]} {weights[index]:.3g}"
        for index in shown
    )
    between = " (others between)" if len(order) > len(shown) else ""
    return (
        f"Weights of classes by {balance}, from {counts.num_images} images: "
        f"{listed}{between}; all in {WEIGHTS_FILE} of the model folder."
    )


def _load_weights(file: str, key: dict[str, Any]) -> list[float] | None:
    """Returns the weights of a model folder, if made for the same options."""
    try:
        content = json.loads(any_files.read_text(file))
        if any(content[name] != value for name, value in key.items()):
            return None
        weights = [float(weight) for weight in content["class_weights"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    is_whole = len(weights) == len(key["class_names"])
    return weights if is_whole and np.all(np.array(weights) > 0) else None


def _with_weights(
    options: config_pb2.ExperimentOptions, weights: list[float]
) -> config_pb2.ExperimentOptions:
    resolved = config_pb2.ExperimentOptions()
    resolved.CopyFrom(options)
    loss = resolved.trainer_options.loss_options.semantic_loss
    loss.ClearField("balance")
    loss.class_weights[:] = weights
    return resolved
