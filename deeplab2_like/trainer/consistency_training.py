# SPDX-License-Identifier: Apache-2.0
"""Training steps that also learn from images without labels."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from deeplab2_like.meta_architectures import panoptic_deeplab
from deeplab2_like.model.layers.resize import spatial_size
from deeplab2_like.model.outputs import Output
from deeplab2_like.semi_supervised import consistency
from deeplab2_like.semi_supervised import views as views_lib
from deeplab2_like.trainer import training

# Random numbers of the views of an image.
NUM_DRAWS = views_lib.NUM_VIEW_DRAWS + views_lib.NUM_BOX_DRAWS


@dataclasses.dataclass(frozen=True)
class ConsistencyOptions:
    """How is learned from images without labels.

    Attributes:
        rules: What is learned from the teacher.
        views: The strong views.
        weights: Weight of each loss by its name in `consistency`.
        ramp_up_steps: See `consistency.compute_ramp`.
        cut_mix_probability: See `views.draw_boxes`.
        feature_dropout_rate: Share of the channels of the backbone's features
            that are set to zero in strong views.
        padding_color: Color of the views outside of the canvases.
    """

    rules: consistency.Rules
    views: views_lib.ViewRules
    weights: Mapping[str, float]
    ramp_up_steps: int
    cut_mix_probability: float
    feature_dropout_rate: float
    padding_color: tuple[float, float, float]


class ConsistencyTrainer(training.Trainer):
    """A trainer with a teacher for images without labels.

    The teacher has the averaged weights and predicts each image as it is, with
    the moving statistics of batch norms. The student predicts a strong view of
    it, in one batch with the images that have labels.

    The batches also have "unlabeled"; see `data.unlabeled`.
    """

    def __init__(
        self,
        system: panoptic_deeplab.PanopticDeepLab,
        *args: Any,
        consistency_options: ConsistencyOptions,
        **kwargs: Any,
    ):
        """Creates the trainer.

        Args:
            system: System of the model.
            *args: Those of `training.Trainer`.
            consistency_options: How is learned from images without labels.
            **kwargs: Those of `training.Trainer`; with an
                `average_decay` above 0.
        """
        super().__init__(system, *args, **kwargs)
        if self.average is None:
            raise ValueError("The teacher needs average_decay.")
        self._dense_system = system
        self._consistency = consistency_options

    def _compute_losses(
        self, batch: Mapping[str, Any]
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        unlabeled = batch["unlabeled"]
        options = self._consistency
        canvas_size = spatial_size(unlabeled["image"])
        view_draws, box_draws = tf.split(
            unlabeled["draws"],
            [views_lib.NUM_VIEW_DRAWS, views_lib.NUM_BOX_DRAWS],
            axis=1,
        )
        views = views_lib.draw_views(view_draws, options.views, canvas_size)
        images = views_lib.show_images(
            unlabeled["recolored"], views, options.padding_color
        )
        boxes = None
        if options.cut_mix_probability:
            boxes = views_lib.draw_boxes(
                box_draws, options.cut_mix_probability, canvas_size
            )
            is_in_box = views_lib.find_in_boxes(boxes, canvas_size, canvas_size)
            images = views_lib.mix_pairs(images, is_in_box)
        targets = consistency.make_targets(
            self._predict_as_teacher(unlabeled["image"]),
            unlabeled["valid"],
            views,
            boxes,
        )
        outputs, student_outputs = self._predict_together(batch, images)
        parts = self._system.compute_losses(outputs, batch["targets"])
        losses = {name: tf.reduce_mean(x) for name, x in parts.items()}
        ramp = consistency.compute_ramp(self.global_step, options.ramp_up_steps)
        for name, loss_b in consistency.compute_losses(
            student_outputs, targets, canvas_size, options.rules
        ).items():
            factor = ramp * options.weights[name]
            losses[name] = factor * tf.reduce_mean(loss_b)
        statistics = consistency.compute_statistics(
            student_outputs, targets, options.rules
        )
        return losses, {
            "consistency/ramp": ramp,
            **{
                f"consistency/{name}": tf.reduce_mean(value_b)
                for name, value_b in statistics.items()
            },
        }

    def _predict_as_teacher(
        self, images_bhw3: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Returns the outputs with the averaged weights, as in evaluation."""
        assert self.average is not None
        averages = self.average.variables

        def read(variable: Any) -> tf.Tensor:
            average = averages.get(variable.path)
            value = variable.value if average is None else average
            return tf.convert_to_tensor(value)

        model = self._model
        outputs, _ = model.stateless_call(
            [read(v) for v in model.trainable_variables],
            [read(v) for v in model.non_trainable_variables],
            images_bhw3,
            training=False,
        )
        return {name: tf.stop_gradient(x) for name, x in outputs.items()}

    def _predict_together(
        self, batch: Mapping[str, Any], views_bhw3: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """Predicts images with labels, and views of those without.

        Batch norms see both at once.
        """
        labeled = batch["image"]
        count = labeled.shape[0]
        factors = None
        if self._consistency.feature_dropout_rate:
            drawn = self._model.draw_feature_factors(
                batch["unlabeled"]["seed"],
                self._consistency.feature_dropout_rate,
            )
            factors = {
                name: tf.concat(
                    [tf.ones([count, *factor.shape[1:]]), factor], 0
                )
                for name, factor in drawn.items()
            }
        outputs = self._dense_system.infer_for_training(
            self._model,
            tf.concat([labeled, views_bhw3], 0),
            batch["targets"],
            feature_factors=factors,
        )
        student = {
            name: x[count:] for name, x in outputs.items() if name in _MAPS
        }
        own = {
            name: x[:count] if name in _MAPS else x
            for name, x in outputs.items()
        }
        return own, student


_MAPS = frozenset(Output)
