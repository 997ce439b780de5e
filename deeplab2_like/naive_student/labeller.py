# SPDX-License-Identifier: Apache-2.0
"""Models that label images: panoptic maps with probabilities and agreement.

In reading order: the two kinds `LiveLabeller` (of a training run) and
`ExportedLabeller`, `load` and `check`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.checkpoints import files as checkpoint_files
from deeplab2_like.checkpoints import initialization
from deeplab2_like.config import names
from deeplab2_like.console import native_logs, progress
from deeplab2_like.inference import any_size, live_model
from deeplab2_like.inference import canvas as canvas_lib
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.model import multi_scale
from deeplab2_like.model.outputs import Output
from deeplab2_like.naive_student.labelling_model import (
    Labeller,
    Labels,
    SerialLabeller,
)
from deeplab2_like.predict import models, predictor
from deeplab2_like.protos import config_pb2

_LOGITS, _PROBS = Output.SEMANTIC_LOGITS.value, Output.SEMANTIC_PROBS.value


class _Recorder:
    """A model that remembers its outputs, one call for each view."""

    def __init__(self, network: keras.Model):
        """Stores the model."""
        self._network = network
        self.seen: list[Mapping[str, tf.Tensor]] = []

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        outputs = self._network(*arguments, **named)
        self.seen.append(outputs)
        return outputs


class LiveLabeller(SerialLabeller):
    """The model of a training run, with the views that are asked for."""

    def __init__(
        self,
        options: config_pb2.ExperimentOptions,
        checkpoint: str,
        views: tuple[Sequence[float], bool] = ((), False),
    ):
        """Builds the model and loads its weights, averaged ones if any.

        Args:
            options: The config of the run.
            checkpoint: Its folder, or a checkpoint in it.
            views: Scales of the views, and whether each is mirrored too; the
                single view of scale 1 by default.

        Raises:
            ConfigError: The config cannot be built.
            CheckpointError: The checkpoint cannot be used.
        """
        super().__init__()
        scales, is_mirrored = views
        chosen = config_pb2.ExperimentOptions()
        chosen.CopyFrom(options)
        del chosen.evaluator_options.eval_scales[:]
        chosen.evaluator_options.eval_scales.extend(scales)
        chosen.evaluator_options.add_flipped_images = is_mirrored
        if options.trainer_options.deterministic:
            tf.config.experimental.enable_op_determinism()
        live = live_model.build(chosen)
        prefix = checkpoint_files.find_checkpoint(checkpoint)
        initialization.restore_all(prefix, live.network)
        self._system, self._network = live.system, live.network
        self._preprocessing = live.preprocessings[0]
        self._postprocess = tf.function(
            self._system.postprocess, autograph=False
        )
        self.descriptor = live.system.descriptor
        self.views = multi_scale.make_views(scales, is_mirrored)
        self.has_confidence = True
        # Objects of the other systems are masks, with scores of their own.
        self._groups_pixels = has_views(options)
        self._predict = tf.function(
            self._compute, input_signature=[any_size.IMAGES], autograph=False
        )

    def _compute(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Computes the maps of one image, uint8 [1, H, W, 3]."""
        canvas_bhw3, valid_size = canvas_lib.place_images(
            images, self._preprocessing
        )
        static = canvas_lib.static_size(self._preprocessing)
        size = static or tf.shape(canvas_bhw3)[1:3]
        recorder = _Recorder(self._network)
        outputs = self._system.infer(recorder, canvas_bhw3)
        prediction = any_size.map_images(
            self._postprocess, outputs, size, valid_size
        )
        original = tf.shape(images)[1:3]
        found = any_size.restore_prediction(
            prediction, valid_size, original, self._system
        )

        def restore(map_bhw: tf.Tensor) -> tf.Tensor:
            return canvas_lib.restore_map(map_bhw, valid_size[0], original)

        maps = {
            name: found[name][0]
            for name in ("segment_id", "segment_score", "segment_is_valid")
        }
        chosen = "panoptic" if "panoptic" in found else "semantic"
        maps[chosen] = found[chosen][0]
        probs = self._find_probabilities(outputs, size)
        if probs is not None:
            classes = prediction["semantic"]
            if "panoptic" in prediction:
                divisor = self.descriptor.label_divisor
                classes = prediction["panoptic"] // divisor
            confidence = _choose_probability(
                probs, classes, self.descriptor.num_classes
            )
            maps["confidence"] = restore(confidence)[0]
        if len(self.views) > 1 and probs is not None:
            maps["classes"] = restore(_argmax(probs))[0]
            views = [
                restore(_argmax(_undo(seen, view, size)))[0]
                for seen, view in zip(recorder.seen, self.views, strict=True)
            ]
            maps["view_classes"] = tf.stack(views)
        return maps

    def _find_probabilities(
        self, outputs: Mapping[str, tf.Tensor], size: Any
    ) -> tf.Tensor | None:
        """Returns float32 [1, H, W, C] on the canvas; None without classes."""
        if _PROBS in outputs:
            return outputs[_PROBS]
        if _LOGITS not in outputs:
            return None
        return tf.nn.softmax(_undo(outputs, multi_scale.View(), size))

    def _label(self, pixels_hw3: npt.NDArray[np.uint8]) -> Labels:
        maps = {
            name: value.numpy()
            for name, value in self._predict(
                tf.constant(pixels_hw3[np.newaxis])
            ).items()
        }
        panoptic = _read_panoptic(maps, self.descriptor)
        confidence = maps.get("confidence")
        scores = _read_scores(panoptic, maps)
        if confidence is None:
            confidence = scores
        elif not self._groups_pixels:
            is_object = panoptic % self.descriptor.label_divisor > 0
            confidence = np.where(is_object, scores, confidence)
        is_void = panoptic // self.descriptor.label_divisor == (
            self.descriptor.ignore_label
        )
        return Labels(
            panoptic,
            np.where(is_void, np.float32(0), confidence).astype(np.float32),
            maps.get("classes"),
            maps.get("view_classes"),
        )


