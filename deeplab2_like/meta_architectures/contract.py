# SPDX-License-Identifier: Apache-2.0
"""The interface of systems for the trainer, evaluator, exporter and predictor.

A new system is one class with these methods and an entry in `build.py`;
nothing in the programs changes for it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import keras
import numpy.typing as npt
import tensorflow as tf

from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.postprocess import options as postprocess_options
from deeplab2_like.postprocess import prediction as prediction_lib

Tensors = Mapping[str, tf.Tensor]
# By path of the field of the config.
Thresholds = Mapping[str, npt.NDArray[Any]]
MakeTargets = Callable[[tf.Tensor], dict[str, tf.Tensor]]


class MetaArchitecture(Protocol):
    """A panoptic, semantic or instance segmentation system.

    Attributes:
        descriptor: The data set that the system is for.
        has_instances: Whether predictions contain instances.
        output_stride: Stride of the last features of the backbone, in pixels.
        oracles: Names of the maps that `postprocess_with_truth` replaces by
            the true ones, all together, for each of its results; none for
            systems that cannot.
        pixel_rules: The rules of `postprocess`, for systems whose outputs are
            maps of classes, centers and offsets, so that an image can be
            post-processed in parts; None for other systems.
    """

    descriptor: descriptor_lib.DatasetDescriptor
    has_instances: bool
    output_stride: int
    oracles: tuple[tuple[str, ...], ...]
    pixel_rules: postprocess_options.PixelRules | None

    def target_maker(self, *, is_training: bool) -> MakeTargets:
        """Returns the function from one label to the targets of the losses.

        Args:
            is_training: Whether the options are those of the training data,
                not of the evaluation data.

        Returns:
            Function from a panoptic label, int32 [H, W], to named tensors of
            static rank without batch axis. It runs inside `tf.data`.
        """

    def unpack_targets(self, targets: Tensors) -> Tensors:
        """Computes the maps that the losses compare with, on any device.

        Args:
            targets: Targets, with or without a batch axis, in the form that
                needs the fewest bytes on the way from the host.

        Returns:
            Named tensors, for those who look at targets.
        """

    def build_model(self, *, synchronize_batch_norm: bool) -> keras.Model:
        """Builds the model with all its variables.

        Args:
            synchronize_batch_norm: Whether batch statistics are those of all
                replicas.

        Returns:
            Model from images [B, H, W, 3] (uint8, or float32 in 0..255) to
            named outputs. It contains every trainable variable of the system,
            also those of its losses.
        """

    def infer(
        self,
        model: keras.Model,
        images: tf.Tensor,
        *,
        targets: Tensors | None = None,
    ) -> Tensors:
        """Runs the model as evaluation, export and prediction do.

        Outputs are averages where the config has several views of each image
        (scales, mirrored).

        Args:
            model: Result of `build_model`.
            images: [B, H, W, 3], as the model takes them.
            targets: Targets with a batch axis, if the outputs are also for
                `compute_losses`.

        Returns:
            Outputs for `postprocess`, with targets also for `compute_losses`.
        """

    def infer_for_training(
        self, model: keras.Model, images: tf.Tensor, targets: Tensors
    ) -> Tensors:
        """Runs the model as training does.

        Args:
            model: Result of `build_model`.
            images: [B, H, W, 3], as the model takes them.
            targets: Targets with a batch axis. Systems that learn from a
                sample of boxes need them to choose it.

        Returns:
            Outputs for `compute_losses`.
        """

    def compute_losses(
        self, outputs: Tensors, targets: Tensors
    ) -> dict[str, tf.Tensor]:
        """Computes the weighted parts of the loss.

        Args:
            outputs: Result of `infer_for_training`, or of `infer` with targets.
            targets: Targets with a batch axis.

        Returns:
            float32 [B] each. The total loss is their sum.
        """

    def variable_groups(
        self, model: keras.Model
    ) -> dict[str, list[keras.Variable]]:
        """Returns the variables of the model's named parts.

        The parts are disjoint and complete. One is called "backbone"; the
        final layers, which depend on the classes, are parts of their own.
        """

    def decayed_variables(self, model: keras.Model) -> list[keras.Variable]:
        """Returns the weights that weight decay acts on."""

    def tunable_fields(self) -> Mapping[str, Sequence[float]]:
        """Returns the fields of a config that can be chosen after training.

        Only `postprocess` reads them, so that their values can be tried on
        outputs of the model.

        Returns:
            Values that are worth trying, increasing, by path of the field; none
            for systems without instances.
        """

    def thresholds(self) -> Thresholds:
        """Returns those tunable fields that `postprocess` takes as inputs.

        They change no shape and no window, so that one compiled function
        serves all their values.

        Returns:
            Small arrays, which stand for the values in the config.
        """

    def postprocess(
        self,
        outputs: Tensors,
        canvas_size: tuple[int, int] | tf.Tensor,
        valid_size: tf.Tensor | None = None,
        *,
        thresholds: Tensors | None = None,
    ) -> prediction_lib.Prediction:
        """Turns outputs into segments; static shapes, compiles under XLA.

        Args:
            outputs: Result of `infer`.
            canvas_size: (height, width) of the images that the model took.
            valid_size: int32 [B, 2], (height, width) of the part at the top
                left that is image, not padding. If None, all is image.
            thresholds: Result of `thresholds` of a system whose config has
                other values of these fields, as tensors. If None, those of
                this system, as constants.
        """

    def postprocess_with_truth(
        self,
        outputs: Tensors,
        targets: Tensors,
        semantic_bhw: tf.Tensor,
        canvas_size: tuple[int, int] | tf.Tensor,
        valid_size: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Turns outputs into segments, with true maps for some of them.

        It shows which output limits the result. Call it only with `oracles`.

        Args:
            outputs: Result of `infer`.
            targets: Targets with a batch axis, of the size of the canvas.
            semantic_bhw: int32 [B, H, W], the predicted classes of
                `postprocess`.
            canvas_size: As in `postprocess`.
            valid_size: As in `postprocess`.

        Returns:
            int32 [B, O, H, W], panoptic ids for each of the O `oracles`.
        """
