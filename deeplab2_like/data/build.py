# SPDX-License-Identifier: Apache-2.0
"""Builds the input pipelines that the data set options of a config describe."""

import dataclasses
import logging
from collections.abc import Sequence

import tensorflow as tf

from deeplab2_like.config import decimals
from deeplab2_like.data import (
    augmentation,
    blur,
    color_jitter,
    copy_paste,
    mixing,
    pipeline,
    preprocessing,
    rotation,
)
from deeplab2_like.data.large import lists, windows
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.protos import dataset_pb2
from deeplab2_like.storage import large_list_names


def _get_size(values: Sequence[int]) -> tuple[int, int] | None:
    """Reads a field of one or two sides; empty or 0 means none."""
    if not values or 0 in values:
        return None
    return values[0], values[-1]


def build_preprocessing(
    options: dataset_pb2.DatasetOptions, thing_ids: Sequence[int] = ()
) -> preprocessing.Preprocessing:
    """Builds the options of preprocessing from valid data set options.

    Only training needs the `thing_ids`, classes with instances, for pasting.
    """
    augmentations = options.augmentations
    jitter = augmentations.color_jitter
    height, width = options.crop_size[0], options.crop_size[-1]
    color = augmentation.PADDING_COLOR
    if options.padding_color:
        red, green, blue = options.padding_color
        color = red, green, blue
    return preprocessing.Preprocessing(
        crop_size=(height, width),
        input_scale_factor=options.input_scale_factor,
        min_resize=_get_size(options.min_resize_value),
        max_resize=_get_size(options.max_resize_value),
        resize_factor=options.resize_factor or None,
        min_scale=augmentations.min_scale_factor,
        max_scale=augmentations.max_scale_factor,
        scale_step=augmentations.scale_factor_step_size,
        scale_area_bias=augmentations.scale_area_bias,
        rotation=rotation.Rotation(
            max_degrees=augmentations.rotation.max_degrees,
            probability=augmentations.rotation.probability,
        ),
        pad_to_multiple_of=options.pad_to_multiple_of,
        canvas_remainder=options.canvas_remainder,
        padding_mode=dataset_pb2.PaddingMode.Name(options.padding_mode),
        color_jitter=color_jitter.ColorJitter(
            brightness=jitter.brightness,
            contrast=jitter.contrast,
            saturation=jitter.saturation,
            hue=jitter.hue,
        ),
        copy_paste=copy_paste.CopyPaste(
            probability=augmentations.copy_paste.probability,
            max_instances=augmentations.copy_paste.max_instances,
            thing_ids=tuple(thing_ids),
        ),
        gray_probability=augmentations.gray_probability,
        blur=blur.Blur(
            probability=augmentations.blur.probability,
            min_sigma=decimals.read_decimal(augmentations.blur.min_sigma),
            max_sigma=decimals.read_decimal(augmentations.blur.max_sigma),
        ),
        padding_color=color,
        autoaugment_policy_name=augmentations.autoaugment_policy_name,
    )


def _build_mix(options: dataset_pb2.DatasetOptions) -> mixing.Mix | None:
    if not options.mixed_file_pattern:
        return None
    return mixing.Mix(
        list(options.mixed_file_pattern),
        decimals.read_decimal(options.mixed_share),
    )


def _build_windows(
    options: dataset_pb2.DatasetOptions, descriptor: DatasetDescriptor
) -> windows.LargeWindows | None:
    if not large_list_names.names_lists(options.file_pattern):
        return None
    return windows.LargeWindows(
        lists.load(options.file_pattern),
        descriptor,
        windows.compute_window(build_preprocessing(options)),
        logging.warning,
    )


def build_training_dataset(
    options: dataset_pb2.DatasetOptions,
    descriptor: DatasetDescriptor,
    make_targets: pipeline.MakeTargets,
    reading: pipeline.Reading,
    *,
    input_context: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """Builds the endless data set of training batches.

    `options` are valid ones of the training split, `descriptor` is that of its
    data set. What `options` say of reading replaces what `reading` says. See
    `pipeline.make_training_dataset` for the other arguments, the batches and
    the errors.
    """
    return pipeline.make_training_dataset(
        options.file_pattern,
        pipeline.LabelRules.from_descriptor(descriptor),
        build_preprocessing(options, descriptor.thing_ids),
        make_targets,
        dataclasses.replace(
            reading,
            shuffle_buffer_size=options.shuffle_buffer_size,
            on_damage=dataset_pb2.OnDamage.Name(options.on_damage).lower(),
            mix=_build_mix(options),
            windows=_build_windows(options, descriptor),
        ),
        batch_size=options.batch_size,
        input_context=input_context,
    )


def build_evaluation_dataset(
    options: dataset_pb2.DatasetOptions,
    descriptor: DatasetDescriptor,
    make_targets: pipeline.MakeTargets | None = None,
    *,
    input_context: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """Builds the data set of evaluation batches: each record once, in order.

    `options` are valid ones of the evaluation split, `descriptor` is that of
    its data set. See `pipeline.make_evaluation_dataset` for the other
    arguments, the batches and the errors.
    """
    return pipeline.make_evaluation_dataset(
        options.file_pattern,
        pipeline.LabelRules.from_descriptor(descriptor),
        build_preprocessing(options),
        make_targets,
        batch_size=options.batch_size,
        is_label_required=options.decode_groundtruth_label,
        input_context=input_context,
    )