class ExportedLabeller(SerialLabeller):
    """An exported model: labels only, with the views of its export."""

    def __init__(self, model: predictor.Predictor):
        """Wraps the model."""
        super().__init__()
        self._model = model
        self.descriptor = model.descriptor
        self.views = (multi_scale.View(),)
        self.has_confidence = False

    def _label(self, pixels_hw3: npt.NDArray[np.uint8]) -> Labels:
        maps = self._model.predict_maps(pixels_hw3)
        return Labels(_read_panoptic(maps, self.descriptor))


def has_views(options: config_pb2.ExperimentOptions) -> bool:
    """Returns whether a system averages several views of an image."""
    system = options.model_options.WhichOneof("meta_architecture")
    return system in names.SYSTEMS_WITH_VIEWS


def load(
    facts: models.Facts,
    views: tuple[Sequence[float], bool],
    report: progress.Progress,
) -> Labeller:
    """Loads the model that labels.

    Args:
        facts: Result of `predict.models.load_facts`.
        views: See `LiveLabeller`.
        report: Display of the progress.

    Raises:
        ConfigError: The model cannot average views.
        CheckpointError: The checkpoint cannot be used.
        ExportError: The exported model cannot be used.
    """
    check(facts, views)
    if facts.config is None:
        model = models.load(facts, report)
        if not isinstance(model, predictor.Predictor):
            raise TypeError(f"{facts.path} is no exported model.")
        return ExportedLabeller(model)
    report.log(f"Loading {facts.path} ...")
    with native_logs.hide_routine():
        return LiveLabeller(facts.config.options, facts.path, views)


def check(
    facts: models.Facts,
    views: tuple[Sequence[float], bool],
    *,
    needs_confidence: bool = False,
) -> None:
    """Checks that a model can label as it is asked to, before it is loaded.

    Args:
        facts: Result of `predict.models.load_facts`.
        views: See `LiveLabeller`.
        needs_confidence: Whether probabilities are needed.

    Raises:
        ConfigError: It cannot.
    """
    scales, is_mirrored = views
    asks = is_mirrored or list(scales) not in ([], [1.0])
    config = facts.config
    if config is None and asks:
        raise errors.ConfigError(
            f"{facts.path} is an exported model, whose views were fixed when "
            "it was exported. Give the --model_dir of its training, or leave "
            "out --scales and --mirrored."
        )
    if config is None and needs_confidence:
        raise errors.ConfigError(
            f"{facts.path} is an exported model, which does not say how sure "
            "it is. Give the --model_dir of its training, or leave out "
            "--confidence_threshold and --class_balance."
        )
    if config is not None and asks and not has_views(config.options):
        system = config.options.model_options.WhichOneof("meta_architecture")
        raise errors.ConfigError(
            f"{system} predicts each image once: objects of several views "
            "cannot be averaged. Leave out --scales and --mirrored."
        )


def _undo(
    outputs: Mapping[str, tf.Tensor], view: multi_scale.View, size: Any
) -> tf.Tensor:
    """Returns the logits of a view at the size of the canvas."""
    logits = {_LOGITS: outputs[_LOGITS]}
    return multi_scale.undo_view(logits, view, size)[_LOGITS]


def _argmax(scores_bhwc: tf.Tensor) -> tf.Tensor:
    return tf.argmax(scores_bhwc, axis=-1, output_type=tf.int32)


def _choose_probability(
    probs_bhwc: tf.Tensor, classes_bhw: tf.Tensor, num_classes: int
) -> tf.Tensor:
    """Returns the probability of the class of each pixel: float32 [B, H, W].

    Of the most probable channel where channels are not the classes.
    """
    if probs_bhwc.shape[-1] != num_classes:
        return tf.reduce_max(probs_bhwc, axis=-1)
    known = tf.clip_by_value(classes_bhw, 0, num_classes - 1)
    return tf.gather(probs_bhwc, known, axis=-1, batch_dims=3)


def _read_panoptic(
    maps: Mapping[str, Any], descriptor: DatasetDescriptor
) -> npt.NDArray[np.int32]:
    """Returns class * label_divisor + instance, or void: int32 [H, W].

    Without instances, classes with too few pixels are void.
    """
    if "panoptic" in maps:
        return np.asarray(maps["panoptic"], np.int32)
    ids = maps["semantic"].astype(np.int32) * descriptor.label_divisor
    known = maps["segment_id"][maps["segment_is_valid"]]
    return np.where(np.isin(ids, known), ids, descriptor.void_id).astype(
        np.int32
    )


def _read_scores(
    panoptic_hw: npt.NDArray[np.int32], maps: Mapping[str, Any]
) -> npt.NDArray[np.float32]:
    """Returns the score of the segment of each pixel: float32 [H, W]."""
    is_valid = maps["segment_is_valid"]
    ids, scores = maps["segment_id"][is_valid], maps["segment_score"][is_valid]
    if not len(ids):
        return np.zeros(panoptic_hw.shape, np.float32)
    order = np.argsort(ids, kind="stable")
    ids, scores = ids[order], scores[order].astype(np.float32)
    place = np.minimum(np.searchsorted(ids, panoptic_hw), len(ids) - 1)
    found = np.where(ids[place] == panoptic_hw, scores[place], 0)
    return np.clip(found, 0, 1).astype(np.float32)
