# SPDX-License-Identifier: Apache-2.0
"""Builds what learns from images without labels, from a config."""

from collections.abc import Callable

import tensorflow as tf

from deeplab2_like.config import decimals
from deeplab2_like.data import blur, color_jitter, unlabeled, unlabeled_files
from deeplab2_like.data import build as data_build
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.protos import (
    config_pb2,
    consistency_pb2,
    semi_supervised_pb2,
)
from deeplab2_like.semi_supervised import consistency
from deeplab2_like.semi_supervised import views as views_lib
from deeplab2_like.trainer import consistency_training, distribution

_METHODS = semi_supervised_pb2.SemiSupervisedOptions
# Color changes of UniMatch (Yang et al., CVPR 2023, arXiv:2208.09910), its
# code. There the jitter leaves out a fifth of the images.
_JITTER = color_jitter.ColorJitter(0.5, 0.5, 0.5, 0.25)
_BLUR = blur.Blur(probability=0.5, min_sigma=0.1, max_sigma=2.0)


def count_unlabeled(options: config_pb2.ExperimentOptions) -> int:
    """Returns the images without labels of a step over all replicas."""
    chosen = options.semi_supervised.consistency.batch_size
    return chosen or options.train_dataset_options.batch_size


def build_consistency(
    options: config_pb2.ExperimentOptions,
    descriptor: descriptor_lib.DatasetDescriptor,
) -> consistency_training.ConsistencyOptions:
    """Builds the options of the training steps from a checked config."""
    chosen = options.semi_supervised.consistency
    losses = options.trainer_options.loss_options
    train = options.train_dataset_options
    return consistency_training.ConsistencyOptions(
        rules=consistency.Rules(
            decimals.read_decimal(chosen.confidence_threshold),
            takes_best_class=(
                options.semi_supervised.method == _METHODS.WEAK_TO_STRONG
            ),
            thing_ids=tuple(descriptor.thing_ids),
        ),
        views=views_lib.ViewRules(
            decimals.read_decimal(chosen.min_scale),
            decimals.read_decimal(chosen.max_scale),
            chosen.mirror_probability,
        ),
        weights={
            consistency.CLASS_LOSS: (
                chosen.class_weight * losses.semantic_loss.weight
            ),
            consistency.CENTER_LOSS: (
                chosen.center_weight * losses.center_loss.weight
            ),
            consistency.OFFSET_LOSS: (
                chosen.offset_weight * losses.regression_loss.weight
            ),
        },
        ramp_up_steps=chosen.ramp_up_steps,
        cut_mix_probability=chosen.cut_mix_probability,
        feature_dropout_rate=chosen.feature_dropout_rate,
        padding_color=data_build.build_preprocessing(train).padding_color,
    )


def _build_colors(
    chosen: consistency_pb2.ConsistencyOptions,
) -> unlabeled.ColorRules:
    jitter, blurring = _JITTER, _BLUR
    if chosen.HasField("color_jitter"):
        jitter = color_jitter.ColorJitter(
            brightness=chosen.color_jitter.brightness,
            contrast=chosen.color_jitter.contrast,
            saturation=chosen.color_jitter.saturation,
            hue=chosen.color_jitter.hue,
        )
    if chosen.HasField("blur"):
        blurring = blur.Blur(
            probability=chosen.blur.probability,
            min_sigma=decimals.read_decimal(chosen.blur.min_sigma),
            max_sigma=decimals.read_decimal(chosen.blur.max_sigma),
        )
    return unlabeled.ColorRules(jitter, chosen.gray_probability, blurring)


def check_batch(
    options: config_pb2.ExperimentOptions, strategy: tf.distribute.Strategy
) -> None:
    """Checks that the replicas can share the images without labels.

    Raises:
        ConfigError: They cannot, or pairs of images would be divided.
    """
    chosen = options.semi_supervised.consistency
    count = count_unlabeled(options)
    field = "semi_supervised.consistency.batch_size"
    distribution.check_batch_size(field, count, strategy)
    distribution.check_pairs(
        field, count, strategy, is_paired=chosen.cut_mix_probability > 0
    )


def add_unlabeled(
    options: config_pb2.ExperimentOptions, start_step: int
) -> Callable[..., tf.data.Dataset]:
    """Makes the function that adds images without labels to batches.

    Args:
        options: The checked config.
        start_step: The step of the first batch, from 0.

    Returns:
        Function of a data set of batches and the context of its pipeline (or
        None), which returns the data set with "unlabeled" in each batch: what
        `make_unlabeled_dataset` returns, without the names, as a compiled step
        has no texts.

    Raises:
        DataError: There are no such images.
    """
    semi = options.semi_supervised
    files = unlabeled_files.find_unlabeled(semi.unlabeled_pattern)

    def add(
        data: tf.data.Dataset,
        context: tf.distribute.InputContext | None,
    ) -> tf.data.Dataset:
        others = unlabeled.make_unlabeled_dataset(
            files,
            data_build.build_preprocessing(options.train_dataset_options),
            _build_colors(semi.consistency),
            unlabeled.Reading(
                options.trainer_options.seed,
                start_step,
                consistency_training.NUM_DRAWS,
            ),
            batch_size=count_unlabeled(options),
            input_context=context,
        )
        return tf.data.Dataset.zip((data, others)).map(
            lambda batch, images: {
                **batch,
                "unlabeled": {k: x for k, x in images.items() if k != "name"},
            }
        )

    return add
