# SPDX-License-Identifier: Apache-2.0
"""Base of all systems."""

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.meta_architectures import contract
from deeplab2_like.model import weight_decay
from deeplab2_like.postprocess import options as postprocess_options
from deeplab2_like.postprocess import prediction
from deeplab2_like.protos import config_pb2

# Published: 2048 (Cityscapes), 4096 (COCO).
_STUFF_AREA_LIMIT = "evaluator_options.stuff_area_limit"
_STUFF_AREA_LIMITS = (0, 64, 256, 512, 1024, 2048, 4096, 8192)


class System(abc.ABC):
    """The part of `contract.MetaArchitecture` that is alike in all systems."""

    def __init__(
        self,
        options: config_pb2.ExperimentOptions,
        descriptor: descriptor_lib.DatasetDescriptor,
    ):
        """Creates the system.

        Args:
            options: A checked config.
            descriptor: The data set that it is for.
        """
        model_options = options.model_options
        kind = model_options.WhichOneof("meta_architecture")
        self._system: Any = getattr(model_options, kind)
        self._options = options
        self._loss_options = options.trainer_options.loss_options
        self._class_rules = postprocess_options.ClassRules.from_descriptor(
            descriptor, options.evaluator_options.stuff_area_limit
        )
        self.descriptor = descriptor
        self.output_stride = model_options.backbone.output_stride
        self.has_instances = True
        self.oracles: tuple[tuple[str, ...], ...] = ()
        self.pixel_rules: postprocess_options.PixelRules | None = None
        self._read_options()

    @abc.abstractmethod
    def _read_options(self) -> None:
        """Reads the options of `_system` and sets `has_instances`."""

    def unpack_targets(self, targets: contract.Tensors) -> contract.Tensors:
        """Returns the targets themselves; see `contract.MetaArchitecture`."""
        return targets

    def postprocess(
        self,
        outputs: contract.Tensors,
        canvas_size: tuple[int, int] | tf.Tensor,
        valid_size: tf.Tensor | None = None,
        *,
        thresholds: contract.Tensors | None = None,
    ) -> prediction.Prediction:
        """Turns outputs into segments; see `contract.MetaArchitecture`."""
        class_rules = self._class_rules
        if thresholds is not None:
            class_rules = dataclasses.replace(
                class_rules, stuff_area_limit=thresholds[_STUFF_AREA_LIMIT]
            )
        return self._postprocess(
            outputs,
            thresholds,
            canvas_size=canvas_size,
            valid_size=valid_size,
            class_rules=class_rules,
        )

    def tunable_fields(self) -> Mapping[str, Sequence[float]]:
        """Returns the fields of `postprocess` and the values to try."""
        if not self.has_instances:
            return {}
        return {
            **self._tunable_instances(),
            _STUFF_AREA_LIMIT: _STUFF_AREA_LIMITS,
        }

    def thresholds(self) -> contract.Thresholds:
        """Returns the inputs of `postprocess` that are tunable fields."""
        if not self.has_instances:
            return {}
        limit = np.array(self._class_rules.stuff_area_limit, np.int32)
        return {**self._instance_thresholds(), _STUFF_AREA_LIMIT: limit}

    @abc.abstractmethod
    def _instance_thresholds(self) -> contract.Thresholds:
        """Returns those about instances; see `contract.MetaArchitecture`."""

    @abc.abstractmethod
    def _tunable_instances(self) -> Mapping[str, Sequence[float]]:
        """Returns those about instances; see `contract.MetaArchitecture`."""

    def postprocess_with_truth(
        self,
        outputs: contract.Tensors,
        targets: contract.Tensors,
        semantic_bhw: tf.Tensor,
        canvas_size: tuple[int, int] | tf.Tensor,
        valid_size: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Raises NotImplementedError: this system has no oracles."""
        raise NotImplementedError

    @abc.abstractmethod
    def _postprocess(
        self,
        outputs: contract.Tensors,
        thresholds: contract.Tensors | None,
        **shared: Any,
    ) -> prediction.Prediction:
        """Turns outputs into segments.

        Args:
            outputs: Result of `infer`.
            thresholds: As in `postprocess`.
            **shared: The arguments of `postprocess` functions that are those
                of all systems.
        """

    def _class_weights(self) -> tuple[float, ...] | None:
        """Returns the weight of each class in the semantic loss, if any.

        Raises:
            ConfigError: The weights depend on pixels that were not counted.
        """
        options = self._loss_options.semantic_loss
        if options.class_weights:
            return tuple(options.class_weights)
        if options.class_weight:
            given = {entry.name: entry.weight for entry in options.class_weight}
            names = self.descriptor.class_names
            return tuple(given.get(name, 1.0) for name in names)
        if options.balance:
            raise errors.ConfigError(
                "The weights of semantic_loss { balance: ... } follow from the "
                "training records, whose pixels were not counted. Train by "
                "deeplab2-train, or give class_weights."
            )
        return None

    def decayed_variables(self, model: keras.Model) -> list[keras.Variable]:
        """Returns the kernels of convolutions and dense layers."""
        return weight_decay.decayed_variables(model)
