# SPDX-License-Identifier: Apache-2.0
"""Builds the parts of the trainer from solver and evaluator options."""

import keras

from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.meta_architectures import contract
from deeplab2_like.protos import (
    evaluator_pb2,
    trainer_pb2,
)
from deeplab2_like.results import raw_predictions
from deeplab2_like.trainer import optimizers, prediction_saver, schedules


def build_saver(
    evaluator: evaluator_pb2.EvaluatorOptions,
    descriptor: descriptor_lib.DatasetDescriptor,
    directory: str,
    *,
    has_labels: bool = True,
) -> prediction_saver.PredictionSaver:
    """Builds the saver of the predictions of one evaluation.

    Args:
        evaluator: Options of the evaluation.
        descriptor: The data set.
        directory: Folder of the files.
        has_labels: Whether the images have labels.
    """
    raw_writer = None
    if evaluator.save_raw_predictions:
        raw_writer = raw_predictions.RawPredictionWriter(
            directory,
            descriptor,
            panoptic_format=evaluator.raw_panoptic_format,
            convert_ids=evaluator.convert_raw_to_eval_ids,
        )
    return prediction_saver.PredictionSaver(
        descriptor,
        num_pictures=evaluator.num_vis_samples,
        picture_folder=directory if evaluator.save_predictions else None,
        raw_writer=raw_writer,
        has_labels=has_labels,
    )


def build_learning_rate(
    solver: trainer_pb2.SolverOptions,
) -> schedules.LearningRate:
    """Builds the learning rate of the main optimizer."""
    return schedules.LearningRate(
        solver.base_learning_rate,
        solver.training_number_of_steps,
        policy=solver.learning_policy,
        power=solver.poly_learning_power,
        end_learning_rate=solver.poly_end_learning_rate,
        warmup_steps=solver.warmup_steps,
    )


def build_parameter_groups(
    solver: trainer_pb2.SolverOptions,
    learning_rate: schedules.LearningRate,
    system: contract.MetaArchitecture,
    model: keras.Model,
) -> list[optimizers.ParameterGroup]:
    """Builds the optimizers: one, or two when the backbone has its own rate.

    Returns:
        Groups that contain each trainable variable once; the backbone's is
        last, and absent where nothing of it is trained.
    """
    multiplier = solver.backbone_learning_rate_multiplier
    groups = [(learning_rate, list(model.trainable_variables))]
    if solver.HasField("backbone_learning_rate_multiplier"):
        backbone = {id(v) for v in system.variable_groups(model)["backbone"]}
        inside = [v for v in model.trainable_variables if id(v) in backbone]
        others = [v for v in model.trainable_variables if id(v) not in backbone]
        config = learning_rate.get_config()
        config["base_learning_rate"] *= multiplier
        config["end_learning_rate"] *= multiplier
        slower = schedules.LearningRate.from_config(config)
        groups = [(learning_rate, others)] + [(slower, inside)] * bool(inside)
    decayed = system.decayed_variables(model)
    built = []
    for rate, variables in groups:
        group = optimizers.ParameterGroup(
            optimizers.make_optimizer(
                solver.optimizer,
                rate,
                adamw_weight_decay=solver.adamw_weight_decay,
            ),
            variables,
        )
        optimizers.exclude_from_decay(group, decayed)
        built.append(group)
    return built


def pq_variant(evaluator: evaluator_pb2.EvaluatorOptions) -> str:
    """Returns the name of the variant of the panoptic quality."""
    return evaluator_pb2.PanopticQualityVariant.Name(
        evaluator.pq_variant
    ).lower()
