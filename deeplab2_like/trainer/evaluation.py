# SPDX-License-Identifier: Apache-2.0
"""Evaluates models at the original sizes of images, for Orbit."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import orbit
import tensorflow as tf

from deeplab2_like.console import progress
from deeplab2_like.meta_architectures import contract
from deeplab2_like.metrics import (
    average_precision,
    mean_iou,
    panoptic_quality,
)
from deeplab2_like.results import original_size
from deeplab2_like.trainer import optimizers, prediction_saver

Batch = Mapping[str, Any]
RESULTS_FILE = "metrics.json"
_NO_LABELS = (
    "Nothing was scored: eval_dataset_options.decode_groundtruth_label is "
    "false."
)
# Names of COCO's numbers in deeplab2.
_AP_SUMMARIES = {
    "AP": "AP_Mask",
    "AP50": "AP_Mask_@IoU=0.5",
    "AP75": "AP_Mask_@IoU=0.75",
    "AP_small": "AP_Mask_small",
    "AP_medium": "AP_Mask_medium",
    "AP_large": "AP_Mask_large",
    "AR1": "AR_Mask_maxdets=1",
    "AR10": "AR_Mask_maxdets=10",
    "AR100": "AR_Mask_maxdets=100",
    "AR_small": "AR_Mask_small",
    "AR_medium": "AR_Mask_medium",
    "AR_large": "AR_Mask_large",
}


@dataclasses.dataclass(frozen=True)
class ScoreOptions:
    """Options of the scores of an evaluation.

    Attributes:
        has_labels: Whether the images have labels; if not, they are only
            predicted.
        pq_variant: Variant of the panoptic quality; see `PanopticQuality`.
        detailed_ap: Whether all twelve numbers of COCO's mask AP are
            summaries, not only the main one.
    """

    has_labels: bool = True
    pq_variant: str = "panopticapi"
    detailed_ap: bool = False


class Evaluator(orbit.AbstractEvaluator):
    """An evaluator of a model; create it in the strategy's scope.

    Attributes:
        results: Results of the last evaluation; see `runs.evaluate`.
    """

    def __init__(
        self,
        system: contract.MetaArchitecture,
        model: keras.Model,
        make_dataset: Callable[[], tf.data.Dataset],
        *,
        directory: str,
        scoring: ScoreOptions | None = None,
        make_saver: Callable[[], prediction_saver.PredictionSaver]
        | None = None,
        average: optimizers.AveragedWeights | None = None,
        report: progress.Progress | None = None,
    ):
        """Creates the evaluator.

        Args:
            system: System of the model, with losses and post-processing.
            model: The model that `system` built.
            make_dataset: Function that makes the evaluation batches, from the
                beginning; see `data.pipeline.make_evaluation_dataset`.
            directory: Folder of the file `metrics.json`.
            scoring: Options of the scores; the defaults when None.
            make_saver: Function that makes the saver of predictions of an
                evaluation; nothing is saved when None.
            average: Weights to evaluate in place of the model's own.
            report: Display of the progress; on standard error when None.
        """
        self._system = system
        self._model = model
        self._make_dataset = make_dataset
        self._directory = pathlib.Path(directory)
        self._scoring = scoring or ScoreOptions()
        self._make_saver = make_saver or (
            lambda: prediction_saver.PredictionSaver(system.descriptor)
        )
        self._average = average
        self._progress = report or progress.Progress()
        self._strategy = tf.distribute.get_strategy()
        self._run = tf.function(self._run_replicas, autograph=False)
        self._postprocess = tf.function(
            system.postprocess, jit_compile=True, autograph=False
        )
        self.results: dict[str, Any] = {}

    def evaluate(self, num_steps: tf.Tensor) -> dict[str, float]:
        """Evaluates `num_steps` batches, or all if it is -1.

        Args:
            num_steps: Integer scalar.

        Returns:
            The finite summaries by name.
        """
        if self._average is None:
            return self._evaluate(int(num_steps))
        self._average.swap()
        try:
            return self._evaluate(int(num_steps))
        finally:
            self._average.swap()

    def _evaluate(self, num_batches: int) -> dict[str, float]:
        scores = Scores(self._system, self._scoring)
        saver = self._make_saver()
        dataset = self._make_dataset()
        if num_batches >= 0:
            dataset = dataset.take(num_batches)
        total = int(dataset.cardinality())
        with self._progress.phase(
            "Evaluating", total if total >= 0 else None
        ) as phase:
            for done, (batch, outputs) in enumerate(self._predict(dataset)):
                for image in original_size.restore_images(batch, outputs):
                    if self._scoring.has_labels:
                        scores.update(image)
                    saver.add(image)
                scores.update_losses(outputs["losses"])
                phase.advance(done + 1)
        for line in saver.describe():
            self._progress.log(line)
        if not self._scoring.has_labels:
            self.results = {"summaries": {}, "warnings": [_NO_LABELS]}
            return {}
        self.results = scores.results()
        self._write_results()
        return {
            name: value
            for name, value in self.results["summaries"].items()
            if np.isfinite(value)
        }

    def _predict(
        self, dataset: tf.data.Dataset
    ) -> Iterator[tuple[Batch, Mapping[str, Any]]]:
        """Runs the model on batches, as many at a time as there are replicas.

        The replicas share no computation in evaluation, so each gets a whole
        batch, whose size may differ from the others'. Of several workers each
        evaluates all batches on its own replicas, without the others.
        """
        replicas = len(self._strategy.extended.worker_devices)
        group: list[Batch] = []
        for batch in dataset:
            group.append(batch)
            if len(group) == replicas:
                yield from self._predict_group(group)
                group = []
        if group:
            yield from self._predict_group(group)

    def _predict_group(
        self, group: Sequence[Batch]
    ) -> Iterator[tuple[Batch, Mapping[str, Any]]]:
        inputs = [
            {key: batch[key] for key in ("image", "valid_size", "targets")}
            for batch in group
        ]
        replicas = len(self._strategy.extended.worker_devices)
        if replicas == 1:
            outputs = [self._run(inputs[0])]
        else:
            # The last group may be short; then its last batch is repeated.
            inputs += [inputs[-1]] * (replicas - len(inputs))
            shared = (
                self._strategy.experimental_distribute_values_from_function(
                    lambda context: inputs[
                        context.replica_id_in_sync_group % replicas
                    ]
                )
            )
            together = self._run(shared)
            outputs = [
                tf.nest.map_structure(
                    lambda x, i=index: (
                        self._strategy.experimental_local_results(x)[i]
                    ),
                    together,
                )
                for index in range(len(group))
            ]
        for batch, output in zip(group, outputs, strict=True):
            yield (
                tf.nest.map_structure(lambda x: x.numpy(), dict(batch)),
                tf.nest.map_structure(lambda x: x.numpy(), output),
            )

    def _run_replicas(self, inputs):
        return self._strategy.run(self._replica_step, args=(inputs,))

    def _replica_step(self, inputs: Batch) -> dict[str, Any]:
        images = inputs["image"]
        targets = inputs["targets"] if self._scoring.has_labels else None
        outputs = self._system.infer(self._model, images, targets=targets)
        losses: dict[str, tf.Tensor] = {}
        if targets is not None:
            losses = self._system.compute_losses(outputs, targets)
        canvas_size = (images.shape[1], images.shape[2])
        prediction = self._postprocess(
            outputs, canvas_size, inputs["valid_size"]
        )
        return {"losses": losses, **prediction.as_dict()}

    def _write_results(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        text = json.dumps(_without_nan(self.results), indent=1)
        (self._directory / RESULTS_FILE).write_text(text + "\n")


def _without_nan(value: Any) -> Any:
    """Returns values with None for NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value


class Scores:
    """All metrics of one evaluation."""

    def __init__(
        self, system: contract.MetaArchitecture, scoring: ScoreOptions
    ):
        """Creates the metrics.

        Args:
            system: System of the model.
            scoring: Options of the scores.
        """
        self._detailed_ap = scoring.detailed_ap
        descriptor = system.descriptor
        self._label_divisor = descriptor.label_divisor
        self._iou = mean_iou.MeanIoU(descriptor)
        self._has_instances = system.has_instances
        self._pq = panoptic_quality.PanopticQuality(
            descriptor, variant=scoring.pq_variant
        )
        self._ap = average_precision.AveragePrecision(descriptor)
        self._losses: dict[str, list[float]] = {}

    def update(self, image: original_size.RestoredImage) -> None:
        """Adds an image."""
        true = image.true_panoptic
        self._iou.update(
            true // self._label_divisor, image.semantic, names=[image.name]
        )
        if self._has_instances:
            self._pq.update(true, image.panoptic, names=[image.name])
            self._ap.update(
                true,
                image.panoptic,
                image.segments["id"],
                image.segments["score"],
                names=[image.name],
            )

    def update_losses(self, losses: Mapping[str, np.ndarray]) -> None:
        """Adds the losses of a batch, float32 [B] each, by name."""
        for name, values in losses.items():
            self._losses.setdefault(name, []).extend(values.tolist())

    def results(self) -> dict[str, Any]:
        """Returns the results; see `runs.evaluate`."""
        iou = self._iou.result()
        summaries = {"evaluation/iou/IoU": iou.scalars()["mIoU"]}
        results: dict[str, Any] = {"summaries": summaries, "warnings": []}
        for name, values in self._losses.items():
            summaries[f"losses/eval_{name}"] = float(np.mean(values))
        if self._losses:
            parts = [np.asarray(values) for values in self._losses.values()]
            summaries["losses/eval_total_loss"] = float(np.mean(sum(parts)))
        if self._has_instances:
            quality = self._pq.result()
            precision = self._ap.result()
            for name, value in quality.scalars().items():
                summaries[f"evaluation/pq/{name}"] = value
            for key, value in precision.scalars().items():
                if key == "AP" or self._detailed_ap:
                    summaries[f"evaluation/ap/{_AP_SUMMARIES[key]}"] = value
            results["table"] = quality.table()
            results["average_precision"] = precision.scalars()
            results["warnings"] = [*quality.warnings, *precision.warnings]
        results["warnings"] += iou.warnings
        results["iou_per_class"] = iou.per_class.tolist()
        return results
